//! How a tab catches up: a window at a time. The next one is asked for when a pong has said that it has the one before, so what is uncertain when its connection is cut meanwhile
//! is one window, however much it missed. What has been sent and what has been acknowledged stand in the attachment: a sleep changes nothing.

use super::Tabs;
use crate::channel::ChannelName;
use crate::hub::{Hub, Slot, Stage, Subscription};
use crate::limits;
use crate::message::Message;
use crate::position::Position;

impl Subscription {
    /// Whether it is replayed to, and more of it waits for a pong: of a tab that has not acknowledged what it was sent.
    pub(in crate::hub) fn awaits_pong(&self) -> bool {
        match (self.stage, self.acked) {
            (Stage::Behind(sent), Some(acked)) => acked.epoch != sent.epoch || acked.seq < sent.seq,
            _ => false,
        }
    }
}

impl Tabs {
    /// How far apart two pings to a tab are, in milliseconds.
    pub(super) fn pause(&self) -> u64 {
        (self.slots.len() as u64 * 1000 / limits::RESUME_PONGS_PER_S).max(limits::RESUME_PING_MS)
    }

    /// How many messages a tab that catches up may be sent beyond what it has acknowledged.
    fn window(&self) -> u64 {
        limits::RESUME_WINDOW_MESSAGES * self.pause() / limits::RESUME_PING_MS
    }
}

impl Hub {
    /// How many of the messages after `start` fit the window of a subscription: all of them, unless it is a tab's. What was uncertain when it came back takes its part of it:
    /// else what is uncertain would grow with each cut.
    pub(in crate::hub) fn fit_window(
        &self,
        slot: Slot,
        channel: &ChannelName,
        start: Position,
        missed: &[(Position, &Message)],
    ) -> usize {
        let subscription = self.session(slot).and_then(|session| session.subscription(channel));
        let Some(acked) = subscription.and_then(|one| one.acked) else { return missed.len() };
        let uncertain = if acked.epoch == start.epoch { start.seq.saturating_sub(acked.seq) } else { u64::MAX };
        let most = usize::try_from(self.tabs.window().saturating_sub(uncertain)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let fits = |(_, message): &&(Position, &Message)| {
            let is_room = bytes < limits::RESUME_WINDOW_BYTES;
            bytes += message.bytes();
            is_room
        };
        missed.iter().take(most).take_while(fits).count()
    }

    /// A subscription has to wait for a pong: the ping goes out at once, unless too many do; then when it would for a live one.
    pub(in crate::hub) fn hurry_tab(&mut self, slot: Slot) {
        let (now, pause) = (self.now, self.tabs.pause());
        let turn = self.tabs.turn.max(now);
        let Some(acks) = self.tabs.acks(slot).filter(|acks| acks.ping.is_none()) else { return };
        let usual = now.max(acks.pinged_at + pause);
        let (at, was_due) = (turn.min(usual), acks.due);
        if was_due.is_some_and(|due| due <= at) {
            return;
        }
        acks.due = Some(at);
        if let Some(due) = was_due {
            self.tabs.pings.remove(&(due, slot));
        }
        self.tabs.pings.insert((at, slot));
        if turn < usual {
            self.tabs.turn = turn + 1000 / limits::RESUME_WINDOWS_PER_S;
        }
    }
}
