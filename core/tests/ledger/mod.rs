//! What is on the disk, as an outside observer writes it down: the truth that everything else is compared with.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "a simulation that is wrong has to stop; one of them asks more than the other"
)]

use dormouse_core::position::{Epoch, Position};
use std::collections::HashMap;

/// Bodies by place; ids by epoch.
#[derive(Default)]
pub(crate) struct Ledger {
    stored: HashMap<Epoch, Vec<String>>,
    /// In the order in which they began.
    epochs: Vec<Epoch>,
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
            if !self.stored.contains_key(&position.epoch) {
                self.epochs.push(position.epoch);
            }
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

    /// The last that was stored.
    pub(crate) fn end(&self) -> Option<Position> {
        self.epochs.last().map(|epoch| epoch.at(self.last(*epoch)))
    }

    pub(crate) fn body(&self, position: Position) -> Option<&str> {
        let at = usize::try_from(position.seq.checked_sub(1)?).unwrap();
        self.stored.get(&position.epoch)?.get(at).map(String::as_str)
    }

    /// Where a body is: more than once, where it was published again after its id was forgotten.
    pub(crate) fn places(&self, body: &str) -> Vec<Position> {
        let bodies = |epoch: &Epoch| (1..).map(|seq| epoch.at(seq)).zip(&self.stored[epoch]).collect::<Vec<_>>();
        let all = self.epochs.iter().flat_map(bodies);
        all.filter(|(_, other)| *other == body).map(|(position, _)| position).collect()
    }

    /// When it was, compared with other places: epochs of which nothing was stored are the last.
    fn age(&self, position: Position) -> (usize, u64) {
        let epoch = self.epochs.iter().position(|epoch| *epoch == position.epoch);
        (epoch.unwrap_or(self.epochs.len()), position.seq)
    }

    pub(crate) fn is_before(&self, one: Position, other: Position) -> bool {
        self.age(one) < self.age(other)
    }

    /// What was stored after one place, and up to another.
    pub(crate) fn between(&self, after: Option<Position>, until: Position) -> Vec<&str> {
        let (after, until) = (after.map_or((0, 0), |after| self.age(after)), self.age(until));
        let mut found = Vec::new();
        for (nth, epoch) in self.epochs.iter().enumerate() {
            for (seq, body) in (1..).zip(&self.stored[epoch]) {
                if (nth, seq) > after && (nth, seq) <= until {
                    found.push(body.as_str());
                }
            }
        }
        found
    }
}
