//! The Hubs that follow: who they are, and what they ask for. What they are brought is in `deliver`.

use super::tail::Tail;
use super::{Output, Room, Turn, refusal_of};
use crate::call::Begin;
use crate::limits;
use crate::link::{Delivery, FAILED_OFTEN, Follow, Followed, Missed, Tally};
use crate::position::Position;
use crate::refusal::{Code, Refusal};
use crate::store::{FollowerRow, Store, StoreError};
use std::collections::BTreeMap;
use std::rc::Weak;

/// The Hubs that follow, by name. Their names are stored; everything else is a cache, since each of them says what it has.
#[derive(Debug, Default)]
pub(super) struct Followers {
    pub(super) by_hub: BTreeMap<String, Follower>,
    pub(super) tail: Tail,
    /// What was delivered last: the next Hub is often at the same place. It stays no longer than it is on its way.
    pub(super) encoded: Option<Encoded>,
}

/// A delivery as it was sent.
#[derive(Debug)]
pub(super) struct Encoded {
    /// What the follower had, and the log's end.
    pub(super) cursor: Position,
    pub(super) head: Position,
    pub(super) up_to: Position,
    /// Of the members: after which revision, and up to which.
    pub(super) shown: Option<(Option<u64>, u64)>,
    /// The number of subscribers in it.
    pub(super) count: Option<Tally>,
    pub(super) text: Weak<str>,
}

/// A Hub that follows.
#[derive(Debug)]
pub(super) struct Follower {
    /// As it is stored.
    pub(super) row: FollowerRow,
    /// The last call by which it followed ([`Follow::at`]) that has come since the room woke.
    at: Option<u64>,
    /// Whether it began after that: else a call that came later may be an older one.
    is_new: bool,
    pub(super) cursor: Cursor,
    /// What it has of the members.
    pub(super) shown: Shown,
    /// The number of the last report by which it was told of them; 0: none since the room woke.
    pub(super) reported: u64,
    /// How many of its sockets want the channel; not known since the room woke.
    pub(super) tally: Option<Tally>,
    /// Whether it has answered since the room woke, or is new: else what it said by a call may be older than what it said before.
    pub(super) has_answered: bool,
    /// The number of subscribers that it has been told, since its own last changed.
    pub(super) counted: Option<u64>,
    /// The delivery that is on its way: one at most.
    pub(super) sent: Option<Sent>,
    /// Deliveries that failed, in a row.
    pub(super) failures: u32,
    /// When the next try is due.
    pub(super) retry_at: Option<u64>,
}

/// What a follower has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cursor {
    /// It is not known since the room woke: taken to be the log's end.
    Unknown,
    /// It should have this.
    Assumed(Position),
    /// It said so.
    Told(Position),
}

/// What a follower has told its sockets of the members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shown {
    /// It is not known since the room woke: taken to be all but the newest.
    Unknown,
    /// It said that it needs to know nothing.
    Nothing,
    /// It should have this revision.
    Assumed(u64),
    /// It said so.
    Told(u64),
}

impl Shown {
    /// What two have in common who are to be told the same.
    pub(super) fn place(self) -> (bool, Option<u64>) {
        match self {
            Self::Unknown => (false, None),
            Self::Nothing => (true, None),
            Self::Assumed(revision) | Self::Told(revision) => (true, Some(revision)),
        }
    }
}

/// A delivery that is on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) ticket: u64,
    pub(super) up_to: Position,
    /// The revision of the members that it brings.
    pub(super) members: Option<u64>,
    /// The number of subscribers that it brings, unless the Hub's own has changed since.
    pub(super) count: Option<u64>,
    /// The Hub has been told of the members by the answer to a report meanwhile: what it says of them with the receipt is older.
    pub(super) outdated: bool,
}

