//! What is answered to what cannot be done: one list of codes, with their HTTP statuses and close codes.

use crate::limits;
use crate::position::Position;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Why something was refused. The table of `docs/protocol.md`, "Refusals".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the wire codes, and docs/protocol.md says when each is used")]
pub enum Code {
    InvalidJson,
    InvalidField,
    InvalidChannel,
    InvalidPosition,
    EmptyBody,
    Unauthorized,
    Expired,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    IdConflict,
    PositionChanged,
    TooLarge,
    UnsupportedEncoding,
    UpgradeRequired,
    RateLimited,
    NotConfigured,
    Overloaded,
    Full,
    StorageFull,
    /// Also what a code from a newer version is taken for.
    #[serde(other)]
    Internal,
}

impl Code {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::InvalidField => "invalid_field",
            Self::InvalidChannel => "invalid_channel",
            Self::InvalidPosition => "invalid_position",
            Self::EmptyBody => "empty_body",
            Self::Unauthorized => "unauthorized",
            Self::Expired => "expired",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::IdConflict => "id_conflict",
            Self::PositionChanged => "position_changed",
            Self::TooLarge => "too_large",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::UpgradeRequired => "upgrade_required",
            Self::RateLimited => "rate_limited",
            Self::NotConfigured => "not_configured",
            Self::Overloaded => "overloaded",
            Self::Full => "full",
            Self::StorageFull => "storage_full",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidJson | Self::InvalidField | Self::InvalidChannel | Self::InvalidPosition | Self::EmptyBody => {
                400
            }
            Self::Unauthorized | Self::Expired => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::IdConflict => 409,
            Self::PositionChanged => 412,
            Self::TooLarge => 413,
            Self::UnsupportedEncoding => 415,
            Self::UpgradeRequired => 426,
            Self::RateLimited => 429,
            Self::Internal => 500,
            Self::NotConfigured | Self::Overloaded | Self::Full => 503,
            Self::StorageFull => 507,
        }
    }

    /// The close code: 4000 and the status, so that nobody has to learn a second list.
    #[must_use]
    pub const fn close_code(self) -> u16 {
        4000 + self.status()
    }
}

/// A frame over the limit (RFC 6455, 7.4.1).
pub const CLOSE_FRAME_TOO_LARGE: u16 = 1009;
/// A reader too slow to follow; it may come back with its position.
pub const CLOSE_TOO_SLOW: u16 = 4408;

/// The code to answer a peer's close with. 1005, 1006 and 1015 only ever describe a close and may not be sent
/// (RFC 6455, 7.4.1); the runtime throws on them and on everything outside 1000 … 4999.
#[must_use]
pub const fn close_reply(code: u16) -> u16 {
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => code,
        _ => 1000,
    }
}

/// One refusal: a code for programs, a sentence for people, and where it applies the channel's position.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// Why.
    pub code: Code,
    /// What to do about it; at most 300 characters.
    pub message: Cow<'static, str>,
    /// With `position_changed`: the channel's last position.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub position: Option<Position>,
    /// With `method_not_allowed`: the methods that are.
    #[serde(skip)]
    pub allow: Option<&'static str>,
    /// Its number in the `pusher` dialect, where `code` alone does not say it.
    #[serde(skip)]
    pub pusher: Option<u16>,
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.message)
    }
}

impl Refusal {
    /// A refusal; a message that quotes its input is cut to 300 characters.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        let message = if message.chars().count() > limits::REFUSAL_MESSAGE_MAX {
            Cow::Owned(message.chars().take(limits::REFUSAL_MESSAGE_MAX).collect())
        } else {
            message
        };
        Self { code, message, position: None, allow: None, pusher: None }
    }

    /// A refusal that has a number of its own in the `pusher` dialect.
    pub fn numbered(code: Code, number: u16, message: impl Into<Cow<'static, str>>) -> Self {
        Self { pusher: Some(number), ..Self::new(code, message) }
    }

    /// `{"error":{…}}`.
    #[must_use]
    pub fn body(&self) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a Refusal,
        }
        serde_json::to_string(&Body { error: self }).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, Refusal, close_reply};

    #[test]
    fn the_wire_name_is_the_serialised_one() {
        for code in [Code::InvalidJson, Code::PositionChanged, Code::UnsupportedEncoding, Code::Internal] {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{}\"", code.name()));
        }
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let refusal = Refusal::new(Code::InvalidJson, "ä".repeat(1000));
        assert_eq!(refusal.message.chars().count(), 300);
    }

    #[test]
    fn only_legal_close_codes_are_answered() {
        for (code, reply) in [
            (1000, 1000),
            (1001, 1001),
            (1005, 1000),
            (1006, 1000),
            (1015, 1000),
            (999, 1000),
            (4999, 4999),
            (5000, 1000),
            (1004, 1000),
        ] {
            assert_eq!(close_reply(code), reply);
        }
    }
}
