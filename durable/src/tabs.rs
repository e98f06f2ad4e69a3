//! The rows of a Hub's tabs: what is known of each between its connections, and after all sockets were lost.

use crate::common::now;
use crate::sql::{number, rows};
use dormouse_core::channel::ChannelName;
use dormouse_core::limits;
use dormouse_core::position::Position;
use dormouse_core::resume::{Held, Reached, ResumeId, Sweeps};
use js_sys::Array;
use std::cell::Cell;
use wasm_bindgen::prelude::*;
use web_sys::js_sys;
use worker::worker_sys::DurableObjectStorage;

const TABLE: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'lives'";
// Without the rowid each is one tree: one row written, where the key's index would be a second. The last one is made last: where it is, all are.
const CREATE: [&str; 4] = [
    "CREATE TABLE IF NOT EXISTS tabs (id TEXT PRIMARY KEY, life INTEGER NOT NULL, at INTEGER NOT NULL, open INTEGER NOT NULL, held TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS reached (channel TEXT, life INTEGER, acked TEXT NOT NULL, bound TEXT, PRIMARY KEY (channel, life)) STRICT, WITHOUT ROWID",
    // One row more for a channel's first in a life, and for its bound: so a waking reads those that have none, and no others.
    "CREATE INDEX IF NOT EXISTS mourned ON reached (life) WHERE bound IS NULL",
    "CREATE TABLE IF NOT EXISTS lives (one INTEGER PRIMARY KEY CHECK (one = 1), life INTEGER NOT NULL) STRICT",
];
const LIFE: &str = "SELECT life FROM lives";
const OPEN: &str = "SELECT 1 FROM tabs WHERE open = 1 AND life = ? LIMIT 1";
const LIVE: &str = "INSERT INTO lives VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET life = excluded.life";
// Not DISTINCT: SQLite would read the whole table.
const MOURNED: &str = "SELECT channel FROM reached WHERE bound IS NULL AND life < ?";
const HOLD: &str = "INSERT INTO tabs VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET life = excluded.life, at = excluded.at, open = excluded.open, held = excluded.held";
const HELD: &str = "SELECT life, open, held FROM tabs WHERE id = ?";
const LET_GO: &str = "DELETE FROM tabs WHERE id = ?";
const REACH: &str =
    "INSERT INTO reached VALUES (?, ?, ?, NULL) ON CONFLICT (channel, life) DO UPDATE SET acked = excluded.acked";
const REACHED: &str = "SELECT acked, bound FROM reached WHERE channel = ? AND life = ?";
const BOUND: &str = "UPDATE reached SET bound = ? WHERE channel = ? AND life < ? AND bound IS NULL";
const SWEEP_LEFT: &str = "DELETE FROM tabs WHERE open = 0 AND at < ?";
const SWEEP_LOST: &str = "DELETE FROM tabs WHERE open = 1 AND life < ?";
const SWEEP_REACHED: &str = "DELETE FROM reached WHERE life < ? AND life NOT IN (SELECT life FROM tabs WHERE open = 1)";
const COUNT: &str = "SELECT count(*) FROM tabs";
const SWEEP_OLDEST: &str = "DELETE FROM tabs WHERE id IN (SELECT id FROM tabs ORDER BY open, at LIMIT ?)";

/// The rows of one Hub.
pub(crate) struct Tabs {
    storage: DurableObjectStorage,
    /// Whether the tables are there; looked up when they are first needed.
    tables: Cell<Option<bool>>,
    /// When this life began, in milliseconds: that is its name. Read when it is first needed.
    life: Cell<Option<u64>>,
    sweeps: Cell<Sweeps>,
}

impl Tabs {
    pub(crate) fn new(storage: DurableObjectStorage) -> Self {
        Self { storage, tables: Cell::new(None), life: Cell::new(None), sweeps: Cell::default() }
    }

    /// There are no sockets: if tabs had some they were lost, and from now on it is another life. One row then.
    pub(crate) fn begin_life(&self) {
        // A Hub that only wakes for its alarm loses nothing, and its life has to grow old: what was lost with the one before is kept for a day.
        let lost = || self.exec(OPEN, &[number(self.life())]).is_none_or(|rows| !rows.is_empty());
        if self.has_tables() && lost() {
            let life = now().max(self.life() + 1);
            self.life.set(Some(life));
            self.exec(LIVE, &[number(life)]);
        }
    }

    /// The channels of which something was saved in earlier lives and no bound is known: with each waking, because nothing else remembers them. One row read for each, and for a Hub
    /// in which no tab has ever been one question.
    pub(crate) fn mourned(&self) -> Vec<ChannelName> {
        if !self.has_tables() {
            return Vec::new();
        }
        let channel = |row: Array| ChannelName::parse(&row.get(0).as_string()?).ok();
        self.exec(MOURNED, &[number(self.life())]).unwrap_or_default().into_iter().filter_map(channel).collect()
    }

