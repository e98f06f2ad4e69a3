//! What tabs have acknowledged. A client handles frames in order, so its pong says that it has everything that was sent before the ping. There is one ping under way at a time,
//! and none where nothing was sent: a Hub whose channels are quiet sleeps.

use super::Tabs;
use crate::channel::ChannelName;
use crate::frame::Frame;
use crate::hub::{Hub, HubSession, Output, Slot, Stage, Subscription};
use crate::limits;
use crate::position::Position;
use crate::pusher::words;
use std::rc::Rc;

/// What a Hub knows of one tab's pings while it is awake.
#[derive(Debug)]
pub(super) struct Acks {
    /// The ping that has not been answered.
    pub(super) ping: Option<Ping>,
    pub(super) pinged_at: u64,
    /// Whether something was sent since.
    unasked: bool,
    /// When the next ping is due.
    pub(super) due: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Ping {
    at: u64,
    /// What the answer says that the client has.
    noted: Vec<Noted>,
}

/// How far a channel had been sent at a ping.
#[derive(Debug)]
struct Noted {
    channel: ChannelName,
    position: Position,
    /// Whether that was as far as the Hub was.
    live: bool,
}

impl Acks {
    /// One whose ping was under way when the Hub fell asleep, if it was: what it would say is not known any more, but it will come before the answer to the next.
    pub(super) fn new(pinged: bool) -> Self {
        let ping = pinged.then(|| Ping { at: 0, noted: Vec::new() });
        Self { ping, pinged_at: 0, unasked: false, due: None }
    }
}

impl Tabs {
    pub(super) fn acks(&mut self, slot: Slot) -> Option<&mut Acks> {
        self.acks.get_mut(slot as usize)?.as_deref_mut()
    }

    /// A ping that was under way when the Hub fell asleep is waited for anew.
    pub(super) fn begin_to_wait(&mut self, slot: Slot, now: u64) {
        if let Some(ping) = self.acks(slot).and_then(|acks| acks.ping.as_mut()) {
            ping.at = now;
        }
    }

    /// Whether a ping to it has been unanswered for too long.
    fn is_late(&self, slot: Slot, now: u64) -> bool {
        let ping = self.acks.get(slot as usize).and_then(Option::as_ref).and_then(|acks| acks.ping.as_ref());
        ping.is_some_and(|ping| ping.at + limits::RESUME_STALL_MS <= now)
    }
}

impl Hub {
    /// Something was sent to a tab, or will be in this event: it is asked for an answer when the time has come.
    pub(in crate::hub) fn tell_tab(&mut self, slot: Slot) {
        let (now, pause) = (self.now, self.tabs.pause());
        let Some(acks) = self.tabs.acks(slot) else { return };
        acks.unasked = true;
        if acks.ping.is_none() && acks.due.is_none() {
            let at = now.max(acks.pinged_at + pause);
            acks.due = Some(at);
            self.tabs.pings.insert((at, slot));
        }
    }

    /// Messages of a channel will be sent to all who are live: who does not answer gets them from the log when it does, and the others are asked.
    pub(in crate::hub) fn tell_tabs(&mut self, channel: &ChannelName, out: &mut Vec<Output>) {
        if self.tabs.is_empty() {
            return;
        }
        let Some(known) = self.channels.get(channel) else { return };
        let slots: Vec<Slot> = known.live.iter().map(|(slot, _)| *slot).collect();
        for slot in slots {
            if self.tabs.is_late(slot, self.now) {
                self.stall(slot, out);
            } else {
                self.tell_tab(slot);
            }
        }
    }

    /// Whether a tab has to wait with what it missed, because it does not answer.
    pub(in crate::hub) fn has_to_wait(&mut self, slot: Slot, out: &mut Vec<Output>) -> bool {
        if self.tabs.is_late(slot, self.now) {
            self.stall(slot, out);
        }
        self.session(slot).is_some_and(HubSession::is_stalled)
    }

    /// Nothing more is sent to it. One row: what it has, and what it was sent.
    fn stall(&mut self, slot: Slot, out: &mut Vec<Output>) {
        let Some(session) = self.session_mut(slot).filter(|session| !session.is_stalled()) else { return };
        if let Some(tab) = &mut session.tab {
            tab.stalled = true;
        }
        let mut live = Vec::new();
        for subscription in &mut session.subscriptions {
            subscription.follows = false;
            if matches!(subscription.stage, Stage::Live(_)) {
                live.push(subscription.channel.clone());
            }
        }
        for channel in live {
            let Some(have) = self.channels.get(&channel).and_then(|known| known.have) else { continue };
            self.set_stage(slot, &channel, Stage::Behind(have));
            self.give_place_up(slot, &channel, out);
            if let Some(known) = self.channels.get_mut(&channel) {
                known.waiting.push(slot);
            }
        }
        self.tabs.rows.insert(slot);
        self.remember(slot, out);
    }

