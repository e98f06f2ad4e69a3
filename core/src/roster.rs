//! The members of one channel: who is there by whose word, and since when. Built from the stored rows; every change is one row.
//!
//! A user is there as long as any source (the room's own sockets, or a Hub) says so, and for the grace after the last one ended. When that will be is
//! a revision ahead of the clock, so that time alone makes a leave: nothing is written when it comes true.

use crate::limits;
use crate::position::Epoch;
use crate::presence::{Changes, Joined, Left, Member, MemberData};
use std::collections::{BTreeMap, BTreeSet};

/// The source of a room's own sockets.
pub const OWN: &str = "";

/// What one source says of one user. A row whose user is empty says something of the source: that what it said before `at` is out of date; and of [`OWN`], in
/// `gone`, that who is before that revision cannot be told what has changed since, and in `joined` the channel's epoch, which may be nowhere else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberRow {
    /// [`OWN`], or the Hub's object name.
    pub source: String,
    /// The user.
    pub user: String,
    /// The number of the report that said it.
    pub at: u64,
    /// From which revision on it is not there any more; 0: it is there.
    pub gone: u64,
    /// The revision at which the user came, if it came by this row; else 0.
    pub joined: u64,
    /// The revision at which the user had left before that; 0 if it is not known.
    pub left: u64,
    /// What it shows.
    pub data: Option<MemberData>,
}

/// A user as all sources together say.
#[derive(Clone, Copy)]
struct Stay {
    joined: u64,
    /// The leave before that.
    left: u64,
    /// `u64::MAX`: it is there.
    until: u64,
}

/// The members.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    users: BTreeMap<String, BTreeMap<String, MemberRow>>,
    /// Every revision at which something changes, with the user.
    changes: BTreeSet<(u64, String)>,
    /// The number of the last whole report of each source.
    whole: BTreeMap<String, u64>,
    /// Who is before it cannot be told what has changed since. 0: nothing has been stored.
    floor: u64,
    epoch: Option<Epoch>,
    /// The greatest revision that was given to anything, or told to anyone.
    last: u64,
    /// Users whose leave has come true by `last`, and who are still in the rows.
    absent: usize,
}

impl Roster {
    /// From the stored rows.
    pub(crate) fn load(rows: Vec<MemberRow>) -> Self {
        let mut roster = Self::default();
        for row in rows {
            match (row.source.as_str(), row.user.as_str()) {
                (OWN, "") => (roster.floor, roster.epoch) = (row.gone, row.epoch()),
                (_, "") => drop(roster.whole.insert(row.source, row.at)),
                _ => {
                    // Numbers of the room's own are revisions; a Hub's are of its own clock.
                    let own = if row.source == OWN { row.at } else { 0 };
                    roster.last = roster.last.max(row.joined).max(own);
                    roster.users.entry(row.user.clone()).or_default().insert(row.source.clone(), row);
                }
            }
        }
        roster.last = roster.last.max(roster.floor);
        for (user, rows) in &roster.users {
            let stay = stay(rows);
            roster.changes.extend(stay.revisions().map(|at| (at, user.clone())));
            roster.absent += usize::from(stay.until <= roster.last);
        }
        roster
    }

    /// The revision that it is: what is at most this has happened.
    fn advance(&mut self, now: u64) -> u64 {
        self.reach(self.last.max(now.saturating_mul(1000)))
    }

    fn reach(&mut self, revision: u64) -> u64 {
        let passed = self.changes.range((self.last + 1, String::new())..(revision + 1, String::new()));
        let gone = passed.filter(|(at, user)| self.users.get(user).is_some_and(|rows| stay(rows).until == *at));
        self.absent += gone.count();
        self.last = revision;
        revision
    }

    /// How many are there.
    pub(crate) fn count(&mut self, now: u64) -> u64 {
        self.advance(now);
        (self.users.len() - self.absent) as u64
    }

    /// Whether a user is there.
    pub(crate) fn has(&mut self, user: &str, now: u64) -> bool {
        let revision = self.advance(now);
        self.users.get(user).is_some_and(|rows| stay(rows).until > revision)
    }

    /// The row that has to be there before any other: one that knows nothing of what was before.
    pub(crate) fn begin(&mut self, epoch: Epoch, now: u64) -> Option<MemberRow> {
        let revision = self.advance(now);
        (self.floor == 0).then(|| {
            (self.floor, self.epoch) = (revision.max(1), Some(epoch));
            self.floor_row()
        })
    }

    fn floor_row(&self) -> MemberRow {
        MemberRow { gone: self.floor, joined: self.epoch.map_or(0, Epoch::bits), ..MemberRow::of(OWN, "", 0) }
    }

