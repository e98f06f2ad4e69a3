//! The Directory's rows in the object's SQLite. Every statement of a Directory stands here.

use crate::sql::{exec, integer, number, rows};
use dormouse_core::channel::ChannelName;
use dormouse_core::close::Holder;
use dormouse_core::directory::{DirectoryStore, Entry, Order, Row, Target};
use dormouse_core::limits;
use dormouse_core::store::StoreError;
use js_sys::{Array, JsString};
use wasm_bindgen::JsValue;
use web_sys::js_sys;
use worker::worker_sys::DurableObjectStorage;

const TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'channels'";
// Without the rowid each is one tree: one row written for a change, where the key's index would be a second. And no index on `sockets`: closing a user's
// connections reads all rows, which costs a thousandth of writing one.
const CREATE: &str = "
    CREATE TABLE IF NOT EXISTS channels (name TEXT PRIMARY KEY, at INTEGER NOT NULL, sockets INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS hubs (name TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS orders (user TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID";
const CHANNEL: &str = "SELECT at, sockets FROM channels WHERE name = ?";
const HUB: &str = "SELECT at, 1 FROM hubs WHERE name = ?";
const PUT_CHANNEL: &str = "INSERT INTO channels VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET at = excluded.at, sockets = excluded.sockets";
const PUT_HUB: &str = "INSERT INTO hubs VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET at = excluded.at";
const REMOVE_CHANNEL: &str = "DELETE FROM channels WHERE name = ?";
const REMOVE_HUB: &str = "DELETE FROM hubs WHERE name = ?";
const LIST: &str = "SELECT name, at FROM channels WHERE name > ? AND name >= ? AND name < ? ORDER BY name LIMIT ?";
const HUBS: &str = "SELECT name, at FROM hubs WHERE name > ? ORDER BY name LIMIT ?";
const ROOMS: &str = "SELECT name, at FROM channels WHERE name > ? AND sockets = 1 ORDER BY name LIMIT ?";
const ORDERS: &str = "SELECT user, at FROM orders ORDER BY at";
const PLACE: &str = "INSERT INTO orders VALUES (?, ?) ON CONFLICT (user) DO UPDATE SET at = excluded.at";
const DONE: &str = "DELETE FROM orders WHERE user = ?";

/// The rows of one Directory.
pub(crate) struct DirectorySql {
    storage: DurableObjectStorage,
    /// Whether the tables are there; looked up when they are first needed.
    made: Option<bool>,
}

impl DirectorySql {
    pub(crate) const fn new(storage: DurableObjectStorage) -> Self {
        Self { storage, made: None }
    }

    /// Reads. Creates nothing.
    fn read(&mut self, query: &str, bindings: &[JsValue]) -> Result<Vec<Array>, StoreError> {
        let made = match self.made {
            Some(made) => made,
            None => *self.made.insert(!rows(&self.storage, TABLES, &[])?.is_empty()),
        };
        if made { rows(&self.storage, query, bindings) } else { Ok(Vec::new()) }
    }

    fn write(&mut self, query: &str, bindings: &[JsValue]) -> Result<(), StoreError> {
        if self.made != Some(true) {
            exec(&self.storage, &JsString::from(CREATE), &[])?;
            self.made = Some(true);
        }
        exec(&self.storage, &JsString::from(query), bindings).map(|_| ())
    }

    fn targets(
        &mut self,
        query: &str,
        after: &str,
        holder: impl Fn(String) -> Option<Holder>,
    ) -> Result<Vec<Target>, StoreError> {
        let rows = self.read(query, &[after.into(), number(limits::ORDER_TARGETS as u64)])?;
        let target = |row: &Array| Some(Target { holder: holder(row.get(0).as_string()?)?, at: integer(row, 1)? });
        rows.iter().map(|row| target(row).ok_or(StoreError::Failed)).collect()
    }
}

fn name(holder: &Holder) -> JsValue {
    match holder {
        Holder::Channel(channel) => channel.as_str().into(),
        Holder::Hub(hub) => hub.into(),
    }
}

fn channel(name: &str) -> Option<ChannelName> {
    ChannelName::parse(name).ok()
}

impl DirectoryStore for DirectorySql {
    fn row(&mut self, holder: &Holder) -> Result<Option<Row>, StoreError> {
        let query = if matches!(holder, Holder::Channel(_)) { CHANNEL } else { HUB };
        let rows = self.read(query, &[name(holder)])?;
        let row = |row: &Array| Some(Row { at: integer(row, 0)?, sockets: integer(row, 1)? == 1 });
        rows.first().map(|found| row(found).ok_or(StoreError::Failed)).transpose()
    }

    fn put(&mut self, holder: &Holder, row: Row) -> Result<(), StoreError> {
        let (name, at) = (name(holder), number(row.at));
        match holder {
            Holder::Channel(_) => self.write(PUT_CHANNEL, &[name, at, u32::from(row.sockets).into()]),
            Holder::Hub(_) => self.write(PUT_HUB, &[name, at]),
        }
    }

    fn remove(&mut self, holder: &Holder) -> Result<(), StoreError> {
        let query = if matches!(holder, Holder::Channel(_)) { REMOVE_CHANNEL } else { REMOVE_HUB };
        self.write(query, &[name(holder)])
    }

    fn channels(&mut self, prefix: &str, after: &str, limit: u64) -> Result<Vec<Entry>, StoreError> {
        // Names are ASCII, and the last of its characters is in none of them.
        let end = format!("{prefix}\u{7f}");
        let rows = self.read(LIST, &[after.into(), prefix.into(), end.into(), number(limit)])?;
        let entry = |row: &Array| Some(Entry { channel: channel(&row.get(0).as_string()?)?, at: integer(row, 1)? });
        rows.iter().map(|row| entry(row).ok_or(StoreError::Failed)).collect()
    }

    fn hubs(&mut self, after: &str) -> Result<Vec<Target>, StoreError> {
        self.targets(HUBS, after, |name| Some(Holder::Hub(name)))
    }

    fn rooms(&mut self, after: &str) -> Result<Vec<Target>, StoreError> {
        self.targets(ROOMS, after, |name| channel(&name).map(Holder::Channel))
    }

    fn orders(&mut self) -> Result<Vec<Order>, StoreError> {
        let rows = self.read(ORDERS, &[])?;
        let order = |row: &Array| Some(Order { user: row.get(0).as_string()?, at: integer(row, 1)? });
        rows.iter().map(|row| order(row).ok_or(StoreError::Failed)).collect()
    }

    fn place(&mut self, order: &Order) -> Result<(), StoreError> {
        self.write(PLACE, &[order.user.as_str().into(), number(order.at)])
    }

    fn done(&mut self, user: &str) -> Result<(), StoreError> {
        self.write(DONE, &[user.into()])
    }
}
