//! Messages: what is published, kept and delivered.

use crate::limits;
use crate::position::Position;
use crate::pusher::words;
use crate::refusal::{Code, Refusal};
use crate::stream;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// What a message carries, as it was published.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Payload {
    /// JSON, its text untouched.
    Json(String),
    /// Text that was published raw.
    Text(String),
    /// Bytes that were published raw.
    Binary(#[serde(with = "serde_bytes")] Vec<u8>),
}

impl Payload {
    /// Size in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Json(text) | Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether it has no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sorts a raw body: JSON or text where it is that, bytes otherwise (`docs/protocol.md`, "Publishing").
    #[must_use]
    pub fn from_raw(body: Vec<u8>, content_type: &str) -> Self {
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if is_binary(&media_type) {
            return Self::Binary(body);
        }
        match String::from_utf8(body) {
            Ok(text) if is_json(&media_type) && serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok() => {
                Self::Json(text)
            }
            Ok(text) => Self::Text(text),
            Err(error) => Self::Binary(error.into_bytes()),
        }
    }
}

fn is_json(media_type: &str) -> bool {
    media_type == "application/json" || media_type.ends_with("+json")
}

fn is_binary(media_type: &str) -> bool {
    let beginnings = ["image/", "audio/", "video/", "font/"];
    matches!(media_type, "application/octet-stream" | "application/pdf" | "application/zip")
        || beginnings.iter().any(|beginning| media_type.starts_with(beginning)) && media_type != "image/svg+xml"
}

/// A publisher's name for a message, so that a retry does not publish it again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MessageId {
    /// As it was given.
    pub id: String,
    /// The beginning of a SHA-256 over event and payload: the same id with other contents is a conflict.
    pub digest: [u8; 16],
}

/// A message without its place.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// The event's name, where there is one.
    pub event: Option<String>,
    /// What it carries.
    pub payload: Payload,
    /// The publisher's id for it, where there is one.
    pub id: Option<MessageId>,
    /// A connection that shall not get it; kept, so that it does not get it by a retry or a replay either.
    pub except: Option<String>,
    /// The user who published it, where a client did whose user is known.
    pub user: Option<String>,
}

impl Message {
    /// A message, its digest computed where it has an id. The names were checked by [`check_event`] and [`check_id`].
    #[must_use]
    pub fn new(event: Option<String>, payload: Payload, id: Option<String>) -> Self {
        let id = id.map(|id| MessageId { digest: digest(event.as_deref(), &payload), id });
        Self { event, payload, id, except: None, user: None }
    }

    /// Whether a connection shall not get it.
    #[must_use]
    pub fn is_kept_from(&self, connection: &str) -> bool {
        self.except.as_deref() == Some(connection)
    }

    /// Bytes that it takes in the log, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let id = self.id.as_ref().map_or(0, |id| id.id.len() + 16);
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        text(&self.event) + self.payload.len() + id + text(&self.except) + text(&self.user) + 8
    }
}

/// What a publisher asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewMessage {
    /// The message.
    pub message: Message,
    /// The connection of the client who publishes it; `None`: the app does.
    pub from: Option<String>,
    /// Append only while this is the channel's last position.
    pub if_position: Option<Position>,
}

impl From<Message> for NewMessage {
    /// What the app publishes, on no condition.
    fn from(message: Message) -> Self {
        Self { message, from: None, if_position: None }
    }
}

/// Reads JSON that is there: `null` is data as well, where serde takes it for nothing.
pub(crate) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// An event's name: 1 to 200 characters, none of them a control character (it becomes a line of an event stream), and no name of what Dormouse says itself in Pusher's
/// protocol: clients would believe it.
pub fn check_event(event: Option<&str>) -> Result<(), Refusal> {
    let Some(event) = event else { return Ok(()) };
    if event.is_empty() || event.chars().count() > limits::EVENT_NAME_MAX || event.chars().any(char::is_control) {
        let most = limits::EVENT_NAME_MAX;
        let message = format!("event: 1 to {most} characters, no control characters");
        return Err(Refusal::new(Code::InvalidField, message));
    }
    if let Some(prefix) = words::RESERVED.into_iter().find(|prefix| event.starts_with(prefix)) {
        let message = format!("event: names that begin with {prefix} are the protocol's own");
        return Err(Refusal::new(Code::InvalidField, message));
    }
    Ok(())
}

/// The name of an event that a client of the `plain` dialect publishes: also none that event streams use themselves, or it could speak for the server there. The app's
/// servers may, and know what they do: Pusher's take any of them.
pub fn check_client_event(event: Option<&str>) -> Result<(), Refusal> {
    check_event(event)?;
    match event.filter(|event| stream::OWN_EVENTS.contains(event)) {
        Some(event) => {
            let message = format!("event: {event} is a name of event streams themselves, which clients may not use");
            Err(Refusal::new(Code::InvalidField, message))
        }
        None => Ok(()),
    }
}

