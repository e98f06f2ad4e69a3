//! What sockets are told of a channel's members.

use super::Hub;
use crate::channel::ChannelName;
use crate::frame::{Frame, members as words};
use crate::hub::channel::by_format;
use crate::hub::{Output, Slot, Stage, Subscription};
use crate::limits;
use crate::link::Delivery;
use crate::presence::{Changes, Joined, Left, Member};
use crate::pusher::words as pusher;
use crate::session::Format;

impl Hub {
    /// Takes what a delivery says of members, and says what revision the sockets have then. The answer to a report that is on its way will bring everything, so nothing is
    /// taken meanwhile; and whether that is so.
    pub(in crate::hub) fn members_came(&mut self, delivery: &Delivery, out: &mut Vec<Output>) -> (Option<u64>, bool) {
        let channel = &delivery.channel;
        let is_reporting = self.presence.get(channel).is_some_and(|members| members.sent.is_some());
        if let (true, Some(changes), Some(members)) = (is_reporting, &delivery.members, self.presence.get_mut(channel))
        {
            members.lacks = members.lacks.max(Some(changes.revision));
        }
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
                // Told before the channel began: it is a member already, and waits for the list again.
                if let Stage::Joining(from) = subscription.stage {
                    subscription.stage = Stage::Listing(from);
                }
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
        if follows {
            self.note_drift(channel, changes, have, out);
        } else if let Some(members) = self.presence.get_mut(channel) {
            members.drifted_at = None;
        }
        let Some(members) = self.presence.get(channel) else { return };
        for (format, slots) in by_format(&members.told) {
            match &changes.list {
                Some(list) if !follows => self.say_list(slots, format, channel, changes.count, list, out),
                _ => Self::say(slots, changed(channel, format, changes, have), out),
            }
        }
        self.keep_revision(channel, out);
    }

    /// Clients of Pusher's protocol count for themselves, and cannot take off whom they do not know: of many members they were told the first only.
    fn note_drift(&mut self, channel: &ChannelName, changes: &Changes, have: u64, out: &mut Vec<Output>) {
        let now = self.now;
        let left = changes.left.iter().filter(|left| left.at > have).count() as u64;
        let Some(members) = self.presence.get_mut(channel) else { return };
        let counts = members.told.first().is_some_and(|(_, format)| *format == Format::Pusher);
        let were_many = changes.count.saturating_add(left) > limits::MEMBERS_LISTED as u64;
        if counts && left > 0 && were_many && members.drifted_at.is_none() {
            members.drifted_at = Some(now);
            self.wake_at(now + limits::RELIST_MS, out);
        }
    }

    /// Who counts for itself is told anew who is there.
    pub(super) fn relist(&mut self, channel: &ChannelName, changes: &Changes, out: &mut Vec<Output>) {
        // Unless that was done just now.
        let Some(members) = self.presence.get_mut(channel).filter(|members| members.drifted_at.is_some()) else {
            return;
        };
        members.drifted_at = None;
        let told = by_format(&members.told);
        let list = changes.list.as_deref().unwrap_or_default();
        for (format, slots) in told.into_iter().filter(|(format, _)| *format == Format::Pusher) {
            self.say_list(slots, format, channel, changes.count, list, out);
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
            self.say_list(slots, format, channel, changes.count, list, out);
        }
        for (slot, _) in newcomers {
            self.remember_told(slot, channel, revision, false, out);
            self.listed(slot, channel, out);
        }
    }

    /// Who is there. In Pusher's protocol each has to find itself on the list, also where it is one of the first hundred only.
    fn say_list(
        &mut self,
        slots: Vec<Slot>,
        format: Format,
        channel: &ChannelName,
        count: u64,
        list: &[Member],
        out: &mut Vec<Output>,
    ) {
        if let Some(user) = channel.online() {
            let is_online = list.iter().any(|member| member.user == user);
            return Self::say(slots, vec![pusher::watched(&[user], is_online)], out);
        }
        if format != Format::Pusher {
            return Self::say(slots, words::members(channel, format, count, list).into_iter().collect(), out);
        }
        let is_listed = |slot: &Slot| {
            let user = self.session(*slot).and_then(|session| session.member(channel));
            list.iter().any(|member| user == Some(&member.user))
        };
        let (listed, others): (Vec<Slot>, Vec<Slot>) = slots.into_iter().partition(is_listed);
        if !listed.is_empty() {
            Self::say(listed, vec![pusher::members(channel, count, list, None)], out);
        }
        for slot in others {
            let own = self.session(slot).and_then(|session| session.shown_in(channel));
            Self::say(vec![slot], vec![pusher::members(channel, count, list, own.as_ref())], out);
        }
    }

    /// One socket's attachment says what all of them have been told.
    pub(super) fn keep_revision(&mut self, channel: &ChannelName, out: &mut Vec<Output>) {
        let Some(members) = self.presence.get(channel) else { return };
        let drifted = members.drifted_at.is_some();
        if let Some(((keeper, _), have)) = members.told.first().copied().zip(members.have) {
            self.remember_told(keeper, channel, have, drifted, out);
        }
    }

    fn remember_told(
        &mut self,
        slot: Slot,
        channel: &ChannelName,
        revision: u64,
        drifted: bool,
        out: &mut Vec<Output>,
    ) {
        let subscription = self.session_mut(slot).and_then(|session| session.subscription_mut(channel));
        let news = |one: &&mut Subscription| one.told != Some(revision) || one.drifted != drifted;
        if let Some(subscription) = subscription.filter(news) {
            (subscription.told, subscription.drifted) = (Some(revision), drifted);
            self.remember(slot, out);
        }
    }

    fn say(slots: Vec<Slot>, frames: Vec<Frame>, out: &mut Vec<Output>) {
        if frames.is_empty() || slots.is_empty() {
            return;
        }
        out.push(Output::Send { slots, frames: frames.into() });
    }
}

/// The frames of what comes after a revision.
fn changed(channel: &ChannelName, format: Format, changes: &Changes, have: u64) -> Vec<Frame> {
    let left: Vec<&Left> = changes.left.iter().filter(|left| left.at > have).collect();
    let joined: Vec<&Joined> = changes.joined.iter().filter(|joined| joined.at > have).collect();
    match (format, channel.online()) {
        (_, Some(_)) if left.is_empty() && joined.is_empty() => Vec::new(),
        (_, Some(user)) => vec![pusher::watched(&[user], !joined.is_empty())],
        (Format::Pusher, None) => pusher::changes(channel, &left, &joined),
        (_, None) => words::changes(channel, format, changes.count, &left, &joined),
    }
}
