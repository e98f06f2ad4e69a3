//! Bringing messages to the Hubs that follow: one delivery at a time to each, and what came meanwhile with the next. One request each; no row is written
//! unless a delivery fails.

use super::followers::{Cursor, Encoded, Follower, Sent, Shown};
use super::tail::Tail;
use super::{Output, Room, Turn};
use crate::frame::{Gap, GapReason};
use crate::limits;
use crate::link::{Delivery, Receipt, Tally};
use crate::log::{Log, Start};
use crate::message::Message;
use crate::position::Position;
use crate::presence::Changes;
use crate::refusal::Refusal;
use crate::store::{FollowerRow, Store, StoreError};
use std::rc::Rc;

impl Follower {
    pub(super) fn is_idle(&self) -> bool {
        self.sent.is_none() && self.retry_at.is_none()
    }

    /// Learns what the Hub's sockets have been told of the members. Whether that is what they were to be told.
    fn heard(&mut self, members: Option<u64>, reporting: bool, sent: Sent) -> bool {
        if sent.outdated {
            return true;
        }
        if reporting {
            // It may have none of what the answer brings, which it was taken to have.
            return sent.members.is_none();
        }
        self.shown = members.map_or(Shown::Nothing, Shown::Told);
        members.zip(sent.members).is_none_or(|(members, sent)| members >= sent)
    }

    /// Learns what the Hub has. Whether that is a step forward: if not, the next delivery would be the same again.
    fn told(&mut self, have: Position, sent: Sent, head: Position) -> bool {
        let complete = have.epoch == sent.up_to.epoch && have.seq >= sent.up_to.seq;
        let moved = match self.cursor {
            Cursor::Told(before) => have.epoch != before.epoch || have.seq > before.seq,
            Cursor::Unknown | Cursor::Assumed(_) => true,
        };
        let ahead = have.epoch == head.epoch && have.seq > head.seq;
        self.cursor = Cursor::Told(if ahead { head } else { have });
        complete || moved
    }
}

impl Room {
    /// Keeps what was just written for those who follow. Whose place is not known has everything before it: if not, it says so.
    pub(super) fn keep_for_followers<S: Store>(&mut self, before: Position, messages: &[Message], store: &mut S) {
        // Followers that cannot be read now see the hole with the next delivery.
        let Ok(followers) = self.followers(store) else { return };
        if followers.by_hub.is_empty() {
            return;
        }
        for follower in followers.by_hub.values_mut().filter(|follower| follower.is_idle()) {
            if follower.cursor == Cursor::Unknown {
                follower.cursor = Cursor::Assumed(before);
            }
        }
        followers.tail.push(before.seq, messages);
    }

    /// Delivers to everyone to whom nothing is on its way, and who is not waiting for another try.
    pub(super) fn deliver_all<S: Store>(&mut self, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        let Some(followers) = self.followers.as_ref().filter(|followers| !followers.by_hub.is_empty()) else { return };
        let idle = followers.by_hub.iter().filter(|(_, follower)| follower.is_idle());
        let hubs: Vec<String> = idle.map(|(hub, _)| hub.clone()).collect();
        self.wake_at(turn.now + limits::DELIVERY_LOOK_MS, out);
        self.relays.held = false;
        self.deliver_to(hubs, turn, store, out);
        if let Some(followers) = &mut self.followers {
            followers.tail.cut();
        }
    }

    /// The next delivery to a Hub: what comes after what it has, or the question what it has. One request.
    pub(super) fn deliver<S: Store>(&mut self, hub: String, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        let announced = self.counting.announced();
        let place = |follower: &mut Follower| (follower.cursor, follower.shown, follower.lacks_count(&hub, announced));
        let Some((cursor, shown, count)) = self.follower(&hub).map(place) else { return };
        let Ok((delivery, up_to, members)) = self.next_delivery(cursor, shown, count, turn, store) else {
            return self.failed(&hub, turn, store, out);
        };
        if let Some(follower) = self.follower(&hub) {
            let ticket = turn.random;
            let count = count.map(|of| of.count);
            follower.sent = Some(Sent { ticket, up_to, members, count, outdated: false });
            follower.retry_at = None;
            self.relays.began();
            out.push(Output::Deliver { hub, ticket, delivery });
        }
    }

