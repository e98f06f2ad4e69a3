//! What a room has looked at of its members: a cache of rows and attachments.

use super::Announcement;
use crate::limits;
use crate::presence::{Changes, Member};
use crate::room::Turn;
use crate::roster::Roster;
use std::collections::{BTreeMap, BTreeSet};

/// The members as far as the room has looked at them; a cache of rows and attachments.
#[derive(Debug)]
pub(in crate::room) struct Members {
    pub(in crate::room) roster: Roster,
    /// The user of each own connection.
    pub(super) own: BTreeMap<String, String>,
    /// How many own connections a user has.
    pub(super) connections: BTreeMap<String, usize>,
    /// The revision that the own sockets have.
    pub(super) told: u64,
    /// Own connections that have not been told who is there.
    pub(super) fresh: BTreeSet<String>,
    /// The revision for which the Hubs were looked at.
    pub(super) delivered: u64,
    /// When was announced last, in milliseconds, and whether a timer runs for the next time.
    pub(super) announced_at: u64,
    pub(super) announcing: bool,
}

impl Members {
    pub(super) fn new(roster: Roster) -> Self {
        Self {
            roster,
            own: BTreeMap::new(),
            connections: BTreeMap::new(),
            told: 0,
            fresh: BTreeSet::new(),
            delivered: 0,
            announced_at: 0,
            announcing: false,
        }
    }

    pub(in crate::room) fn count(&mut self, turn: Turn) -> u64 {
        self.roster.count(turn.now)
    }

    /// Those of them who are not there yet, and for whom there is no place.
    pub(super) fn without_room(&mut self, joined: &[Member], turn: Turn) -> BTreeSet<String> {
        let mut free = (limits::MEMBERS_MAX as u64).saturating_sub(self.count(turn));
        let mut has_no_room = |user: &str| {
            let is_new = !self.roster.has(user, turn.now);
            let taken = u64::from(is_new && free > 0);
            free -= taken;
            is_new && taken == 0
        };
        joined.iter().map(|member| &member.user).filter(|user| has_no_room(user)).cloned().collect()
    }

    pub(super) fn is_inhabited(&mut self, turn: Turn) -> bool {
        self.count(turn) > 0 || self.roster.due(turn.now).is_some()
    }

    pub(super) fn add(&mut self, connection: &str, user: &str, told: Option<u64>) {
        if self.own.insert(connection.to_owned(), user.to_owned()).is_none() {
            *self.connections.entry(user.to_owned()).or_default() += 1;
        }
        if told.is_none() {
            self.fresh.insert(connection.to_owned());
        }
    }

    /// The user, if that was the last of its connections.
    pub(super) fn remove(&mut self, connection: &str) -> Option<String> {
        self.fresh.remove(connection);
        let user = self.own.remove(connection)?;
        let count = self.connections.get_mut(&user)?;
        *count -= 1;
        if *count > 0 {
            return None;
        }
        self.connections.remove(&user);
        Some(user)
    }

    pub(super) fn announcement(&mut self, now: u64) -> Option<Announcement> {
        if self.own.is_empty() {
            self.told = self.roster.head(now);
            return None;
        }
        let Changes { after, revision, count, joined, left, list, .. } =
            self.roster.since(Some(self.told), now, usize::MAX, false);
        if after.is_none() {
            self.fresh = self.own.keys().cloned().collect();
        }
        let fresh: Vec<String> = core::mem::take(&mut self.fresh).into_iter().collect();
        let list = if fresh.is_empty() { Vec::new() } else { list.unwrap_or_else(|| self.roster.list()) };
        self.told = revision;
        Some(Announcement { revision, fresh, count, list, left, joined })
    }
}