/// A message id: 1 to 128 bytes.
pub fn check_id(id: Option<&str>) -> Result<(), Refusal> {
    match id {
        Some(id) if id.is_empty() || id.len() > limits::MESSAGE_ID_MAX => {
            Err(Refusal::new(Code::InvalidField, format!("id: 1 to {} bytes", limits::MESSAGE_ID_MAX)))
        }
        _ => Ok(()),
    }
}

/// The size of a message's data against the channel's rule.
pub fn check_size(payload: &Payload, most: usize) -> Result<(), Refusal> {
    if payload.len() > most {
        let message = format!("data has {} bytes, this channel takes {most}", payload.len());
        return Err(Refusal::new(Code::TooLarge, message));
    }
    Ok(())
}

fn digest(event: Option<&str>, payload: &Payload) -> [u8; 16] {
    let (kind, bytes) = match payload {
        Payload::Json(text) => (b'j', text.as_bytes()),
        Payload::Text(text) => (b't', text.as_bytes()),
        Payload::Binary(bytes) => (b'b', bytes.as_slice()),
    };
    let event = event.unwrap_or_default();
    let hash = Sha256::new()
        .chain_update([kind])
        .chain_update((event.len() as u64).to_be_bytes())
        .chain_update(event)
        .chain_update(bytes)
        .finalize();
    core::array::from_fn(|at| hash.get(at).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{Message, Payload, check_client_event, check_event, check_id};

    #[test]
    fn raw_bodies_are_sorted_by_type_and_by_what_they_are() {
        let sort = |body: &[u8], kind: &str| Payload::from_raw(body.to_vec(), kind);
        assert_eq!(sort(b"hi", ""), Payload::Text("hi".into()));
        assert_eq!(sort(b"hi", "application/x-www-form-urlencoded"), Payload::Text("hi".into()));
        assert_eq!(sort(b"hi", "Text/Plain; charset=utf-8"), Payload::Text("hi".into()));
        assert_eq!(sort(b"{\"a\": 1}", "application/json"), Payload::Json("{\"a\": 1}".into()));
        assert_eq!(sort(b"{\"a\": 1}", "application/ld+json; x=y"), Payload::Json("{\"a\": 1}".into()));
        assert_eq!(sort(b"{\"a\"", "application/json"), Payload::Text("{\"a\"".into()));
        assert_eq!(sort(b"<svg/>", "image/svg+xml"), Payload::Text("<svg/>".into()));
        assert_eq!(sort(b"hi", "application/octet-stream"), Payload::Binary(b"hi".to_vec()));
        assert_eq!(sort(b"hi", "IMAGE/png"), Payload::Binary(b"hi".to_vec()));
        assert_eq!(sort(b"\xff\xfe", "text/plain"), Payload::Binary(b"\xff\xfe".to_vec()));
    }

    #[test]
    fn the_digest_tells_contents_apart() {
        let digest = |event: Option<&str>, payload| {
            Message::new(event.map(str::to_owned), payload, Some("1".into())).id.unwrap().digest
        };
        let text = |text: &str| Payload::Text(text.into());
        assert_eq!(digest(None, text("a")), digest(None, text("a")));
        assert_ne!(digest(None, text("a")), digest(None, text("b")));
        assert_ne!(digest(Some("a"), text("b")), digest(None, text("ab")));
        assert_ne!(digest(None, text("1")), digest(None, Payload::Json("1".into())));
    }

    #[test]
    fn names_have_bounds() {
        assert!(check_event(Some(&"é".repeat(200))).is_ok());
        for event in ["", "a\nb", "a\rb", "\0", &"x".repeat(201)] {
            assert!(check_event(Some(event)).is_err());
        }
        for event in ["pusher:ping", "pusher_internal:member_removed", "dormouse:gap", "dormouse:", "pusher:x"] {
            assert!(check_event(Some(event)).unwrap_err().message.contains("the protocol's own"), "{event}");
        }
        for event in ["pusher", "pusher-ping", "client-pusher:ping", "Pusher:ping", "dormouse", "App\\Events\\Paid"] {
            assert!(check_event(Some(event)).is_ok() && check_client_event(Some(event)).is_ok(), "{event}");
        }
        for event in ["welcome", "subscribed", "gap", "close", "members", "presence", "binary"] {
            assert!(check_event(Some(event)).is_ok() && check_client_event(Some(event)).is_err(), "{event}");
        }
        assert!(check_client_event(Some("pusher:ping")).is_err() && check_client_event(None).is_ok());
        assert!(
            check_id(Some(&"x".repeat(128))).is_ok()
                && check_id(Some(&"x".repeat(129))).is_err()
                && check_id(Some("")).is_err()
        );
    }
}
