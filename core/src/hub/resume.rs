//! Tabs of stock Pusher clients that resume: connections that came with an id of their own ([`crate::resume`]). Here is what a Hub remembers of such a connection, and how one
//! begins and ends; what it acknowledges is in `acks`, how it catches up in `replay`, the rows are in `rows`, and how it is found out where it was before is in `settle`.

mod acks;
mod replay;
mod rows;
mod settle;

use super::{Hub, HubSession, Output, Slot, Stage, Subscription};
use crate::call::Begin;
use crate::channel::ChannelName;
use crate::frame::{Gap, GapReason};
use crate::limits;
use crate::position::Position;
use crate::pusher::words;
use crate::resume::{Claim, Held, ResumeId, UNKNOWN};
use acks::Acks;
use serde::{Deserialize, Serialize};
use settle::Settling;
use std::collections::{BTreeSet, HashMap, HashSet};

/// What the attachment says of a connection that resumes. Short names, as there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct Tab {
    /// The tab's id.
    #[serde(rename = "i")]
    pub id: ResumeId,
    /// [`Held::was`], without this connection.
    #[serde(rename = "w", skip_serializing_if = "Vec::is_empty", default)]
    pub was: Vec<String>,
    /// [`Held::tag`].
    #[serde(rename = "g", skip_serializing_if = "String::is_empty", default)]
    pub tag: String,
    /// Channels that it had, and has not asked for again yet.
    #[serde(rename = "s", skip_serializing_if = "Vec::is_empty", default)]
    pub claims: Vec<Claim>,
    /// When it will have done so, in milliseconds, if it is there.
    #[serde(rename = "u", default)]
    pub claims_until: u64,
    /// [`Held::lost`].
    #[serde(rename = "l", skip_serializing_if = "core::ops::Not::not", default)]
    pub lost: bool,
    /// Whether a ping has not been answered.
    #[serde(rename = "p", skip_serializing_if = "core::ops::Not::not", default)]
    pub pinged: bool,
    /// Whether that took so long that nothing more is sent.
    #[serde(rename = "y", skip_serializing_if = "core::ops::Not::not", default)]
    pub stalled: bool,
    /// Whether it is not known yet what it has.
    #[serde(rename = "q", skip_serializing_if = "core::ops::Not::not", default)]
    pub settling: bool,
}

/// What a Hub knows of all of them while it is awake. Empty where there are none: then nothing here costs anything.
#[derive(Debug, Default)]
pub(super) struct Tabs {
    slots: HashMap<ResumeId, Slot>,
    /// By slot.
    acks: Vec<Option<Box<Acks>>>,
    /// Who is to be pinged, and when.
    pings: BTreeSet<(u64, Slot)>,
    /// When the next one that catches up may be pinged at once, in milliseconds.
    turn: u64,
    /// Of which channels it is to be saved what all have, and when.
    saves: BTreeSet<(u64, ChannelName)>,
    /// Whose rows have to be written in this event.
    rows: BTreeSet<Slot>,
    /// When the driver will look.
    look_at: Option<u64>,
    /// Channels of tabs that were lost with lives before this one, of which no bound is known.
    mourned: HashSet<ChannelName>,
    /// Those of them whose Room is being asked.
    asked: HashSet<ChannelName>,
    /// Tabs of which it is being found out what they have, by their pointers.
    settling: HashMap<ChannelName, Settling>,
}

impl Tab {
    fn new(id: ResumeId, held: Held, now: u64) -> Self {
        let Held { was, tag, claims, lost } = held;
        let claims_until = now + limits::RESUME_CLAIM_MS;
        Self { id, was, tag, claims, claims_until, lost, pinged: false, stalled: false, settling: true }
    }
}

