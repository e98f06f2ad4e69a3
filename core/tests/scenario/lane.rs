//! The order of what comes over a connection of many channels: only what is of the same lane has one.

use crate::scenario::objects::Item;
use crate::scenario::values::Payload;
use serde::Deserialize;

/// What an order holds within.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Lane {
    /// What is about no channel, the close included.
    Connection,
    /// What comes of a channel: its messages, and since and until when they come.
    Channel(String),
    /// Answers about a channel: an `ack`, an `error`, a page of history. They may overtake messages, and be overtaken.
    Answers(String),
}

#[derive(Deserialize)]
struct Words<'a> {
    #[serde(default)]
    r#type: Option<&'a str>,
    #[serde(default)]
    channel: Option<&'a str>,
}

impl Lane {
    pub(crate) fn of(item: &Item) -> Self {
        match item {
            Item::Frame(Payload::Text(text)) | Item::Event(text) => Self::of_text(text),
            Item::Frame(Payload::Bytes(_)) | Item::Closed(_) => Self::Connection,
        }
    }

    /// A frame, or an event whose lines are joined by ` / `; as it came, or as the transcript has it.
    pub(crate) fn of_text(text: &str) -> Self {
        let json = match text.split_once("data: ") {
            Some((head, data)) if !head.contains('{') => data.replace(" / data: ", "\n"),
            _ => text.to_owned(),
        };
        match serde_json::from_str::<Words<'_>>(&json) {
            Ok(Words { r#type: Some("ack" | "error" | "history"), channel: Some(channel) }) => {
                Self::Answers(channel.to_owned())
            }
            Ok(Words { channel: Some(channel), .. }) => Self::Channel(channel.to_owned()),
            _ => Self::Connection,
        }
    }
}
