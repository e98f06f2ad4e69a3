//! What waits to be sent to webhooks: durable, in order, and sent by the Room itself, with one request on its way to each of them.
//!
//! A row has the events of one turn for one webhook, in the transaction of what they report; what comes while the row before waits is added to the last one. So an event costs
//! a row when it is kept, and the row is written once more when all of its events were taken. Rows are replaced in place and never deleted, as in the log: a spent one still says
//! what has been told so far. A request that failed is made again by alarm. A crash between a request and its row makes it again, with the same id: at least once.

mod row;

use super::Turn;
use crate::channel::ChannelName;
use crate::limits;
use crate::store::{Store, StoreError};
use crate::webhook::{Hooks, Kind, Post, lost_event};
pub(super) use row::Told;
use row::{Entry, Head};
use std::collections::VecDeque;

/// An event, as it is written.
#[derive(Debug)]
pub(super) struct News {
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// The rows, without their events: a cache.
#[derive(Debug)]
pub(super) struct Outbox {
    lines: Vec<Line>,
    /// Slots whose rows are spent.
    free: Vec<u32>,
    next_slot: u32,
    next: u64,
    /// The line that is asked first for a request: the one after that which posted last.
    turn: usize,
    /// Of the row that was written last.
    stamp: u64,
    told: Told,
}

/// What waits for one webhook.
#[derive(Debug)]
struct Line {
    url: String,
    batch: bool,
    /// In the order in which they are sent. All but the first were never tried.
    rows: VecDeque<Entry>,
    /// What is in them, all together.
    events: usize,
    bytes: usize,
    /// How many of the first one's events were taken, where each is a request.
    taken: usize,
    sent: Option<Sent>,
    /// Requests that failed, in a row, and when the next is due.
    failures: u32,
    retry_at: Option<u64>,
    /// Events that could not be written.
    unwritten: u64,
}

/// A request that is on its way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    ticket: u64,
    events: usize,
}

impl Outbox {
    /// Reads the rows. What waits for a URL that is not configured any more is dropped. Where something waits, it is not tried before `hold`, in milliseconds.
    pub(super) fn load<S: Store>(
        hooks: &Hooks,
        now: u64,
        hold: Option<u64>,
        store: &mut S,
    ) -> Result<Self, StoreError> {
        let line = |target: &crate::webhook::Webhook| Line::new(target.url.clone(), target.batch);
        let lines = hooks.targets.iter().map(line).collect();
        let (free, told) = (Vec::new(), Told::default());
        let mut outbox = Self { lines, free, next_slot: 0, next: 0, turn: 0, stamp: 0, told };
        let mut rows: Vec<Entry> = Vec::new();
        for (slot, text) in store.outbox()? {
            let head = Head::decode(&text).ok_or(StoreError::Failed)?;
            let place = rows.partition_point(|other| other.head.nth < head.nth);
            rows.insert(place, Entry { slot, head });
        }
        for row in rows {
            outbox.next_slot = outbox.next_slot.max(row.slot.saturating_add(1));
            outbox.next = outbox.next.max(row.head.nth.saturating_add(1));
            if row.head.stamp > outbox.stamp {
                (outbox.stamp, outbox.told) = (row.head.stamp, row.head.told());
            }
            let line = outbox.lines.iter_mut().find(|line| line.url == row.head.url && !row.head.is_spent());
            match line {
                Some(line) => line.push(row),
                None => outbox.free.push(row.slot),
            }
        }
        for line in &mut outbox.lines {
            line.take_up(now, hold);
        }
        Ok(outbox)
    }

    /// What the webhooks have been told, or will be.
    pub(super) fn told(&self) -> Told {
        self.told
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.iter().all(|line| line.rows.is_empty())
    }

