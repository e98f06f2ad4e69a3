//! The `plain` dialect on connections of many channels: what a client asks, and what it is told beside gaps and messages. Its wire strings stand here only.

use super::Frame;
use crate::call::Begin;
use crate::channel::ChannelName;
use crate::json::object;
use crate::message::{Message, Payload, check_client_event, check_id};
use crate::position::Position;
use crate::presence::MemberData;
use crate::refusal::{Code, Refusal};
use crate::session::Format;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// A channel.
    Subscribe {
        /// Which.
        channel: ChannelName,
        /// Where it begins; `None`: with what comes.
        from: Option<Begin>,
        /// A token for this channel, where that of the connection does not grant it.
        token: Option<String>,
        /// What its user shows the other members of a presence channel.
        data: Option<MemberData>,
    },
    /// A channel no longer.
    Unsubscribe(ChannelName),
    /// Publishing.
    Publish {
        /// Into this channel.
        channel: ChannelName,
        /// This message.
        message: Message,
    },
    /// Older messages of a channel that it has.
    History {
        /// Which.
        channel: ChannelName,
        /// From where on.
        from: Begin,
    },
}

/// What one connection is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tell<'a> {
    /// It is in.
    Welcome {
        /// Its id.
        connection: &'a str,
    },
    /// It gets a channel from now on.
    Subscribed {
        /// Which.
        channel: &'a ChannelName,
        /// The point after which the next frames go on.
        position: Position,
        /// Whether everything since the position that it presented follows; `None` if it presented none.
        resumed: Option<bool>,
    },
    /// It gets a channel no longer.
    Unsubscribed {
        /// Which.
        channel: &'a ChannelName,
        /// Why, where it did not ask for it.
        refusal: Option<&'a Refusal>,
    },
    /// Its publish is stored.
    Ack {
        /// Where.
        channel: &'a ChannelName,
        /// The id that it gave.
        id: Option<&'a str>,
        /// The message's place.
        position: Position,
        /// Whether that id had been published before.
        duplicate: bool,
    },
    /// Something that it asked for cannot be done; nothing else changes.
    Error {
        /// The channel that it is about.
        channel: Option<&'a ChannelName>,
        /// The id of the message that it is about.
        id: Option<&'a str>,
        /// What is wrong.
        refusal: &'a Refusal,
    },
    /// Older messages.
    History {
        /// Of which channel.
        channel: &'a ChannelName,
        /// The position of the last of them, or where it would have been: where to go on.
        position: Position,
        /// Frames of the messages, as they would have come.
        messages: &'a [Frame],
    },
    /// The last words before a close.
    Farewell(&'a Refusal),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Out<'a> {
    Welcome {
        connection: &'a str,
    },
    Subscribed {
        channel: &'a str,
        position: Position,
        #[serde(skip_serializing_if = "Option::is_none")]
        resumed: Option<bool>,
    },
    Unsubscribed {
        channel: &'a str,
        #[serde(flatten)]
        refusal: Option<&'a Refusal>,
    },
    Ack {
        channel: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        position: Position,
        #[serde(skip_serializing_if = "core::ops::Not::not")]
        duplicate: bool,
    },
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        channel: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a str>,
        #[serde(flatten)]
        refusal: &'a Refusal,
    },
}

/// The frame for a connection of this format.
#[must_use]
pub fn tell(format: Format, tell: &Tell<'_>) -> Frame {
    let (name, text) = match tell {
        Tell::Welcome { connection } => ("welcome", json(&Out::Welcome { connection })),
        Tell::Subscribed { channel, position, resumed } => {
            let out = Out::Subscribed { channel: channel.as_str(), position: *position, resumed: *resumed };
            ("subscribed", json(&out))
        }
        Tell::Unsubscribed { channel, refusal } => {
            ("unsubscribed", json(&Out::Unsubscribed { channel: channel.as_str(), refusal: *refusal }))
        }
        Tell::Ack { channel, id, position, duplicate } => {
            let out = Out::Ack { channel: channel.as_str(), id: *id, position: *position, duplicate: *duplicate };
            ("ack", json(&out))
        }
        Tell::Error { channel, id, refusal } => {
            let channel = channel.map(ChannelName::as_str);
            ("error", json(&Out::Error { channel, id: *id, refusal }))
        }
        Tell::History { channel, position, messages } => ("history", history(channel, *position, messages)),
        Tell::Farewell(refusal) if format.is_stream() => return Frame::Text(crate::stream::farewell(refusal)),
        Tell::Farewell(refusal) => ("error", json(&Out::Error { channel: None, id: None, refusal })),
    };
    if format.is_stream() {
        return Frame::Text(crate::stream::named(name, &text));
    }
    Frame::Text(text)
}

