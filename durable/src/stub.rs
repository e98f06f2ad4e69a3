//! The Worker's side of the calls to a Room: the one place that maps a name to an object and knows its paths.

use crate::script::ask;
use dormouse_core::call::{
    CONNECT_HEADER, CONNECT_PATH, Connect, MESSAGES_PATH, Outcome, PUBLISH_PATH, Published, ROOM_BINDING,
    encode_publish, room_name,
};
use dormouse_core::channel::ChannelName;
use dormouse_core::message::NewMessage;
use dormouse_core::refusal::{Code, Refusal};
use dormouse_core::room::PageQuery;
use js_sys::Array;
use serde::Deserialize;
use wasm_bindgen::JsCast;
use web_sys::js_sys;
use worker::{Env, Headers, Method, ObjectNamespace, Request, RequestInit, Response, console_error};

/// A room, as the Worker sees it. Nothing is asked until a method is called.
pub struct RoomStub {
    namespace: ObjectNamespace,
    name: String,
}

impl RoomStub {
    /// The room of a channel.
    pub fn new(env: &Env, app: &str, channel: &ChannelName) -> Result<Self, Refusal> {
        Self::named(env, room_name(app, channel))
    }

    /// The room with that object name.
    pub fn named(env: &Env, name: String) -> Result<Self, Refusal> {
        let namespace = env.durable_object(ROOM_BINDING).map_err(|error| unreachable_room(&error))?;
        Ok(Self { namespace, name })
    }

    /// Brings a socket in: one request to the object. The answer is 101 with the socket, or a refusal.
    pub async fn connect(&self, connect: &Connect) -> Result<Response, Refusal> {
        let headers = Headers::new();
        let call = serde_json::to_string(connect).unwrap_or_default();
        let set = headers.set("upgrade", "websocket").and_then(|()| headers.set(CONNECT_HEADER, &call));
        set.map_err(|error| unreachable_room(&error))?;
        self.get(CONNECT_PATH, headers).await
    }

    /// Publishes, in order: one request to the object.
    pub async fn publish(&self, messages: &[NewMessage]) -> Result<Vec<Outcome>, Refusal> {
        let call = encode_publish(messages);
        let answer = ask(self.namespace.as_ref(), &self.name, PUBLISH_PATH, &call).await;
        let answer: Array = answer.map_err(|error| unreachable_room(&error.into()))?.unchecked_into();
        let text = answer.get(1).as_string().unwrap_or_default();
        if answer.get(0).as_f64() != Some(200.0) {
            return Err(refused(&text));
        }
        let published: Published = serde_json::from_str(&text).map_err(|error| unreachable_room(&error.into()))?;
        Ok(published.outcomes)
    }

    /// Reads a page of history: one request to the object, nothing written.
    pub async fn messages(&self, query: PageQuery) -> Result<Response, Refusal> {
        let after = query.after.map_or_else(String::new, |after| format!("&after={after}"));
        self.get(&format!("{MESSAGES_PATH}?limit={}{after}", query.limit), Headers::new()).await
    }

    async fn get(&self, path: &str, headers: Headers) -> Result<Response, Refusal> {
        let mut init = RequestInit::new();
        init.with_method(Method::Get).with_headers(headers);
        let request = Request::new_with_init(&format!("https://room{path}"), &init);
        let stub = self.namespace.get_by_name(&self.name);
        let (request, stub) =
            request.and_then(|request| Ok((request, stub?))).map_err(|error| unreachable_room(&error))?;
        let mut response = stub.fetch_with_request(request).await.map_err(|error| unreachable_room(&error))?;
        if response.status_code() < 400 {
            return Ok(response);
        }
        Err(refused(&response.text().await.map_err(|error| unreachable_room(&error))?))
    }
}

/// A refusal, as a room answers it.
#[derive(Deserialize)]
struct Refused {
    error: Refusal,
}

fn refused(text: &str) -> Refusal {
    serde_json::from_str::<Refused>(text).map_or_else(|error| unreachable_room(&error.into()), |body| body.error)
}

/// The object threw, was reset, or has too much to do. Whether a publish was stored is not known then: the same id tells.
fn unreachable_room(error: &worker::Error) -> Refusal {
    let text = error.to_string();
    console_error!("room: {text}");
    if text.contains("SQLITE_FULL") || text.contains("disk is full") {
        // The runtime resets an object whose disk is full, and answers that are under way go with it, good ones too.
        let message =
            "there is no room to store messages; whether this one was stored is not known: repeat it with its `id`";
        return Refusal::new(Code::StorageFull, message);
    }
    Refusal::new(
        Code::Overloaded,
        "the channel did not answer: try again; with an `id`, a publish that was stored is not stored twice",
    )
}
