//! What the Directory is told of a channel: whether it has sockets of its own, and whether Hubs follow it. One request for each change, and one when an alarm finds
//! a room that does not know what it has told; no row, but for the alarm that looks again after the last one has left.

use super::{Output, Room, Turn, refusal_of};
use crate::call::VERSION;
use crate::close::Holder;
use crate::directory::{Count, Counting, Newest, Report};
use crate::limits;
use crate::occupancy::{Occupancy, Tell};
use crate::pusher::data;
use crate::refusal::Refusal;
use crate::store::{Store, StoreError};

impl Room {
    /// There are so many sockets of its own, and one of them, or a Hub, was not there before.
    pub(super) fn occupied(&mut self, sockets: usize, turn: Turn, out: &mut Vec<Output>) {
        let followed = self.followers.as_ref().is_some_and(|followers| !followers.by_hub.is_empty());
        let tell = self.reporter.rise(Occupancy::of(sockets > 0, followed), turn.now);
        self.tell_directory(tell, out);
    }

    /// The last socket has left.
    pub(super) fn deserted(&mut self, turn: Turn, out: &mut Vec<Output>) {
        self.fall(Occupancy::Held, turn, out);
    }

    fn fall(&mut self, from: Occupancy, turn: Turn, out: &mut Vec<Output>) {
        if let Some(at) = self.reporter.fall(from, turn.now) {
            self.wake_at(at, out);
        }
    }

    /// The last Hub follows no longer: of interest where there are no sockets either.
    pub(super) fn unfollowed(&mut self, turn: Turn, out: &mut Vec<Output>) {
        // The Hub has waited already.
        self.emptied(0, turn, out);
        if !self.reporter.is_told_held() {
            self.fall(Occupancy::Followed, turn, out);
        }
    }

    pub(super) fn is_followed<S: Store>(&mut self, store: &mut S) -> bool {
        self.followers(store).is_ok_and(|followers| !followers.by_hub.is_empty())
    }

    /// The first Hub follows: how many sockets there are is for the driver to say.
    pub(super) fn count_if_first(&mut self, was_followed: bool, out: &mut Vec<Output>) {
        if !was_followed && !self.reporter.is_told_held() {
            out.push(Output::Count);
        }
    }

    /// It stands for one that a trap has ended, whose report may have been on its way: there may be no alarm by which it would be repeated. One request, and one row in the Directory.
    pub fn rebuilt<S: Store>(&mut self, store: &mut S, out: &mut Vec<Output>) {
        if self.rule.directory && self.followers(store).is_ok() {
            out.push(Output::Count);
        }
    }

    /// By alarm, which knows everything.
    pub(super) fn look_around(&mut self, state: Occupancy, turn: Turn, due: &mut Vec<u64>, out: &mut Vec<Output>) {
        let followed = self.followers.as_ref().is_some_and(|followers| !followers.by_hub.is_empty());
        let leased = followed && self.has_own_members();
        let tell = self.reporter.look(state, turn.now, leased, due);
        self.tell_directory(tell, out);
    }

    /// Forgets everything, unless the Directory has to hear first that nobody is here: then with its answer, or with the alarm at the time that is returned. Where
    /// nothing is `stored`, there is nothing to set an alarm for.
    pub(super) fn forget(&mut self, stored: bool, turn: Turn, out: &mut Vec<Output>) -> Option<u64> {
        if !self.reporter.may_forget() {
            return stored.then_some(turn.now + limits::REPORT_RETRY_MAX_MS);
        }
        self.log = None;
        self.followers = None;
        self.members = None;
        self.outgoing.outbox = None;
        // It goes as well.
        self.armed = None;
        out.push(Output::Forget);
        None
    }

    /// What became of a report.
    pub(super) fn registered<S: Store>(
        &mut self,
        report: (u64, Occupancy),
        answer: Option<u64>,
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let (tell, look_at) = self.reporter.told(report, answer, turn.now);
        self.tell_directory(tell, out);
        if let Some(at) = look_at {
            self.wake_at(at, out);
        }
        // Nobody is here, and the Directory has heard it: that may be all that held it back.
        // Unless somebody has come since: the answer may be late, and a socket that is left with an epoch would begin it again at its first place.
        if report.1 == Occupancy::Vacant && self.reporter.may_forget() && store.present().is_empty() {
            let kept = self.log(turn, store).map(|log| log.forgettable_at());
            let spent = kept.is_ok_and(|at| at.is_none_or(|at| at <= turn.now));
            let is_over = !self.flushing && !self.is_followed(store) && !self.is_inhabited(turn, store);
            if spent && is_over && !self.counting.is_changed() && !self.has_news(turn, store) {
                self.forget(true, turn, out);
            }
        }
    }

    /// What a listing of channels wants to know. Nothing written; the newest message is a row read.
    pub fn count<S: Store>(
        &mut self,
        asked: Counting,
        sockets: usize,
        turn: Turn,
        store: &mut S,
    ) -> Result<Count, Refusal> {
        let hubs: Vec<String> =
            self.followers(store).map_err(refusal_of)?.by_hub.keys().take(limits::FOLLOWERS_MAX).cloned().collect();
        let state = Occupancy::of(sockets > 0, !hubs.is_empty());
        self.answered(state);
        let members = self.members(turn, store).map_err(refusal_of)?.map(|known| known.count(turn));
        let newest = if asked.newest { self.newest(turn, store).map_err(refusal_of)? } else { None };
        Ok(Count { connections: sockets as u64, hubs, members, newest })
    }

    fn newest<S: Store>(&mut self, turn: Turn, store: &mut S) -> Result<Option<Newest>, StoreError> {
        let ttl_ms = self.rule.history.ttl.saturating_mul(1000);
        let log = self.log(turn, store)?;
        let after = log.newest(1, turn.now);
        let read = log.read(store, after.seq + 1, limits::PAGE_BYTES, 1)?;
        self.forget_empty();
        let newest = read.first().map(|(_, time, message)| {
            let left_ms = time.saturating_add(ttl_ms).saturating_sub(turn.now);
            Newest { data: data(&message.payload).into_owned(), ttl: left_ms.div_ceil(1000) }
        });
        Ok(newest)
    }

    /// Somebody was told that there is no socket, or nobody at all, and may correct the Directory.
    pub(super) fn answered(&mut self, state: Occupancy) {
        if state != Occupancy::Held {
            self.reporter.doubt();
        }
    }

    fn tell_directory(&mut self, tell: Option<Tell>, out: &mut Vec<Output>) {
        let Some(Tell { state, at }) = tell else { return };
        let of = Holder::Channel(self.channel.clone());
        out.push(Output::Register(Report { version: VERSION, of, state, at }));
    }
}

#[cfg(test)]
mod tests;