    /// Brings the members to every idle follower that has not been told of everything.
    pub(super) fn deliver_members<S: Store>(&mut self, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        let Some(followers) = self.followers.as_ref().filter(|followers| !followers.by_hub.is_empty()) else { return };
        let idle = followers.by_hub.iter().filter(|(_, follower)| follower.is_idle());
        let shown: Vec<(String, Shown)> = idle.map(|(hub, follower)| (hub.clone(), follower.shown)).collect();
        let stale: Vec<String> =
            shown.into_iter().filter(|(_, shown)| self.is_stale(*shown, turn)).map(|(hub, _)| hub).collect();
        if !stale.is_empty() {
            self.wake_at(turn.now + limits::PRESENCE_LEASE_MS, out);
        }
        self.deliver_to(stale, turn, store, out);
    }

    /// Its text, and the last position and revision in it. It is read and encoded once for all who have the same.
    pub(super) fn next_delivery<S: Store>(
        &mut self,
        cursor: Cursor,
        shown: Shown,
        count: Option<Tally>,
        turn: Turn,
        store: &mut S,
    ) -> Result<(Rc<str>, Position, Option<u64>), StoreError> {
        let head = self.log(turn, store)?.position();
        let cursor = match cursor {
            Cursor::Unknown => head,
            Cursor::Assumed(position) | Cursor::Told(position) => position,
        };
        let changes = self.members_for(shown, turn);
        let changes = changes.map(|changes| Changes { epoch: Some(head.epoch), ..changes });
        let shown = changes.as_ref().map(|changes| (changes.after, changes.revision));
        let last = self.followers.as_ref().and_then(|followers| followers.encoded.as_ref());
        let is_same =
            |last: &&Encoded| last.cursor == cursor && last.head == head && last.shown == shown && last.count == count;
        if let Some(last) = last.filter(is_same)
            && let Some(text) = last.text.upgrade()
        {
            return Ok((text, last.up_to, shown.map(|(_, revision)| revision)));
        }
        let delivery = Delivery { members: changes, count, ..self.read_delivery(cursor, turn, store)? };
        let (text, up_to): (Rc<str>, Position) = (delivery.encode().into(), delivery.position());
        if let Some(followers) = &mut self.followers {
            followers.encoded = Some(Encoded { cursor, head, up_to, shown, count, text: Rc::downgrade(&text) });
        }
        Ok((text, up_to, shown.map(|(_, revision)| revision)))
    }

    /// What comes after `cursor`, from memory or from the log; what neither has any more is a gap.
    fn read_delivery<S: Store>(&mut self, cursor: Position, turn: Turn, store: &mut S) -> Result<Delivery, StoreError> {
        let log = self.log(turn, store)?;
        let mut start = log.resume(cursor, turn.now);
        let tail = self.followers.as_ref().map(|followers| &followers.tail);
        if let Some(first) = tail.and_then(Tail::first) {
            start = reach_back(start, cursor, first);
        }
        let next = start.position.seq + 1;
        let in_memory = tail.and_then(|tail| tail.read(next, limits::DELIVERY_BYTES));
        let messages = if let Some(messages) = in_memory {
            messages
        } else {
            let read = self.log(turn, store)?.read(store, next, limits::DELIVERY_BYTES, u64::MAX)?;
            read.into_iter().map(|(_, _, message)| message).collect()
        };
        Ok(Delivery {
            channel: self.channel.clone(),
            after: start.position,
            messages,
            gap: start.gap,
            members: None,
            count: None,
        })
    }

    /// What became of a delivery.
    pub(super) fn receipt<S: Store>(
        &mut self,
        hub: String,
        ticket: u64,
        result: &Result<Receipt, Refusal>,
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        self.relays.ended();
        let lacks = self.settle(&hub, ticket, result, turn, store, out);
        self.go_on(if lacks { vec![hub] } else { Vec::new() }, turn, store, out);
    }