    /// A source has a user. The row to be written; none where that is known, or out of date.
    pub(crate) fn join(&mut self, source: &str, member: &Member, at: u64, now: u64) -> Option<MemberRow> {
        let revision = self.advance(now);
        let stay = self.users.get(&member.user).map(stay);
        let known = self.row(source, &member.user);
        if self.is_late(source, at) || known.is_some_and(|row| row.at >= at || row.gone == 0) {
            return None;
        }
        let (mut joined, mut left) = known.map_or((0, 0), |row| (row.joined, row.left));
        let is_absent = stay.is_none_or(|stay| stay.until <= revision);
        // Nobody is told of one who was back in time, so newcomers are shown what the others know.
        let stays = known.filter(|row| !is_absent && row.joined > 0);
        let data = stays.map_or(&member.data, |row| &row.data).clone();
        if is_absent {
            // Never the revision of the leave before: both have to be told.
            joined = self.reach(revision + 1);
            left = stay.map_or(0, |stay| stay.until);
            self.absent -= usize::from(stay.is_some());
        }
        let row = MemberRow { joined, left, data, ..MemberRow::of(source, &member.user, at) };
        Some(self.put(row))
    }

    /// A source has a user no longer; it is there for `grace` more milliseconds. The row to be written; none where that is known, or out of date.
    pub(crate) fn leave(&mut self, source: &str, user: &str, at: u64, now: u64, grace: u64) -> Option<MemberRow> {
        let revision = self.advance(now);
        let known = self.row(source, user).filter(|row| row.at < at && row.gone == 0)?;
        if self.is_late(source, at) {
            return None;
        }
        let row = MemberRow { at, gone: revision + grace * 1000, ..known.clone() };
        Some(self.put(row))
    }

    /// As `leave`, whatever the source said last.
    pub(crate) fn end(&mut self, source: &str, user: &str, now: u64, grace: u64) -> Option<MemberRow> {
        let whole = self.whole.get(source).copied().unwrap_or(0);
        let at = self.row(source, user)?.at.saturating_add(1).max(whole);
        self.leave(source, user, at, now, grace)
    }

    /// A Hub has these users and no others: those whom it does not name vanished without a word. The rows to be written.
    pub(crate) fn replace(
        &mut self,
        source: &str,
        members: &[Member],
        at: u64,
        now: u64,
        grace: u64,
    ) -> Vec<MemberRow> {
        if self.whole.get(source).is_some_and(|whole| *whole >= at) {
            return Vec::new();
        }
        let named: BTreeSet<&str> = members.iter().map(|member| member.user.as_str()).collect();
        let vanished: Vec<String> = self.of(source).filter(|user| !named.contains(user)).map(str::to_owned).collect();
        let mut rows: Vec<MemberRow> =
            vanished.iter().filter_map(|user| self.leave(source, user, at, now, grace)).collect();
        rows.extend(members.iter().filter_map(|member| self.join(source, member, at, now)));
        self.whole.insert(source.to_owned(), at);
        rows.push(MemberRow::of(source, "", at));
        rows
    }

    /// The number of the last report of a source that changed anything; 0 if none is known.
    pub(crate) fn last_word(&self, source: &str) -> u64 {
        let rows = self.users.values().filter_map(|rows| rows.get(source)).map(|row| row.at);
        rows.chain(self.whole.get(source).copied()).max().unwrap_or(0)
    }

    /// The users whom a source has.
    pub(crate) fn of(&self, source: &str) -> impl Iterator<Item = &str> {
        let has = move |rows: &BTreeMap<String, MemberRow>| rows.get(source).is_some_and(|row| row.gone == 0);
        self.users.iter().filter(move |(_, rows)| has(rows)).map(|(user, _)| user.as_str())
    }

    /// A number for what is said now: greater than every one before.
    pub(crate) fn number(&mut self, now: u64) -> u64 {
        let revision = self.advance(now);
        self.reach(revision + 1)
    }

    fn is_late(&self, source: &str, at: u64) -> bool {
        self.whole.get(source).is_some_and(|whole| *whole > at)
    }

    fn row(&self, source: &str, user: &str) -> Option<&MemberRow> {
        self.users.get(user)?.get(source)
    }

    fn put(&mut self, row: MemberRow) -> MemberRow {
        let rows = self.users.entry(row.user.clone()).or_default();
        if !rows.is_empty() {
            for at in stay(rows).revisions() {
                self.changes.remove(&(at, row.user.clone()));
            }
        }
        rows.insert(row.source.clone(), row.clone());
        self.changes.extend(stay(rows).revisions().map(|at| (at, row.user.clone())));
        row
    }

    /// The last revision at which anything changed.
    pub(crate) fn head(&mut self, now: u64) -> u64 {
        let revision = self.advance(now);
        let last = self.changes.range(..(revision + 1, String::new())).next_back();
        last.map_or(self.floor, |(at, _)| (*at).max(self.floor))
    }

    /// Who is before this revision cannot be told what has changed since.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// The last revision at which anything had changed by that time, in milliseconds.
    pub(crate) fn head_before(&self, time: u64) -> u64 {
        let last = self.changes.range(..(time.saturating_mul(1000) + 1, String::new())).next_back();
        last.map_or(self.floor, |(at, _)| (*at).max(self.floor))
    }