    /// Keeps events for those who want them, and what has been told with them. One row for each webhook that wants any of them, and one more for every
    /// [`limits::WEBHOOK_ROW_EVENTS`]; one where none does, but something has changed.
    pub(super) fn keep<S: Store>(&mut self, news: &[News], told: Told, hooks: &Hooks, turn: Turn, store: &mut S) {
        let before = core::mem::replace(&mut self.told, told);
        let mut written = false;
        for (at, target) in hooks.targets.iter().enumerate() {
            let wanted = news.iter().filter(|news| target.wants(news.kind)).map(|news| news.text.as_str());
            let wanted: Vec<&str> = wanted.collect();
            let mut rest = wanted.as_slice();
            while !rest.is_empty() {
                let Ok(count) = self.append(at, rest, turn, store) else {
                    // What is not on the disk is not sent.
                    self.line(at, |line| line.unwritten += rest.len() as u64);
                    break;
                };
                rest = rest.get(count.max(1)..).unwrap_or_default();
                written = true;
            }
            self.trim(at, store);
        }
        if !written && self.told != before && self.mark(store).is_err() {
            // It is found again, and told again.
            self.told = before;
        }
    }

    /// Puts as many of these as fit into the last row, or into a new one. One row written.
    fn append<S: Store>(&mut self, at: usize, texts: &[&str], turn: Turn, store: &mut S) -> Result<usize, StoreError> {
        let Some(line) = self.lines.get(at) else { return Err(StoreError::Failed) };
        // The first has been tried, perhaps, and its id stands for what is in it.
        let last = line.rows.back().filter(|row| line.rows.len() > 1 && row.head.has_room());
        let (mut entry, mut body, is_new) = match last {
            Some(last) => (last.clone(), store.outbox_body(last.slot)?.ok_or(StoreError::Failed)?, false),
            None => (Entry { slot: self.slot(), head: self.head(at, turn) }, String::new(), true),
        };
        let (before, mut count) = (entry.head.bytes, 0);
        for text in texts {
            if !entry.head.has_room() {
                break;
            }
            if entry.head.events > 0 {
                // JSON on one line has no line feeds.
                body.push('\n');
            }
            body.push_str(text);
            entry.head.events += 1;
            entry.head.bytes += text.len();
            count += 1;
        }
        entry.head.last = turn.now;
        self.put(&mut entry, &body, store)?;
        if is_new {
            self.use_slot();
        }
        let bytes = entry.head.bytes - before;
        self.line(at, |line| {
            if is_new {
                line.unwritten = 0;
                line.push(entry);
            } else if let Some(last) = line.rows.back_mut() {
                *last = entry;
                line.events += count;
                line.bytes += bytes;
            }
        });
        Ok(count)
    }

    /// Where the next row is to be written.
    fn slot(&self) -> u32 {
        self.free.last().copied().unwrap_or(self.next_slot)
    }

    /// It was written there.
    fn use_slot(&mut self) {
        if self.free.pop().is_none() {
            self.next_slot += 1;
        }
        self.next += 1;
    }

    fn head(&self, at: usize, turn: Turn) -> Head {
        let (url, lost) = self.lines.get(at).map(|line| (line.url.clone(), line.unwritten)).unwrap_or_default();
        Head { nth: self.next, url, at: turn.now, last: turn.now, random: turn.random, lost, ..Head::default() }
    }

    /// Writes a row, with what has been told by then.
    fn put<S: Store>(&mut self, entry: &mut Entry, body: &str, store: &mut S) -> Result<(), StoreError> {
        self.stamp += 1;
        (entry.head.stamp, entry.head.occupied, entry.head.revision) =
            (self.stamp, self.told.occupied, self.told.revision);
        store.put_outbox(entry.slot, &entry.head.encode(), body)
    }

    /// Writes a row without events.
    fn mark<S: Store>(&mut self, store: &mut S) -> Result<(), StoreError> {
        let slot = self.slot();
        self.put(&mut Entry { slot, head: Head::default() }, "", store)?;
        if self.free.is_empty() {
            self.free.push(slot);
            self.next_slot += 1;
        }
        Ok(())
    }

    /// A row is done with: it may be replaced. One that cannot be written stays as it is, and is sent again when it is next read.
    fn spend<S: Store>(&mut self, slot: u32, store: &mut S) {
        if self.put(&mut Entry { slot, head: Head::default() }, "", store).is_ok() {
            self.free.push(slot);
        }
    }

