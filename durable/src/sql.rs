//! The log's rows, the followers, the members and the outbox in the object's SQLite. Every statement of a Room stands here; those of a Hub are in `kept` and `tabs`, those of the Directory in `directory_sql`.

use dormouse_core::position::Epoch;
use dormouse_core::presence::MemberData;
use dormouse_core::session::Session;
use dormouse_core::store::{FollowerRow, MemberRow, Row, RowHead, Store, StoreError};
use js_sys::{Array, JsString, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::js_sys;
use worker::console_error;
use worker::worker_sys::{DurableObjectState, DurableObjectStorage, SqlStorageCursor};

use crate::sockets;

#[wasm_bindgen]
extern "C" {
    /// `storage.sql`, whose `exec` takes a string that is a JavaScript one already: the generated binding makes one anew for every call.
    type Sql;
    #[wasm_bindgen(method, catch, getter)]
    fn sql(this: &Storage) -> Result<Sql, JsValue>;
    #[wasm_bindgen(method, catch, variadic)]
    fn exec(this: &Sql, query: &JsString, bindings: &Array) -> Result<SqlStorageCursor, JsValue>;
    type Storage;
}

const TABLES: &str =
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('log', 'followers', 'members', 'outbox')";
const CREATE: &str = "CREATE TABLE IF NOT EXISTS log (
    slot INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL,
    time INTEGER NOT NULL, bytes INTEGER NOT NULL, ids BLOB NOT NULL, body BLOB NOT NULL) STRICT";
const HEADS: &str = "SELECT slot, epoch, first, count, time, bytes, ids FROM log ORDER BY first";
const READ: &str = "SELECT body FROM log WHERE slot = ?";
// In place: one row written, where a delete and an insert would be two.
const WRITE: &str = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (slot) DO UPDATE SET
    epoch = excluded.epoch, first = excluded.first, count = excluded.count, time = excluded.time,
    bytes = excluded.bytes, ids = excluded.ids, body = excluded.body";
const REMOVE: &str = "DELETE FROM log WHERE first < ?";
// Without the rowid it is one tree: one row written for a follower, where the key's index would be a second.
const CREATE_FOLLOWERS: &str = "CREATE TABLE IF NOT EXISTS followers (
    hub TEXT PRIMARY KEY, epoch INTEGER NOT NULL, failed INTEGER NOT NULL) STRICT, WITHOUT ROWID";
const FOLLOWERS: &str = "SELECT hub, epoch, failed FROM followers";
const FOLLOW: &str = "INSERT INTO followers VALUES (?, ?, ?) ON CONFLICT (hub) DO UPDATE SET
    epoch = excluded.epoch, failed = excluded.failed";
const UNFOLLOW: &str = "DELETE FROM followers WHERE hub = ?";
const CREATE_MEMBERS: &str = "CREATE TABLE IF NOT EXISTS members (
    source TEXT, user TEXT, at INTEGER NOT NULL, gone INTEGER NOT NULL, joined INTEGER NOT NULL, left INTEGER NOT NULL, data TEXT,
    PRIMARY KEY (source, user)) STRICT, WITHOUT ROWID";
const MEMBERS: &str = "SELECT source, user, at, gone, joined, left, data FROM members";
const MEMBERS_EPOCH: &str = "SELECT joined FROM members WHERE source = '' AND user = ''";
const PUT_MEMBER: &str = "INSERT INTO members VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (source, user) DO UPDATE SET
    at = excluded.at, gone = excluded.gone, joined = excluded.joined, left = excluded.left, data = excluded.data";
const REMOVE_MEMBER: &str = "DELETE FROM members WHERE source = ? AND user = ?";

const CREATE_OUTBOX: &str =
    "CREATE TABLE IF NOT EXISTS outbox (slot INTEGER PRIMARY KEY, head TEXT NOT NULL, body TEXT NOT NULL) STRICT";
const OUTBOX: &str = "SELECT slot, head FROM outbox";
const OUTBOX_BODY: &str = "SELECT body FROM outbox WHERE slot = ?";
const PUT_OUTBOX: &str = "INSERT INTO outbox VALUES (?, ?, ?) ON CONFLICT (slot) DO UPDATE SET
    head = excluded.head, body = excluded.body";

/// The rows of one object.
pub(crate) struct SqlStore {
    storage: DurableObjectStorage,
    write: JsString,
    /// Looked up when they are first needed.
    tables: Option<Tables>,
    /// The object, whose sockets remember what has no row.
    state: DurableObjectState,
    put_member: JsString,
}

/// Which tables are there.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one for each table")]
struct Tables {
    log: bool,
    followers: bool,
    members: bool,
    outbox: bool,
}

impl SqlStore {
    fn members_epoch(&mut self) -> Option<Epoch> {
        if !self.tables().ok()?.members {
            return None;
        }
        let rows = self.rows(MEMBERS_EPOCH, &[]).ok()?;
        integer(rows.first()?, 0).filter(|epoch| *epoch > 0).map(Epoch::new)
    }

