//! The rows of tabs: what is known of each that is not in memory when all sockets are lost. Nothing is written for a message; once a second at most, for each channel in which
//! messages are acknowledged, what all tabs have.

use crate::call::Begin;
use crate::channel::ChannelName;
use crate::hub::{Hub, Output, Slot, Stage};
use crate::limits;
use crate::link::Delivery;
use crate::position::Position;
use crate::resume::{Claim, Held};

impl Hub {
    /// What is known of a slot's tab: `exactly`, for one to which nothing more is sent, or as it stays true while it gets messages.
    pub(super) fn held(&self, slot: Slot, exactly: bool) -> Option<Held> {
        let session = self.session(slot)?;
        let tab = session.tab.as_ref()?;
        let answered = session.subscriptions.iter().filter_map(|one| {
            let sent = match one.stage {
                _ if !exactly => None,
                Stage::Joining(Some(Begin::After(position))) | Stage::Listing(Some(Begin::After(position))) => {
                    Some(position)
                }
                stage => self.sent_to(&one.channel, stage),
            };
            let follows = one.follows && !exactly;
            Some(Claim { channel: one.channel.clone(), acked: one.acked?, sent, follows })
        });
        // One that is asked for in a moment gets something without a row.
        let unclaimed = tab.claims.iter().map(|claim| {
            let sent = claim.sent.filter(|_| exactly);
            Claim { sent, follows: false, ..claim.clone() }
        });
        let claims: Vec<Claim> = answered.chain(unclaimed).collect();
        // A pointer that was on its way for long may have been moved here from a connection that has something.
        let is_moving = tab.settling && tab.tag == session.connection && claims.is_empty();
        let was = core::iter::once(&session.connection).chain(&tab.was).take(limits::RESUME_NAMES_MAX);
        Some(Held { was: was.cloned().collect(), tag: tab.tag.clone(), claims, lost: tab.lost || is_moving })
    }

    /// Writes the rows that this event has changed, before anything that it sends: the runtime holds frames back until what was written before them is on the disk.
    pub(super) fn write_rows(&mut self, begin: usize, out: &mut Vec<Output>) {
        for slot in core::mem::take(&mut self.tabs.rows) {
            let Some(session) = self.session(slot) else { continue };
            let (Some(tab), is_stalled) = (&session.tab, session.is_stalled()) else { continue };
            let id = tab.id.clone();
            if let Some(held) = self.held(slot, is_stalled) {
                out.insert(begin.min(out.len()), Output::Hold { id, held, open: true });
            }
        }
    }

    /// A channel that a tab had is not its own any more, or is another's.
    pub(in crate::hub) fn tab_changed(&mut self, slot: Slot) {
        if self.session(slot).is_some_and(|session| session.tab.is_some()) {
            self.tabs.rows.insert(slot);
        }
    }

    pub(super) fn save_later(&mut self, channel: ChannelName) {
        let Some(known) = self.channels.get_mut(&channel).filter(|known| !known.saving) else { return };
        known.saving = true;
        let at = self.now.max(known.save_tried + limits::RESUME_SAVE_MS);
        self.tabs.saves.insert((at, channel));
    }

    /// Saves what all tabs have: one row for each channel in which that has moved.
    pub(super) fn save_due(&mut self, out: &mut Vec<Output>) {
        while self.tabs.saves.first().is_some_and(|(at, _)| *at <= self.now) {
            let Some((_, channel)) = self.tabs.saves.pop_first() else { return };
            let least = self.all_have(&channel);
            let now = self.now;
            let Some(known) = self.channels.get_mut(&channel) else { continue };
            (known.saving, known.save_tried) = (false, now);
            if let Some(acked) = least.filter(|_| least != known.saved) {
                known.saved = least;
                out.push(Output::Reached { channel, acked });
            }
        }
    }

    /// What all tabs have that follow; `None` if there is none, or one that has something of another epoch.
    fn all_have(&self, channel: &ChannelName) -> Option<Position> {
        let known = self.channels.get(channel)?;
        let epoch = known.have?.epoch;
        let slots = known.live.iter().map(|(slot, _)| slot).chain(&known.waiting);
        let acked = slots.filter_map(|slot| {
            let subscription = self.session(*slot)?.subscription(channel)?;
            subscription.acked.filter(|_| subscription.follows)
        });
        let mut least: Option<u64> = None;
        for position in acked {
            if position.epoch != epoch {
                return None;
            }
            least = Some(least.map_or(position.seq, |least| least.min(position.seq)));
        }
        least.map(|seq| epoch.at(seq))
    }

    /// What is due in this event, and when to look again. `begin`: where the event's outputs begin.
    pub(in crate::hub) fn look_after_tabs(&mut self, begin: usize, out: &mut Vec<Output>) {
        if self.tabs.pings.is_empty() && self.tabs.saves.is_empty() && self.tabs.rows.is_empty() {
            return;
        }
        self.ping_due(out);
        self.save_due(out);
        self.write_rows(begin, out);
        let pings = self.tabs.pings.first().map(|(at, _)| *at);
        let next = pings.into_iter().chain(self.tabs.saves.first().map(|(at, _)| *at)).min();
        if let Some(at) = next.filter(|at| self.tabs.look_at.is_none_or(|look_at| *at < look_at)) {
            self.tabs.look_at = Some(at);
            out.push(Output::LookAt(at));
        }
    }

    /// The driver looks. A timer in whose place an earlier one was set rings all the same: if it were a reason to set the next one, there would be more and more of them.
    pub(in crate::hub) fn look(&mut self, at: u64) {
        if self.tabs.look_at == Some(at) {
            self.tabs.look_at = None;
        }
    }

    /// A Room brings something of a channel that only tabs had that were lost: where it is now is what nothing can have been sent beyond. One request.
    pub(in crate::hub) fn ask_for_bound(&mut self, delivery: &Delivery) {
        let channel = &delivery.channel;
        if self.tabs.mourned.contains(channel) && !self.channels.contains_key(channel) {
            self.tabs.mourned.remove(channel);
            self.tabs.asked.insert(channel.clone());
            self.calls.add(Output::Missed { channel: channel.clone(), from: Begin::Last(0) });
        }
    }

    /// The answer to that, or to another question that says as much. One row.
    pub(in crate::hub) fn is_at(&mut self, channel: &ChannelName, result: Option<Position>, out: &mut Vec<Output>) {
        let was_asked = self.tabs.asked.remove(channel);
        if let Some(position) = result
            && (self.tabs.mourned.remove(channel) || was_asked)
        {
            out.push(Output::Bound { channel: channel.clone(), position });
        }
    }
}