impl HubSession {
    /// Where a tab begins that asks for a channel again, and what it has of it; else what was asked for, and nothing.
    pub(super) fn claim(&mut self, channel: &ChannelName, from: Option<Begin>) -> (Option<Begin>, Option<Position>) {
        let Some(tab) = self.tab.as_mut().filter(|_| channel.online().is_none()) else { return (from, None) };
        match tab.claims.iter().position(|claim| claim.channel == *channel) {
            Some(at) => {
                let claim = tab.claims.swap_remove(at);
                // Where the channel is now is what nothing can have been sent beyond.
                (Some(claim.sent.map_or(Begin::Last(0), Begin::After)), Some(claim.acked))
            }
            None if tab.lost => (Some(Begin::Last(0)), Some(UNKNOWN)),
            None => (from, None),
        }
    }

    /// Whether the connection has that id, or is one of a tab whose last connections had it.
    pub(super) fn is_called(&self, connection: &str) -> bool {
        let was = |tab: &Tab| tab.was.iter().any(|was| was == connection);
        self.connection == connection || self.tab.as_ref().is_some_and(was)
    }

    /// Whether it is not known yet what it has.
    pub(super) fn is_settling(&self) -> bool {
        self.tab.as_ref().is_some_and(|tab| tab.settling)
    }

    /// Whether its channels have to wait.
    pub(super) fn has_to_wait(&self) -> bool {
        self.tab.as_ref().is_some_and(|tab| tab.stalled || tab.settling)
    }

    /// Whether it has to be told nothing for now.
    pub(super) fn is_stalled(&self) -> bool {
        self.tab.as_ref().is_some_and(|tab| tab.stalled)
    }

    /// Leaves out what does not fit the attachment: that is lost then, and will be told so.
    fn fit_claims(&mut self) {
        while self.check_size().is_err() {
            let Some(tab) = self.tab.as_mut().filter(|tab| !tab.claims.is_empty()) else { return };
            tab.claims.truncate(tab.claims.len() / 2);
            tab.lost = true;
        }
    }
}

impl Hub {
    /// Learns, with each waking, of which channels tabs were lost with the Hub's earlier lives and no bound is known: when one of them is brought something, it is asked where it is.
    pub fn mourn(&mut self, channels: impl IntoIterator<Item = ChannelName>) {
        self.tabs.mourned.extend(channels);
    }

    /// A tab comes, with what is known of it. One that is still here under the same id is of the past: its client has given it up. One row then.
    pub(super) fn tab_comes(
        &mut self,
        session: &mut HubSession,
        id: ResumeId,
        held: Option<Held>,
        out: &mut Vec<Output>,
    ) {
        let open = self.tabs.slots.get(&id).copied();
        let released = open.and_then(|slot| self.release(slot, out));
        if let Some(held) = &released {
            // What all tabs have says nothing of this one any more.
            out.push(Output::Hold { id: id.clone(), held: held.clone(), open: false });
        }
        let held = released.or(held).unwrap_or_default();
        session.tab = Some(Tab::new(id, held, self.now));
        session.fit_claims();
    }

    /// It has a slot now.
    pub(super) fn tab_came(&mut self, slot: Slot) {
        let Some(tab) = self.session(slot).and_then(|session| session.tab.as_ref()) else { return };
        self.tabs.slots.insert(tab.id.clone(), slot);
        self.tabs.enter(slot, false);
        self.ask_pointer(slot);
    }

    /// Takes up a tab's socket after waking.
    pub(super) fn tab_restored(&mut self, slot: Slot) {
        let Some(tab) = self.session(slot).and_then(|session| session.tab.as_ref()) else { return };
        let (id, pinged) = (tab.id.clone(), tab.pinged);
        self.tabs.slots.insert(id, slot);
        self.tabs.enter(slot, pinged);
        self.ask_pointer(slot);
    }

    /// All sockets have been taken up: who was sent something that it has not acknowledged is pinged again.
    pub(super) fn tabs_restored(&mut self) {
        let slots: Vec<Slot> = self.tabs.slots.values().copied().collect();
        for slot in slots {
            self.tabs.begin_to_wait(slot, self.now);
            if !self.unacknowledged(slot).is_empty() {
                self.tell_tab(slot);
            }
        }
    }

