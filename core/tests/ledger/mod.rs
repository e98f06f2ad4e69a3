//! What is on the disk, as an outside observer writes it down: the truth that everything else is compared with.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a simulation that is wrong has to stop; one of them asks more than the other"
)]

use dormouse_core::position::{Epoch, Position};
use std::collections::HashMap;

/// Bodies by place; ids by epoch.
#[derive(Default)]
pub(crate) struct Ledger {
    stored: HashMap<Epoch, Vec<String>>,
    ids: HashMap<(Epoch, String), u64>,
    /// Written, but not on the disk yet.
    unflushed: Vec<(Position, String, Option<String>)>,
}

impl Ledger {
    pub(crate) fn write(&mut self, position: Position, body: String, id: Option<String>) {
        self.unflushed.push((position, body, id));
    }

    /// Everything written is on the disk now.
    pub(crate) fn flush(&mut self) -> Result<u64, String> {
        let written = std::mem::take(&mut self.unflushed);
        let count = written.len() as u64;
        for (position, body, id) in written {
            let bodies = self.stored.entry(position.epoch).or_default();
            if position.seq != bodies.len() as u64 + 1 {
                return Err(format!("{position} stored after {} messages", bodies.len()));
            }
            bodies.push(body);
            if let Some(id) = id
                && let Some(first) = self.ids.insert((position.epoch, id.clone()), position.seq)
            {
                return Err(format!("id {id} stored at {first} and at {position}"));
            }
        }
        Ok(count)
    }

    pub(crate) fn has_unflushed(&self) -> bool {
        !self.unflushed.is_empty()
    }

    /// What was not on the disk is lost.
    pub(crate) fn crash(&mut self) {
        self.unflushed.clear();
    }

    pub(crate) fn expect(&self, position: Position, body: &str) -> Result<(), String> {
        let bodies = self.stored.get(&position.epoch);
        let at = usize::try_from(position.seq).unwrap() - 1;
        match bodies.and_then(|bodies| bodies.get(at)) {
            Some(stored) if stored == body => Ok(()),
            Some(stored) => Err(format!("{position} is {stored} on the disk, not {body}")),
            None => Err(format!("{position} ({body}) is not on the disk")),
        }
    }

    pub(crate) fn last(&self, epoch: Epoch) -> u64 {
        self.stored.get(&epoch).map_or(0, |bodies| bodies.len() as u64)
    }
}