    /// Keeps what is known of a tab: one row.
    pub(crate) fn hold(&self, id: &ResumeId, held: &Held, open: bool) {
        let open = JsValue::from(u32::from(open));
        let mut sweeps = self.sweeps.get();
        sweeps.kept();
        self.sweeps.set(sweeps);
        self.write(HOLD, &[id.as_str().into(), number(self.life()), number(now()), open, held.encode().into()]);
    }

    /// What is known of a tab that has no connection here: one row read, and one for each of its channels after a loss.
    pub(crate) fn held(&self, id: &ResumeId) -> Option<Held> {
        if !self.has_tables() {
            return None;
        }
        let row = self.exec(HELD, &[id.as_str().into()])?.into_iter().next()?;
        let (life, open) = (as_number(&row.get(0)), row.get(1) == 1.0);
        let held = Held::decode(&row.get(2).as_string().unwrap_or_default());
        Some(match life {
            _ if !open => held,
            Some(life) if life < self.life() => held.after_loss(|channel| self.reached(channel, life)),
            _ => held.after_silence(),
        })
    }

    /// Forgets a tab: one row deleted.
    pub(crate) fn let_go(&self, id: &ResumeId) {
        if self.has_tables() {
            self.exec(LET_GO, &[id.as_str().into()]);
        }
    }

    fn reached(&self, channel: &ChannelName, life: u64) -> Option<Reached> {
        let row = self.exec(REACHED, &[channel.as_str().into(), number(life)])?.into_iter().next()?;
        let position = |at: u32| Position::parse(&row.get(at).as_string()?);
        Some(Reached { acked: position(0)?, bound: position(1) })
    }

    /// All tabs that follow have that: one row.
    pub(crate) fn reach(&self, channel: &ChannelName, acked: Position) {
        self.write(REACH, &[channel.as_str().into(), number(self.life()), acked.to_string().into()]);
    }

    /// Nothing beyond that was sent in earlier lives: one row, where one of them says nothing yet.
    pub(crate) fn bound(&self, channel: &ChannelName, position: Position) {
        if self.has_tables() {
            self.exec(BOUND, &[position.to_string().into(), channel.as_str().into(), number(self.life())]);
        }
    }

    /// Once an hour: deletes what was kept long enough, or is too much. Whether there are rows left to look after.
    pub(crate) fn sweep(&self) -> bool {
        let (now, mut sweeps) = (now(), self.sweeps.get());
        if !self.has_tables() {
            return false;
        }
        if sweeps.is_due(now) {
            sweeps.swept(now, self.swept(now));
            self.sweeps.set(sweeps);
        }
        sweeps.is_left()
    }

    /// Deletes; how many tabs are left.
    fn swept(&self, now: u64) -> u64 {
        let since = now.saturating_sub(limits::RESUME_KEEP_MS);
        self.exec(SWEEP_LEFT, &[number(since)]);
        // What was lost with a life was lost when the next one began.
        if self.life() < since {
            self.exec(SWEEP_LOST, &[number(self.life())]);
        }
        self.exec(SWEEP_REACHED, &[number(self.life())]);
        let count = self.exec(COUNT, &[]).and_then(|rows| as_number(&rows.first()?.get(0))).unwrap_or_default();
        let most = limits::RESUME_ROWS_MAX as u64;
        if count > most {
            self.exec(SWEEP_OLDEST, &[number(count - most)]);
        }
        count.min(most)
    }

    fn life(&self) -> u64 {
        if let Some(life) = self.life.get() {
            return life;
        }
        let read = || as_number(&self.exec(LIFE, &[])?.first()?.get(0));
        let life = self.has_tables().then(read).flatten().unwrap_or_default();
        self.life.set(Some(life));
        life
    }

    /// A row that cannot be written: what it would have said is told as a gap, or not known.
    fn write(&self, query: &str, bindings: &[JsValue]) {
        if self.has_tables() || CREATE.iter().all(|create| self.exec(create, &[]).is_some()) {
            self.tables.set(Some(true));
            self.exec(query, bindings);
        }
    }

    fn has_tables(&self) -> bool {
        if let Some(known) = self.tables.get() {
            return known;
        }
        let Some(rows) = self.exec(TABLE, &[]) else { return false };
        self.tables.set(Some(!rows.is_empty()));
        !rows.is_empty()
    }

    fn exec(&self, query: &str, bindings: &[JsValue]) -> Option<Vec<Array>> {
        rows(&self.storage, query, bindings).ok()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was put in as a number")]
fn as_number(value: &JsValue) -> Option<u64> {
    value.as_f64().map(|value| value as u64)
}
