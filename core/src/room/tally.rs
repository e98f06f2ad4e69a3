//! How many subscribers a channel has, where its rule has `subscription_count`: the room's own sockets and what Hubs say of theirs; told to the Hubs whose sockets speak Pusher's
//! protocol with what they are delivered, and to webhooks.
//!
//! Nothing is written for it, but what webhooks are told. What Hubs have said is in memory: after a sleep, the first change asks every Hub what it has by an empty delivery, one request
//! each, and nothing is announced before all have answered. An announcement is one request to each of the Hubs that are told. Where nobody would hear of it, nothing is done.

use super::followers::Follower;
use super::{Output, Room, Turn};
use crate::limits;
use crate::link::{Follow, Tallied, Tally, speaks_pusher};
use crate::refusal::Refusal;
use crate::room::refusal_of;
use crate::store::Store;
use crate::webhook::{Kind, count_event};

/// What a room knows of the number of its subscribers.
#[derive(Debug, Default)]
pub(super) struct Counting {
    /// Sockets of its own; not known since it woke.
    own: Option<u64>,
    /// The number that was announced last, and when, by the room's count of its announcements, which goes on through a sleep as a Hub's does; none since it woke.
    announced: Option<Tally>,
    /// Whether something has changed since, or may have.
    changed: bool,
    /// Whether somebody may lack what was announced before it slept.
    doubtful: bool,
    /// When the next announcement may be, in milliseconds, and whether a timer waits for it.
    next_at: u64,
    waiting: bool,
}

impl Counting {
    pub(super) fn announced(&self) -> Option<Tally> {
        self.announced
    }

    pub(super) fn is_changed(&self) -> bool {
        self.changed
    }

    pub(super) fn timer_rang(&mut self) {
        self.waiting = false;
    }

    /// A Hub that begins to follow has to have its answer first.
    pub(super) fn hold(&mut self, now: u64) {
        self.next_at = self.next_at.max(now + limits::COUNT_PAUSE_MS);
    }

    /// There will be no better time.
    pub(super) fn hurry(&mut self) {
        self.next_at = 0;
    }
}

impl Follower {
    /// The number that it has to be told, if it does.
    pub(super) fn lacks_count(&self, hub: &str, announced: Option<Tally>) -> Option<Tally> {
        announced.filter(|of| self.counted != Some(of.count) && speaks_pusher(hub))
    }
}

impl Room {
    /// A Hub says how many sockets want the channel. Nothing is written; one request to each Hub that is told then.
    pub fn tally<S: Store>(
        &mut self,
        follow: &Follow,
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) -> Result<Tallied, Refusal> {
        let known = self.followers(store).map_err(refusal_of)?.by_hub.contains_key(&follow.hub);
        self.heard_tally(&follow.hub, follow.count.map(|count| Tally { at: follow.at, count }), true);
        self.tell_count(turn, store, out);
        self.tell_hooks(turn, store, out);
        self.forget_empty();
        Ok(Tallied { known })
    }

    /// There are so many sockets of its own now.
    pub(super) fn has_own(&mut self, sockets: usize) {
        self.counting.own = Some(sockets as u64);
        self.counting.changed |= self.rule.subscription_count;
    }

    /// What a Hub says, unless that was overtaken. `is_news`: it says so because of a change, and one of its sockets may be new.
    pub(super) fn heard_tally(&mut self, hub: &str, tally: Option<Tally>, is_news: bool) {
        let asks = self.rule.subscription_count;
        let (Some(follower), Some(tally)) = (self.follower(hub), tally.filter(|_| asks)) else { return };
        let before = follower.tally;
        let is_overtaken = before.is_some_and(|before| before.at >= tally.at);
        if !is_overtaken {
            follower.tally = Some(tally);
        }
        // Also where the answer to a delivery was faster: after a sleep that is not known to be a change.
        if is_news || !is_overtaken && before.is_some_and(|before| before.count != tally.count) {
            follower.counted = None;
            if let Some(sent) = &mut follower.sent {
                sent.count = None;
            }
            self.counting.changed = true;
        }
    }

    /// What a receipt says. A Hub that says nothing, because its rules or its code are older, has none: nobody waits for it.
    pub(super) fn answered_tally(&mut self, hub: &str, tally: Option<Tally>, brought: Option<u64>) {
        if !self.rule.subscription_count {
            return;
        }
        if let Some(follower) = self.follower(hub) {
            follower.counted = brought.or(follower.counted);
            follower.has_answered = true;
        }
        let silent = self.follower(hub).is_some_and(|follower| follower.tally.is_none());
        self.heard_tally(hub, tally.or(silent.then_some(Tally { at: 0, count: 0 })), false);
    }

