//! What the Worker and the objects say to each other: names, paths and bodies. JSON, versioned, unknown fields ignored, because during a
//! deploy old and new code talk to each other.

use crate::channel::ChannelName;
use crate::limits;
use crate::message::{Message, NewMessage, Payload, check_event, check_id, present};
use crate::position::Position;
use crate::presence::MemberData;
use crate::refusal::{Code, Refusal};
use crate::session::Format;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The binding of the Room class in `wrangler.toml`.
pub const ROOM_BINDING: &str = "ROOM";
/// The version of these calls.
pub const VERSION: u32 = 1;
/// The header that carries a [`Connect`] beside the upgrade; the Worker drops a client's own.
pub const CONNECT_HEADER: &str = "x-dormouse-connect";
/// Joins a socket to a room.
pub const CONNECT_PATH: &str = "/connect";
/// Asks a Hub whether it has room for a socket: `GET`, answer `{}`, or refused with `full`.
pub const LOOK_PATH: &str = "/look";
/// Publishes into a room.
pub const PUBLISH_PATH: &str = "/publish";
/// Reads a page of a room's history: body [`crate::room::PageQuery`].
pub const MESSAGES_PATH: &str = "/messages";

/// The name of the object that is a channel's home. An app's id has no colon, so two names never meet.
#[must_use]
pub fn room_name(app: &str, channel: &ChannelName) -> String {
    format!("v1:{app}:{channel}")
}

/// The app's id and the channel that an object's name says.
#[must_use]
pub fn parse_room_name(name: &str) -> Option<(&str, ChannelName)> {
    let (app, channel) = name.strip_prefix("v1:")?.split_once(':')?;
    Some((app, ChannelName::known(channel).ok()?))
}

/// Where a new connection begins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Begin {
    /// After this position.
    After(Position),
    /// With the newest n messages.
    Last(u64),
}

/// A client whom the Worker has let in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Connect {
    /// [`VERSION`].
    pub version: u32,
    /// How it is spoken to.
    pub format: Format,
    /// The token's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When the token expires, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// Whether it may publish.
    #[serde(default)]
    pub may_publish: bool,
    /// Where it begins; `None`: with what comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Begin>,
    /// What it shows the other members of a presence channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<MemberData>,
}

#[derive(Serialize, Deserialize)]
struct Publish<'a> {
    version: u32,
    #[serde(borrow)]
    messages: Vec<Wire<'a>>,
}

/// A message between objects: one of `json`, `text` and `base64`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Wire<'a> {
    #[serde(borrow, default, deserialize_with = "present", skip_serializing)]
    json: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    except: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    if_position: Option<Position>,
}

/// The body of a publish call.
#[must_use]
pub fn encode_publish(messages: &[NewMessage]) -> String {
    let messages: Vec<String> =
        messages.iter().map(|new| write_wire(&new.message, new.from.as_deref(), new.if_position)).collect();
    format!("{{\"version\":{VERSION},\"messages\":[{}]}}", messages.join(","))
}

/// A message as text.
pub(crate) fn write_wire(message: &Message, from: Option<&str>, if_position: Option<Position>) -> String {
    let (text, base64) = match &message.payload {
        Payload::Json(_) => (None, None),
        Payload::Text(text) => (Some(Cow::Borrowed(text.as_str())), None),
        Payload::Binary(bytes) => (None, Some(Cow::Owned(STANDARD.encode(bytes)))),
    };
    let event = message.event.as_deref().map(Cow::Borrowed);
    let id = message.id.as_ref().map(|id| Cow::Borrowed(id.id.as_str()));
    let except = message.except.as_deref().map(Cow::Borrowed);
    let user = message.user.as_deref().map(Cow::Borrowed);
    let wire = Wire { json: None, text, base64, event, id, except, user, from: from.map(Cow::Borrowed), if_position };
    let wire = serde_json::to_string(&wire).unwrap_or_default();
    match &message.payload {
        // JSON goes in as the text that it is; the other side reads all of it again.
        Payload::Json(text) if wire == "{}" => format!("{{\"json\":{text}}}"),
        Payload::Json(text) => wire.replacen('{', &format!("{{\"json\":{text},"), 1),
        Payload::Text(_) | Payload::Binary(_) => wire,
    }
}

