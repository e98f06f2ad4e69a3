//! A channel's log: numbers messages, keeps them within bounds, and remembers ids.
//!
//! The log is a ring of rows ("segments") that are replaced in place and never deleted: one message or many, one row written.
//! The index (this struct) is a cache of the rows' heads. A row may be replaced once none of its messages is
//! in the history any more and none of its ids is needed; until then the ring grows by a row. Only past `LOG_BYTES_MAX`, when
//! small rows gave way to large ones, does it shrink by deleting.

use crate::config::History;
use crate::frame::{Gap, GapReason};
use crate::limits;
use crate::message::{Message, MessageId, Payload};
use crate::position::{Epoch, Position};
use crate::segment::{self, Fingerprint, IdMark};
use crate::store::{Row, RowHead, Store, StoreError};
use std::collections::{HashMap, VecDeque};

/// The index of a log, rebuilt from the store on waking.
#[derive(Debug)]
pub(crate) struct Log {
    history: History,
    epoch: Epoch,
    head: u64,
    /// Oldest first.
    segments: VecDeque<Segment>,
    /// How many segments at the front are out of the history.
    hidden: usize,
    /// Bytes in the segments that are not.
    visible_bytes: u64,
    total_bytes: u64,
    next_slot: u32,
    /// The `seq` of the newest message with that fingerprint.
    ids: HashMap<Fingerprint, u64>,
}

#[derive(Debug)]
struct Segment {
    slot: u32,
    first: u64,
    count: u32,
    time: u64,
    bytes: u32,
    ids: Vec<IdMark>,
}

impl Segment {
    fn last(&self) -> u64 {
        (self.first + u64::from(self.count)).saturating_sub(1)
    }
}

/// What the log knows of an id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    Never,
    /// The same message, at that place.
    At(Position),
    /// Another message.
    Otherwise,
}

/// Where a reader goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Start {
    /// The position that it has, or that it has to do without.
    pub(crate) position: Position,
    /// What it cannot have.
    pub(crate) gap: Option<Gap>,
}

impl Log {
    /// Reads the index. A log that has no rows begins in the epoch of a connected session, else in a new one.
    pub(crate) fn load<S: Store>(store: &mut S, history: History, now: u64, random: u64) -> Result<Self, StoreError> {
        let rows = store.load()?;
        let epoch = match rows.last() {
            Some(newest) => newest.epoch,
            None => store.remembered_epoch().unwrap_or(Epoch::new(random)),
        };
        let mut log = Self {
            history,
            epoch,
            head: 0,
            segments: VecDeque::with_capacity(rows.len()),
            hidden: 0,
            visible_bytes: 0,
            total_bytes: 0,
            next_slot: 0,
            ids: HashMap::new(),
        };
        for row in rows.into_iter().filter(|row| row.epoch == epoch) {
            let ids = segment::decode_ids(&row.ids).ok_or(StoreError::Failed)?;
            log.push(Segment {
                slot: row.slot,
                first: row.first,
                count: row.count,
                time: row.time,
                bytes: row.bytes,
                ids,
            });
        }
        log.hide(now);
        Ok(log)
    }

