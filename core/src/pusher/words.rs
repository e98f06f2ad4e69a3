//! What is said on sockets of the `pusher` dialect. Its wire strings stand here only.
//!
//! Sources: Pusher's "Channels protocol" (protocol 7), and what pusher-js 8.6 reads and writes.

use super::data;
use crate::channel::ChannelName;
use crate::frame::quoted;
use crate::message::Message;

/// What pusher-js sends to see whether anybody is there: the runtime answers exactly this by itself.
pub const PING: &str = r#"{"event":"pusher:ping","data":{}}"#;
/// Its answer.
pub const PONG: &str = r#"{"event":"pusher:pong","data":{}}"#;
/// Close code for a connection whose tab has another one: its client does not come back.
pub const CLOSE_TAKEN_OVER: u16 = 4009;
/// Close code for a connection of which something cannot be had for now: its client comes back after a second.
pub const CLOSE_COME_BACK: u16 = 4100;
/// The name of an event that was published without one.
const NAMELESS: &str = "message";

/// The frame of a message. `user_id` is told in presence channels, and where a client published it.
#[must_use]
pub fn message(channel: &ChannelName, message: &Message) -> String {
    let data = data(&message.payload);
    let mut out = String::with_capacity(data.len() + data.len() / 8 + 160);
    out.push_str(r#"{"event":"#);
    out.push_str(&quoted(message.event.as_deref().unwrap_or(NAMELESS)));
    // A channel's name needs no escaping.
    out.push_str(r#","channel":""#);
    out.push_str(channel.as_str());
    out.push_str(r#"","data":"#);
    out.push_str(&quoted(&data));
    if let Some(user) = message.user.as_deref().filter(|_| channel.has_members()) {
        out.push_str(r#","user_id":"#);
        out.push_str(&quoted(user));
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::message;
    use crate::channel::ChannelName;
    use crate::message::{Message, Payload};

    #[test]
    fn the_frame_of_a_message() {
        let channel = |name: &str| ChannelName::parse(name).unwrap();
        let mut new = Message::new(Some("e\"".into()), Payload::Json(r#"{"a":"b"}"#.into()), None);
        assert_eq!(message(&channel("a"), &new), r#"{"event":"e\"","channel":"a","data":"{\"a\":\"b\"}"}"#);
        new.user = Some("7".into());
        assert_eq!(message(&channel("a"), &new), r#"{"event":"e\"","channel":"a","data":"{\"a\":\"b\"}"}"#);
        assert_eq!(
            message(&channel("presence-a"), &new),
            r#"{"event":"e\"","channel":"presence-a","data":"{\"a\":\"b\"}","user_id":"7"}"#
        );
        let bare = Message::new(None, Payload::Text("hi".into()), None);
        assert_eq!(message(&channel("a"), &bare), r#"{"event":"message","channel":"a","data":"hi"}"#);
    }
}
