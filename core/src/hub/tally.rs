//! How many sockets want a channel, where its rule has `subscription_count`: said to its Room when that changes and with every receipt; and what the Room says of all of them.

use super::{Hub, Output, Slot};
use crate::channel::ChannelName;
use crate::limits;
use crate::link::Tally;
use crate::pusher::words;
use crate::refusal::Refusal;
use crate::session::Format;

impl Hub {
    /// What a receipt says; nothing where the rule does not ask.
    pub(super) fn tally(&mut self, channel: &ChannelName) -> Option<Tally> {
        if !self.app.counts(channel) {
            return None;
        }
        let at = self.decide();
        self.channels.get(channel).map(|known| Tally { at, count: known.subscribers() })
    }

    /// A socket has come or gone: the Room shall hear of it.
    pub(super) fn doubt_tally(&mut self, channel: &ChannelName) {
        if self.app.counts(channel) {
            self.untold.insert(channel.clone());
        }
    }

    /// A socket is live that may have waited while a number came: what is said to the Room now is answered with the number again. Not before: one that does not answer may wait for
    /// hours, and each number would be the reason for the next.
    pub(super) fn counts_again(&mut self, channel: &ChannelName) {
        if self.channels.get_mut(channel).is_some_and(|known| core::mem::take(&mut known.uncounted)) {
            self.doubt_tally(channel);
        }
    }

    /// It stands for one that a trap has ended, whose calls are lost: one request for each channel whose rule asks.
    pub(super) fn tally_anew(&mut self) {
        let mut counted: Vec<ChannelName> = self.channels.keys().cloned().collect();
        counted.retain(|channel| self.app.counts(channel));
        self.untold.extend(counted);
    }

    /// At the end of an event: says what has changed. One request for each channel, one on its way at a time, and with a pause after it; a Hub that is waiting for that does not sleep.
    pub(super) fn tally_all(&mut self, out: &mut Vec<Output>) {
        let mut wait: Option<u64> = None;
        for channel in core::mem::take(&mut self.untold) {
            let at = self.decide();
            let Some(known) = self.channels.get_mut(&channel) else { continue };
            // Who does not follow yet, or waits for the answer, goes on with that.
            let is_held = known.following.is_some() || known.tallying;
            let pause = known.tally_after.saturating_sub(self.now);
            if is_held || pause > 0 {
                if !is_held && pause <= limits::COUNT_PAUSE_MS {
                    wait = Some(wait.unwrap_or(pause).min(pause));
                }
                self.untold.insert(channel);
                continue;
            }
            known.tallying = true;
            known.tally_after = self.now + limits::COUNT_PAUSE_MS;
            let tally = Tally { at, count: known.subscribers() };
            self.calls.add(Output::Tally { channel, tally });
        }
        if let Some(pause) = wait.filter(|_| !self.tallying) {
            self.tallying = true;
            out.push(Output::TallyIn(pause));
        }
    }

    /// The Room has heard it, or not. After a failure it is said again by alarm: one row. A Room that does not know the Hub is followed anew.
    pub(super) fn tallied(&mut self, channel: &ChannelName, result: &Result<bool, Refusal>, out: &mut Vec<Output>) {
        let Some(known) = self.channels.get_mut(channel) else { return };
        known.tallying = false;
        match result {
            Ok(false) if known.has_subscribers() => self.follow(channel),
            Ok(_) => {}
            Err(_) => {
                known.tally_after = self.now + limits::COUNT_RETRY_MS;
                self.untold.insert(channel.clone());
                self.wake_at(self.now + limits::COUNT_RETRY_MS, out);
            }
        }
    }

    /// When the alarm has to ring for a call that failed.
    pub(super) fn tally_due(&self) -> Option<u64> {
        let known = self.untold.iter().filter_map(|channel| self.channels.get(channel));
        known.filter(|known| !known.tallying).map(|known| known.tally_after).filter(|at| *at > self.now).min()
    }

    /// The Room says how many subscribers there are: those who speak Pusher's protocol are told, unless all of them have been.
    pub(super) fn tell_count(&mut self, channel: &ChannelName, count: u64, out: &mut Vec<Output>) {
        let Some(known) = self.channels.get_mut(channel).filter(|known| known.counted != Some(count)) else { return };
        let slots: Vec<Slot> =
            known.live.iter().filter(|(_, format)| *format == Format::Pusher).map(|(slot, _)| *slot).collect();
        // One that is not live yet has not been told.
        known.counted = known.waiting.is_empty().then_some(count);
        known.uncounted = known.counted.is_none();
        if !slots.is_empty() {
            out.push(Output::Send { slots, frames: [words::subscription_count(channel, count)].into() });
        }
    }
}

#[cfg(test)]
mod tests;
