//! The channels whose Rooms may believe that members are in this Hub: of a Hub's rows, those that members need; those of its tabs are in `tabs`.

use crate::sql::rows;
use dormouse_core::channel::ChannelName;
use js_sys::Array;
use std::cell::Cell;
use wasm_bindgen::prelude::*;
use web_sys::js_sys;
use worker::worker_sys::DurableObjectStorage;

const TABLE: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'kept'";
// Without the rowid it is one tree: one row written, where the key's index would be a second.
const CREATE: &str =
    "CREATE TABLE IF NOT EXISTS kept (channel TEXT PRIMARY KEY, marked INTEGER NOT NULL) STRICT, WITHOUT ROWID";
const ROWS: &str = "SELECT channel, marked FROM kept";
const KEEP: &str = "INSERT INTO kept VALUES (?, 0) ON CONFLICT (channel) DO NOTHING";
const DOUBT: &str = "INSERT INTO kept VALUES (?, 1) ON CONFLICT (channel) DO UPDATE SET marked = 1 WHERE marked = 0";
const TRUST: &str = "UPDATE kept SET marked = 0 WHERE channel = ? AND marked = 1";
const DROP: &str = "DELETE FROM kept WHERE channel = ? AND marked = 0";

/// The rows of one Hub.
pub(crate) struct Kept {
    storage: DurableObjectStorage,
    /// Whether the table is there; looked up when it is first needed.
    table: Cell<Option<bool>>,
}

impl Kept {
    pub(crate) fn new(storage: DurableObjectStorage) -> Self {
        Self { storage, table: Cell::new(None) }
    }

    /// The rows, and whether they are marked. Creates nothing. What cannot be read is read when the alarm rings the next time.
    pub(crate) fn rows(&self) -> Vec<(ChannelName, bool)> {
        if !self.has_table() {
            return Vec::new();
        }
        let row = |row: &Array| Some((ChannelName::known(&row.get(0).as_string()?).ok()?, row.get(1) == 1.0));
        self.exec(ROWS, &[]).unwrap_or_default().iter().filter_map(row).collect()
    }

    /// One row written, unless it is there.
    pub(crate) fn keep(&self, channel: &ChannelName) {
        self.write(KEEP, channel);
    }

    /// One row written, unless it is marked.
    pub(crate) fn doubt(&self, channel: &ChannelName) {
        self.write(DOUBT, channel);
    }

    /// One row written, if it is marked.
    pub(crate) fn trust(&self, channel: &ChannelName) {
        if self.has_table() {
            self.write(TRUST, channel);
        }
    }

    /// One row written, if it is there and not marked.
    pub(crate) fn drop(&self, channel: &ChannelName) {
        if self.has_table() {
            self.write(DROP, channel);
        }
    }

    /// A row that cannot be written is one thing less to be put right by: what is said to the Room does not depend on it.
    fn write(&self, query: &str, channel: &ChannelName) {
        if self.has_table() || self.exec(CREATE, &[]).is_some() {
            self.table.set(Some(true));
            let _ = self.exec(query, &[channel.as_str().into()]);
        }
    }

    fn has_table(&self) -> bool {
        if let Some(known) = self.table.get() {
            return known;
        }
        let Some(rows) = self.exec(TABLE, &[]) else { return false };
        self.table.set(Some(!rows.is_empty()));
        !rows.is_empty()
    }

    /// What fails is said in the log.
    fn exec(&self, query: &str, bindings: &[JsValue]) -> Option<Vec<Array>> {
        rows(&self.storage, query, bindings).ok()
    }
}
