//! How many sockets want a channel, where its rule has `subscription_count`: said to its Room when that changes and with every receipt; and what the Room says of all of them.

use super::channel::Channel;
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
            // A clock that was set back is not waited for.
            let pause = known.tally_after.saturating_sub(self.now);
            let pause = if pause > limits::COUNT_RETRY_MS { 0 } else { pause };
            if is_held || pause > 0 {
                if !is_held {
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
        let Some(pause) = wait else { return };
        let at = self.now + pause;
        // One for what has failed, and one that does not wait for that.
        if self.tally_timers.len() < 2 && self.tally_timers.last().is_none_or(|earliest| at < *earliest) {
            self.tally_timers.push(at);
            out.push(Output::TallyIn(pause));
        }
    }

    /// The Room has heard it, or not. After a failure it is said again a little later, and until then the Hub does not sleep: that there is something to say is in no attachment, and
    /// where the last socket has left there is none. A Room that does not know the Hub is followed anew.
    pub(super) fn tallied(&mut self, channel: &ChannelName, result: &Result<bool, Refusal>) {
        let Some(known) = self.channels.get_mut(channel) else { return };
        known.tallying = false;
        match result {
            Ok(false) if known.has_subscribers() => self.follow(channel),
            Ok(_) => {}
            Err(_) => {
                known.tally_after = self.now + limits::COUNT_RETRY_MS;
                self.untold.insert(channel.clone());
            }
        }
    }

    /// The Room says how many subscribers there are: those who speak Pusher's protocol are told, unless all of them have been, or it was overtaken by what the Room has said since.
    pub(super) fn tell_count(&mut self, channel: &ChannelName, told: Tally, out: &mut Vec<Output>) {
        let Tally { at, count } = told;
        let is_news = |known: &&mut Channel| at == 0 || known.counted_at <= at;
        let Some(known) = self.channels.get_mut(channel).filter(is_news) else { return };
        known.counted_at = at;
        if known.counted == Some(count) {
            return;
        }
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
