//! Server-sent events (WHATWG HTML, 9.2): the same frames as text of an event stream.

use crate::channel::ChannelName;
use crate::frame::{Frame, Say, content, quoted};
use crate::message::{Message, Payload};
use crate::position::Position;
use crate::refusal::Refusal;
use crate::session::Format;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// The event under which bytes come, in base64.
const BINARY: &str = "binary";
/// The names of everything that a stream says by itself, and of bytes: what a client publishes may have none of them.
pub(crate) const OWN_EVENTS: [&str; 7] = ["welcome", "subscribed", "gap", "close", "members", "presence", BINARY];
/// A comment, to keep intermediaries from closing a silent stream.
pub const COMMENT: &str = ":\n\n";

/// What is said to one stream; `None` where the format has no words for it.
pub(crate) fn say(channel: &ChannelName, format: Format, say: &Say) -> Option<String> {
    let raw = format.is_raw();
    match say {
        Say::Farewell(refusal) => Some(farewell(refusal)),
        // Its place in all of them is put before it, as with a message.
        Say::Gap(_) if format.is_many() => match crate::frame::say(channel, Format::Json, say) {
            Some(Frame::Text(text)) => Some(named("gap", &text)),
            Some(Frame::Binary(_)) | None => None,
        },
        Say::Gap(gap) => Some(event(Some(gap.position), Some("gap"), &serde_json::to_string(gap).unwrap_or_default())),
        _ if raw => None,
        Say::Welcome { connection, position, resumed } => {
            let data = match resumed {
                None => json!({"connection": connection, "channel": channel.as_str()}),
                Some(resumed) => json!({"connection": connection, "channel": channel.as_str(), "resumed": resumed}),
            };
            Some(event(Some(*position), Some("welcome"), &data.to_string()))
        }
        Say::Ack { .. } | Say::Error(_) => None,
    }
}

/// The last words of a stream.
pub(crate) fn farewell(refusal: &Refusal) -> String {
    let data = json!({"code": refusal.code.close_code(), "message": refusal.message});
    event(None, Some("close"), &data.to_string())
}

/// An event that has no place.
pub(crate) fn named(name: &str, data: &str) -> String {
    event(None, Some(name), data)
}

/// A message as an event.
pub(crate) fn message(format: Format, position: Position, message: &Message) -> String {
    let name = message.event.as_deref();
    let data = match (&message.payload, format.is_raw()) {
        (Payload::Binary(bytes), _) => return event(Some(position), Some(BINARY), &STANDARD.encode(bytes)),
        (Payload::Json(text), false) | (Payload::Text(text), true) => text,
        (Payload::Json(text), true) => &content(text),
        (Payload::Text(text), false) => &quoted(text),
    };
    event(Some(position), name, data)
}

/// A message of one of many channels: its frame as the event's data. The id, which says where the stream is in all of them, is put before it.
pub(crate) fn message_of_many(channel: &ChannelName, position: Position, message: &Message) -> String {
    event(None, message.event.as_deref(), &crate::frame::json(channel, position, message))
}

/// One event. A line break inside data begins another `data:` line; the browser puts them together again.
fn event(id: Option<Position>, name: Option<&str>, data: &str) -> String {
    let mut out = String::with_capacity(data.len() + 64);
    if let Some(id) = id {
        out.push_str("id: ");
        out.push_str(&id.to_string());
        out.push('\n');
    }
    if let Some(name) = name {
        out.push_str("event: ");
        out.push_str(name);
        out.push('\n');
    }
    // CR, LF and CRLF all end a line there.
    for line in data.replace("\r\n", "\n").split(['\n', '\r']) {
        out.push_str("data: ");
        out.push_str(line);
        out.push('\n');
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::message;
    use crate::message::{Message, Payload};
    use crate::position::Epoch;
    use crate::session::Format;

    #[test]
    fn nothing_in_a_payload_can_begin_a_field_of_its_own() {
        let text = |payload| message(Format::RawStream, Epoch::new(1).at(2), &Message::new(None, payload, None));
        assert_eq!(
            text(Payload::Text("a\nid: 9\r\nevent: x\rdata: y".into())),
            "id: 000000000001:2\ndata: a\ndata: id: 9\ndata: event: x\ndata: data: y\n\n"
        );
        assert_eq!(text(Payload::Text(String::new())), "id: 000000000001:2\ndata: \n\n");
    }

    #[test]
    fn messages_are_as_documented() {
        let text = |event: Option<&str>, payload| {
            message(Format::Stream, Epoch::new(1).at(2), &Message::new(event.map(str::to_owned), payload, None))
        };
        assert_eq!(
            text(Some("greeting"), Payload::Json("{\n\"a\":1}".into())),
            "id: 000000000001:2\nevent: greeting\ndata: {\ndata: \"a\":1}\n\n"
        );
        assert_eq!(text(None, Payload::Text("a\nb".into())), "id: 000000000001:2\ndata: \"a\\nb\"\n\n");
        assert_eq!(text(Some("x"), Payload::Binary(vec![0, 255])), "id: 000000000001:2\nevent: binary\ndata: AP8=\n\n");
    }
}