    pub(crate) fn new(storage: DurableObjectStorage, state: DurableObjectState) -> Self {
        Self { storage, write: JsString::from(WRITE), put_member: JsString::from(PUT_MEMBER), tables: None, state }
    }

    /// All storage was deleted: the tables are made anew by the next write.
    pub(crate) fn forgotten(&mut self) {
        self.tables = Some(Tables::default());
    }

    /// Creates nothing: who looks at a channel that stores nothing shall not make it store something.
    fn tables(&mut self) -> Result<Tables, StoreError> {
        if let Some(tables) = self.tables {
            return Ok(tables);
        }
        let names: Vec<_> = self.rows(TABLES, &[])?.iter().filter_map(|row| row.get(0).as_string()).collect();
        let has = |name: &str| names.iter().any(|known| known == name);
        let [log, followers, members, outbox] = ["log", "followers", "members", "outbox"].map(has);
        let tables = Tables { log, followers, members, outbox };
        Ok(*self.tables.insert(tables))
    }

    fn create(&mut self, query: &str, tables: Tables) -> Result<(), StoreError> {
        self.exec(&JsString::from(query), &[])?;
        self.tables = Some(tables);
        Ok(())
    }

    fn exec(&self, query: &JsString, bindings: &[JsValue]) -> Result<SqlStorageCursor, StoreError> {
        exec(&self.storage, query, bindings)
    }

    fn rows(&self, query: &str, bindings: &[JsValue]) -> Result<Vec<Array>, StoreError> {
        rows(&self.storage, query, bindings)
    }
}

/// Runs a statement.
pub(crate) fn exec(
    storage: &DurableObjectStorage,
    query: &JsString,
    bindings: &[JsValue],
) -> Result<SqlStorageCursor, StoreError> {
    let bindings: Array = bindings.iter().collect();
    let storage: &Storage = storage.unchecked_ref();
    storage.sql().and_then(|sql| sql.exec(query, &bindings)).map_err(|error| store_error(&error))
}

/// Runs a statement, and reads the rows that it gives.
pub(crate) fn rows(
    storage: &DurableObjectStorage,
    query: &str,
    bindings: &[JsValue],
) -> Result<Vec<Array>, StoreError> {
    // `raw` and not `toArray`: that one's exceptions would abort the whole isolate.
    let rows = exec(storage, &JsString::from(query), bindings)?.raw();
    let mut out = Vec::new();
    loop {
        let next = rows.next().map_err(|error| store_error(&error))?;
        if next.done() {
            return Ok(out);
        }
        out.push(next.value().unchecked_into());
    }
}

impl Store for SqlStore {
    fn load(&mut self) -> Result<Vec<RowHead>, StoreError> {
        if !self.tables()?.log {
            return Ok(Vec::new());
        }
        let heads = self.rows(HEADS, &[])?;
        heads.iter().map(|row| head(row).ok_or(StoreError::Failed)).collect()
    }

    fn read(&mut self, slot: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.rows(READ, &[slot.into()])?;
        Ok(rows.first().map(|row| Uint8Array::new(&row.get(0)).to_vec()))
    }

    fn write(&mut self, row: &Row) -> Result<(), StoreError> {
        let tables = self.tables()?;
        if !tables.log {
            self.create(CREATE, Tables { log: true, ..tables })?;
        }
        let head = &row.head;
        let bindings = [
            head.slot.into(),
            number(head.epoch.bits()),
            number(head.first),
            head.count.into(),
            number(head.time),
            head.bytes.into(),
            Uint8Array::from(head.ids.as_slice()).into(),
            Uint8Array::from(row.body.as_slice()).into(),
        ];
        self.exec(&self.write, &bindings).map(|_| ())
    }

    fn remove_before(&mut self, first: u64) -> Result<(), StoreError> {
        self.exec(&JsString::from(REMOVE), &[number(first)]).map(|_| ())
    }

    fn remembered_epoch(&mut self) -> Option<Epoch> {
        let session = sockets::open(&self.state).iter().find_map(sockets::session);
        let followed = |store: &mut Self| store.followers().ok()?.first().map(|(_, row)| row.epoch);
        session.map(|session| session.epoch).or_else(|| followed(self)).or_else(|| self.members_epoch())
    }

    fn followers(&mut self) -> Result<Vec<(String, FollowerRow)>, StoreError> {
        if !self.tables()?.followers {
            return Ok(Vec::new());
        }
        let rows = self.rows(FOLLOWERS, &[])?;
        let follower = |row: &Array| {
            let (epoch, failed) = (Epoch::new(integer(row, 1)?), integer(row, 2)? != 0);
            Some((row.get(0).as_string()?, FollowerRow { epoch, failed }))
        };
        rows.iter().map(|row| follower(row).ok_or(StoreError::Failed)).collect()
    }