    /// The last message's position.
    pub(crate) fn position(&self) -> Position {
        self.epoch.at(self.head)
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether messages are kept at all.
    fn keeps(&self) -> bool {
        self.history.size > 0
    }

    /// When the newest message was stored, in milliseconds.
    pub(crate) fn newest_at(&self) -> Option<u64> {
        self.segments.back().map(|newest| newest.time)
    }

    /// When everything is out of its time, ids included; `None` for a log that has nothing.
    pub(crate) fn forgettable_at(&self) -> Option<u64> {
        let newest = self.segments.back()?;
        let kept = if self.keeps() { self.history.ttl.saturating_mul(1000) } else { 0 };
        Some(newest.time.saturating_add(kept.max(limits::ID_WINDOW_MS)))
    }

    /// Writes messages as one row, and numbers them only if that succeeds. At most 2 MB; the caller keeps to that.
    pub(crate) fn append<S: Store>(&mut self, store: &mut S, messages: &[Message], now: u64) -> Result<(), StoreError> {
        let first = self.head + 1;
        let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        // Time never runs backwards within a log, whatever the clock does: ages stay in the order of the rows.
        let time = self.segments.back().map_or(now, |newest| newest.time.max(now));
        self.hide(time);
        let slot = match self.segments.front() {
            Some(oldest) if self.is_spent(oldest, first + u64::from(count) - 1, time) => oldest.slot,
            _ => self.next_slot,
        };
        let ids: Vec<IdMark> = (0..)
            .zip(messages)
            .filter_map(|(offset, message)| {
                message.id.as_ref().map(|id| IdMark { offset, fingerprint: segment::fingerprint(&id.id) })
            })
            .collect();
        let body = if self.keeps() { segment::encode(messages) } else { segment::encode(&ids_only(messages)) };
        let bytes = if self.keeps() { u32::try_from(body.len()).unwrap_or(u32::MAX) } else { 0 };
        let head = RowHead { slot, epoch: self.epoch, first, count, time, bytes, ids: segment::encode_ids(&ids) };
        store.write(&Row { head, body })?;
        if self.segments.front().is_some_and(|oldest| oldest.slot == slot) {
            self.pop();
        }
        self.push(Segment { slot, first, count, time, bytes, ids });
        self.hide(time);
        // The messages are stored, whatever becomes of the cleaning up: what is not deleted is loaded again, and tried again.
        let _ = self.shrink(store, time);
        Ok(())
    }

    /// Deletes what is spent when the disk's bound is passed, an eighth more than needed: it is one statement, and rarely.
    fn shrink<S: Store>(&mut self, store: &mut S, now: u64) -> Result<(), StoreError> {
        if self.total_bytes <= limits::LOG_BYTES_MAX {
            return Ok(());
        }
        while self.total_bytes > limits::LOG_BYTES_MAX / 8 * 7 && self.segments.len() > 1 {
            match self.segments.front() {
                Some(oldest) if self.is_spent(oldest, self.head, now) => self.pop(),
                _ => break,
            }
        }
        store.remove_before(self.segments.front().map_or(0, |oldest| oldest.first))
    }

    /// Forgets the oldest ids when there are too many in memory; their rows may go then.
    fn trim_ids(&mut self) {
        let mut at = 0;
        while self.ids.len() > limits::IDS_MAX {
            let Some(segment) = self.segments.get_mut(at) else { return };
            let (marks, last) = (core::mem::take(&mut segment.ids), segment.last());
            self.forget_ids(&marks, last);
            at += 1;
        }
    }

    fn forget_ids(&mut self, marks: &[IdMark], last: u64) {
        for mark in marks {
            // A newer message may have the same fingerprint.
            if self.ids.get(&mark.fingerprint).is_some_and(|seq| *seq <= last) {
                self.ids.remove(&mark.fingerprint);
            }
        }
    }

    /// Whether a row may be replaced: nothing of it is wanted, or the bounds say that it has to go.
    fn is_spent(&self, oldest: &Segment, head: u64, now: u64) -> bool {
        let out_of_bounds = self.ids.len() >= limits::IDS_MAX
            || self.total_bytes >= limits::LOG_BYTES_MAX
            || self.segments.len() >= limits::SEGMENTS_MAX;
        let kept = self.keeps()
            && self.hidden == 0
            && oldest.last() + self.history.size > head
            && !self.is_expired(oldest, now);
        let ids_kept = !oldest.ids.is_empty() && oldest.time.saturating_add(limits::ID_WINDOW_MS) > now;
        !kept && (!ids_kept || out_of_bounds)
    }

    fn is_expired(&self, segment: &Segment, now: u64) -> bool {
        segment.time.saturating_add(self.history.ttl.saturating_mul(1000)) <= now
    }

    fn push(&mut self, segment: Segment) {
        self.head = segment.last();
        for mark in &segment.ids {
            self.ids.insert(mark.fingerprint, segment.first + u64::from(mark.offset));
        }
        self.visible_bytes += u64::from(segment.bytes);
        self.total_bytes += u64::from(segment.bytes);
        self.next_slot = self.next_slot.max(segment.slot.saturating_add(1));
        let kept = segment.bytes > 0;
        self.segments.push_back(segment);
        if !kept {
            // Written while the channel was ephemeral: there is no going back over it.
            self.hidden = self.segments.len();
            self.visible_bytes = 0;
        }
        self.trim_ids();
    }

    fn pop(&mut self) {
        let Some(oldest) = self.segments.pop_front() else { return };
        if self.hidden > 0 {
            self.hidden -= 1;
        } else {
            self.visible_bytes -= u64::from(oldest.bytes);
        }
        self.total_bytes -= u64::from(oldest.bytes);
        self.forget_ids(&oldest.ids, oldest.last());
    }

    /// Moves the border of the history: by count, by age and by bytes. Each segment is passed once.
    fn hide(&mut self, now: u64) {
        while let Some(segment) = self.segments.get(self.hidden) {
            let in_count = self.keeps() && segment.last() + self.history.size > self.head;
            let in_bytes = self.visible_bytes <= limits::HISTORY_BYTES_MAX;
            if in_count && in_bytes && !self.is_expired(segment, now) {
                break;
            }
            self.visible_bytes -= u64::from(segment.bytes);
            self.hidden += 1;
        }
    }

    /// The `seq` of the oldest message that can be had; one past the last if there is none.
    pub(crate) fn first_available(&mut self, now: u64) -> u64 {
        self.hide(now);
        let visible = self.segments.get(self.hidden).map_or(self.head + 1, |segment| segment.first);
        visible.max((self.head + 1).saturating_sub(self.history.size))
    }

    /// Where a reader goes on who has everything up to `after`.
    pub(crate) fn resume(&mut self, after: Position, now: u64) -> Start {
        let first = self.first_available(now);
        let gap = |position: Position, reason| Start { position, gap: Some(Gap { after, position, reason }) };
        if after.epoch != self.epoch {
            return gap(self.epoch.at(first - 1), GapReason::Lost);
        }
        if after.seq > self.head {
            return gap(self.position(), GapReason::Ahead);
        }
        if after.seq + 1 < first {
            return gap(self.epoch.at(first - 1), GapReason::Expired);
        }
        Start { position: after, gap: None }
    }

    /// Where a reader begins who wants the newest `n`.
    pub(crate) fn newest(&mut self, n: u64, now: u64) -> Position {
        let first = self.first_available(now).max((self.head + 1).saturating_sub(n));
        self.epoch.at(first - 1)
    }

    /// Bytes from the row of `seq` on, about.
    pub(crate) fn bytes_from(&self, seq: u64) -> u64 {
        self.segments
            .iter()
            .rev()
            .take_while(|segment| segment.last() >= seq)
            .map(|segment| u64::from(segment.bytes))
            .sum()
    }

    /// Messages from `seq` on, each with its place and the time it was stored, until `bytes` or `count` is reached.
    pub(crate) fn read<S: Store>(
        &mut self,
        store: &mut S,
        seq: u64,
        bytes: usize,
        count: u64,
    ) -> Result<Vec<(u64, u64, Message)>, StoreError> {
        let mut out = Vec::new();
        let mut taken = 0;
        let mut at = self.segments.partition_point(|segment| segment.last() < seq);
        while let Some(segment) = self.segments.get(at) {
            let messages =
                store.read(segment.slot)?.and_then(|body| segment::decode(&body)).ok_or(StoreError::Failed)?;
            for (place, message) in (segment.first..).zip(messages) {
                if taken >= bytes || out.len() as u64 >= count {
                    return Ok(out);
                }
                if place >= seq {
                    taken += message.bytes();
                    out.push((place, segment.time, message));
                }
            }
            at += 1;
        }
        Ok(out)
    }

    /// What is known of an id. Reads one row on a hit, none otherwise.
    pub(crate) fn seen<S: Store>(&self, store: &mut S, id: &MessageId) -> Result<Seen, StoreError> {
        let Some(&seq) = self.ids.get(&segment::fingerprint(&id.id)) else { return Ok(Seen::Never) };
        let at = self.segments.partition_point(|segment| segment.last() < seq);
        let Some(segment) = self.segments.get(at) else { return Ok(Seen::Never) };
        let messages = store.read(segment.slot)?.and_then(|body| segment::decode(&body)).ok_or(StoreError::Failed)?;
        let found = messages.iter().filter_map(|message| message.id.as_ref()).find(|found| found.id == id.id);
        Ok(match found {
            Some(found) if found == id => Seen::At(self.epoch.at(seq)),
            Some(_) => Seen::Otherwise,
            None => Seen::Never,
        })
    }
}

/// What an ephemeral channel keeps: the ids that a retry is recognised by.
fn ids_only(messages: &[Message]) -> Vec<Message> {
    let with_id = messages.iter().filter(|message| message.id.is_some());
    with_id
        .map(|message| Message { id: message.id.clone(), ..Message::new(None, Payload::Text(String::new()), None) })
        .collect()
}

#[cfg(test)]
mod tests;
