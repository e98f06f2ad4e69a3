//! What a client of one channel says: the same in its Room and in a Hub.

use crate::config::Rule;
use crate::frame::{self, Frame};
use crate::limits;
use crate::message::{Message, Payload, check_size};
use crate::refusal::{Code, Refusal};
use crate::session::Format;

/// Why a frame is not published.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It is longer than any that would be: not looked at.
    TooLong,
    /// It is not what may be said.
    Refused(Refusal),
}

/// Reads a frame as the message that its client publishes.
pub(crate) fn read(format: Format, rule: &Rule, may_publish: bool, frame: Frame) -> Result<Message, Fault> {
    let envelope = if format.is_raw() { 0 } else { limits::FRAME_ENVELOPE_BYTES };
    if frame.size() > rule.message_bytes + envelope {
        return Err(Fault::TooLong);
    }
    let message = match frame {
        Frame::Text(text) if format.is_raw() => Message::new(None, Payload::Text(text), None),
        Frame::Binary(bytes) if format.is_raw() => Message::new(None, Payload::Binary(bytes), None),
        Frame::Text(text) => frame::parse(&text).map_err(Fault::Refused)?,
        Frame::Binary(_) => return Err(Fault::Refused(no_binary())),
    };
    check_publish(rule, may_publish, &message).map_err(Fault::Refused)?;
    Ok(message)
}

/// Whether a client may publish this.
pub(crate) fn check_publish(rule: &Rule, may_publish: bool, message: &Message) -> Result<(), Refusal> {
    if !may_publish {
        return Err(Refusal::new(
            Code::Forbidden,
            "this connection may not publish: neither the channel's rule nor its token allows it",
        ));
    }
    check_size(&message.payload, rule.message_bytes)
}

/// What who sends bytes where text is spoken is told.
pub(crate) fn no_binary() -> Refusal {
    Refusal::new(Code::InvalidJson, "binary frames are for raw sockets: connect with raw=1")
}

/// What who sends a frame that is too long is told.
pub(crate) fn too_large(most: usize) -> Refusal {
    Refusal::new(Code::TooLarge, format!("a message has at most {most} bytes"))
}

/// What who speaks too often is told, once for all frames in a row that come too soon.
pub(crate) fn too_often(most: u32) -> Refusal {
    Refusal::new(Code::RateLimited, format!("{most} frames per second; what is more is not looked at"))
}

/// What who publishes too often is told, where the frame had to be read to know it.
pub(crate) fn published_too_often(most: u32) -> Refusal {
    Refusal::new(Code::RateLimited, format!("{most} publishes per second; this one is not published"))
}
