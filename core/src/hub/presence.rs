//! The members of presence channels that are here. A subscription that has been answered makes its user a member; the channel's Room hears of a user's first one and
//! of the last one's end, and says who else is there. Which members are here is derived from the attachments; what the Room believes is in no memory after a sleep, so a row
//! for each channel says that there may be something to put right.

mod report;
mod told;

use super::{Hub, HubSession, Output, Slot, Stage, Subscription};
use crate::channel::ChannelName;
use crate::limits;
use crate::link::FAILED_OFTEN;
use crate::session::Format;
use std::collections::{BTreeSet, HashMap};

/// What a Hub knows of one channel's members while it is awake.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// The users who are here.
    users: HashMap<String, Here>,
    /// The revision that `told` have been told; `None` while there are none.
    have: Option<u64>,
    /// Sockets that know who is there. The first one's attachment says what they have.
    told: Vec<(Slot, Format)>,
    /// Sockets that get the list with the answer to the report that is on its way.
    asking: Vec<Slot>,
    /// Sockets that get it with the next.
    new: Vec<Slot>,
    /// Sockets that are told nothing: there are no words in their format, or they have been dismissed.
    mute: Vec<Slot>,
    /// Users of whom the Room has to hear; whether they came or went is what `users` says by then.
    changed: BTreeSet<String>,
    /// Since when clients that count for themselves have been wrong, in milliseconds.
    drifted_at: Option<u64>,
    /// The report that is on its way: one at most.
    sent: Option<Sent>,
    /// The latest revision of what came while a report was on its way, and was not taken: its answer may be older, and the Room may have slept since.
    lacks: Option<u64>,
    /// Whether the next report has to say everything.
    doubtful: bool,
    /// Whether the channel's row is known to be there, and whether it is known to be marked.
    kept: bool,
    marked: bool,
    /// Reports that failed, in a row, and when the next try is due.
    failures: u32,
    retry_at: Option<u64>,
}

/// A user who is here.
#[derive(Clone, Copy, Debug)]
struct Here {
    /// The connection whose data is shown.
    first: Slot,
    connections: u32,
}

/// A report that is on its way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: u64,
    whole: bool,
    /// Whether those who know who is there are told anew.
    relist: bool,
}

impl Members {
    /// Counts a connection; whether it is its user's first.
    fn count(&mut self, slot: Slot, user: &str) -> bool {
        if let Some(here) = self.users.get_mut(user) {
            here.connections += 1;
            return false;
        }
        self.users.insert(user.to_owned(), Here { first: slot, connections: 1 });
        true
    }

    fn has_row(&mut self, marked: bool) {
        self.kept = true;
        if marked && !self.marked {
            // It failed before a sleep, and nobody knows how often.
            (self.marked, self.failures) = (true, self.failures.max(FAILED_OFTEN));
        }
    }

    /// The Room has to hear of a user. Of too many to be listed it hears by a report of everybody.
    fn note(&mut self, user: &str) {
        if self.changed.len() >= limits::REPORT_CHANGES_MAX && !self.changed.contains(user) {
            self.changed.clear();
            self.doubtful = true;
        }
        self.changed.insert(user.to_owned());
    }

    fn slots(&self) -> impl Iterator<Item = Slot> {
        let told = self.told.iter().map(|(slot, _)| *slot);
        told.chain(self.asking.iter().chain(&self.new).chain(&self.mute).copied())
    }

    /// Takes a socket out, if it is there.
    fn remove(&mut self, slot: Slot) -> Option<Removed> {
        if let Some(at) = self.told.iter().position(|(other, _)| *other == slot) {
            self.told.swap_remove(at);
            if self.told.is_empty() {
                (self.have, self.drifted_at) = (None, None);
            }
            return Some(Removed { keeper: at == 0 });
        }
        for slots in [&mut self.asking, &mut self.new, &mut self.mute] {
            if let Some(at) = slots.iter().position(|other| *other == slot) {
                slots.swap_remove(at);
                return Some(Removed { keeper: false });
            }
        }
        None
    }

    /// When those who know who is there have to be told anew.
    fn relist_at(&self) -> Option<u64> {
        self.drifted_at.map(|at| at + limits::RELIST_MS)
    }

    /// Whether nobody is here, and nobody watches.
    fn is_deserted(&self) -> bool {
        self.users.is_empty() && self.slots().next().is_none()
    }

    /// Whether nobody is here, and the Room knows.
    fn is_over(&self) -> bool {
        self.is_deserted() && self.changed.is_empty() && !self.doubtful && self.sent.is_none()
    }
}

/// A socket that was there; whether its attachment said what the others have.
struct Removed {
    keeper: bool,
}

/// Whether a connection is told nothing of members: in its format there are no words, or its own user is all there is.
fn is_mute(session: &HubSession, subscription: &Subscription) -> bool {
    session.format.is_raw() || subscription.channel.online().is_some() && subscription.user.is_some()
}

