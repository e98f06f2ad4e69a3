//! What sockets are told of a channel's members.

use super::Hub;
use crate::channel::ChannelName;
use crate::frame::{Frame, members as words};
use crate::hub::channel::by_format;
use crate::hub::{Output, Slot};
use crate::limits;
use crate::link::Delivery;
use crate::presence::{Changes, Joined, Left};
use crate::session::Format;

impl Hub {
    /// Takes what a delivery says of members, and says what revision the sockets have then. The answer to a report that is on its way will bring everything, so nothing is
    /// taken meanwhile; and whether that is so.
    pub(in crate::hub) fn members_came(&mut self, delivery: &Delivery, out: &mut Vec<Output>) -> (Option<u64>, bool) {
        let channel = &delivery.channel;
        let is_reporting = self.presence.get(channel).is_some_and(|members| members.sent.is_some());
        let changes =
            delivery.members.as_ref().filter(|changes| !is_reporting && self.is_of_its_epoch(channel, changes));
        if let Some(changes) = changes {
            self.take_changes(channel, changes, out);
        }
        (self.presence.get(channel).and_then(|members| members.have), is_reporting)
    }

    /// Whether the revisions are of the epoch in which the Hub is, as those are that its sockets have been told: a Room that lost its log counts anew, and what it said before may come late.
    pub(super) fn is_of_its_epoch(&self, channel: &ChannelName, changes: &Changes) -> bool {
        let have = self.channels.get(channel).and_then(|known| known.have);
        changes.epoch.is_none_or(|epoch| have.is_some_and(|have| have.epoch == epoch))
    }

    /// The epoch is another: what the sockets have been told is of one that is over, so they get the list with the next answer. One attachment is written for each.
    pub(in crate::hub) fn forget_told(&mut self, channel: &ChannelName, out: &mut Vec<Output>) {
        let Some(members) = self.presence.get_mut(channel) else { return };
        members.have = None;
        let told: Vec<Slot> = core::mem::take(&mut members.told).into_iter().map(|(slot, _)| slot).collect();
        members.new.extend(&told);
        for slot in told {
            if let Some(subscription) = self.session_mut(slot).and_then(|session| session.subscription_mut(channel)) {
                subscription.told = None;
                self.remember(slot, out);
            }
        }
    }

    /// Tells those who know who is there what they do not know yet, unless something is missing before it. One attachment is written, whatever the number of sockets.
    pub(super) fn take_changes(&mut self, channel: &ChannelName, changes: &Changes, out: &mut Vec<Output>) {
        let Some(members) = self.presence.get_mut(channel) else { return };
        let Some(have) = members.have.filter(|have| *have < changes.revision) else { return };
        let follows = changes.after.is_some_and(|after| after <= have);
        if !follows && changes.list.is_none() {
            return;
        }
        members.have = Some(changes.revision);
        for (format, slots) in by_format(&members.told) {
            let frames = match &changes.list {
                Some(list) if !follows => words::members(channel, format, changes.count, list).into_iter().collect(),
                _ => changed(channel, format, changes, have),
            };
            self.say(slots, frames, out);
        }
        self.keep_revision(channel, out);
    }

    /// Who waited gets the list, and hears from now on what changes.
    pub(super) fn tell_list(&mut self, channel: &ChannelName, changes: &Changes, out: &mut Vec<Output>) {
        let Some(members) = self.presence.get_mut(channel) else { return };
        let asking = core::mem::take(&mut members.asking);
        if asking.is_empty() {
            return;
        }
        let revision = members.have.map_or(changes.revision, |have| have.max(changes.revision));
        let sessions = &self.sessions;
        let format = |slot: &Slot| Some((*slot, sessions.get(*slot as usize)?.as_ref()?.format));
        let newcomers: Vec<(Slot, Format)> = asking.iter().filter_map(format).collect();
        members.have = Some(revision);
        members.told.extend(&newcomers);
        let list = changes.list.as_deref().unwrap_or_default();
        for (format, slots) in by_format(&newcomers) {
            self.say(slots, words::members(channel, format, changes.count, list).into_iter().collect(), out);
        }
        for (slot, _) in newcomers {
            self.remember_told(slot, channel, revision, out);
        }
    }

    /// One socket's attachment says what all of them have been told.
    pub(super) fn keep_revision(&mut self, channel: &ChannelName, out: &mut Vec<Output>) {
        let Some(members) = self.presence.get(channel) else { return };
        if let Some(((keeper, _), have)) = members.told.first().copied().zip(members.have) {
            self.remember_told(keeper, channel, have, out);
        }
    }

    fn remember_told(&mut self, slot: Slot, channel: &ChannelName, revision: u64, out: &mut Vec<Output>) {
        let subscription = self.session_mut(slot).and_then(|session| session.subscription_mut(channel));
        if let Some(subscription) = subscription.filter(|subscription| subscription.told != Some(revision)) {
            subscription.told = Some(revision);
            self.remember(slot, out);
        }
    }

    fn say(&mut self, slots: Vec<Slot>, frames: Vec<Frame>, out: &mut Vec<Output>) {
        if frames.is_empty() || slots.is_empty() {
            return;
        }
        for frame in &frames {
            let bytes = match frame {
                Frame::Text(text) => text.len(),
                Frame::Binary(bytes) => bytes.len(),
            };
            self.unlooked_bytes += bytes + limits::FRAME_COST_BYTES;
        }
        out.push(Output::Send { slots, frames: frames.into() });
    }
}

/// The frames of what comes after a revision.
fn changed(channel: &ChannelName, format: Format, changes: &Changes, have: u64) -> Vec<Frame> {
    let left: Vec<&Left> = changes.left.iter().filter(|left| left.at > have).collect();
    let joined: Vec<&Joined> = changes.joined.iter().filter(|joined| joined.at > have).collect();
    words::changes(channel, format, changes.count, &left, &joined)
}
