//! A page of a channel's history, for origin servers.

use super::{Room, Turn, refusal_of};
use crate::channel::ChannelName;
use crate::frame::{Gap, push_contents, quoted};
use crate::limits;
use crate::message::Message;
use crate::position::Position;
use crate::refusal::Refusal;
use crate::store::Store;
use serde::{Deserialize, Serialize};

/// Which page is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PageQuery {
    /// The messages after this position; `None`: from the oldest on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Position>,
    /// At most so many; 1 … [`limits::PAGE_MESSAGES_MAX`].
    pub limit: u64,
}

/// Messages, oldest first.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// Each with its place and the time it was stored, in milliseconds.
    pub messages: Vec<(Position, u64, Message)>,
    /// Where the next page goes on.
    pub position: Position,
    /// Whether there is a next page now.
    pub more: bool,
    /// What was asked for and cannot be had.
    pub gap: Option<Gap>,
}

impl Room {
    /// Reads a page. Writes nothing, and creates nothing.
    pub fn page<S: Store>(&mut self, query: PageQuery, turn: Turn, store: &mut S) -> Result<Page, Refusal> {
        let log = self.log(turn, store).map_err(refusal_of)?;
        let (start, gap) = match query.after {
            None => (log.epoch().at(log.first_available(turn.now) - 1), None),
            Some(after) => {
                let start = log.resume(after, turn.now);
                (start.position, start.gap)
            }
        };
        let limit = query.limit.min(limits::PAGE_MESSAGES_MAX);
        let epoch = log.epoch();
        let read = log.read(store, start.seq + 1, limits::PAGE_BYTES, limit).map_err(refusal_of)?;
        let messages: Vec<_> = read.into_iter().map(|(seq, time, message)| (epoch.at(seq), time, message)).collect();
        let position = messages.last().map_or(start, |(position, _, _)| *position);
        let more = position.seq < log.position().seq;
        self.forget_empty();
        Ok(Page { messages, position, more, gap })
    }
}

impl Page {
    /// The page as JSON (`docs/protocol.md`, "History").
    #[must_use]
    pub fn body(&self, channel: &ChannelName) -> String {
        let messages: Vec<String> = self
            .messages
            .iter()
            .map(|(position, time, message)| {
                let mut out = format!("{{\"position\":\"{position}\"");
                push_contents(&mut out, message);
                let id = message.id.as_ref().map_or_else(String::new, |id| format!(",\"id\":{}", quoted(&id.id)));
                format!("{out}{id},\"time\":{time}}}")
            })
            .collect();
        let gap = self.gap.as_ref().and_then(|gap| serde_json::to_string(gap).ok());
        let gap = gap.map_or_else(String::new, |gap| format!(",\"gap\":{gap}"));
        let (messages, position, more) = (messages.join(","), self.position, self.more);
        format!(
            "{{\"channel\":\"{channel}\",\"messages\":[{messages}],\"position\":\"{position}\",\"more\":{more}{gap}}}"
        )
    }
}
