//! When the Directory is told that an object has connections, or has none any more: at once when it gets some, after a pause when they have gone (a page that is
//! loaded again is no change). Never on the way of a message. What is told is numbered, so that calls that overtake each other do no harm; what fails is
//! tried again, by alarm. In memory only: who slept does not know what it has told, and tells it again when the alarm rings next.

use crate::limits;
use serde::{Deserialize, Serialize};

/// What an object has, as far as the Directory wants to know. In order: from less to more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Occupancy {
    /// Nobody.
    Vacant,
    /// A channel that Hubs follow, and no socket at its Room.
    Followed,
    /// Sockets of its own. Also what an answer without one is taken for: the most.
    #[default]
    #[serde(other)]
    Held,
}

impl Occupancy {
    /// By whether there are sockets, and whether Hubs follow.
    #[must_use]
    pub const fn of(sockets: bool, followed: bool) -> Self {
        match (sockets, followed) {
            (true, _) => Self::Held,
            (false, true) => Self::Followed,
            (false, false) => Self::Vacant,
        }
    }
}

/// What to tell the Directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tell {
    pub(crate) state: Occupancy,
    pub(crate) at: u64,
}

/// What an object knows of what it has told.
#[derive(Debug)]
pub(crate) struct Reporter {
    /// Whether the app wants a directory.
    on: bool,
    /// What the Directory has answered to; not known since the object woke.
    told: Option<Occupancy>,
    /// Whether it has told nothing since the object woke, and answered nobody that there is less: the Directory knows what there was before.
    silent: bool,
    /// What there was before, if it was silent when that was over.
    fallen_from: Option<Occupancy>,
    /// What there is, as far as that is known.
    state: Option<Occupancy>,
    /// What is on its way: one at most.
    sent: Option<Sent>,
    /// When to look what there is, and to tell it.
    look_at: Option<u64>,
    /// Reports that failed, in a row.
    failures: u32,
    /// The last number.
    last: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    at: u64,
    state: Occupancy,
    /// The Directory may have struck the object out since.
    doubtful: bool,
}

impl Reporter {
    pub(crate) const fn new(on: bool) -> Self {
        let (told, fallen_from, state, sent, look_at) = (None, None, None, None, None);
        Self { on, told, silent: true, fallen_from, state, sent, look_at, failures: 0, last: 0 }
    }

    /// There is more than there was. What is to be told now, if anything.
    pub(crate) fn rise(&mut self, state: Occupancy, now: u64) -> Option<Tell> {
        if !self.on {
            return None;
        }
        self.state = Some(state);
        self.failures = 0;
        if self.sent.is_some() {
            return None;
        }
        match self.told {
            Some(told) if told == state => self.look_at = None,
            // Less than was told, and that can wait: it is looked at already.
            Some(told) if told > state => {}
            // A page that is loaded again, after a sleep: the alarm repeats what there was and is.
            None if self.fallen_from == Some(state) => {}
            Some(_) | None => return Some(self.send(state, now)),
        }
        None
    }

    /// There is less than there was: when the alarm has to ring.
    pub(crate) fn fall(&mut self, from: Occupancy, now: u64) -> Option<u64> {
        if !self.on {
            return None;
        }
        self.state = None;
        self.fallen_from = self.silent.then_some(from);
        self.failures = 0;
        self.look_at = Some(now + limits::REPORT_PAUSE_MS);
        self.look_at
    }

    /// The alarm rings, and this is what there is. What is to be told now, and when to look again.
    pub(crate) fn look(&mut self, state: Occupancy, now: u64, leased: bool, due: &mut Vec<u64>) -> Option<Tell> {
        let known = self.sent.is_none() && self.told == Some(state);
        if !self.on || known {
            self.look_at = None;
            return None;
        }
        // An alarm that rings every 40 s for members is no reason to repeat it as often: once or twice in ten minutes are enough.
        let slept = self.silent && self.fallen_from.is_none();
        if leased && slept && now % limits::DELIVERY_LOOK_MS >= 2 * limits::PRESENCE_LEASE_MS {
            return None;
        }
        if let Some(at) = self.look_at.filter(|at| *at > now) {
            due.push(at);
            return None;
        }
        self.state = Some(state);
        if self.sent.is_some() || self.failures >= limits::REPORT_TRIES_MAX {
            return None;
        }
        Some(self.send(state, now))
    }

    /// What became of a report, by its number and what it said: the number that the Directory answered, `None` when it did not answer. What is to be told now, and when to look again.
    pub(crate) fn told(
        &mut self,
        (at, state): (u64, Occupancy),
        answer: Option<u64>,
        now: u64,
    ) -> (Option<Tell>, Option<u64>) {
        if self.on && self.silent && answer == Some(at) {
            // It slept meanwhile, and nothing has happened since.
            (self.told, self.last) = (Some(state), self.last.max(at));
            return (None, None);
        }
        let Some(sent) = self.sent.take_if(|sent| sent.at == at) else { return (None, None) };
        // A greater number: the clock here is behind, and this one was ignored.
        self.last = self.last.max(answer.unwrap_or_default());
        if answer.is_none_or(|answer| answer > at) {
            self.told = None;
            let pause = limits::REPORT_RETRY_MS << self.failures.min(16);
            self.failures = self.failures.saturating_add(1);
            if self.failures >= limits::REPORT_TRIES_MAX {
                return (None, None);
            }
            self.look_at = Some(now + pause.min(limits::REPORT_RETRY_MAX_MS));
            return (None, self.look_at);
        }
        self.failures = 0;
        self.told = (!sent.doubtful).then_some(sent.state);
        match self.state {
            Some(state) if self.told != Some(state) => (Some(self.send(state, now)), None),
            Some(_) | None => (None, None),
        }
    }

    /// Somebody was answered that there is less than the Directory may think, and may strike the object out: it is not known any more what it knows.
    pub(crate) fn doubt(&mut self) {
        (self.told, self.silent, self.fallen_from) = (None, false, None);
        if let Some(sent) = &mut self.sent {
            sent.doubtful = true;
        }
    }

    /// Whether the Directory knows that there is nobody; or has not answered for so long that nothing waits for it any more.
    pub(crate) fn may_forget(&self) -> bool {
        let told = self.sent.is_none() && self.told == Some(Occupancy::Vacant);
        !self.on || told || self.failures >= limits::REPORT_TRIES_MAX
    }

    /// Whether the Directory knows the most there is to know, and nothing else is on its way to it.
    pub(crate) fn is_told_held(&self) -> bool {
        !self.on || (self.sent.is_none() && self.told == Some(Occupancy::Held))
    }

    fn send(&mut self, state: Occupancy, now: u64) -> Tell {
        self.last = (self.last + 1).max(now.saturating_mul(1000));
        (self.look_at, self.silent, self.fallen_from) = (None, false, None);
        self.sent = Some(Sent { at: self.last, state, doubtful: false });
        Tell { state, at: self.last }
    }
}

#[cfg(test)]
mod tests;
