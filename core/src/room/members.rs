//! Who is there, in a presence channel: the room's own sockets and what Hubs report; told to the own sockets here, and to the Hubs with what they are delivered.
//!
//! A join and a leave are one row each; the second connection of a user is none. A leave is announced when its grace is over, by the alarm: one more row. Announcements are not
//! more frequent than [`limits::MEMBERS_PAUSE_MS`], whatever the number of joins. Nothing here happens in other channels, or on the way of a message.

mod known;
mod page;

pub(super) use known::Members;
pub use page::{MembersPage, MembersQuery};

use super::followers::{Follower, Shown};
use super::{Output, Room, Turn, refusal_of};
use crate::frame::{self, Frame};
use crate::limits;
use crate::presence::{self, Changes, Joined, Left, Member, MemberData, Report};
use crate::refusal::{Code, Refusal};
use crate::roster::{MemberRow, OWN, Roster};
use crate::session::{Format, Session};
use crate::store::{Store, StoreError};

/// What the own sockets are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// The revision that all of them have then.
    pub revision: u64,
    /// Connections that are told who is there; the others are told what has changed.
    pub fresh: Vec<String>,
    count: u64,
    list: Vec<Member>,
    left: Vec<Left>,
    joined: Vec<Joined>,
}

impl Announcement {
    /// About as many bytes as a connection is told at most.
    pub(super) fn bytes(&self) -> usize {
        // A user's name and what it shows, and the words around them.
        let of = |user: &str, data: Option<&MemberData>| user.len() + data.map_or(0, |data| data.as_str().len()) + 32;
        let members = self.list.iter().chain(self.joined.iter().map(|joined| &joined.member));
        let come = members.map(|member| of(&member.user, member.data.as_ref())).sum::<usize>();
        come + self.left.iter().map(|left| of(&left.user, None)).sum::<usize>()
    }
}

impl Room {
    /// A Hub says which members it has, and is told what has changed. Newcomers past [`limits::MEMBERS_MAX`] are not taken, and it is told who they are; everything else is. One row
    /// for each user who comes or goes, one for a Hub that did not follow, one when the alarm has to be set.
    pub fn report<S: Store>(
        &mut self,
        report: &Report,
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) -> Result<Changes, Refusal> {
        report.check()?;
        let refusal = || Refusal::new(Code::InvalidChannel, "only presence channels have members");
        let known = self.members(turn, store).map_err(refusal_of)?.ok_or_else(refusal)?;
        let refused = known.without_room(&report.joined, turn);
        let fitting: Option<Report> = (!refused.is_empty()).then(|| {
            let fits = |member: &&Member| !refused.contains(&member.user);
            Report { joined: report.joined.iter().filter(fits).cloned().collect(), ..report.clone() }
        });
        let report = fitting.as_ref().unwrap_or(report);
        // The last that is known of what the Hub said. A sleep leaves of that what changed something.
        let before = match self.follower(&report.hub).map_or(0, |follower| follower.reported) {
            0 => self.members.as_ref().map_or(0, |known| known.roster.last_word(&report.hub)),
            reported => reported,
        };
        let news = self.take(report, turn, store, out).map_err(|error| self.unwritten(error, turn, out))?;
        let epoch = Some(self.log(turn, store).map_err(refusal_of)?.epoch());
        let answer = match &mut self.members {
            Some(known) => {
                let mut answer = known.roster.since(report.have, turn.now, limits::MEMBERS_PER_DELIVERY, true);
                if report.list && answer.list.is_none() {
                    answer.list = Some(known.roster.list());
                }
                Changes { epoch, refused: refused.into_iter().collect(), ..answer }
            }
            None => Changes::default(),
        };
        // Who said it late, or by a call that came twice, does not hear the answer.
        if let Some(follower) = self.follower(&report.hub).filter(|_| report.at > before) {
            let is_first = follower.reported == 0 && !news;
            follower.shown = if is_first { Shown::Unknown } else { Shown::Assumed(answer.revision) };
            follower.reported = report.at;
            if let Some(sent) = &mut follower.sent {
                sent.outdated = true;
            }
        }
        self.announce(turn, store, out);
        self.tell_hooks(turn, store, out);
        self.forget_empty();
        Ok(answer)
    }