/// Takes up a member's socket after waking.
pub(super) fn restore(
    presence: &mut HashMap<ChannelName, Members>,
    slot: Slot,
    session: &HubSession,
    subscription: &Subscription,
) {
    let is_member = subscription.told.is_some() || !matches!(subscription.stage, Stage::Joining(_));
    if !is_member {
        return;
    }
    let user = session.member_by(subscription);
    if !presence.contains_key(&subscription.channel) {
        presence.insert(subscription.channel.clone(), Members::default());
    }
    let Some(members) = presence.get_mut(&subscription.channel) else { return };
    if let Some(user) = user {
        members.count(slot, user);
    }
    match subscription.told {
        Some(revision) => {
            members.told.push((slot, session.format));
            if members.have.is_none_or(|have| have < revision) {
                members.have = Some(revision);
                // Since when is not remembered: long enough.
                members.drifted_at = subscription.drifted.then_some(0);
                let newest = members.told.len() - 1;
                members.told.swap(0, newest);
            } else if members.have == Some(revision) && subscription.drifted {
                members.drifted_at = Some(0);
            }
        }
        None if is_mute(session, subscription) => members.mute.push(slot),
        None => members.new.push(slot),
    }
}

impl Hub {
    /// A subscription has been answered: from now on its user is a member. One request, for the list; one row for a channel that had no members here.
    pub(super) fn arrive(&mut self, slot: Slot, channel: &ChannelName) {
        if !channel.has_members() {
            return;
        }
        let session = self.sessions.get(slot as usize).and_then(Option::as_ref);
        let one = session.and_then(|session| Some((session, session.subscription(channel)?)));
        let Some((session, subscription)) = one else { return };
        let user = session.member_by(subscription);
        if user.is_none() && channel.online().is_none() {
            return;
        }
        let members = self.presence.entry(channel.clone()).or_default();
        if let Some(user) = user.filter(|user| members.count(slot, user)) {
            members.note(user);
        }
        if is_mute(session, subscription) {
            members.mute.push(slot);
        } else {
            members.new.push(slot);
        }
        self.unreported.insert(channel.clone());
    }

    /// A socket has the channel no longer. Where its attachment said what the others have been told, another's does now. One request for a user's last one; nothing for
    /// a socket that had not been answered.
    pub(super) fn depart(&mut self, slot: Slot, user: Option<&str>, channel: &ChannelName, out: &mut Vec<Output>) {
        if !channel.has_members() {
            return;
        }
        let Some(members) = self.presence.get_mut(channel) else { return };
        let Some(removed) = members.remove(slot) else { return };
        let Some(user) = user else {
            // It only watched.
            if members.is_over() && !members.kept {
                self.presence.remove(channel);
            } else if removed.keeper {
                self.keep_revision(channel, out);
            }
            return;
        };
        match members.users.get_mut(user) {
            Some(here) if here.connections > 1 => {
                here.connections -= 1;
                if here.first == slot {
                    self.show_another(user, channel);
                }
            }
            Some(_) => {
                members.users.remove(user);
                members.note(user);
                self.unreported.insert(channel.clone());
            }
            None => {}
        }
        if removed.keeper {
            self.keep_revision(channel, out);
        }
    }

    /// The connection whose data was shown has gone. The Room goes on showing it; what is said when everything has to be said again is what another one shows.
    fn show_another(&mut self, user: &str, channel: &ChannelName) {
        let Some(members) = self.presence.get(channel) else { return };
        let is_users = |slot: &Slot| self.session(*slot).is_some_and(|session| session.member(channel) == Some(user));
        let Some(other) = members.slots().find(is_users) else { return };
        if let Some(here) = self.presence.get_mut(channel).and_then(|members| members.users.get_mut(user)) {
            here.first = other;
        }
    }

    /// After waking. `lost` are the rows, where something was lost beside memory: then everything is said again.
    pub(super) fn members_restored(&mut self, lost: Option<Vec<(ChannelName, bool)>>) {
        let Some(rows) = lost else {
            let waiting = self.presence.iter().filter(|(_, members)| !members.new.is_empty());
            self.unreported.extend(waiting.map(|(channel, _)| channel.clone()));
            return;
        };
        for (channel, marked) in rows {
            let members = self.presence.entry(channel).or_default();
            members.has_row(marked);
        }
        for (channel, members) in &mut self.presence {
            members.doubtful = true;
            self.unreported.insert(channel.clone());
        }
    }

    /// What is known of the channel may be wrong, on either side: the next report says everything.
    pub(super) fn doubt_members(&mut self, channel: &ChannelName) {
        if let Some(members) = self.presence.get_mut(channel) {
            members.doubtful = true;
            self.unreported.insert(channel.clone());
        }
    }

    /// The alarm rang, and these are the rows. When to look again: while there are members, and as long as a report has failed.
    pub(super) fn look_after_members(&mut self, rows: Vec<(ChannelName, bool)>) -> Option<u64> {
        for (channel, marked) in rows {
            let members = self.presence.entry(channel).or_default();
            // The answer to one that says everything takes the mark away.
            if members.sent.is_some_and(|sent| sent.whole) {
                continue;
            }
            members.has_row(marked);
            members.doubtful |= marked || members.is_deserted() && members.sent.is_none();
        }
        let now = self.now;
        self.unreported.extend(self.presence.keys().cloned());
        let relists = self.presence.values().filter_map(Members::relist_at);
        let retries =
            self.presence.values().filter_map(|members| members.retry_at).chain(relists).filter(|at| *at > now);
        let lease = (!self.presence.is_empty()).then_some(now + limits::PRESENCE_LEASE_MS);
        retries.chain(lease).min()
    }
}

#[cfg(test)]
mod tests;