    fn follow(&mut self, hub: &str, row: FollowerRow) -> Result<(), StoreError> {
        let tables = self.tables()?;
        if !tables.followers {
            self.create(CREATE_FOLLOWERS, Tables { followers: true, ..tables })?;
        }
        self.exec(&JsString::from(FOLLOW), &[hub.into(), number(row.epoch.bits()), number(row.failed.into())])
            .map(|_| ())
    }

    fn unfollow(&mut self, hub: &str) -> Result<(), StoreError> {
        if !self.tables()?.followers {
            return Ok(());
        }
        self.exec(&JsString::from(UNFOLLOW), &[hub.into()]).map(|_| ())
    }

    fn members(&mut self) -> Result<Vec<MemberRow>, StoreError> {
        if !self.tables()?.members {
            return Ok(Vec::new());
        }
        self.rows(MEMBERS, &[])?.iter().map(|row| member(row).ok_or(StoreError::Failed)).collect()
    }

    fn put_member(&mut self, row: &MemberRow) -> Result<(), StoreError> {
        let tables = self.tables()?;
        if !tables.members {
            self.create(CREATE_MEMBERS, Tables { members: true, ..tables })?;
        }
        let bindings = [
            row.source.as_str().into(),
            row.user.as_str().into(),
            number(row.at),
            number(row.gone),
            number(row.joined),
            number(row.left),
            row.data.as_ref().map_or(JsValue::NULL, |data| data.as_str().into()),
        ];
        self.exec(&self.put_member, &bindings).map(|_| ())
    }

    fn remove_member(&mut self, source: &str, user: &str) -> Result<(), StoreError> {
        self.exec(&JsString::from(REMOVE_MEMBER), &[source.into(), user.into()]).map(|_| ())
    }

    fn present(&mut self) -> Vec<Session> {
        sockets::all(&self.state).iter().filter_map(sockets::session).collect()
    }

    fn outbox(&mut self) -> Result<Vec<(u32, String)>, StoreError> {
        if !self.tables()?.outbox {
            return Ok(Vec::new());
        }
        let row = |row: &Array| Some((u32::try_from(integer(row, 0)?).ok()?, row.get(1).as_string()?));
        self.rows(OUTBOX, &[])?.iter().map(|found| row(found).ok_or(StoreError::Failed)).collect()
    }

    fn outbox_body(&mut self, slot: u32) -> Result<Option<String>, StoreError> {
        if !self.tables()?.outbox {
            return Ok(None);
        }
        Ok(self.rows(OUTBOX_BODY, &[slot.into()])?.first().and_then(|row| row.get(0).as_string()))
    }

    fn put_outbox(&mut self, slot: u32, head: &str, body: &str) -> Result<(), StoreError> {
        let tables = self.tables()?;
        if !tables.outbox {
            self.create(CREATE_OUTBOX, Tables { outbox: true, ..tables })?;
        }
        self.exec(&JsString::from(PUT_OUTBOX), &[slot.into(), head.into(), body.into()]).map(|_| ())
    }
}

fn member(row: &Array) -> Option<MemberRow> {
    Some(MemberRow {
        source: row.get(0).as_string()?,
        user: row.get(1).as_string()?,
        at: integer(row, 2)?,
        gone: integer(row, 3)?,
        joined: integer(row, 4)?,
        left: integer(row, 5)?,
        data: row.get(6).as_string().map(|text| MemberData::parse(&text)).transpose().ok()?,
    })
}

fn head(row: &Array) -> Option<RowHead> {
    Some(RowHead {
        slot: u32::try_from(integer(row, 0)?).ok()?,
        epoch: Epoch::new(integer(row, 1)?),
        first: integer(row, 2)?,
        count: u32::try_from(integer(row, 3)?).ok()?,
        time: integer(row, 4)?,
        bytes: u32::try_from(integer(row, 5)?).ok()?,
        ids: Uint8Array::new(&row.get(6)).to_vec(),
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be whole and not negative; 53 bits at most"
)]
pub(crate) fn integer(row: &Array, column: u32) -> Option<u64> {
    let value = row.get(column).as_f64()?;
    (value >= 0.0 && value.fract() == 0.0).then_some(value as u64)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "epochs have 48 bits, numbers of messages, times and revisions stay under 53"
)]
pub(crate) fn number(value: u64) -> JsValue {
    JsValue::from_f64(value as f64)
}

/// What a failure means; said once, in the log.
pub(crate) fn store_error(error: &JsValue) -> StoreError {
    let text =
        error.dyn_ref::<js_sys::Error>().map_or_else(|| format!("{error:?}"), |error| String::from(error.message()));
    console_error!("storage: {text}");
    if text.contains("SQLITE_FULL") || text.contains("disk is full") { StoreError::Full } else { StoreError::Failed }
}
