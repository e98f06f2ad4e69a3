//! What is remembered about a connection: it lives in the socket's attachment, so it survives sleep.

use crate::position::Epoch;
use crate::presence::MemberData;
use serde::{Deserialize, Serialize};

/// How a connection is spoken to. It is fixed when the socket is accepted, so it can be one of its tags.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub enum Format {
    /// WebSocket, JSON frames.
    #[serde(rename = "j")]
    Json,
    /// WebSocket, payloads only.
    #[serde(rename = "r")]
    Raw,
    /// Event stream, bridged by the Worker.
    #[serde(rename = "s")]
    Stream,
    /// Event stream of payloads only, bridged by the Worker.
    #[serde(rename = "t")]
    RawStream,
    /// WebSocket, JSON frames of many channels. Only in a Hub.
    #[serde(rename = "m")]
    Many,
    /// Event stream of many channels, bridged by the Worker. Only in a Hub.
    #[serde(rename = "n")]
    ManyStream,
    /// WebSocket, Pusher's protocol. Only in a Hub.
    #[serde(rename = "p")]
    Pusher,
}

impl Format {
    /// Every format of one channel.
    pub const OF_ONE: [Self; 4] = [Self::Json, Self::Raw, Self::Stream, Self::RawStream];

    /// Whether frames are of many channels.
    #[must_use]
    pub const fn is_many(self) -> bool {
        matches!(self, Self::Many | Self::ManyStream | Self::Pusher)
    }

    /// Whether it is an event stream.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Stream | Self::RawStream | Self::ManyStream)
    }

    /// Whether payloads come without anything around them.
    #[must_use]
    pub const fn is_raw(self) -> bool {
        matches!(self, Self::Raw | Self::RawStream)
    }
}

/// A connection. As JSON with short names: an attachment holds 16,384 bytes at most, this is about 150 and the channel's name; fields of a newer version are ignored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Session {
    /// The connection's id ([`crate::connection`]), given at accept.
    #[serde(rename = "c")]
    pub connection: String,
    /// How it is spoken to.
    #[serde(rename = "f")]
    pub format: Format,
    /// The token's user.
    #[serde(rename = "u", skip_serializing_if = "Option::is_none", default)]
    pub user: Option<String>,
    /// When its token expires, in milliseconds.
    #[serde(rename = "x", skip_serializing_if = "Option::is_none", default)]
    pub expires_at: Option<u64>,
    /// Whether it may publish.
    #[serde(rename = "p", default)]
    pub may_publish: bool,
    /// The channel's epoch when it connected: a channel that has never stored anything has its epoch only here.
    #[serde(rename = "e")]
    pub epoch: Epoch,
    /// While it is replayed to: the next `seq` it gets. Live messages wait until it has caught up.
    #[serde(rename = "b", skip_serializing_if = "Option::is_none", default)]
    pub behind: Option<u64>,
    /// What it shows the other members of a presence channel.
    #[serde(rename = "d", skip_serializing_if = "Option::is_none", default)]
    pub data: Option<MemberData>,
    /// The revision of the members that it has been told; of all connections the greatest is what they all have. `None`: it waits for the list.
    #[serde(rename = "t", skip_serializing_if = "Option::is_none", default)]
    pub told: Option<u64>,
}

impl Session {
    /// The attachment's text.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads an attachment; `None` if it is not one of ours.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{Format, Session};
    use crate::position::Epoch;

    #[test]
    fn an_attachment_stays_small_and_reads_back() {
        let session = Session {
            connection: "x".repeat(crate::limits::CONNECTION_ID_MAX),
            format: Format::Json,
            user: Some("u".repeat(128)),
            expires_at: Some(u64::MAX),
            may_publish: true,
            epoch: Epoch::new(u64::MAX),
            behind: Some(u64::MAX),
            data: None,
            told: Some(u64::MAX),
        };
        let text = session.encode();
        assert!(text.len() < 600, "{}", text.len());
        assert_eq!(Session::decode(&text), Some(session));
        assert_eq!(Session::decode("{}"), None);
        assert!(Session::decode(r#"{"c":"a","f":"j","e":1,"later":{}}"#).is_some());
    }
}
