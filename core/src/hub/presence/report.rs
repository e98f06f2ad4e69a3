//! What is said to a channel's Room: one report at a time, and what comes meanwhile in the next.

use super::{Hub, Members, Sent};
use crate::call::VERSION;
use crate::channel::ChannelName;
use crate::hub::channel::Channel;
use crate::hub::{HubSession, Output, Slot};
use crate::limits;
use crate::presence::{self, Changes, Member, MemberData, Report};
use crate::refusal::{Code, Refusal};
use std::collections::BTreeSet;

impl Members {
    /// Whether there is something to say or to ask. What failed is repeated when its time has come, but whoever has just come does not wait for that.
    fn is_due(&self, now: u64) -> bool {
        let unsaid = self.doubtful || !self.changed.is_empty() || self.lacks.is_some();
        let may_repeat = self.retry_at.is_none_or(|at| at <= now);
        self.sent.is_none() && (!self.new.is_empty() || (unsaid || self.is_relist_due(now)) && may_repeat)
    }

    fn is_relist_due(&self, now: u64) -> bool {
        self.relist_at().is_some_and(|at| at <= now)
    }
}

impl Hub {
    /// Reports what this event has changed.
    pub(in crate::hub) fn report_all(&mut self, out: &mut Vec<Output>) {
        for channel in core::mem::take(&mut self.unreported) {
            self.report(&channel, out);
        }
    }

    /// One request, unless nothing is to be said or asked. One row written when it is the channel's first, and one when the alarm has to be set.
    fn report(&mut self, channel: &ChannelName, out: &mut Vec<Output>) {
        let now = self.now;
        let follows = |known: &Channel| known.have.is_some() && known.following.is_none();
        let follows = self.channels.get(channel).is_some_and(follows);
        let Some(members) = self.presence.get(channel).filter(|members| members.is_due(now)) else { return };
        // Only a follower hears what happens after the answer.
        if !follows && !members.users.is_empty() {
            return;
        }
        let at = self.decide();
        let Some(members) = self.presence.get_mut(channel) else { return };
        let whole = core::mem::take(&mut members.doubtful);
        let changed = core::mem::take(&mut members.changed);
        let (come, gone): (Vec<String>, _) = changed.into_iter().partition(|user| members.users.contains_key(user));
        let mut come = if whole { members.users.keys().cloned().collect() } else { come };
        come.sort_unstable();
        let sessions = &self.sessions;
        let joined = come.into_iter().map(|user| {
            let data = members.users.get(&user).and_then(|here| shown(sessions, here.first, channel));
            Member { user, data }
        });
        let joined = joined.collect();
        members.asking = core::mem::take(&mut members.new);
        members.lacks = None;
        let relist = members.is_relist_due(now);
        (members.sent, members.retry_at) = (Some(Sent { at, whole, relist }), None);
        // Whoever only watches leaves nothing behind at the Room.
        if !members.users.is_empty() && !core::mem::replace(&mut members.kept, true) {
            out.push(Output::Keep { channel: channel.clone() });
        }
        let list = relist || !members.asking.is_empty();
        let (version, hub, have) = (VERSION, String::new(), members.have);
        let report = Report { version, hub, at, have, whole, joined, left: gone, list };
        self.calls.add(Output::Report { channel: channel.clone(), report });
        self.wake_at(now + limits::PRESENCE_LEASE_MS, out);
    }