impl Follower {
    fn new(row: FollowerRow, at: Option<u64>, cursor: Cursor) -> Self {
        let (tally, counted, sent, retry_at) = (None, None, None, None);
        // How often is not known: often.
        let failures = if row.failed { FAILED_OFTEN } else { 0 };
        let (shown, reported, has_answered) = (Shown::Unknown, 0, false);
        let is_new = false;
        Self { row, at, is_new, cursor, shown, reported, tally, has_answered, counted, sent, failures, retry_at }
    }
}

impl Room {
    /// Makes a Hub a follower: from now on it is brought what comes after the position that is answered. One row written for one that is new, and
    /// one when the alarm has to be set; nothing for one that follows again, or whose call was overtaken by a later one.
    pub fn follow<S: Store>(
        &mut self,
        follow: &Follow,
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) -> Result<Followed, Refusal> {
        if follow.hub.is_empty() || follow.hub.len() > limits::HUB_NAME_MAX {
            return Err(Refusal::new(Code::InvalidField, "call: hub"));
        }
        let was_followed = self.is_followed(store);
        let followed = self.enrol(follow, turn, store);
        if followed.is_ok() {
            self.count_if_first(was_followed, out);
            // What was under way to one that follows again is not heard of any more: whether it has everything is asked then.
            self.wake_at(turn.now + limits::DELIVERY_LOOK_MS, out);
            self.lease(turn, store, out);
            self.counting.hold(turn.now);
        }
        self.tell_count(turn, store, out);
        self.tell_hooks(turn, store, out);
        self.forget_empty();
        followed
    }

    /// What was on its way to one that follows again is of no interest any more: it may have lost everything, and begins where it is told now. One that has
    /// ended it by a later call will say so when it is brought something.
    fn enrol<S: Store>(&mut self, follow: &Follow, turn: Turn, store: &mut S) -> Result<Followed, Refusal> {
        let Follow { hub, at, .. } = follow;
        let position = self.log(turn, store).map_err(refusal_of)?.position();
        let followers = self.followers(store).map_err(refusal_of)?;
        let known = followers.by_hub.get(hub);
        if known.is_some_and(|follower| follower.at >= Some(*at)) {
            return Ok(Followed { position });
        }
        let tally = known.and_then(|follower| follower.tally);
        let (is_new, has_answered) =
            (known.is_none_or(|follower| follower.is_new), known.is_none_or(|follower| follower.has_answered));
        let (known, reported) = (known.map(|follower| follower.row), known.map_or(0, |follower| follower.reported));
        let row = FollowerRow { epoch: position.epoch, failed: known.is_some_and(|row| row.failed) };
        if known.is_none() && followers.by_hub.len() >= limits::FOLLOWERS_MAX {
            return Err(Refusal::new(Code::Overloaded, "this channel has as many followers as it can serve"));
        }
        if known != Some(row) {
            store.follow(hub, row).map_err(refusal_of)?;
        }
        let follower = Follower::new(row, Some(*at), Cursor::Assumed(position));
        followers.by_hub.insert(hub.clone(), Follower { is_new, reported, tally, has_answered, ..follower });
        self.heard_tally(hub, follow.count.map(|count| Tally { at: *at, count }), true);
        Ok(Followed { position })
    }

    /// A Hub that has members follows as well, whether or not its call to follow has come: as one that reports them, it is asked about them. One row for one that is new.
    pub(super) fn enrol_member<S: Store>(
        &mut self,
        hub: &str,
        at: u64,
        turn: Turn,
        store: &mut S,
    ) -> Result<(), StoreError> {
        let position = self.log(turn, store)?.position();
        let followers = self.followers(store)?;
        if followers.by_hub.contains_key(hub) || followers.by_hub.len() >= limits::FOLLOWERS_MAX {
            return Ok(());
        }
        let row = FollowerRow { epoch: position.epoch, failed: false };
        store.follow(hub, row)?;
        let follower = Follower::new(row, Some(at), Cursor::Assumed(position));
        followers.by_hub.insert(hub.to_owned(), follower);
        Ok(())
    }

