//! Where the Directory's rows are kept: the trait that the runtime's SQLite and the memory twin implement.

use super::Entry;
use super::orders::{Cursor, Order, Target};
use crate::channel::ChannelName;
use crate::close::Holder;
use crate::limits;
use crate::store::StoreError;
use std::collections::BTreeMap;

/// What is known of an object that has connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The number of the report that said so.
    pub at: u64,
    /// Whether it has sockets of its own. A Hub that is known has.
    pub sockets: bool,
}

/// An app's Directory. Synchronous, so that nothing comes between deciding and storing. Reading creates nothing.
pub trait DirectoryStore {
    /// What is known of an object.
    fn row(&mut self, holder: &Holder) -> Result<Option<Row>, StoreError>;
    /// Replaces it. Creates what it needs. One row written.
    fn put(&mut self, holder: &Holder, row: Row) -> Result<(), StoreError>;
    /// Nothing is known of it any more. One row deleted.
    fn remove(&mut self, holder: &Holder) -> Result<(), StoreError>;
    /// Channels whose names begin with `prefix` and come after `after`, in order, at most `limit`.
    fn channels(&mut self, prefix: &str, after: &str, limit: u64) -> Result<Vec<Entry>, StoreError>;
    /// Hubs whose names come after that one, in order, at most [`limits::ORDER_TARGETS`].
    fn hubs(&mut self, after: &str) -> Result<Vec<Target>, StoreError>;
    /// Rooms with sockets of their own whose channels come after that one, in order, at most [`limits::ORDER_TARGETS`].
    fn rooms(&mut self, after: &str) -> Result<Vec<Target>, StoreError>;
    /// The orders that are not done.
    fn orders(&mut self) -> Result<Vec<Order>, StoreError>;
    /// Places an order, or replaces that of the same user. Creates what it needs. One row written.
    fn place(&mut self, order: &Order) -> Result<(), StoreError>;
    /// An order is done, or given up. One row deleted.
    fn done(&mut self, user: &str) -> Result<(), StoreError>;

    /// The next objects that an order has to call, and how far it is then.
    fn targets(&mut self, cursor: &Cursor) -> Result<(Vec<Target>, Cursor), StoreError> {
        let (targets, hubs) = match cursor {
            Cursor::Hubs(after) => (self.hubs(after)?, true),
            Cursor::Rooms(after) => (self.rooms(after)?, false),
            Cursor::End => return Ok((Vec::new(), Cursor::End)),
        };
        let last = targets.last().map(|target| target.name().to_owned());
        let cursor = match last.filter(|_| targets.len() >= limits::ORDER_TARGETS) {
            Some(last) if hubs => Cursor::Hubs(last),
            Some(last) => Cursor::Rooms(last),
            None if hubs => Cursor::Rooms(String::new()),
            None => Cursor::End,
        };
        Ok((targets, cursor))
    }
}

/// The store in memory: the twin of the runtime's, for tests.
#[derive(Clone, Debug, Default)]
pub struct MemoryDirectory {
    /// The rows.
    pub rows: BTreeMap<Holder, Row>,
    /// The orders, by user.
    pub orders: BTreeMap<String, Order>,
    /// The next writes fail so.
    pub failing: Option<StoreError>,
    /// Rows written so far, deletions included.
    pub written: u64,
}

impl MemoryDirectory {
    fn write(&mut self) -> Result<(), StoreError> {
        self.written += 1;
        self.failing.map_or(Ok(()), Err)
    }

    fn after(&self, after: &str, wanted: impl Fn(&Holder, &Row) -> bool) -> Vec<Target> {
        let rows = self.rows.iter().filter(|(holder, row)| wanted(holder, row));
        let targets = rows.map(|(holder, row)| Target { holder: holder.clone(), at: row.at });
        targets.filter(|target| target.name() > after).take(limits::ORDER_TARGETS).collect()
    }
}

impl DirectoryStore for MemoryDirectory {
    fn row(&mut self, holder: &Holder) -> Result<Option<Row>, StoreError> {
        Ok(self.rows.get(holder).copied())
    }

    fn put(&mut self, holder: &Holder, row: Row) -> Result<(), StoreError> {
        self.write()?;
        self.rows.insert(holder.clone(), row);
        Ok(())
    }

    fn remove(&mut self, holder: &Holder) -> Result<(), StoreError> {
        self.write()?;
        self.rows.remove(holder);
        Ok(())
    }

    fn channels(&mut self, prefix: &str, after: &str, limit: u64) -> Result<Vec<Entry>, StoreError> {
        let entry = |(holder, row): (&Holder, &Row)| match holder {
            Holder::Channel(channel) => Some(Entry { channel: channel.clone(), at: row.at }),
            Holder::Hub(_) => None,
        };
        let wanted = |channel: &ChannelName| channel.as_str().starts_with(prefix) && channel.as_str() > after;
        let entries = self.rows.iter().filter_map(entry).filter(|entry| wanted(&entry.channel));
        Ok(entries.take(usize::try_from(limit).unwrap_or_default()).collect())
    }

    fn hubs(&mut self, after: &str) -> Result<Vec<Target>, StoreError> {
        Ok(self.after(after, |holder, _| matches!(holder, Holder::Hub(_))))
    }

    fn rooms(&mut self, after: &str) -> Result<Vec<Target>, StoreError> {
        Ok(self.after(after, |holder, row| matches!(holder, Holder::Channel(_)) && row.sockets))
    }

    fn orders(&mut self) -> Result<Vec<Order>, StoreError> {
        Ok(self.orders.values().cloned().collect())
    }

    fn place(&mut self, order: &Order) -> Result<(), StoreError> {
        self.write()?;
        self.orders.insert(order.user.clone(), order.clone());
        Ok(())
    }

    fn done(&mut self, user: &str) -> Result<(), StoreError> {
        self.write()?;
        self.orders.remove(user);
        Ok(())
    }
}
