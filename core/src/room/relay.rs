//! A Room with more followers than it calls itself: those who are to get the same are put into groups, and one Hub of each group hands it on to the others.
//!
//! The Room keeps every cursor, and takes each receipt as if it had called that Hub itself. Who failed is called alone until it has answered: a broken relay costs its
//! group one more try, and nothing is ever tried again through it.

use super::followers::{Cursor, Sent, Shown};
use super::{Output, Room, Turn};
use crate::limits;
use crate::link::{self, Receipt, Receipts, Tally};
use crate::position::Position;
use crate::refusal::{Code, Refusal};
use crate::store::Store;
use std::collections::HashMap;

/// When deliveries go through Hubs. Its default is that of [`limits`]; tests have smaller ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tree {
    /// Followers that the Room calls itself, and calls that are on their way past which those who have answered wait to be put into a group again.
    pub followers: usize,
    /// Hubs of a group, the one that is called among them: at least 1.
    pub group: usize,
}

impl Default for Tree {
    fn default() -> Self {
        Self { followers: limits::RELAY_FOLLOWERS, group: limits::RELAY_GROUP }
    }
}

/// What is remembered of calls to Hubs.
#[derive(Debug, Default)]
pub(super) struct Relays {
    tree: Tree,
    /// Calls that are on their way. Not the followers': one that follows anew has forgotten its call, which goes on nevertheless.
    calls: usize,
    /// Whether a follower that lacks something waits until there are fewer of them.
    pub(super) held: bool,
}

impl Relays {
    pub(super) fn began(&mut self) {
        self.calls += 1;
    }

    pub(super) fn ended(&mut self) {
        self.calls = self.calls.saturating_sub(1);
    }
}

/// What two have in common who are to be brought the same: of the messages, of the members, and of the number of subscribers.
type Place = (Option<Position>, (bool, Option<u64>), Option<u64>);

impl Room {
    /// With other bounds for when deliveries go through Hubs.
    #[must_use]
    pub fn with_tree(mut self, tree: Tree) -> Self {
        self.relays.tree = tree;
        self
    }

    fn has_tree(&self) -> bool {
        self.followers.as_ref().is_some_and(|followers| followers.by_hub.len() > self.relays.tree.followers)
    }

    /// Delivers to these. One request each; with a tree, one for each group of those who have the same.
    pub(super) fn deliver_to<S: Store>(&mut self, hubs: Vec<String>, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        if !self.has_tree() {
            return hubs.into_iter().for_each(|hub| self.deliver(hub, turn, store, out));
        }
        // In the order in which they were found, so that the same input has the same output.
        let announced = self.counting.announced();
        let mut alike: Vec<(Cursor, Shown, Option<Tally>, Vec<String>)> = Vec::new();
        let mut places: HashMap<Place, usize> = HashMap::new();
        for hub in hubs {
            let Some(follower) = self.follower(&hub) else { continue };
            if follower.failures > 0 {
                self.deliver(hub, turn, store, out);
                continue;
            }
            let (cursor, shown, count) = (follower.cursor, follower.shown, follower.lacks_count(&hub, announced));
            let number = count.map(|of| of.count);
            let place = *places.entry((cursor.position(), shown.place(), number)).or_insert(alike.len());
            match alike.get_mut(place) {
                Some((_, _, _, others)) => others.push(hub),
                None => alike.push((cursor, shown, count, vec![hub])),
            }
        }
        for (cursor, shown, count, hubs) in alike {
            // As few groups as can be, and all of about the same size.
            let groups = hubs.len().div_ceil(self.relays.tree.group.max(1)).max(1);
            for group in hubs.chunks(hubs.len().div_ceil(groups).max(1)) {
                self.deliver_group((cursor, shown, count), group, turn, store, out);
            }
        }
    }

    /// One request for all of them. Which of them is called depends on the ticket, so that the work moves around.
    fn deliver_group<S: Store>(
        &mut self,
        (cursor, shown, count): (Cursor, Shown, Option<Tally>),
        group: &[String],
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        if let [hub] = group {
            return self.deliver(hub.clone(), turn, store, out);
        }
        let Ok((delivery, up_to, members)) = self.next_delivery(cursor, shown, count, turn, store) else {
            return group.iter().for_each(|hub| self.failed(hub, turn, store, out));
        };
        let (ticket, count) = (turn.random, count.map(|of| of.count));
        for hub in group {
            if let Some(follower) = self.follower(hub) {
                follower.sent = Some(Sent { ticket, up_to, members, count, outdated: false });
                follower.retry_at = None;
            }
        }
        let mut hubs = group.to_vec();
        let relay = usize::try_from(ticket % hubs.len().max(1) as u64).unwrap_or_default();
        hubs.rotate_left(relay);
        self.relays.began();
        out.push(Output::Relay { hubs, ticket, delivery });
    }

    /// What became of a group. One that the answer does not speak of has failed, and all have if there is no answer; what it says of others is not heard.
    pub(super) fn relayed<S: Store>(
        &mut self,
        hubs: Vec<String>,
        ticket: u64,
        result: Result<Receipts, Refusal>,
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        self.relays.ended();
        let silent = || Refusal::new(Code::Overloaded, "nothing was heard of this hub");
        let answers = result.unwrap_or_default().into_iter();
        let mut answers: HashMap<String, Result<String, Refusal>> = answers.collect();
        let mut lacking = Vec::new();
        for hub in hubs {
            let answer = answers.remove(&hub).unwrap_or_else(|| Err(silent()));
            let receipt: Result<Receipt, Refusal> = answer.and_then(|text| link::decode(&text));
            if self.settle(&hub, ticket, &receipt, turn, store, out) {
                lacking.push(hub);
            }
        }
        self.go_on(lacking, turn, store, out);
    }

    /// Who has answered and lacks something gets it. Where many calls are on their way, it waits for others to be put into a group with: each by itself would stay by itself
    /// for as long as the channel is busy. It waits for the next message at the longest, or until enough of those calls have been answered.
    pub(super) fn go_on<S: Store>(&mut self, lacking: Vec<String>, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        if self.has_tree() && self.relays.calls >= self.relays.tree.followers {
            self.relays.held |= !lacking.is_empty();
            return;
        }
        let lacking = if core::mem::take(&mut self.relays.held) { self.held(turn, store) } else { lacking };
        self.deliver_to(lacking, turn, store, out);
    }

    /// All who have said what they have, and lack something.
    fn held<S: Store>(&mut self, turn: Turn, store: &mut S) -> Vec<String> {
        let Ok(head) = self.log(turn, store).map(|log| log.position()) else { return Vec::new() };
        let followers = self.followers.iter().flat_map(|followers| &followers.by_hub);
        let told = followers.filter(|(_, follower)| follower.is_idle());
        let announced = self.counting.announced();
        let told: Vec<(String, Position, Shown, bool)> = told
            .filter_map(|(hub, follower)| match follower.cursor {
                Cursor::Told(position) => {
                    Some((hub.clone(), position, follower.shown, follower.lacks_count(hub, announced).is_some()))
                }
                _ => None,
            })
            .collect();
        let lacks = |(hub, position, shown, uncounted): (String, Position, Shown, bool)| {
            (position != head || uncounted || self.is_stale(shown, turn)).then_some(hub)
        };
        told.into_iter().filter_map(lacks).collect()
    }
}

impl Cursor {
    fn position(self) -> Option<Position> {
        match self {
            Self::Unknown => None,
            Self::Assumed(position) | Self::Told(position) => Some(position),
        }
    }
}

#[cfg(test)]
mod tests;