    /// Takes what a report says. Whether that was news.
    fn take<S: Store>(
        &mut self,
        report: &Report,
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) -> Result<bool, StoreError> {
        let epoch = self.log(turn, store)?.epoch();
        let Some(known) = &mut self.members else { return Ok(false) };
        let (hub, at, now) = (&report.hub, report.at, turn.now);
        let mut rows = Vec::new();
        if !report.joined.is_empty() || report.whole {
            rows.extend(known.roster.begin(epoch, now));
        }
        let left = report.left.iter();
        rows.extend(left.filter_map(|user| known.roster.leave(hub, user, at, now, limits::LEAVE_GRACE_MS)));
        if report.whole {
            rows.extend(known.roster.replace(hub, &report.joined, at, now, limits::LOST_GRACE_MS));
        } else {
            rows.extend(report.joined.iter().filter_map(|member| known.roster.join(hub, member, at, now)));
        }
        let has = known.roster.of(hub).next().is_some();
        let news = rows.iter().any(|row| row.source == *hub);
        self.write_members(&rows, turn, store, out)?;
        if has {
            self.enrol_member(hub, at, turn, store)?;
        }
        Ok(news)
    }

    /// Writes rows; when leaves among them come true, the alarm rings.
    fn write_members<S: Store>(
        &mut self,
        rows: &[MemberRow],
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) -> Result<(), StoreError> {
        for row in rows {
            store.put_member(row)?;
        }
        if let Some(due) = self.members.as_mut().and_then(|known| known.roster.due(turn.now)) {
            self.wake_at(due, out);
        }
        Ok(())
    }

    /// What could not be written is not true: it is read again when it is next needed, and looked at soon.
    fn unwritten(&mut self, error: StoreError, turn: Turn, out: &mut Vec<Output>) -> Refusal {
        self.members = None;
        self.wake_at(turn.now + limits::DELIVERY_RETRY_MAX_MS, out);
        refusal_of(error)
    }

    /// A socket of a user is about to be accepted.
    pub(super) fn enter<S: Store>(
        &mut self,
        session: &Session,
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let Some(known) = self.members(turn, store).map_err(refusal_of)? else { return Ok(()) };
        let Some(user) = session.user.clone() else { return Ok(()) };
        let is_new = !known.roster.has(&user, turn.now);
        if is_new && known.roster.count(turn.now) >= limits::MEMBERS_MAX as u64 {
            return Err(presence::full());
        }
        let mut rows: Vec<MemberRow> = known.roster.begin(session.epoch, turn.now).into_iter().collect();
        let (number, member) =
            (known.roster.number(turn.now), Member { user: user.clone(), data: session.data.clone() });
        rows.extend(known.roster.join(OWN, &member, number, turn.now));
        known.add(&session.connection, &user, session.told);
        self.write_members(&rows, turn, store, out).map_err(|error| self.unwritten(error, turn, out))?;
        self.lease(turn, store, out);
        Ok(())
    }

    /// A socket is gone. With the last one of its user a grace begins.
    pub(super) fn exit<S: Store>(&mut self, session: &Session, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        let known = match self.members_and(Some(session), turn, store) {
            Ok(Some(known)) => known,
            Ok(None) => return,
            Err(error) => return drop(self.unwritten(error, turn, out)),
        };
        let last = known.remove(&session.connection);
        let revision = known.told;
        // It may have been the one whose attachment says what has been told.
        if session.told.is_some_and(|told| told >= revision)
            && let Some(of) = known.own.keys().find(|other| !known.fresh.contains(*other))
        {
            out.push(Output::Told { of: of.clone(), revision });
        }
        let Some(user) = last else { return };
        let number = known.roster.number(turn.now);
        let row = known.roster.leave(OWN, &user, number, turn.now, limits::LEAVE_GRACE_MS);
        let rows: Vec<MemberRow> = row.into_iter().collect();
        if let Err(error) = self.write_members(&rows, turn, store, out) {
            drop(self.unwritten(error, turn, out));
        }
    }

