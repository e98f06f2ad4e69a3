//! The calling side of every call between objects, and from the Worker: the one place that maps a name to an object and knows its paths.

mod directory;

pub use directory::{DirectoryStub, close};

use crate::script::ask;
use dormouse_core::call::{
    CONNECT_HEADER, CONNECT_PATH, Connect, LOOK_PATH, MESSAGES_PATH, Outcome, PUBLISH_PATH, Published, ROOM_BINDING,
    encode_publish, room_name,
};
use dormouse_core::channel::ChannelName;
use dormouse_core::hub::HubConnect;
use dormouse_core::limits;
use dormouse_core::link::{
    DELIVER_PATH, Delivery, FOLLOW_PATH, Follow, Followed, HUB_BINDING, MISSED_PATH, Missed, RELAY_PATH, Receipt,
    Receipts, TALLY_PATH, Tallied, UNFOLLOW_PATH, decode_receipts, encode_relay, hub_name,
};
use dormouse_core::message::NewMessage;
use dormouse_core::presence::{Changes, MEMBERS_PATH, REPORT_PATH, Report};
use dormouse_core::refusal::{Code, Refusal};
use dormouse_core::resume::{Held, RESUME_PATH, TakeOver, TakenOver};
use dormouse_core::room::{MembersQuery, PageQuery};
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
        let answer = self.call(PUBLISH_PATH, &encode_publish(messages)).await?;
        Ok(read::<Published>(&answer)?.outcomes)
    }

    /// Reads a page of history, JSON: one request to the object, nothing written.
    pub async fn messages(&self, query: PageQuery) -> Result<String, Refusal> {
        self.call(MESSAGES_PATH, &write(&query)).await
    }

    /// Reads a page of a presence channel's members, JSON: one request to the object.
    pub async fn members(&self, query: &MembersQuery) -> Result<String, Refusal> {
        self.call(MEMBERS_PATH, &write(query)).await
    }

    /// Makes a Hub a follower: one request to the object.
    pub async fn follow(&self, follow: &Follow) -> Result<Followed, Refusal> {
        read(&self.call(FOLLOW_PATH, &write(follow)).await?)
    }

    /// Ends that: one request to the object.
    pub async fn unfollow(&self, follow: &Follow) -> Result<(), Refusal> {
        self.call(UNFOLLOW_PATH, &write(follow)).await.map(|_| ())
    }

    /// Says how many sockets of a Hub want the channel: one request to the object, nothing written.
    pub async fn tally(&self, follow: &Follow) -> Result<Tallied, Refusal> {
        read(&self.call(TALLY_PATH, &write(follow)).await?)
    }

    /// Reads what a socket of a Hub missed: one request to the object, nothing written.
    pub async fn missed(&self, missed: &Missed) -> Result<Delivery, Refusal> {
        Delivery::decode(&self.call(MISSED_PATH, &write(missed)).await?)
    }

    /// Says which members a Hub has: one request to the object.
    pub async fn report(&self, report: &Report) -> Result<Changes, Refusal> {
        read(&self.call(REPORT_PATH, &write(report)).await?)
    }

    async fn call(&self, path: &str, call: &str) -> Result<String, Refusal> {
        post(&self.namespace, &self.name, path, call, limits::CALL_MS).await
    }
}

/// A Hub, as the Worker and the Rooms see it. Nothing is asked until a method is called.
pub struct HubStub {
    namespace: ObjectNamespace,
    name: String,
}

impl HubStub {
    /// The nth Hub of an app in a series ([`dormouse_core::link::series`]).
    pub fn new(env: &Env, app: &str, series: &str, nth: u32) -> Result<Self, Refusal> {
        Self::named(env, hub_name(app, series, nth))
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

    /// Asks whether it has room: one request to the object, which is made near `region` if there is none yet. Refused with `full`.
    pub async fn look(&self, region: &str) -> Result<(), Refusal> {
        let stub = self.namespace.get_by_name_with_location_hint(&self.name, region);
        get(stub, LOOK_PATH, Headers::new()).await.map(drop)
    }

    /// Brings a channel's messages, a [`Delivery`] as text: one request to the object, nothing written.
    pub async fn deliver(&self, delivery: &str) -> Result<Receipt, Refusal> {
        read(&self.call(DELIVER_PATH, delivery, limits::DELIVERY_MS).await?)
    }

    /// The same for a Hub that hands it on: the receipt as text.
    pub(crate) async fn forward(&self, delivery: &str) -> Result<String, Refusal> {
        self.call(DELIVER_PATH, delivery, limits::RELAY_CALL_MS).await
    }

    /// The same for this Hub and for others, whom it calls: one request to the object, and one of its own to each of them.
    pub(crate) async fn relay(&self, others: &[String], delivery: &str) -> Result<Receipts, Refusal> {
        let call = encode_relay(others, delivery);
        decode_receipts(&self.call(RELAY_PATH, &call, limits::RELAY_MS).await?)
    }

    /// Takes over a tab that was there, for no longer than its client waits: one request to the object, and a row deleted.
    pub(crate) async fn hand_over(&self, asked: &TakeOver) -> Result<Option<Held>, Refusal> {
        let answer = self.call(RESUME_PATH, &write(asked), limits::RESUME_LOOK_MS).await?;
        Ok(read::<TakenOver>(&answer)?.held)
    }

    async fn call(&self, path: &str, call: &str, ms: u32) -> Result<String, Refusal> {
        post(&self.namespace, &self.name, path, call, ms).await
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

/// What an object answers, its text or the refusal that it is. Nobody waits for ever for one that has fallen: past `ms` the call has failed.
async fn post(namespace: &ObjectNamespace, name: &str, path: &str, call: &str, ms: u32) -> Result<String, Refusal> {
    let answer = ask(namespace.as_ref(), name, path, call, ms).await;
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