    /// A Hub follows no longer.
    pub(super) fn lost_tally(&mut self, tally: Option<Tally>) {
        let had_none = tally.is_some_and(|tally| tally.count == 0);
        self.counting.changed |= self.rule.subscription_count && !had_none;
    }

    /// A Hub has answered to what was brought before it followed anew: it may have told an older number after a newer one. One request, and no webhook.
    pub(super) fn doubt_counted(&mut self, hub: &str) {
        let asks = self.rule.subscription_count && speaks_pusher(hub);
        if let Some(follower) = self.follower(hub).filter(|_| asks) {
            follower.counted = None;
            // What is on its way may have come before that.
            if let Some(sent) = &mut follower.sent {
                sent.count = None;
            }
            self.counting.doubtful = true;
        }
    }

    /// By alarm: whoever had to be told when the room fell asleep, or fell, is in no memory any more. All who are followed by then are asked by that alarm anyway; one more request to each
    /// Hub that is told.
    pub(super) fn doubt_count(&mut self) {
        self.counting.doubtful |= self.rule.subscription_count && self.counting.announced.is_none();
    }

    /// At the end of a turn: announces what has changed, now or a little later.
    pub(super) fn tell_count<S: Store>(&mut self, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        if !(self.counting.changed || self.counting.doubtful) || self.followers(store).is_err() {
            return;
        }
        let hears = self.counting.changed && self.hooks_want(Kind::SubscriptionCount);
        let Some(followers) = &self.followers else { return };
        if !hears && !followers.by_hub.keys().any(|hub| speaks_pusher(hub)) {
            (self.counting.changed, self.counting.doubtful) = (false, false);
            return;
        }
        let pause = self.counting.next_at.saturating_sub(turn.now);
        // A clock that was set back is not waited for.
        if pause > 0 && pause <= limits::COUNT_LARGE_PAUSE_MS {
            if !self.counting.waiting {
                self.counting.waiting = true;
                // The timer keeps the object awake, as the connections that come and go do.
                out.push(Output::AnnounceIn(pause));
            }
            return;
        }
        let unknown: Vec<(&String, &Follower)> =
            followers.by_hub.iter().filter(|(_, follower)| !follower.has_answered).collect();
        if !unknown.is_empty() {
            let idle = unknown.into_iter().filter(|(_, follower)| follower.is_idle());
            let idle: Vec<String> = idle.map(|(hub, _)| hub.clone()).collect();
            return self.deliver_to(idle, turn, store, out);
        }
        let in_hubs: u64 = followers.by_hub.values().filter_map(|follower| follower.tally).map(|of| of.count).sum();
        let own = *self.counting.own.get_or_insert_with(|| store.present().len() as u64);
        self.announce_count(own.saturating_add(in_hubs), turn, store, out);
    }

    fn announce_count<S: Store>(&mut self, count: u64, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        let last = self.counting.announced.map_or(0, |before| before.at);
        let announced = Tally { at: (last + 1).max(turn.now.saturating_mul(1000)), count };
        let before = self.counting.announced.replace(announced).map(|before| before.count);
        let is_large = count.max(before.unwrap_or(0)) > limits::COUNT_SMALL;
        let pause = if is_large { limits::COUNT_LARGE_PAUSE_MS } else { limits::COUNT_PAUSE_MS };
        let is_news = core::mem::take(&mut self.counting.changed) && before != Some(count);
        (self.counting.doubtful, self.counting.next_at) = (false, turn.now + pause);
        if is_news && self.hooks_want(Kind::SubscriptionCount) {
            self.note(Kind::SubscriptionCount, count_event(&self.channel, count));
        }
        let followers = self.followers.iter().flat_map(|followers| &followers.by_hub);
        let lacks = |(hub, follower): &(&String, &Follower)| {
            follower.is_idle() && follower.lacks_count(hub, Some(announced)).is_some()
        };
        let hubs: Vec<String> = followers.filter(lacks).map(|(hub, _)| hub.clone()).collect();
        self.deliver_to(hubs, turn, store, out);
    }
}

#[cfg(test)]
mod tests;
