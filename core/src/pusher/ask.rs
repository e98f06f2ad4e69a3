//! What clients of the `pusher` dialect say.

use crate::channel::ChannelName;
use crate::json::object;
use crate::message::{Payload, check_event, present};
use crate::refusal::{Code, Refusal};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Whether anybody is there.
    Ping,
    /// It is there.
    Pong,
    /// A channel.
    Subscribe {
        /// Which.
        channel: ChannelName,
        /// `key:signature`; empty where none is needed.
        auth: String,
        /// Who it is in a presence channel: signed, and read by whoever has checked that.
        channel_data: Option<String>,
    },
    /// A channel no longer.
    Unsubscribe(ChannelName),
    /// To be that user.
    SignIn {
        /// `key:signature`.
        auth: String,
        /// Who it is: signed, and read by whoever has checked that.
        user_data: String,
    },
    /// An event for the others in a channel.
    Publish {
        /// Which.
        channel: ChannelName,
        /// Its name: `client-…`.
        event: String,
        /// Its data.
        payload: Payload,
    },
}

#[derive(Deserialize)]
struct In<'a> {
    event: Cow<'a, str>,
    #[serde(default)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
}

/// The data of every command; what a command does not know is ignored, because clients of many languages and years send more.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    channel: String,
    auth: Option<String>,
    channel_data: Option<String>,
    user_data: String,
}

/// Reads a client's text frame. Refused with `invalid_json`, `invalid_field` and `invalid_channel`.
pub fn parse(text: &str) -> Result<Ask, Refusal> {
    let frame: In<'_> = object(text).map_err(|error| {
        Refusal::new(Code::InvalidJson, format!("a message is {{\"event\":…,\"data\":…}}: {error}"))
    })?;
    let data = || data(frame.data);
    match frame.event.as_ref() {
        "pusher:ping" => Ok(Ask::Ping),
        "pusher:pong" => Ok(Ask::Pong),
        "pusher:subscribe" => {
            let Told { channel, auth, channel_data, .. } = data()?;
            // An SDK that has none sends it empty.
            let channel_data = channel_data.filter(|data| !data.is_empty());
            Ok(Ask::Subscribe { channel: ChannelName::parse(&channel)?, auth: auth.unwrap_or_default(), channel_data })
        }
        "pusher:unsubscribe" => Ok(Ask::Unsubscribe(ChannelName::parse(&data()?.channel)?)),
        "pusher:signin" => {
            let Told { auth, user_data, .. } = data()?;
            Ok(Ask::SignIn { auth: auth.unwrap_or_default(), user_data })
        }
        event if event.starts_with("client-") => {
            check_event(Some(event))?;
            let channel = frame.channel.as_deref().unwrap_or_default();
            Ok(Ask::Publish {
                channel: ChannelName::parse(channel)?,
                event: event.to_owned(),
                payload: payload(frame.data)?,
            })
        }
        event => Err(Refusal::new(Code::InvalidField, format!("Unsupported event received on socket: '{event}'"))),
    }
}

/// As an object, or as an object's text: some SDKs encode it twice, as what comes the other way is.
fn data(raw: Option<&RawValue>) -> Result<Told, Refusal> {
    let raw = raw.map_or("{}", RawValue::get);
    let text: Cow<'_, str> = if raw.starts_with('"') {
        Cow::Owned(serde_json::from_str(raw).unwrap_or_default())
    } else {
        Cow::Borrowed(raw)
    };
    object(&text).map_err(|error| Refusal::new(Code::InvalidField, format!("data: {error}")))
}

/// A string's content, other JSON as its text: in the end every event's data is a string.
fn payload(raw: Option<&RawValue>) -> Result<Payload, Refusal> {
    let raw = raw.map_or("null", RawValue::get);
    if !raw.starts_with('"') {
        return Ok(Payload::Json(raw.to_owned()));
    }
    let content =
        serde_json::from_str(raw).map_err(|error| Refusal::new(Code::InvalidField, format!("data: {error}")))?;
    Ok(super::payload(content))
}

