//! A row of the outbox.

use crate::limits;
use serde::{Deserialize, Serialize};

/// What webhooks have been told of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::room) struct Told {
    /// That it is occupied.
    pub(in crate::room) occupied: bool,
    /// Of the members, up to this revision; 0: nothing.
    pub(in crate::room) revision: u64,
}

/// A row, as the index has it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) slot: u32,
    pub(super) head: Head,
}

/// Everything of a row but its events. JSON with short names, fields of a newer version are ignored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Head {
    /// Its place in the order in which they are sent.
    #[serde(rename = "n")]
    pub(super) nth: u64,
    /// The row with the greatest was written last.
    #[serde(rename = "s")]
    pub(super) stamp: u64,
    #[serde(rename = "u")]
    pub(super) url: String,
    /// When the first of its events happened, and the last, in milliseconds.
    #[serde(rename = "t")]
    pub(super) at: u64,
    #[serde(rename = "l")]
    pub(super) last: u64,
    #[serde(rename = "r")]
    pub(super) random: u64,
    #[serde(rename = "e")]
    pub(super) events: usize,
    #[serde(rename = "b")]
    pub(super) bytes: usize,
    /// Events that were dropped before it.
    #[serde(rename = "x")]
    pub(super) lost: u64,
    /// [`Told`] when it was written.
    #[serde(rename = "o")]
    pub(super) occupied: bool,
    #[serde(rename = "m")]
    pub(super) revision: u64,
}

impl Head {
    pub(super) fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(super) fn told(&self) -> Told {
        Told { occupied: self.occupied, revision: self.revision }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.parts() == 0
    }

    /// Its events, and that some were lost.
    pub(super) fn parts(&self) -> usize {
        self.events + usize::from(self.lost > 0)
    }

    pub(super) fn has_room(&self) -> bool {
        self.events < limits::WEBHOOK_ROW_EVENTS && self.bytes < limits::WEBHOOK_ROW_BYTES
    }

    /// The id of the request, or of that with one of its events: never another's, in any channel.
    pub(super) fn id(&self, nth: Option<usize>) -> String {
        let Self { at, random, nth: row, .. } = self;
        nth.map_or_else(|| format!("{at:x}-{random:012x}-{row}"), |nth| format!("{at:x}-{random:012x}-{row}-{nth}"))
    }
}
