//! The `plain` dialect: every frame that goes out, and the one that may come in. Its wire strings stand here only.

pub mod many;
pub mod members;

use crate::channel::ChannelName;
use crate::json::object;
use crate::message::{Message, Payload, check_client_event, check_id};
use crate::position::Position;
use crate::pusher::words;
use crate::refusal::{Code, Refusal};
use crate::session::Format;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The subprotocol that is answered when a client offers it.
pub const SUBPROTOCOL: &str = "dormouse";
/// A subprotocol that carries a token begins so: browsers cannot send an `Authorization` header.
pub const SUBPROTOCOL_TOKEN: &str = "bearer.";
/// The text that the runtime answers by itself.
pub const PING: &str = "ping";
/// Its answer.
pub const PONG: &str = "pong";

/// One WebSocket frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A text frame.
    Text(String),
    /// A binary frame.
    Binary(Vec<u8>),
}

impl Frame {
    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// Why a range of messages cannot be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GapReason {
    /// Out of the history's bounds.
    Expired,
    /// The log of that epoch no longer exists.
    Lost,
    /// The channel never got that far.
    Ahead,
    /// They were sent, and whether they arrived is not known. Only to clients that send no positions.
    Unconfirmed,
}

/// The messages after `after`, up to and including `position`, cannot be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Gap {
    /// The last position that the reader has.
    pub after: Position,
    /// Where it goes on.
    pub position: Position,
    /// Why.
    pub reason: GapReason,
}

/// What is said to one connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Say {
    /// It is in.
    Welcome {
        /// Its id.
        connection: String,
        /// The point after which the next frames go on.
        position: Position,
        /// Whether everything since the position that it presented follows; `None` if it presented none.
        resumed: Option<bool>,
    },
    /// It missed something that cannot be had.
    Gap(Gap),
    /// Its publish is stored.
    Ack {
        /// The id that it gave.
        id: Option<String>,
        /// The message's place.
        position: Position,
        /// Whether that id had been published before.
        duplicate: bool,
    },
    /// Something that it asked for cannot be done; nothing else changes.
    Error(Refusal),
    /// The last words before a close.
    Farewell(Refusal),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Out<'a> {
    Welcome {
        connection: &'a str,
        channel: &'a str,
        position: Position,
        #[serde(skip_serializing_if = "Option::is_none")]
        resumed: Option<bool>,
    },
    Gap {
        channel: &'a str,
        #[serde(flatten)]
        gap: &'a Gap,
    },
    Ack {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        position: Position,
        #[serde(skip_serializing_if = "core::ops::Not::not")]
        duplicate: bool,
    },
    Error {
        #[serde(flatten)]
        refusal: &'a Refusal,
    },
}

/// The frame for a connection of this format; `None` where the format has no words for it.
#[must_use]
pub fn say(channel: &ChannelName, format: Format, say: &Say) -> Option<Frame> {
    if format.is_stream() {
        return crate::stream::say(channel, format, say).map(Frame::Text);
    }
    match (format, say) {
        (Format::Pusher, Say::Gap(gap)) => return Some(words::gap(channel, gap)),
        (Format::Raw | Format::Pusher, _) => return None,
        _ => {}
    }
    let channel = channel.as_str();
    let out = match say {
        Say::Welcome { connection, position, resumed } => {
            Out::Welcome { connection, channel, position: *position, resumed: *resumed }
        }
        Say::Gap(gap) => Out::Gap { channel, gap },
        Say::Ack { id, position, duplicate } => {
            Out::Ack { id: id.as_deref(), position: *position, duplicate: *duplicate }
        }
        Say::Error(refusal) | Say::Farewell(refusal) => Out::Error { refusal },
    };
    serde_json::to_string(&out).ok().map(Frame::Text)
}

/// The error frame for a WebSocket that is refused before it has a channel.
#[must_use]
pub fn refused(refusal: &Refusal) -> String {
    serde_json::to_string(&Out::Error { refusal }).unwrap_or_default()
}

/// The frame of a message for connections of this format. Built once for all of them.
#[must_use]
pub fn message(channel: &ChannelName, format: Format, position: Position, message: &Message) -> Frame {
    match format {
        Format::Json | Format::Many => Frame::Text(json(channel, position, message)),
        Format::Raw => raw(&message.payload),
        Format::Stream | Format::RawStream => Frame::Text(crate::stream::message(format, position, message)),
        Format::ManyStream => Frame::Text(crate::stream::message_of_many(channel, position, message)),
        Format::Pusher => Frame::Text(words::message(channel, message)),
    }
}