#[cfg(test)]
mod tests {
    use super::{Ask, parse};
    use crate::channel::ChannelName;
    use crate::message::Payload;
    use crate::refusal::Code;

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name).unwrap()
    }

    fn subscribe(name: &str, auth: &str, channel_data: Option<&str>) -> Ask {
        Ask::Subscribe { channel: channel(name), auth: auth.into(), channel_data: channel_data.map(str::to_owned) }
    }

    #[test]
    fn what_sdks_send_is_read() {
        for (text, ask) in [
            (r#"{"event":"pusher:ping","data":{}}"#, Ask::Ping),
            (r#"{"event": "pusher:ping"}"#, Ask::Ping),
            (r#"{"event":"pusher:ping","data":""}"#, Ask::Ping),
            (r#"{"event":"pusher:pong","data":{}}"#, Ask::Pong),
            (r#"{"event":"pusher:subscribe","data":{"auth":"","channel":"a"}}"#, subscribe("a", "", None)),
            (
                r#"{"data":{"channel":"a","auth":null,"channel_data":null},"event":"pusher:subscribe"}"#,
                subscribe("a", "", None),
            ),
            (
                r#"{"event":"pusher:subscribe","data":{"auth":"k:s","channel_data":"{\"user_id\":1}","channel":"presence-a"}}"#,
                subscribe("presence-a", "k:s", Some(r#"{"user_id":1}"#)),
            ),
            (
                r#"{"event":"pusher:subscribe","data":"{\"channel\":\"a\",\"channel_data\":\"\"}"}"#,
                subscribe("a", "", None),
            ),
            (r#"{"event":"pusher:unsubscribe","data":{"channel":"a"}}"#, Ask::Unsubscribe(channel("a"))),
            (
                r#"{"event":"pusher:signin","data":{"auth":"k:s","user_data":"{}"}}"#,
                Ask::SignIn { auth: "k:s".into(), user_data: "{}".into() },
            ),
        ] {
            assert_eq!(parse(text).unwrap(), ask, "{text}");
        }
    }

    #[test]
    fn an_events_data_is_what_it_says_and_not_how_it_is_written() {
        let payload = |data: &str| match parse(&format!(r#"{{"event":"client-x","channel":"private-a"{data}}}"#)) {
            Ok(Ask::Publish { payload, .. }) => payload,
            other => panic!("{other:?}"),
        };
        assert_eq!(payload(r#","data":{ "a" : 1 }"#), Payload::Json(r#"{ "a" : 1 }"#.into()));
        assert_eq!(payload(r#","data":"{\"a\":1}""#), Payload::Json(r#"{"a":1}"#.into()));
        assert_eq!(payload(r#","data":"hi""#), Payload::Text("hi".into()));
        assert_eq!(payload(r#","data":null"#), Payload::Json("null".into()));
        assert_eq!(payload(""), Payload::Json("null".into()));
    }

    #[test]
    fn everything_else_is_refused() {
        let long = format!("client-{}", "x".repeat(200));
        for (text, code) in [
            ("", Code::InvalidJson),
            ("null", Code::InvalidJson),
            ("{}", Code::InvalidJson),
            (r#"["pusher:ping"]"#, Code::InvalidJson),
            (r#"["client-x","private-a",{}]"#, Code::InvalidJson),
            (r#"{"event":"pusher:subscribe","data":["a"]}"#, Code::InvalidField),
            (r#"{"event":1}"#, Code::InvalidJson),
            (r#"{"event":"pusher:subscribe"}"#, Code::InvalidChannel),
            (r#"{"event":"pusher:subscribe","data":{"channel":7}}"#, Code::InvalidField),
            (r#"{"event":"pusher:subscribe","data":{"channel":"a b"}}"#, Code::InvalidChannel),
            (r#"{"event":"pusher:subscribe","data":[1]}"#, Code::InvalidField),
            (r#"{"event":"pusher:subscribe","data":"x"}"#, Code::InvalidField),
            (r##"{"event":"pusher:subscribe","data":{"channel":"#x"}}"##, Code::InvalidChannel),
            (r#"{"event":"pusher:unsubscribe","data":{}}"#, Code::InvalidChannel),
            (r#"{"event":"pusher:signin","data":{"user_data":{}}}"#, Code::InvalidField),
            (r#"{"event":"client-x","data":1}"#, Code::InvalidChannel),
            (r#"{"event":"client-\n","channel":"private-a"}"#, Code::InvalidField),
            (&format!(r#"{{"event":"{long}","channel":"private-a"}}"#), Code::InvalidField),
            (r#"{"event":"pusher:error","data":{}}"#, Code::InvalidField),
            (r#"{"event":"pusher_internal:member_added","channel":"presence-a","data":{}}"#, Code::InvalidField),
            (r#"{"event":"x","channel":"private-a"}"#, Code::InvalidField),
        ] {
            assert_eq!(parse(text).map_err(|refusal| refusal.code), Err(code), "{text}");
        }
    }
}