    /// What became of the report.
    pub(in crate::hub) fn reported(
        &mut self,
        channel: &ChannelName,
        at: u64,
        result: Result<Changes, Refusal>,
        out: &mut Vec<Output>,
    ) {
        // An answer to an earlier one says nothing about this one.
        let sent = self.presence.get_mut(channel).filter(|members| members.sent.is_some_and(|sent| sent.at == at));
        let Some((members, sent)) = sent.and_then(|members| members.sent.take().map(|sent| (members, sent))) else {
            return;
        };
        let lists = sent.relist || !members.asking.is_empty();
        let unlisted = lists && result.as_ref().is_ok_and(|changes| changes.list.is_none());
        let result = if unlisted { Err(no_list()) } else { result };
        let is_empty = members.users.is_empty();
        match result {
            Ok(changes) if !is_empty && !self.is_of_its_epoch(channel, &changes) => {
                self.answered_by_another(channel, out);
            }
            Ok(changes) => {
                let Some(members) = self.presence.get_mut(channel) else { return };
                members.failures = 0;
                if sent.whole {
                    members.marked = false;
                    out.push(Output::Trust { channel: channel.clone() });
                }
                self.take_changes(channel, &changes, out);
                self.turn_away(channel, &changes.refused, out);
                if sent.relist {
                    self.relist(channel, &changes, out);
                }
                self.tell_list(channel, &changes, out);
                if let Some(members) = self.presence.get_mut(channel) {
                    members.lacks = members.lacks.filter(|lacks| members.have.is_some_and(|have| have < *lacks));
                }
                if self.presence.get(channel).is_some_and(Members::is_over) {
                    self.presence.remove(channel);
                    out.push(Output::Drop { channel: channel.clone() });
                }
            }
            Err(refusal) => self.report_failed(channel, &refusal, out),
        }
        self.unreported.insert(channel.clone());
    }

    /// The channel has no place for these users: what they have of it ends, and nobody says again that they are there. A connection of one channel is closed by this, and counts
    /// until it has gone.
    fn turn_away(&mut self, channel: &ChannelName, refused: &[String], out: &mut Vec<Output>) {
        let Some(members) = self.presence.get_mut(channel).filter(|_| !refused.is_empty()) else { return };
        let refused: BTreeSet<&str> = refused.iter().map(String::as_str).collect();
        let sessions = &self.sessions;
        let user = |slot: Slot| sessions.get(slot as usize)?.as_ref()?.member(channel);
        let is_refused = |slot: &Slot| user(*slot).is_some_and(|user| refused.contains(user));
        let slots: Vec<Slot> = members.slots().filter(is_refused).collect();
        let (gone, asking) = core::mem::take(&mut members.asking).into_iter().partition(is_refused);
        members.asking = asking;
        let gone: Vec<Slot> = gone;
        members.mute.extend(gone);
        for slot in slots {
            self.refuse(slot, channel, &presence::full(), out);
        }
        // The Room knows that they are not there.
        if let Some(members) = self.presence.get_mut(channel) {
            let users = &members.users;
            members.changed.retain(|user| users.contains_key(user) || !refused.contains(user.as_str()));
        }
    }

    /// The answer is of another epoch than the one in which the Hub is: the Room has lost its log since it said where it is, or since it answered. It is followed anew, and
    /// then everything is said again, and everybody gets the list: two requests.
    fn answered_by_another(&mut self, channel: &ChannelName, out: &mut Vec<Output>) {
        let Some(members) = self.presence.get_mut(channel) else { return };
        members.doubtful = true;
        let asking = core::mem::take(&mut members.asking);
        members.new.extend(asking);
        if let Some(have) = self.channels.get(channel).and_then(|known| known.have) {
            self.start_anew(channel, have, out);
        }
    }

    /// Whether the Room has heard it is not known. Who waited for the list has the channel no longer; everything is said again later. One row written for a first failure,
    /// and one when the alarm has to be set.
    fn report_failed(&mut self, channel: &ChannelName, refusal: &Refusal, out: &mut Vec<Output>) {
        let Some(members) = self.presence.get_mut(channel) else { return };
        members.doubtful = true;
        let pause = limits::DELIVERY_RETRY_MS << members.failures.min(16);
        let retry_at = self.now + pause.min(limits::DELIVERY_RETRY_MAX_MS);
        members.failures = members.failures.saturating_add(1);
        members.retry_at = Some(retry_at);
        if !core::mem::replace(&mut members.marked, true) {
            out.push(Output::Doubt { channel: channel.clone() });
        }
        let asking = core::mem::take(&mut members.asking);
        // A connection of one channel is closed by this, and counts until it has gone.
        members.mute.extend(&asking);
        for slot in asking {
            self.fail(slot, channel, refusal, out);
        }
        self.wake_at(retry_at, out);
    }
}

/// What a connection shows in a channel.
fn shown(sessions: &[Option<HubSession>], slot: Slot, channel: &ChannelName) -> Option<MemberData> {
    sessions.get(slot as usize)?.as_ref()?.subscription(channel)?.data.clone()
}

fn no_list() -> Refusal {
    Refusal::new(Code::Internal, "the channel could not say who is there: come back")
}
