//! The calling side of every call between objects, and from the Worker: the one place that maps a name to an object and knows its paths.

mod directory;

pub use directory::{DirectoryStub, close};

use crate::script::ask;
use dormouse_core::call::{
    CONNECT_HEADER, CONNECT_PATH, Connect, MESSAGES_PATH, Outcome, PUBLISH_PATH, Published, ROOM_BINDING,
    encode_publish, room_name,
};
use dormouse_core::channel::ChannelName;
use dormouse_core::hub::HubConnect;
use dormouse_core::link::{
    DELIVER_PATH, Delivery, FOLLOW_PATH, Follow, Followed, HUB_BINDING, MISSED_PATH, Missed, Receipt, UNFOLLOW_PATH,
    hub_name,
};
use dormouse_core::message::NewMessage;
use dormouse_core::refusal::{Code, Refusal};
use dormouse_core::room::PageQuery;
use js_sys::Array;
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsCast;
use web_sys::js_sys;
use worker::{Env, Headers, Method, ObjectNamespace, Request, RequestInit, Response, Stub, console_error};

/// A room, as the Worker and the Hubs see it. Nothing is asked until a method is called.
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
        let namespace = env.durable_object(ROOM_BINDING).map_err(|error| unreachable(&error))?;
        Ok(Self { namespace, name })
    }

    /// Brings a socket in: one request to the object. The answer is 101 with the socket, or a refusal.
    pub async fn connect(&self, connect: &Connect) -> Result<Response, Refusal> {
        get(self.namespace.get_by_name(&self.name), CONNECT_PATH, upgrade(connect)?).await
    }

    /// Publishes, in order: one request to the object.
    pub async fn publish(&self, messages: &[NewMessage]) -> Result<Vec<Outcome>, Refusal> {
        let answer = post(&self.namespace, &self.name, PUBLISH_PATH, &encode_publish(messages)).await?;
        Ok(read::<Published>(&answer)?.outcomes)
    }

    /// Reads a page of history: one request to the object, nothing written.
    pub async fn messages(&self, query: PageQuery) -> Result<Response, Refusal> {
        let after = query.after.map_or_else(String::new, |after| format!("&after={after}"));
        let path = format!("{MESSAGES_PATH}?limit={}{after}", query.limit);
        get(self.namespace.get_by_name(&self.name), &path, Headers::new()).await
    }

    /// Makes a Hub a follower: one request to the object.
    pub async fn follow(&self, follow: &Follow) -> Result<Followed, Refusal> {
        read(&post(&self.namespace, &self.name, FOLLOW_PATH, &write(follow)).await?)
    }

    /// Ends that: one request to the object.
    pub async fn unfollow(&self, follow: &Follow) -> Result<(), Refusal> {
        post(&self.namespace, &self.name, UNFOLLOW_PATH, &write(follow)).await.map(|_| ())
    }

    /// Reads what a socket of a Hub missed: one request to the object, nothing written.
    pub async fn missed(&self, missed: &Missed) -> Result<Delivery, Refusal> {
        Delivery::decode(&post(&self.namespace, &self.name, MISSED_PATH, &write(missed)).await?)
    }
}

/// A Hub, as the Worker and the Rooms see it. Nothing is asked until a method is called.
pub struct HubStub {
    namespace: ObjectNamespace,
    name: String,
}

impl HubStub {
    /// The nth Hub of an app in a region.
    pub fn new(env: &Env, app: &str, region: &str, nth: u32) -> Result<Self, Refusal> {
        Self::named(env, hub_name(app, region, nth))
    }

    /// The Hub with that object name.
    pub fn named(env: &Env, name: String) -> Result<Self, Refusal> {
        let namespace = env.durable_object(HUB_BINDING).map_err(|error| unreachable(&error))?;
        Ok(Self { namespace, name })
    }

    /// Brings a socket in: one request to the object, which is made near `region` (a location hint) if there is none yet. The answer is 101 with the
    /// socket, or a refusal.
    pub async fn connect(&self, connect: &HubConnect, region: &str) -> Result<Response, Refusal> {
        let stub = self.namespace.get_by_name_with_location_hint(&self.name, region);
        get(stub, CONNECT_PATH, upgrade(connect)?).await
    }

    /// Brings a channel's messages, a [`Delivery`] as text: one request to the object, nothing written.
    pub async fn deliver(&self, delivery: &str) -> Result<Receipt, Refusal> {
        read(&post(&self.namespace, &self.name, DELIVER_PATH, delivery).await?)
    }
}

fn write<T: Serialize>(call: &T) -> String {
    serde_json::to_string(call).unwrap_or_default()
}

fn read<'a, T: Deserialize<'a>>(answer: &'a str) -> Result<T, Refusal> {
    serde_json::from_str(answer).map_err(|error| unreachable(&error.into()))
}

fn upgrade<T: Serialize>(connect: &T) -> Result<Headers, Refusal> {
    let headers = Headers::new();
    let set = headers.set("upgrade", "websocket").and_then(|()| headers.set(CONNECT_HEADER, &write(connect)));
    set.map(|()| headers).map_err(|error| unreachable(&error))
}

async fn post(namespace: &ObjectNamespace, name: &str, path: &str, call: &str) -> Result<String, Refusal> {
    let answer = ask(namespace.as_ref(), name, path, call).await;
    let answer: Array = answer.map_err(|error| unreachable(&error.into()))?.unchecked_into();
    let text = answer.get(1).as_string().unwrap_or_default();
    if answer.get(0).as_f64() == Some(200.0) { Ok(text) } else { Err(refused(&text)) }
}

async fn get(stub: worker::Result<Stub>, path: &str, headers: Headers) -> Result<Response, Refusal> {
    let mut init = RequestInit::new();
    init.with_method(Method::Get).with_headers(headers);
    let request = Request::new_with_init(&format!("https://object{path}"), &init);
    let (request, stub) = request.and_then(|request| Ok((request, stub?))).map_err(|error| unreachable(&error))?;
    let mut response = stub.fetch_with_request(request).await.map_err(|error| unreachable(&error))?;
    if response.status_code() < 400 {
        return Ok(response);
    }
    Err(refused(&response.text().await.map_err(|error| unreachable(&error))?))
}

/// A refusal, as an object answers it.
#[derive(Deserialize)]
struct Refused {
    error: Refusal,
}

fn refused(text: &str) -> Refusal {
    serde_json::from_str::<Refused>(text).map_or_else(|error| unreachable(&error.into()), |body| body.error)
}

/// The object threw, was reset, or has too much to do. Whether a publish was stored is not known then: the same id tells.
fn unreachable(error: &worker::Error) -> Refusal {
    let text = error.to_string();
    console_error!("object: {text}");
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