/// Reads the body of a publish call. Also what another object sends is checked.
pub fn decode_publish(body: &str) -> Result<Vec<NewMessage>, Refusal> {
    let call: Publish<'_> =
        serde_json::from_str(body).map_err(|error| Refusal::new(Code::InvalidJson, format!("call: {error}")))?;
    call.messages.into_iter().map(read_wire).collect()
}

pub(crate) fn read_wire(wire: Wire<'_>) -> Result<NewMessage, Refusal> {
    let payload = match (wire.json, wire.text, wire.base64) {
        (Some(json), None, None) => Payload::Json(json.get().to_owned()),
        (None, Some(text), None) => Payload::Text(text.into_owned()),
        (None, None, Some(base64)) => Payload::Binary(
            STANDARD.decode(base64.as_bytes()).map_err(|_| Refusal::new(Code::InvalidField, "call: base64"))?,
        ),
        _ => return Err(Refusal::new(Code::InvalidField, "call: one of json, text and base64")),
    };
    check_event(wire.event.as_deref())?;
    check_id(wire.id.as_deref())?;
    let connections = [&wire.except, &wire.from];
    if connections.into_iter().flatten().any(|id| id.len() > limits::CONNECTION_ID_MAX)
        || wire.user.as_ref().is_some_and(|user| user.chars().count() > limits::USER_ID_MAX)
    {
        return Err(Refusal::new(Code::InvalidField, "call: except, from or user"));
    }
    let mut message = Message::new(wire.event.map(Cow::into_owned), payload, wire.id.map(Cow::into_owned));
    (message.except, message.user) = (wire.except.map(Cow::into_owned), wire.user.map(Cow::into_owned));
    Ok(NewMessage { message, from: wire.from.map(Cow::into_owned), if_position: wire.if_position })
}

/// What became of one message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    /// It is stored.
    Stored {
        /// Its place.
        position: Position,
        /// Whether its id had been published before.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        duplicate: bool,
    },
    /// It is not.
    Refused {
        /// Why.
        error: Refusal,
    },
}

/// The answer to a publish call: an outcome for each message, in order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Published {
    /// In the order of the messages.
    pub outcomes: Vec<Outcome>,
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Published, decode_publish, encode_publish, parse_room_name, room_name};
    use crate::channel::ChannelName;
    use crate::message::{Message, NewMessage, Payload};
    use crate::position::Epoch;

    #[test]
    fn a_room_is_named_after_app_and_channel() {
        let channel = ChannelName::parse("a;b@c").unwrap();
        assert_eq!(parse_room_name(&room_name("1", &channel)), Some(("1", channel)));
        for name in ["", "v1:", "v1:1", "v2:1:a", "v1:1:a:b", "v1:1:"] {
            assert_eq!(parse_room_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_publish_reads_back_as_it_was() {
        let new = |payload| {
            let mut message = Message::new(Some("e\"".into()), payload, Some("ä".into()));
            (message.except, message.user) = (Some("c".into()), Some("ü\"".into()));
            NewMessage { message, from: Some("d".into()), if_position: Some(Epoch::new(7).at(1)) }
        };
        let messages = vec![
            new(Payload::Json("{ \"a\" :\t1.0e5 }".into())),
            new(Payload::Text("a\u{2028}\"\n\u{1f9ad}".into())),
            new(Payload::Binary((0..=255).collect())),
            Message::new(None, Payload::Json("null".into()), None).into(),
        ];
        assert_eq!(decode_publish(&encode_publish(&messages)).unwrap(), messages);
        assert!(decode_publish(r#"{"version":9,"later":1,"messages":[{"text":"a","later":[]}]}"#).is_ok());
        for bad in ["", "{}", r#"{"version":1,"messages":[{}]}"#, r#"{"version":1,"messages":[{"text":"a","json":1}]}"#]
        {
            assert!(decode_publish(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn outcomes_read_back() {
        let text = r#"{"outcomes":[{"position":"000000000001:2"},{"position":"000000000001:2","duplicate":true},{"error":{"code":"from_later","message":"m"}}]}"#;
        let published: Published = serde_json::from_str(text).unwrap();
        assert!(matches!(
            published.outcomes.as_slice(),
            [
                Outcome::Stored { duplicate: false, .. },
                Outcome::Stored { duplicate: true, .. },
                Outcome::Refused { .. }
            ]
        ));
    }
}