    /// Takes what a Hub answers; whether it lacks something now. An answer that says nothing new is a failure as well: the next delivery would be the same.
    pub(super) fn settle<S: Store>(
        &mut self,
        hub: &str,
        ticket: u64,
        result: &Result<Receipt, Refusal>,
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) -> bool {
        // Whoever has followed anew meanwhile is not what this one answers about.
        let Some(sent) = self.follower(hub).and_then(|follower| follower.sent.take_if(|sent| sent.ticket == ticket))
        else {
            if result.is_ok() {
                self.doubt_counted(hub);
            }
            return false;
        };
        if let Ok(Receipt { wanted: true, have, tally, .. }) = result {
            // One that has not begun has nobody to tell.
            self.answered_tally(hub, *tally, sent.count.filter(|_| have.is_some()));
        }
        let (have, members, reporting) = match result {
            Ok(Receipt { wanted: false, .. }) => {
                if self.strike_out(hub, turn, store, out).is_err() {
                    self.failed(hub, turn, store, out);
                }
                return false;
            }
            // Without a position it has not begun: the answer to its `follow` is still on its way.
            Ok(Receipt { have, members, reporting, .. }) => (*have, *members, *reporting),
            Err(_) => (None, None, false),
        };
        let news = have.zip(self.log(turn, store).ok().map(|log| log.position()));
        let told = news.zip(self.follower(hub)).map(|((have, head), follower)| {
            let moved = follower.told(have, sent, head);
            (moved, follower.cursor != Cursor::Told(head))
        });
        let Some((true, lacks)) = told else {
            self.failed(hub, turn, store, out);
            return false;
        };
        self.mark(hub, false, store);
        let mut stale = false;
        if let Some(follower) = self.follower(hub) {
            follower.failures = 0;
            let understood = follower.heard(members, reporting, sent);
            let shown = follower.shown;
            stale = understood && self.is_stale(shown, turn);
            if !understood {
                // It waits for the answer to a report of its own, which says the same.
                self.wake_at(turn.now + limits::DELIVERY_RETRY_MS, out);
            }
        }
        let announced = self.counting.announced();
        let uncounted = self.follower(hub).is_some_and(|follower| follower.lacks_count(hub, announced).is_some());
        lacks || stale || uncounted
    }

    /// Tries again later. One row when the alarm has to be set, and in a channel with members one for the first failure.
    pub(super) fn failed<S: Store>(&mut self, hub: &str, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        self.mark(hub, true, store);
        let Some(follower) = self.follower(hub) else { return };
        let pause = limits::DELIVERY_RETRY_MS << follower.failures.min(16);
        let at = turn.now + pause.min(limits::DELIVERY_RETRY_MAX_MS);
        follower.failures = follower.failures.saturating_add(1);
        follower.retry_at = Some(at);
        self.wake_at(at, out);
    }

    /// Remembers whether the last delivery has failed, where [`Room::is_time_to_ask`] may say no. One row for a change.
    fn mark<S: Store>(&mut self, hub: &str, failed: bool, store: &mut S) {
        let has_members = self.channel.has_members();
        let Some(follower) = self.follower(hub).filter(|follower| has_members && follower.row.failed != failed) else {
            return;
        };
        let row = FollowerRow { failed, ..follower.row };
        // What cannot be written is tried again with the next receipt.
        if store.follow(hub, row).is_ok() {
            follower.row = row;
        }
    }

