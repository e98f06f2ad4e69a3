//! What a Hub knows of one channel while it is awake.

use super::Slot;
use crate::call::Begin;
use crate::message::Message;
use crate::position::Position;
use crate::session::Format;
use std::collections::{HashMap, VecDeque};

/// A channel that sockets of the Hub want.
#[derive(Debug, Default)]
pub(super) struct Channel {
    /// The last position that the Hub has; `None` until the Room has answered.
    pub(super) have: Option<Position>,
    /// The call to follow that is on its way.
    pub(super) following: Option<u64>,
    /// Those that get what comes. The first one's attachment says what the Hub has.
    pub(super) live: Vec<(Slot, Format)>,
    /// Those that wait for an answer or are replayed to.
    pub(super) waiting: Vec<Slot>,
    /// What was asked of the Room, and for whom.
    pub(super) asked: HashMap<Begin, Vec<Reader>>,
    /// What clients publish, in the order in which it came; the first `publishing` of them are on their way.
    pub(super) outbox: VecDeque<Publish>,
    pub(super) outbox_bytes: usize,
    pub(super) publishing: usize,
    /// Whether a call that says how many sockets want it is on its way, and when the next one may go, in milliseconds.
    pub(super) tallying: bool,
    pub(super) tally_after: u64,
    /// The number of subscribers that its sockets have been told; `None` where one of them has not.
    pub(super) counted: Option<u64>,
    /// Whether a number came while sockets were not live, or may have.
    pub(super) uncounted: bool,
    /// When the Room had counted what they were told last, by its own count; 0: not known since the Hub woke.
    pub(super) counted_at: u64,
    /// When the last one left, in milliseconds.
    pub(super) deserted_at: Option<u64>,
    /// What was saved of what all tabs have (`super::resume`); not known since the Hub woke.
    pub(super) saved: Option<Position>,
    /// Whether that will be looked at, and when it last was.
    pub(super) saving: bool,
    pub(super) save_tried: u64,
}

/// Who waits for messages from the Room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reader {
    /// A subscription.
    Subscription(Slot),
    /// Somebody who asked for history. The slot may be another's by then.
    History(Slot, String),
}

/// A message on its way to the Room.
#[derive(Debug)]
pub(super) struct Publish {
    pub(super) slot: Slot,
    /// Whose it is: the slot may be another's when the answer comes.
    pub(super) connection: String,
    pub(super) message: Message,
}

impl Channel {
    pub(super) fn has_subscribers(&self) -> bool {
        !self.live.is_empty() || !self.waiting.is_empty()
    }

    /// How many sockets want it.
    pub(super) fn subscribers(&self) -> u64 {
        (self.live.len() + self.waiting.len()) as u64
    }

    /// How many answers of the Room somebody waits for.
    pub(super) fn waits_for(&self, reader: &Reader) -> usize {
        self.asked.values().filter(|readers| readers.contains(reader)).count()
    }

    /// Whether it waits for an answer that only it can take.
    pub(super) fn is_waiting(&self) -> bool {
        self.following.is_some() || self.publishing > 0
    }

    /// Takes a socket out. Whether it was the one whose attachment says what the Hub has.
    pub(super) fn remove(&mut self, slot: Slot) -> bool {
        self.waiting.retain(|other| *other != slot);
        for readers in self.asked.values_mut() {
            readers.retain(|reader| !matches!(reader, Reader::Subscription(other) if *other == slot));
        }
        match self.live.iter().position(|(other, _)| *other == slot) {
            Some(at) => {
                self.live.swap_remove(at);
                at == 0
            }
            None => false,
        }
    }

    /// The live sockets by format.
    pub(super) fn audience(&self) -> Vec<(Format, Vec<Slot>)> {
        by_format(&self.live)
    }
}

/// Those of one format hear the same frames.
pub(super) fn by_format(sockets: &[(Slot, Format)]) -> Vec<(Format, Vec<Slot>)> {
    let mut audience: Vec<(Format, Vec<Slot>)> = Vec::new();
    for (slot, format) in sockets {
        match audience.iter_mut().find(|(other, _)| other == format) {
            Some((_, slots)) => slots.push(*slot),
            None => audience.push((*format, vec![*slot])),
        }
    }
    audience
}
