//! The `pusher` dialect: Pusher Channels, protocols 5 to 7. What its clients say and are told, how its signatures are made, and what its HTTP API takes and answers.
//!
//! The wire strings of its sockets stand in [`words`] only.

pub mod ask;
pub mod auth;
pub mod words;

use crate::message::Payload;
use std::borrow::Cow;

/// A message's data as Pusher has it: a string. What was published as JSON is its text, whatever route it came by.
#[must_use]
pub fn data(payload: &Payload) -> Cow<'_, str> {
    use base64::Engine;
    match payload {
        Payload::Json(text) | Payload::Text(text) => Cow::Borrowed(text),
        Payload::Binary(bytes) => Cow::Owned(base64::engine::general_purpose::STANDARD.encode(bytes)),
    }
}

/// The payload of data that is a string: JSON where it is that, so that clients of the other dialect get what was meant.
#[must_use]
pub fn payload(data: String) -> Payload {
    if serde_json::from_str::<serde::de::IgnoredAny>(&data).is_ok() { Payload::Json(data) } else { Payload::Text(data) }
}

#[cfg(test)]
mod tests {
    use super::{data, payload};
    use crate::message::Payload;

    #[test]
    fn data_is_the_text_that_was_published() {
        for text in [r#"{"some": "data"}"#, "hello", "\"hello\"", "12", "", "ä\u{2028}", "{"] {
            assert_eq!(data(&payload(text.to_owned())), text);
        }
        assert_eq!(payload("{ }".into()), Payload::Json("{ }".into()));
        assert_eq!(payload("{".into()), Payload::Text("{".into()));
        assert_eq!(data(&Payload::Binary(vec![0, 255])), "AP8=");
    }
}