    /// A Hub follows no longer. One row deleted, and one written when the alarm has to be set; nothing for one that did not follow, or whose call was
    /// overtaken by a later one. A room that has slept since it began cannot tell, and asks the Hub: one request.
    pub fn unfollow<S: Store>(
        &mut self,
        follow: &Follow,
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let removed = self.end(follow, turn, store, out).map_err(refusal_of);
        self.tell_count(turn, store, out);
        self.tell_hooks(turn, store, out);
        self.forget_empty();
        removed
    }

    fn end<S: Store>(
        &mut self,
        follow: &Follow,
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) -> Result<(), StoreError> {
        let Some(follower) = self.followers(store)?.by_hub.get(&follow.hub) else { return Ok(()) };
        match follower.at {
            Some(at) if at > follow.at => {}
            Some(_) if follower.is_new => self.strike_out(&follow.hub, turn, store, out)?,
            // What is on its way asks as well.
            _ if follower.sent.is_some() => {}
            _ => self.deliver(follow.hub.clone(), turn, store, out),
        }
        Ok(())
    }

    pub(super) fn strike_out<S: Store>(
        &mut self,
        hub: &str,
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) -> Result<(), StoreError> {
        let followers = self.followers(store)?;
        if !followers.by_hub.contains_key(hub) {
            return Ok(());
        }
        store.unfollow(hub)?;
        let removed = followers.by_hub.remove(hub);
        self.lost_tally(removed.and_then(|follower| follower.tally));
        self.disown(hub, turn, store, out)?;
        let followers = self.followers(store)?;
        if followers.by_hub.is_empty() {
            followers.tail = Tail::default();
            followers.encoded = None;
            self.unfollowed(turn, out);
            // It was the last: what held the channel back from being forgotten is gone.
            let kept = self.log(turn, store).ok().and_then(|log| log.forgettable_at());
            self.wake_at(kept.unwrap_or(turn.now + limits::ID_WINDOW_MS).max(turn.now), out);
        }
        Ok(())
    }

    /// Reads what a socket of a Hub missed, a batch of it; what comes after the batch is asked for again. No row written, unless a webhook wants to know that a cache is empty.
    pub fn missed<S: Store>(
        &mut self,
        missed: &Missed,
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) -> Result<Delivery, Refusal> {
        let read = self.read_missed(missed.from, turn, store).map_err(refusal_of);
        if let Ok(delivery) = &read {
            self.missing(missed.from, delivery);
            self.tell_hooks(turn, store, out);
        }
        self.forget_empty();
        read
    }

    fn read_missed<S: Store>(&mut self, from: Begin, turn: Turn, store: &mut S) -> Result<Delivery, StoreError> {
        let channel = self.channel.clone();
        let log = self.log(turn, store)?;
        let (after, gap) = match from {
            Begin::Last(n) => (log.newest(n.min(limits::LAST_MAX), turn.now), None),
            Begin::After(after) => {
                let start = log.resume(after, turn.now);
                (start.position, start.gap)
            }
        };
        let read = log.read(store, after.seq + 1, limits::REPLAY_BATCH_BYTES, u64::MAX)?;
        let messages = read.into_iter().map(|(_, _, message)| message).collect();
        Ok(Delivery { channel, after, messages, gap, members: None, count: None })
    }

    /// The followers, read when they are first needed.
    pub(super) fn followers<S: Store>(&mut self, store: &mut S) -> Result<&mut Followers, StoreError> {
        let followers = if let Some(followers) = self.followers.take() {
            followers
        } else {
            let follower = |(hub, row)| (hub, Follower::new(row, None, Cursor::Unknown));
            let by_hub = store.followers()?.into_iter().map(follower).collect();
            Followers { by_hub, ..Followers::default() }
        };
        Ok(self.followers.insert(followers))
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) mod world;