    /// Tells everybody what they have not been told, now or a little later.
    pub(super) fn announce<S: Store>(&mut self, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        let Some(known) = &mut self.members else { return };
        let head = known.roster.head(turn.now);
        let news = !known.fresh.is_empty() || head > known.told;
        if !news && head == known.delivered {
            return;
        }
        let next = known.announced_at + limits::MEMBERS_PAUSE_MS;
        if turn.now < next && known.announced_at <= turn.now {
            if !known.announcing {
                known.announcing = true;
                out.push(Output::AnnounceIn(next - turn.now));
                // Timers are gone with the memory.
                self.wake_at(turn.now + limits::PRESENCE_LEASE_MS, out);
            }
            return;
        }
        known.announced_at = turn.now;
        known.delivered = head;
        if news {
            out.extend(known.announcement(turn.now).map(Output::Announce));
        }
        if self.followers(store).is_ok() {
            self.deliver_members(turn, store, out);
        }
    }

    /// The timer rang.
    pub(super) fn announce_now<S: Store>(&mut self, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        if let Some(known) = &mut self.members {
            known.announcing = false;
            known.announced_at = 0;
        }
        self.announce(turn, store, out);
    }

    /// By alarm: leaves whose grace is over are announced, own members whose sockets vanished without a word begin theirs, and who has left for long is
    /// forgotten. Whether anybody is there, or will have left.
    pub(super) fn look_at_members<S: Store>(
        &mut self,
        turn: Turn,
        store: &mut S,
        due: &mut Vec<u64>,
        out: &mut Vec<Output>,
    ) -> bool {
        let there = self.review_members(turn, store, due, out);
        there.unwrap_or_else(|error| {
            drop(self.unwritten(error, turn, out));
            true
        })
    }

    fn review_members<S: Store>(
        &mut self,
        turn: Turn,
        store: &mut S,
        due: &mut Vec<u64>,
        out: &mut Vec<Output>,
    ) -> Result<bool, StoreError> {
        self.followers(store)?;
        if self.members(turn, store)?.is_none() {
            return Ok(false);
        }
        let rows = self.reconcile(turn);
        self.write_members(&rows, turn, store, out)?;
        self.announce_now(turn, store, out);
        let followed = self.followers.as_ref().is_some_and(|followers| !followers.by_hub.is_empty());
        let is_told = |follower: &Follower| matches!(follower.shown, Shown::Nothing | Shown::Told(_));
        let complete = self.followers.as_ref().is_none_or(|followers| followers.by_hub.values().all(is_told));
        let heard = self.members_told(turn, store).unwrap_or(u64::MAX);
        let Some(known) = &mut self.members else { return Ok(false) };
        if (complete && known.roster.gone() >= limits::GONE_MAX / 10) || known.roster.gone() >= limits::GONE_MAX {
            let (keys, floor) = known.roster.forget(known.told.min(heard));
            for (source, user) in &keys {
                store.remove_member(source, user)?;
            }
            if let Some(floor) = floor {
                store.put_member(&floor)?;
            }
        }
        due.extend(known.roster.due(turn.now));
        if followed && !known.own.is_empty() {
            due.push(turn.now + limits::PRESENCE_LEASE_MS);
        }
        Ok(known.is_inhabited(turn))
    }

    /// A room that is followed looks whether its own members are still there: those who follow would not hear of a crash.
    pub(super) fn lease<S: Store>(&mut self, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        let inhabited = self.members(turn, store).is_ok_and(|known| known.is_some_and(|known| !known.own.is_empty()));
        if inhabited && self.followers(store).is_ok_and(|followers| !followers.by_hub.is_empty()) {
            self.wake_at(turn.now + limits::PRESENCE_LEASE_MS, out);
        }
    }

    /// A Hub follows no longer, so nobody is there by its word. One row for each of those who were.
    pub(super) fn disown<S: Store>(
        &mut self,
        hub: &str,
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) -> Result<(), StoreError> {
        let Some(known) = self.members(turn, store)? else { return Ok(()) };
        let users: Vec<String> = known.roster.of(hub).map(str::to_owned).collect();
        let mut rows = Vec::new();
        for user in users {
            rows.extend(known.roster.end(hub, &user, turn.now, limits::LEAVE_GRACE_MS));
        }
        let written = self.write_members(&rows, turn, store, out);
        if written.is_err() {
            self.members = None;
        }
        written
    }