    /// Drops the oldest past the bounds, an eighth more than needed. What is on its way stays.
    fn trim<S: Store>(&mut self, at: usize, store: &mut S) {
        let Some(line) = self.lines.get_mut(at) else { return };
        if line.events <= limits::WEBHOOK_EVENTS_MAX && line.bytes <= limits::WEBHOOK_BYTES_MAX {
            return;
        }
        let first = usize::from(line.sent.is_some());
        let (mut dropped, mut lost) = (Vec::new(), 0);
        while (line.events > limits::WEBHOOK_EVENTS_MAX / 8 * 7 || line.bytes > limits::WEBHOOK_BYTES_MAX / 8 * 7)
            && line.rows.len() > first + 1
        {
            let Some((slot, count)) = line.remove(first) else { break };
            dropped.push(slot);
            lost += count;
        }
        self.count_lost(at, first, lost, store);
        for slot in dropped {
            self.spend(slot, store);
        }
    }

    /// The row that is next then says how many were lost before it, or else the next that is written. It was never tried.
    fn count_lost<S: Store>(&mut self, at: usize, nth: usize, lost: u64, store: &mut S) {
        let Some(mut row) = self.lines.get(at).and_then(|line| line.rows.get(nth)).cloned() else { return };
        row.head.lost += lost;
        if lost == 0 {
            return;
        }
        let body = store.outbox_body(row.slot).ok().flatten();
        if body.is_none_or(|body| self.put(&mut row, &body, store).is_err()) {
            return self.line(at, |line| line.unwritten += lost);
        }
        if let Some(place) = self.lines.get_mut(at).and_then(|line| line.rows.get_mut(nth)) {
            *place = row;
        }
    }

    /// The requests that are to be made now: where not all webhooks can have theirs, each in its turn. One row when what cannot be read is too old to be tried again.
    pub(super) fn posts<S: Store>(
        &mut self,
        hooks: &Hooks,
        channel: &ChannelName,
        turn: Turn,
        store: &mut S,
    ) -> Vec<Post> {
        let mut under_way = self.lines.iter().filter(|line| line.sent.is_some()).count();
        let mut posts = Vec::new();
        let (before, after) = (0..self.turn, self.turn..self.lines.len());
        for at in after.chain(before) {
            if under_way >= limits::WEBHOOK_CALLS_AT_ONCE {
                break;
            }
            let Some(line) = self.lines.get_mut(at) else { continue };
            let waits = line.sent.is_some() || line.retry_at.is_some_and(|at| at > turn.now);
            let Some(first) = line.rows.front().filter(|_| !waits) else { continue };
            let Ok(Some(body)) = store.outbox_body(first.slot) else {
                line.fail(turn);
                self.expire(at, turn, store);
                continue;
            };
            posts.extend(line.post(&body, hooks, channel, turn));
            under_way += 1;
            self.turn = at + 1;
        }
        posts
    }

    /// What became of a request. One row when all events of a row were taken, or when they are too old to be tried again.
    pub(super) fn posted<S: Store>(&mut self, url: &str, ticket: u64, taken: bool, turn: Turn, store: &mut S) {
        let Some(at) = self.lines.iter().position(|line| line.url == url) else { return };
        let Some(line) = self.lines.get_mut(at) else { return };
        let Some(sent) = line.sent.take_if(|sent| sent.ticket == ticket) else { return };
        if !taken {
            line.fail(turn);
            return self.expire(at, turn, store);
        }
        (line.failures, line.retry_at) = (0, None);
        line.taken += sent.events;
        if line.rows.front().is_some_and(|row| line.taken >= row.head.parts())
            && let Some((slot, _)) = line.remove(0)
        {
            self.spend(slot, store);
        }
    }

    /// Drops what has been tried for too long. Its number is told with the next row, or in one of its own, which is tried as long.
    fn expire<S: Store>(&mut self, at: usize, turn: Turn, store: &mut S) {
        let is_old = |row: &Entry| row.head.last.saturating_add(limits::WEBHOOK_AGE_MAX_MS) <= turn.now;
        let mut total = 0;
        let mut slots = Vec::new();
        let Some(line) = self.lines.get_mut(at) else { return };
        while line.rows.front().is_some_and(is_old) {
            let events = line.rows.front().map_or(0, |row| row.head.events);
            let Some((slot, lost)) = line.remove(0) else { break };
            // The number of those that were lost is not lost again.
            total += if events == 0 { 0 } else { lost };
            slots.push(slot);
        }
        if line.rows.is_empty() && total > 0 {
            let mut entry = Entry { slot: self.slot(), head: self.head(at, turn) };
            entry.head.lost += total;
            let written = self.put(&mut entry, "", store).is_ok();
            if written {
                self.use_slot();
            }
            self.line(at, |line| {
                if written {
                    line.unwritten = 0;
                    line.push(entry);
                } else {
                    line.unwritten += total;
                }
            });
        } else {
            self.count_lost(at, 0, total, store);
        }
        for slot in slots {
            self.spend(slot, store);
        }
    }