fn json(out: &Out<'_>) -> String {
    serde_json::to_string(out).unwrap_or_default()
}

fn history(channel: &ChannelName, position: Position, messages: &[Frame]) -> String {
    let messages: Vec<&str> = messages
        .iter()
        .filter_map(|frame| match frame {
            Frame::Text(text) => Some(text.as_str()),
            Frame::Binary(_) => None,
        })
        .collect();
    let messages = messages.join(",");
    format!(r#"{{"type":"history","channel":"{channel}","position":"{position}","messages":[{messages}]}}"#)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct In<'a> {
    r#type: std::borrow::Cow<'a, str>,
    channel: std::borrow::Cow<'a, str>,
    #[serde(default)]
    position: Option<Position>,
    #[serde(default)]
    last: Option<u64>,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    event: Option<String>,
    #[serde(borrow, default, deserialize_with = "crate::message::present")]
    data: Option<&'a RawValue>,
    #[serde(default)]
    id: Option<String>,
}

/// Reads a client's text frame.
pub fn parse(text: &str) -> Result<Ask, Refusal> {
    let frame: In<'_> = object(text).map_err(|error| {
        Refusal::new(Code::InvalidJson, format!("a frame is {{\"type\":…,\"channel\":…}}: {error}"))
    })?;
    let channel = ChannelName::parse(&frame.channel)?;
    let from = match (frame.position, frame.last) {
        (None, None) => None,
        (Some(position), None) => Some(Begin::After(position)),
        (None, Some(last)) if last <= crate::limits::LAST_MAX => Some(Begin::Last(last)),
        (None, Some(_)) => {
            return Err(Refusal::new(Code::InvalidField, format!("last: 0 to {}", crate::limits::LAST_MAX)));
        }
        (Some(_), Some(_)) => return Err(Refusal::new(Code::InvalidField, "position or last, not both")),
    };
    let is_publish = frame.event.is_some() || frame.id.is_some();
    let is_read = from.is_some() || frame.token.is_some();
    match (&*frame.r#type, frame.data) {
        ("subscribe", data) if !is_publish && (data.is_none() || channel.has_members()) => {
            let data = data.map(|data| MemberData::parse(data.get())).transpose()?;
            Ok(Ask::Subscribe { channel, from, token: frame.token, data })
        }
        ("subscribe", Some(_)) => {
            Err(Refusal::new(Code::InvalidField, "data: with a publish, or a subscribe to a presence channel"))
        }
        ("unsubscribe", None) if !is_publish && !is_read => Ok(Ask::Unsubscribe(channel)),
        ("history", None) if !is_publish && frame.token.is_none() => {
            Ok(Ask::History { channel, from: from.unwrap_or(Begin::Last(crate::limits::PAGE_MESSAGES_DEFAULT)) })
        }
        ("publish", Some(data)) if !is_read => {
            check_client_event(frame.event.as_deref())?;
            check_id(frame.id.as_deref())?;
            let message = Message::new(frame.event, Payload::Json(data.get().to_owned()), frame.id);
            Ok(Ask::Publish { channel, message })
        }
        ("subscribe" | "unsubscribe" | "history" | "publish", _) => Err(Refusal::new(
            Code::InvalidField,
            "subscribe: position or last, token, data; publish: data, event, id; history: position or last",
        )),
        _ => Err(Refusal::new(Code::InvalidField, "type: subscribe, unsubscribe, publish or history")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Ask, Tell, parse, tell};
    use crate::call::Begin;
    use crate::channel::ChannelName;
    use crate::frame::Frame;
    use crate::position::Epoch;
    use crate::refusal::{Code, Refusal};
    use crate::session::Format;

    #[test]
    fn asks_are_read_and_everything_else_is_refused() {
        let a = ChannelName::parse("a").unwrap();
        let at = Epoch::new(0x9f2c_41d0_7ab3).at(42);
        let subscribe = |from, token| Ask::Subscribe { channel: a.clone(), from, token, data: None };
        for (text, ask) in [
            (r#"{"type":"subscribe","channel":"a"}"#, subscribe(None, None)),
            (
                r#"{"type":"subscribe","channel":"a","position":"9f2c41d07ab3:42","token":"t"}"#,
                subscribe(Some(Begin::After(at)), Some("t".into())),
            ),
            (r#"{"type":"subscribe","channel":"a","last":5}"#, subscribe(Some(Begin::Last(5)), None)),
            (r#"{"type":"unsubscribe","channel":"a"}"#, Ask::Unsubscribe(a.clone())),
            (r#"{"type":"history","channel":"a","last":2}"#, Ask::History { channel: a.clone(), from: Begin::Last(2) }),
        ] {
            assert_eq!(parse(text).unwrap(), ask, "{text}");
        }
        let publish = parse(r#"{"type":"publish","channel":"a","data":null,"id":"7"}"#).unwrap();
        assert!(matches!(publish, Ask::Publish { message, .. } if message.id.is_some()));
        for text in [
            "",
            "[]",
            "{}",
            r#"{"type":"subscribe"}"#,
            r#"{"type":"subscribe","channel":"a b"}"#,
            r#"{"type":"subscribe","channel":"a","position":"x"}"#,
            r#"{"type":"subscribe","channel":"a","position":"9f2c41d07ab3:42","last":1}"#,
            r#"{"type":"subscribe","channel":"a","last":-1}"#,
            r#"{"type":"subscribe","channel":"a","last":1001}"#,
            r#"{"type":"subscribe","channel":"a","data":1}"#,
            r#"{"type":"subscribe","channel":"a","more":1}"#,
            r#"{"type":"unsubscribe","channel":"a","last":1}"#,
            r#"{"type":"publish","channel":"a"}"#,
            r#"{"type":"publish","channel":"a","data":1,"last":1}"#,
            r#"{"type":"publish","channel":"a","data":1,"event":"a\nb"}"#,
            r#"{"type":"publish","channel":"a","data":1,"event":"pusher_internal:member_removed"}"#,
            r#"{"type":"publish","channel":"a","data":1,"event":"close"}"#,
            r#"["subscribe","a",null,null,null,null,null,null]"#,
            r#"["publish","a",null,null,null,null,1,null]"#,
            r#"{"type":"other","channel":"a"}"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_told_is_as_documented() {
        let a = ChannelName::parse("a").unwrap();
        let at = Epoch::new(0x9f2c_41d0_7ab3).at(42);
        let refusal = Refusal::new(Code::Forbidden, "no");
        let text = |format, what: &Tell<'_>| match tell(format, what) {
            Frame::Text(text) => text,
            Frame::Binary(bytes) => panic!("{bytes:?}"),
        };
        for (what, expected) in [
            (Tell::Welcome { connection: "c" }, r#"{"type":"welcome","connection":"c"}"#),
            (
                Tell::Subscribed { channel: &a, position: at, resumed: Some(true) },
                r#"{"type":"subscribed","channel":"a","position":"9f2c41d07ab3:42","resumed":true}"#,
            ),
            (Tell::Unsubscribed { channel: &a, refusal: None }, r#"{"type":"unsubscribed","channel":"a"}"#),
            (
                Tell::Ack { channel: &a, id: Some("7"), position: at, duplicate: false },
                r#"{"type":"ack","channel":"a","id":"7","position":"9f2c41d07ab3:42"}"#,
            ),
            (
                Tell::Error { channel: Some(&a), id: None, refusal: &refusal },
                r#"{"type":"error","channel":"a","code":"forbidden","message":"no"}"#,
            ),
            (
                Tell::History { channel: &a, position: at, messages: &[Frame::Text("{}".into())] },
                r#"{"type":"history","channel":"a","position":"9f2c41d07ab3:42","messages":[{}]}"#,
            ),
        ] {
            assert_eq!(text(Format::Many, &what), expected);
            let kind = expected.split('"').nth(3).unwrap();
            assert_eq!(text(Format::ManyStream, &what), format!("event: {kind}\ndata: {expected}\n\n"));
        }
    }
}