    /// By alarm: tries again what is due, and asks those of whom it is not known that they have everything. Nothing is written for a delivery, so a
    /// room that fell between storing and delivering finds it by this, or with the next message. When the channel is `spent`, everyone is asked: that is
    /// how a Hub that is gone is found. Whether anybody follows, and what the alarm has to be set for.
    pub(super) fn look_after<S: Store>(
        &mut self,
        spent: bool,
        turn: Turn,
        store: &mut S,
        due: &mut Vec<u64>,
        out: &mut Vec<Output>,
    ) -> bool {
        let head = self.log(turn, store).map(|log| log.position());
        let Ok((head, followers)) = head.and_then(|head| Ok((head, self.followers(store)?))) else {
            // Not to be forgotten, as long as it is not known.
            due.push(turn.now + limits::DELIVERY_RETRY_MAX_MS);
            return true;
        };
        let waiting = followers.by_hub.iter().filter(|(_, follower)| follower.sent.is_none());
        let waiting: Vec<_> = waiting
            .map(|(hub, follower)| {
                (hub.clone(), follower.retry_at, follower.cursor, follower.shown, follower.row.failed)
            })
            .collect();
        let followed = !followers.by_hub.is_empty();
        let under_way = followers.by_hub.len() - waiting.len();
        let asks = followed && self.is_time_to_ask(turn, due);
        let (mut hubs, mut tries) = (Vec::new(), 0);
        for (hub, retry_at, cursor, shown, failed) in waiting {
            let complete = cursor == Cursor::Told(head) && !self.is_stale(shown, turn);
            match retry_at {
                Some(at) if at > turn.now || tries >= limits::DELIVERY_TRIES_AT_ONCE => due.push(at),
                Some(_) => {
                    tries += 1;
                    hubs.push(hub);
                }
                None if !spent && (complete || (cursor == Cursor::Unknown && !asks && !failed)) => {}
                None => hubs.push(hub),
            }
        }
        let asked = !hubs.is_empty();
        self.deliver_to(hubs, turn, store, out);
        // A crash forgets what is under way, and this alarm rang instead of the one that was set for it: it rings again. For questions only once.
        let look = if self.members.is_some() { limits::PRESENCE_LEASE_MS } else { limits::DELIVERY_LOOK_MS };
        if under_way + tries > 0 || (asked && self.unchanged_for(turn) < 2 * look) {
            due.push(turn.now + look);
        }
        followed
    }

    /// How long ago anything was stored that Hubs are told, in milliseconds.
    fn unchanged_for(&mut self, turn: Turn) -> u64 {
        let stored = self.log.as_ref().and_then(Log::newest_at);
        let changed = self.members_head(turn).map(|head| head / 1000);
        stored.max(changed).map_or(u64::MAX, |last| turn.now.saturating_sub(last))
    }

    /// Whether those of whom nothing is known since the room woke are asked what they have. In a presence channel the alarm rings far more often than it is of use.
    fn is_time_to_ask(&mut self, turn: Turn, due: &mut Vec<u64>) -> bool {
        if self.members.is_none() {
            return true;
        }
        let age = self.unchanged_for(turn);
        if age < limits::PRESENCE_LEASE_MS {
            due.push(turn.now - age + limits::PRESENCE_LEASE_MS);
            return false;
        }
        // Soon after the last change, as often as is needed for an answer; more and more seldom, because it may have been away since; then once an hour.
        let leases = age / limits::PRESENCE_LEASE_MS;
        leases < 5
            || leases.is_power_of_two() && age < limits::PRESENCE_LOOK_MS
            || !self.has_own_members()
            || turn.now % limits::PRESENCE_LOOK_MS < 2 * limits::PRESENCE_LEASE_MS
    }

    pub(super) fn is_stale(&mut self, shown: Shown, turn: Turn) -> bool {
        self.lacks_members(shown, turn).is_some()
    }

    pub(super) fn follower(&mut self, hub: &str) -> Option<&mut Follower> {
        self.followers.as_mut()?.by_hub.get_mut(hub)
    }
}

/// Where a follower goes on when there are messages in memory from `first` on, which the log may not have.
fn reach_back(start: Start, cursor: Position, first: u64) -> Start {
    let Some(gap) = start.gap.filter(|gap| gap.reason != GapReason::Ahead && first <= start.position.seq) else {
        return start;
    };
    if cursor.epoch == start.position.epoch && first <= cursor.seq + 1 {
        return Start { position: cursor, gap: None };
    }
    let position = start.position.epoch.at(first.saturating_sub(1));
    Start { position, gap: Some(Gap { position, ..gap }) }
}

#[cfg(test)]
mod tests;