    /// When the alarm has to ring for what waits, in milliseconds.
    pub(super) fn due(&self, now: u64) -> Option<u64> {
        let due = |line: &Line| match (line.sent, line.retry_at) {
            (Some(_), _) => Some(now + limits::WEBHOOK_LEASE_MS),
            (None, Some(at)) => Some(at.max(now + limits::WEBHOOK_RETRY_MS)),
            (None, None) => (!line.rows.is_empty()).then_some(now + limits::WEBHOOK_LEASE_MS),
        };
        self.lines.iter().filter_map(due).min()
    }

    fn line(&mut self, at: usize, change: impl FnOnce(&mut Line)) {
        if let Some(line) = self.lines.get_mut(at) {
            change(line);
        }
    }
}

impl Line {
    fn new(url: String, batch: bool) -> Self {
        let (rows, sent, retry_at) = (VecDeque::new(), None, None);
        Self { url, batch, rows, events: 0, bytes: 0, taken: 0, sent, failures: 0, retry_at, unwritten: 0 }
    }

    fn push(&mut self, row: Entry) {
        self.events += row.head.events;
        self.bytes += row.head.bytes;
        self.rows.push_back(row);
    }

    /// After waking: what waits has failed as often as it is old; how often is in no memory.
    fn take_up(&mut self, now: u64, hold: Option<u64>) {
        let Some(first) = self.rows.front() else { return };
        let tries = now.saturating_sub(first.head.at) / limits::WEBHOOK_RETRY_MS + 1;
        self.failures = tries.ilog2();
        self.retry_at = hold.map(|at| at.min(now + limits::WEBHOOK_RETRY_MAX_MS));
    }

    /// Takes a row out: its slot, and how many of its events, and of those lost before it, were not taken.
    fn remove(&mut self, nth: usize) -> Option<(u32, u64)> {
        let row = self.rows.remove(nth)?;
        self.events -= row.head.events.min(self.events);
        self.bytes -= row.head.bytes.min(self.bytes);
        let taken = if nth == 0 { core::mem::take(&mut self.taken) } else { 0 };
        let told = row.head.lost > 0 && taken > 0;
        let lost = if told { 0 } else { row.head.lost };
        let events = row.head.events.saturating_sub(taken - usize::from(told));
        Some((row.slot, events as u64 + lost))
    }

    /// The next request, with what the first row says.
    fn post(&mut self, body: &str, hooks: &Hooks, channel: &ChannelName, turn: Turn) -> Option<Post> {
        let first = self.rows.front()?;
        let lost = (first.head.lost > 0).then(|| lost_event(channel, first.head.lost));
        let events: Vec<&str> = lost.as_deref().into_iter().chain(body.split('\n')).collect();
        let events = events.iter().copied().filter(|text| !text.is_empty());
        let most = if self.batch { usize::MAX } else { 1 };
        let events: Vec<&str> = events.skip(self.taken).take(most).collect();
        let id = first.head.id((!self.batch).then_some(self.taken));
        self.sent = Some(Sent { ticket: turn.random, events: events.len().max(1) });
        Some(hooks.post(&self.url, id, first.head.at, &events, turn.random))
    }

    fn fail(&mut self, turn: Turn) {
        let pause = (limits::WEBHOOK_RETRY_MS << self.failures.min(16)).min(limits::WEBHOOK_RETRY_MAX_MS);
        self.failures = self.failures.saturating_add(1);
        let more = pause / 4 * (turn.random % 1024) / 1024;
        self.retry_at = Some(turn.now + pause + more);
    }
}

#[cfg(test)]
mod tests;