    /// What a delivery to a Hub says of the members; nothing where they have not been looked at since the room woke: the Hub's answer says what it has.
    pub(super) fn members_for(&mut self, shown: Shown, turn: Turn) -> Option<Changes> {
        let after = self.lacks_members(shown, turn)?;
        let known = self.members.as_mut()?;
        Some(known.roster.since(Some(after), turn.now, limits::MEMBERS_PER_DELIVERY, false))
    }

    /// The revision after which a Hub lacks something, if it does.
    pub(super) fn lacks_members(&mut self, shown: Shown, turn: Turn) -> Option<u64> {
        let known = self.members.as_mut()?;
        let after = match shown {
            Shown::Nothing => return None,
            // It drops what it has; and if it does not have what was before, it says so.
            Shown::Unknown => known.roster.head_before(turn.now.saturating_sub(2 * limits::PRESENCE_LEASE_MS)),
            Shown::Assumed(revision) | Shown::Told(revision) => revision,
        };
        (known.roster.head(turn.now) > after).then_some(after)
    }

    /// Whether anybody is there, or will have left. Not to be forgotten, as long as it is not known.
    pub(super) fn is_inhabited<S: Store>(&mut self, turn: Turn, store: &mut S) -> bool {
        match self.members(turn, store) {
            Ok(known) => known.is_some_and(|known| known.is_inhabited(turn)),
            Err(_) => true,
        }
    }

    /// Whether there are own connections of members.
    pub(super) fn has_own_members(&self) -> bool {
        self.members.as_ref().is_some_and(|known| !known.own.is_empty())
    }

    /// The last revision at which anything changed; `None` if that has not been looked at.
    pub(super) fn members_head(&mut self, turn: Turn) -> Option<u64> {
        self.members.as_mut().map(|known| known.roster.head(turn.now))
    }

    /// The frames of an announcement for connections of a format: for those who know who was there, and for those who do not.
    #[must_use]
    pub fn announced(&self, format: Format, announcement: &Announcement) -> (Vec<Frame>, Option<Frame>) {
        let Announcement { count, list, left, joined, .. } = announcement;
        let (left, joined): (Vec<&Left>, Vec<&Joined>) = (left.iter().collect(), joined.iter().collect());
        let changes = frame::members::changes(&self.channel, format, *count, &left, &joined);
        (changes, frame::members::members(&self.channel, format, *count, list))
    }

    /// The members, read when they are first needed; `None` in channels that have none. Own members who are not there any more begin their grace: one row each.
    pub(super) fn members<S: Store>(&mut self, turn: Turn, store: &mut S) -> Result<Option<&mut Members>, StoreError> {
        self.members_and(None, turn, store)
    }

    /// With one who is just leaving: its socket is not among the others any more.
    fn members_and<S: Store>(
        &mut self,
        leaving: Option<&Session>,
        turn: Turn,
        store: &mut S,
    ) -> Result<Option<&mut Members>, StoreError> {
        if !self.channel.has_members() {
            return Ok(None);
        }
        if self.members.is_none() {
            let roster = Roster::load(store.members()?);
            let mut known = Members::new(roster);
            for session in store.present().iter().chain(leaving) {
                if let Some(user) = &session.user {
                    known.add(&session.connection, user, session.told);
                    known.told = known.told.max(session.told.unwrap_or(0));
                }
            }
            if known.told == 0 {
                known.told = known.roster.head(turn.now);
            }
            self.members = Some(known);
            for row in self.reconcile(turn) {
                if let Err(error) = store.put_member(&row) {
                    self.members = None;
                    return Err(error);
                }
            }
        }
        Ok(self.members.as_mut())
    }

    /// Makes the rows of the own members say what the sockets say.
    fn reconcile(&mut self, turn: Turn) -> Vec<MemberRow> {
        let Some(known) = &mut self.members else { return Vec::new() };
        let vanished: Vec<String> =
            known.roster.of(OWN).filter(|user| !known.connections.contains_key(*user)).map(str::to_owned).collect();
        let mut rows = Vec::new();
        for user in vanished {
            let number = known.roster.number(turn.now);
            rows.extend(known.roster.leave(OWN, &user, number, turn.now, limits::LOST_GRACE_MS));
        }
        rows
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