    /// A client answers a ping: where it catches up, the next window is asked for. The attachment is written; a row after it was stalled, and when what all tabs have says again what this one has.
    pub(in crate::hub) fn pong(&mut self, slot: Slot, out: &mut Vec<Output>) {
        let Some(acks) = self.tabs.acks(slot) else { return };
        // One that nobody asked for says nothing.
        let Some(ping) = acks.ping.take() else { return };
        let unasked = acks.unasked;
        let Some(session) = self.session_mut(slot) else { return };
        let Some(tab) = &mut session.tab else { return };
        tab.pinged = false;
        let was_stalled = core::mem::take(&mut tab.stalled);
        // It has been there for so long: what it has not asked for by now it does not want.
        if !ping.noted.is_empty() && ping.at > tab.claims_until {
            tab.claims.clear();
            tab.lost = false;
        }
        let mut moved = Vec::new();
        for Noted { channel, position, .. } in &ping.noted {
            let Some(subscription) = session.subscription_mut(channel) else { continue };
            let is_less = |acked: &Position| acked.epoch != position.epoch || acked.seq < position.seq;
            if subscription.acked.as_ref().is_some_and(is_less) {
                subscription.acked = Some(*position);
                moved.push(channel.clone());
            }
        }
        for channel in moved {
            self.save_later(channel);
        }
        if was_stalled {
            self.tabs.rows.insert(slot);
        } else {
            self.follow_with_all(slot, &ping.noted);
        }
        let goes_on = |one: &&Subscription| was_stalled || matches!(one.stage, Stage::Behind(_));
        let waiting = self.session(slot).map(|session| session.subscriptions.iter().filter(goes_on));
        let waiting: Vec<ChannelName> = waiting.into_iter().flatten().map(|one| one.channel.clone()).collect();
        for channel in waiting {
            self.advance(slot, &channel, out);
        }
        self.remember(slot, out);
        if unasked {
            self.tell_tab(slot);
        }
    }

    /// Once a tab has what all others have in all of its channels, what is saved for all says what it has. One row, when that was not so.
    fn follow_with_all(&mut self, slot: Slot, noted: &[Noted]) {
        let Some(session) = self.session(slot) else { return };
        let answered = || session.subscriptions.iter().filter(|one| one.acked.is_some());
        let catches_up = answered().filter(|one| !one.follows).all(|one| {
            let saved = self.channels.get(&one.channel).and_then(|known| known.saved);
            let is_it =
                |noted: &&Noted| noted.live && noted.channel == one.channel && Some(noted.position) == one.acked;
            noted.iter().find(is_it).is_some_and(|noted| {
                let is_beyond = |saved: Position| saved.epoch != noted.position.epoch || saved.seq > noted.position.seq;
                matches!(one.stage, Stage::Live(_)) && !saved.is_some_and(is_beyond)
            })
        });
        if !catches_up || answered().all(|one| one.follows) {
            return;
        }
        if let Some(session) = self.session_mut(slot) {
            for subscription in session.subscriptions.iter_mut().filter(|one| one.acked.is_some()) {
                subscription.follows = true;
            }
        }
        self.tabs.rows.insert(slot);
    }

    /// How far channels have been sent of which that says more than what is known.
    fn unacknowledged_of(&self, slot: Slot) -> Vec<Noted> {
        let subscriptions = self.session(slot).map(|session| session.subscriptions.iter());
        let noted = subscriptions.into_iter().flatten().filter_map(|one| {
            let (acked, position) = (one.acked?, self.sent_to(&one.channel, one.stage)?);
            let live = matches!(one.stage, Stage::Live(_));
            let says_more = acked != position || !one.follows;
            says_more.then(|| Noted { channel: one.channel.clone(), position, live })
        });
        noted.collect()
    }

    pub(super) fn unacknowledged(&self, slot: Slot) -> Vec<ChannelName> {
        self.unacknowledged_of(slot).into_iter().map(|noted| noted.channel).collect()
    }

    /// Pings those whose time has come: one frame for all, and an attachment for each, so that an answer that comes after a sleep is not taken for a later one's.
    pub(super) fn ping_due(&mut self, out: &mut Vec<Output>) {
        let mut slots = Vec::new();
        while let Some((at, slot)) = self.tabs.pings.first().copied().filter(|(at, _)| *at <= self.now) {
            self.tabs.pings.remove(&(at, slot));
            let noted = self.unacknowledged_of(slot);
            let now = self.now;
            let Some(acks) = self.tabs.acks(slot) else { continue };
            (acks.due, acks.unasked) = (None, false);
            if acks.ping.is_some() || noted.is_empty() {
                continue;
            }
            (acks.ping, acks.pinged_at) = (Some(Ping { at: now, noted }), now);
            if let Some(tab) = self.session_mut(slot).and_then(|session| session.tab.as_mut()) {
                tab.pinged = true;
            }
            self.remember(slot, out);
            slots.push(slot);
        }
        if !slots.is_empty() {
            out.push(Output::Send { slots, frames: Rc::new([Frame::Text(words::PING.to_owned())]) });
        }
    }
}