    /// A subscription is answered: it goes on after `start`. What is uncertain and what cannot be had is one gap, which is told when the answer has been. One row for a channel
    /// that the tab did not have.
    pub(super) fn begins(
        &mut self,
        slot: Slot,
        channel: &ChannelName,
        start: Position,
        gap: Option<Gap>,
    ) -> Option<Gap> {
        let have = self.channels.get(channel).and_then(|known| known.have);
        // No message is ever in a hidden one.
        let resumes = |session: &&mut HubSession| session.tab.is_some() && channel.online().is_none();
        let Some(session) = self.session_mut(slot).filter(resumes) else { return gap };
        let Some(subscription) = session.subscription_mut(channel) else { return gap };
        let Some(after) = subscription.acked else {
            subscription.acked = Some(start);
            // What was saved for the others is not beyond what the Hub has.
            subscription.follows = have == Some(start);
            self.tabs.rows.insert(slot);
            return gap;
        };
        let reason = if after.epoch == start.epoch { GapReason::Unconfirmed } else { GapReason::Lost };
        let uncertain = (after != start).then_some(Gap { after, position: start, reason });
        gap.map(|gap| Gap { after, ..gap }).or(uncertain)
    }

    /// A socket is gone: what its tab has is kept. One row.
    pub(super) fn tab_left(&mut self, slot: Slot, out: &mut Vec<Output>) {
        if let Some((id, held)) = self.leave(slot)
            && (!held.claims.is_empty() || held.lost || !held.tag.is_empty())
        {
            out.push(Output::Hold { id, held, open: false });
            self.wake_at(self.now + limits::RESUME_KEEP_MS, out);
        }
    }

    /// Ends a tab's connection from here: the tab is somewhere else. Its slot stays until the socket has gone.
    pub(super) fn release(&mut self, slot: Slot, out: &mut Vec<Output>) -> Option<Held> {
        let (_, held) = self.leave(slot)?;
        let session = self.session_mut(slot)?;
        // Who it is in a presence channel is its subscription's to say.
        let member = |one: &Subscription| (one.channel.clone(), session.member_by(one).map(str::to_owned));
        let gone: Vec<(ChannelName, Option<String>)> = session.subscriptions.iter().map(member).collect();
        session.subscriptions.clear();
        self.remember(slot, out);
        for (channel, user) in gone {
            self.depart(slot, user.as_deref(), &channel, out);
            self.take_out(slot, &channel, out);
        }
        // Not for good: a request that was on its way for long may be the older one of the two.
        out.push(Output::Close { slot, code: words::COME_BACK, reason: "this tab has another connection" });
        Some(held)
    }

    /// Takes the tab away from a connection; what is known of it.
    fn leave(&mut self, slot: Slot) -> Option<(ResumeId, Held)> {
        let held = self.held(slot, true)?;
        let tab = self.session_mut(slot)?.tab.take()?;
        if self.tabs.slots.get(&tab.id) == Some(&slot) {
            self.tabs.slots.remove(&tab.id);
        }
        self.tabs.exit(slot);
        self.tabs.settling.remove(&ChannelName::pointer(&tab.id));
        Some((tab.id, held))
    }

    /// How far a subscription has been sent to; `None` for one that has not been answered.
    fn sent_to(&self, channel: &ChannelName, stage: Stage) -> Option<Position> {
        match stage {
            Stage::Live(_) => self.channels.get(channel).and_then(|known| known.have),
            Stage::Behind(position) => Some(position),
            Stage::Joining(_) | Stage::Listing(_) => None,
        }
    }
}

impl Tabs {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// `pinged`: a ping was not answered before the Hub woke.
    fn enter(&mut self, slot: Slot, pinged: bool) {
        let at = slot as usize;
        if self.acks.len() <= at {
            self.acks.resize_with(at + 1, || None);
        }
        if let Some(place) = self.acks.get_mut(at) {
            *place = Some(Box::new(Acks::new(pinged)));
        }
    }

    fn exit(&mut self, slot: Slot) {
        self.rows.remove(&slot);
        let acks = self.acks.get_mut(slot as usize).and_then(Option::take);
        if let Some(at) = acks.and_then(|acks| acks.due) {
            self.pings.remove(&(at, slot));
        }
    }
}

#[cfg(test)]
mod tests;