    /// When the next leave comes true, in milliseconds.
    pub(crate) fn due(&mut self, now: u64) -> Option<u64> {
        let revision = self.advance(now);
        self.changes.range((revision + 1, String::new())..).next().map(|(at, _)| at.div_ceil(1000))
    }

    /// What has changed since `after`; of more than `most` the first, where `whole` allows no part: everything anew.
    pub(crate) fn since(&mut self, after: Option<u64>, now: u64, most: usize, whole: bool) -> Changes {
        let (head, count) = (self.head(now), self.count(now));
        let Some(after) = after.filter(|after| *after >= self.floor) else { return self.anew(head, count) };
        let mut changes = Changes { after: Some(after), revision: head.max(after), count, ..Changes::default() };
        let mut taken = 0;
        for (at, user) in self.changes.range((after + 1, String::new())..(head + 1, String::new())) {
            if taken >= most && changes.revision != *at {
                if whole {
                    return self.anew(head, count);
                }
                return changes;
            }
            let Some(rows) = self.users.get(user) else { continue };
            let stay = stay(rows);
            if *at == stay.joined {
                // Who came and has gone again is told of as gone: somebody may have heard of the coming.
                if stay.until > head {
                    changes.joined.push(Joined { at: *at, member: shown(user, rows) });
                }
            } else {
                changes.left.push(Left { at: *at, user: user.clone() });
            }
            taken += 1;
            changes.revision = *at;
        }
        changes.revision = head.max(after);
        changes
    }

    fn anew(&self, head: u64, count: u64) -> Changes {
        Changes { revision: head, count, list: Some(self.list()), ..Changes::default() }
    }

    /// The first of those who are there.
    pub(crate) fn list(&self) -> Vec<Member> {
        self.page(None, limits::MEMBERS_LISTED)
    }

    /// Those who are there, in order, after a user.
    pub(crate) fn page(&self, after: Option<&str>, most: usize) -> Vec<Member> {
        let after = after.map_or(core::ops::Bound::Unbounded, core::ops::Bound::Excluded);
        let there = self.users.range::<str, _>((after, core::ops::Bound::Unbounded));
        there
            .filter(|(_, rows)| stay(rows).until > self.last)
            .map(|(user, rows)| shown(user, rows))
            .take(most)
            .collect()
    }

    /// How many rows are of those who have left.
    pub(crate) fn gone(&self) -> usize {
        self.absent
    }

    /// Forgets who had left by then: they cannot be told to anyone any more who is before it. The keys of the rows to be deleted, and the row to be written.
    pub(crate) fn forget(&mut self, until: u64) -> (Vec<(String, String)>, Option<MemberRow>) {
        let until = until.min(self.last);
        let gone: Vec<String> =
            self.users.iter().filter(|(_, rows)| stay(rows).until <= until).map(|(user, _)| user.clone()).collect();
        let mut keys = Vec::new();
        for user in gone {
            let Some(rows) = self.users.remove(&user) else { continue };
            for at in stay(&rows).revisions() {
                self.changes.remove(&(at, user.clone()));
            }
            self.absent -= 1;
            keys.extend(rows.into_keys().map(|source| (source, user.clone())));
        }
        if keys.is_empty() {
            return (keys, None);
        }
        self.floor = self.floor.max(until);
        (keys, Some(self.floor_row()))
    }
}

impl MemberRow {
    /// The channel's epoch, if this is the row that says it.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        (self.source == OWN && self.user.is_empty() && self.joined > 0).then(|| Epoch::new(self.joined))
    }

    fn of(source: &str, user: &str, at: u64) -> Self {
        Self { source: source.to_owned(), user: user.to_owned(), at, gone: 0, joined: 0, left: 0, data: None }
    }
}

impl Stay {
    fn revisions(self) -> impl Iterator<Item = u64> {
        let until = (self.until != u64::MAX).then_some(self.until);
        [Some(self.joined), Some(self.left), until].into_iter().flatten().filter(|at| *at > 0)
    }
}

fn stay(rows: &BTreeMap<String, MemberRow>) -> Stay {
    let came = rows.values().max_by_key(|row| row.joined);
    let until = rows.values().map(|row| if row.gone == 0 { u64::MAX } else { row.gone }).max();
    let (joined, left) = came.map_or((0, 0), |row| (row.joined, row.left));
    Stay { joined, left, until: until.unwrap_or(0) }
}

/// What the connection shows by which the user came.
fn shown(user: &str, rows: &BTreeMap<String, MemberRow>) -> Member {
    let came = rows.values().max_by_key(|row| (row.gone == 0 || row.joined > 0, row.joined));
    Member { user: user.to_owned(), data: came.and_then(|row| row.data.clone()) }
}
