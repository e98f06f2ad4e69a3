//! The Worker's side of the calls to a Room: the one place that maps a name to an object and knows its paths.

use dormouse_core::call::{
    CONNECT_HEADER, CONNECT_PATH, Connect, MESSAGES_PATH, Outcome, PUBLISH_PATH, Published, ROOM_BINDING,
    encode_publish, room_name,
};
use dormouse_core::channel::ChannelName;
use dormouse_core::message::NewMessage;
use dormouse_core::refusal::{Code, Refusal};
use dormouse_core::room::PageQuery;
use serde::Deserialize;
use wasm_bindgen::JsValue;
use worker::{Env, Headers, Method, Request, RequestInit, Response, Stub, console_error};

/// A room, as the Worker sees it.
pub struct RoomStub {
    stub: Stub,
}

impl RoomStub {
    /// The room of a channel. Nothing is asked yet.
    pub fn new(env: &Env, app: &str, channel: &ChannelName) -> Result<Self, Refusal> {
        Self::named(env, &room_name(app, channel))
    }

    /// The room with that object name.
    pub fn named(env: &Env, name: &str) -> Result<Self, Refusal> {
        let stub = env.durable_object(ROOM_BINDING).and_then(|namespace| namespace.get_by_name(name));
        stub.map(|stub| Self { stub }).map_err(|error| unreachable_room(&error))
    }

    /// Brings a socket in: one request to the object. The answer is 101 with the socket, or a refusal.
    pub async fn connect(&self, connect: &Connect) -> Result<Response, Refusal> {
        let headers = Headers::new();
        let call = serde_json::to_string(connect).unwrap_or_default();
        let set = headers.set("upgrade", "websocket").and_then(|()| headers.set(CONNECT_HEADER, &call));
        set.map_err(|error| unreachable_room(&error))?;
        self.ask(Method::Get, CONNECT_PATH, headers, None).await
    }

    /// Publishes, in order: one request to the object.
    pub async fn publish(&self, messages: &[NewMessage]) -> Result<Vec<Outcome>, Refusal> {
        let mut response = self.ask(Method::Post, PUBLISH_PATH, Headers::new(), Some(encode_publish(messages))).await?;
        let text = response.text().await.map_err(|error| unreachable_room(&error))?;
        let published: Published =
            serde_json::from_str(&text).map_err(|error| unreachable_room(&worker::Error::from(error)))?;
        Ok(published.outcomes)
    }

    /// Reads a page of history: one request to the object, nothing written.
    pub async fn messages(&self, query: PageQuery) -> Result<Response, Refusal> {
        let after = query.after.map_or_else(String::new, |after| format!("&after={after}"));
        self.ask(Method::Get, &format!("{MESSAGES_PATH}?limit={}{after}", query.limit), Headers::new(), None).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: Headers,
        body: Option<String>,
    ) -> Result<Response, Refusal> {
        let mut init = RequestInit::new();
        init.with_method(method).with_headers(headers).with_body(body.map(|body| JsValue::from_str(&body)));
        let request =
            Request::new_with_init(&format!("https://room{path}"), &init).map_err(|error| unreachable_room(&error))?;
        let mut response = self.stub.fetch_with_request(request).await.map_err(|error| unreachable_room(&error))?;
        if response.status_code() < 400 {
            return Ok(response);
        }
        let text = response.text().await.map_err(|error| unreachable_room(&error))?;
        Err(serde_json::from_str::<Refused>(&text)
            .map_or_else(|error| unreachable_room(&error.into()), |body| body.error))
    }
}

/// A refusal, as a room answers it.
#[derive(Deserialize)]
struct Refused {
    error: Refusal,
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