pub(crate) fn json(channel: &ChannelName, position: Position, message: &Message) -> String {
    // By hand: the payload's text goes in as it is, and a channel's name needs no escaping.
    let mut out = String::with_capacity(message.payload.len() + 160);
    out.push_str(r#"{"type":"message","channel":""#);
    out.push_str(channel.as_str());
    out.push_str(r#"","position":""#);
    out.push_str(&position.to_string());
    out.push('"');
    push_contents(&mut out, message);
    out.push('}');
    out
}

/// Event and data, as members of an object that has some already.
pub(crate) fn push_contents(out: &mut String, message: &Message) {
    if let Some(event) = &message.event {
        out.push_str(r#","event":"#);
        out.push_str(&quoted(event));
    }
    out.push_str(r#","data":"#);
    match &message.payload {
        Payload::Json(text) => out.push_str(text),
        Payload::Text(text) => out.push_str(&quoted(text)),
        Payload::Binary(bytes) => {
            out.push('"');
            STANDARD.encode_string(bytes, out);
            out.push_str(r#"","encoding":"base64""#);
        }
    }
}

fn raw(payload: &Payload) -> Frame {
    match payload {
        Payload::Json(text) => Frame::Text(content(text)),
        Payload::Text(text) => Frame::Text(text.clone()),
        Payload::Binary(bytes) => Frame::Binary(bytes.clone()),
    }
}

/// A JSON string's content; other JSON as it is.
pub(crate) fn content(json: &str) -> String {
    if json.trim_start().starts_with('"') {
        return serde_json::from_str(json).unwrap_or_else(|_| json.to_owned());
    }
    json.to_owned()
}

/// The text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// Reads a client's text frame: the message that it wants to publish.
pub fn parse(text: &str) -> Result<Message, Refusal> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Publish<'a> {
        r#type: std::borrow::Cow<'a, str>,
        #[serde(default)]
        event: Option<String>,
        #[serde(borrow)]
        data: &'a RawValue,
        #[serde(default)]
        id: Option<String>,
    }
    let frame: Publish<'_> = object(text).map_err(|error| {
        Refusal::new(Code::InvalidJson, format!("a frame is {{\"type\":\"publish\",\"data\":…}}: {error}"))
    })?;
    if frame.r#type != "publish" {
        return Err(Refusal::new(Code::InvalidField, "type: publish is the only one"));
    }
    check_client_event(frame.event.as_deref())?;
    check_id(frame.id.as_deref())?;
    Ok(Message::new(frame.event, Payload::Json(frame.data.get().to_owned()), frame.id))
}

#[cfg(test)]
mod tests {
    use super::{Frame, Gap, GapReason, Say, message, parse, say};
    use crate::channel::ChannelName;
    use crate::message::{Message, Payload};
    use crate::position::Epoch;
    use crate::session::Format;

    fn text(frame: Option<Frame>) -> String {
        match frame {
            Some(Frame::Text(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn frames_are_as_documented() {
        let lobby = ChannelName::parse("lobby").unwrap();
        let at = |seq| Epoch::new(0x9f2c_41d0_7ab3).at(seq);
        let welcome = Say::Welcome { connection: "c".into(), position: at(42), resumed: None };
        assert_eq!(
            text(say(&lobby, Format::Json, &welcome)),
            r#"{"type":"welcome","connection":"c","channel":"lobby","position":"9f2c41d07ab3:42"}"#
        );
        let gap = Say::Gap(Gap { after: at(7), position: at(19), reason: GapReason::Expired });
        assert_eq!(
            text(say(&lobby, Format::Json, &gap)),
            r#"{"type":"gap","channel":"lobby","after":"9f2c41d07ab3:7","position":"9f2c41d07ab3:19","reason":"expired"}"#
        );
        let ack = Say::Ack { id: Some("7".into()), position: at(45), duplicate: true };
        assert_eq!(
            text(say(&lobby, Format::Json, &ack)),
            r#"{"type":"ack","id":"7","position":"9f2c41d07ab3:45","duplicate":true}"#
        );
        assert_eq!(say(&lobby, Format::Raw, &ack), None);
        let json = Message::new(Some("a\"b".into()), Payload::Json("{ \"x\" : 1e3 }".into()), None);
        assert_eq!(
            text(Some(message(&lobby, Format::Json, at(43), &json))),
            r#"{"type":"message","channel":"lobby","position":"9f2c41d07ab3:43","event":"a\"b","data":{ "x" : 1e3 }}"#
        );
        let bytes = Message::new(None, Payload::Binary(vec![0, 255]), None);
        assert_eq!(
            text(Some(message(&lobby, Format::Json, at(44), &bytes))),
            r#"{"type":"message","channel":"lobby","position":"9f2c41d07ab3:44","data":"AP8=","encoding":"base64"}"#
        );
        assert_eq!(message(&lobby, Format::Raw, at(44), &bytes), Frame::Binary(vec![0, 255]));
        let string = Message::new(None, Payload::Json("\"h\\u0069\"".into()), None);
        assert_eq!(message(&lobby, Format::Raw, at(44), &string), Frame::Text("hi".into()));
    }

    #[test]
    fn a_publish_is_read_and_everything_else_refused() {
        let read = parse(r#"{"type":"publish","event":"e","data":{"a": 1},"id":"7"}"#).unwrap();
        assert_eq!(read.payload, Payload::Json(r#"{"a": 1}"#.into()));
        assert_eq!(read.id.unwrap().id, "7");
        for text in [
            "",
            "ping2",
            "null",
            "[]",
            "1",
            "{}",
            r#"{"type":"publish"}"#,
            r#"{"type":"subscribe","data":1}"#,
            r#"{"type":"publish","data":1,"more":1}"#,
            r#"{"type":"publish","data":1,"id":7}"#,
            r#"{"type":"publish","data":1,"id":""}"#,
            r#"{"type":"publish","data":1,"event":"a\nb"}"#,
            r#"{"type":"publish","data":1,"event":"pusher:ping"}"#,
            r#"{"type":"publish","data":1,"event":"close"}"#,
            r#"["publish","e",1,"7"]"#,
            r#" ["publish",null,1,null]"#,
            r#"{"type":"publish","data":}"#,
            r#"{"type":"publish","data":1,"data":2}"#,
            r#"{"type":1,"data":1}"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
