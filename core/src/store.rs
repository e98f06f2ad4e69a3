//! Where a log's rows are kept: the trait that the runtime's SQLite and the memory twin implement.

use crate::position::Epoch;
use crate::session::Session;
use std::collections::BTreeMap;

pub use crate::roster::{MemberRow, OWN};

/// Why a row could not be written or read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// There is no room.
    Full,
    /// Anything else; the store has logged it.
    Failed,
}

/// What the index needs of a row: everything but its messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowHead {
    /// The slot of the ring, and the row's key.
    pub slot: u32,
    /// The log's epoch.
    pub epoch: Epoch,
    /// The `seq` of its first message.
    pub first: u64,
    /// How many messages it numbers.
    pub count: u32,
    /// When it was written, in milliseconds.
    pub time: u64,
    /// Bytes of its messages.
    pub bytes: u32,
    /// Fingerprints of the ids in it, encoded.
    pub ids: Vec<u8>,
}

/// A row: one message, or all that arrived while the row before was being written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// What the index needs.
    pub head: RowHead,
    /// The messages, encoded.
    pub body: Vec<u8>,
}

/// What is stored of a Hub that follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FollowerRow {
    /// The epoch in which it began.
    pub epoch: Epoch,
    /// The last delivery to it has failed, in a channel with members: there, who wakes does not ask all of them what they have.
    pub failed: bool,
}

/// A channel's storage. Synchronous, so that nothing comes between deciding and storing.
pub trait Store {
    /// The heads of all rows, oldest first. Must not create anything.
    fn load(&mut self) -> Result<Vec<RowHead>, StoreError>;
    /// The messages of the row in a slot.
    fn read(&mut self, slot: u32) -> Result<Option<Vec<u8>>, StoreError>;
    /// Puts a row into its slot, in place of what is there. Creates what it needs. One row written.
    fn write(&mut self, row: &Row) -> Result<(), StoreError>;
    /// Deletes every row whose first message is before that `seq`. Each counts as a row written.
    fn remove_before(&mut self, first: u64) -> Result<(), StoreError>;
    /// The epoch that a connected session, or else a follower, or else the members' first row remembers, for a channel that has stored no message yet.
    fn remembered_epoch(&mut self) -> Option<Epoch>;
    /// The Hubs that follow, by name. Must not create anything.
    fn followers(&mut self) -> Result<Vec<(String, FollowerRow)>, StoreError>;
    /// Makes a Hub a follower, or replaces its row. Creates what it needs. One row written.
    fn follow(&mut self, hub: &str, row: FollowerRow) -> Result<(), StoreError>;
    /// A Hub follows no longer. One row deleted.
    fn unfollow(&mut self, hub: &str) -> Result<(), StoreError>;
    /// The rows of the members. Must not create anything.
    fn members(&mut self) -> Result<Vec<MemberRow>, StoreError>;
    /// Puts a member's row in place of what is there. Creates what it needs. One row written.
    fn put_member(&mut self, row: &MemberRow) -> Result<(), StoreError>;
    /// Deletes a member's row. One row deleted.
    fn remove_member(&mut self, source: &str, user: &str) -> Result<(), StoreError>;
    /// The sessions of all sockets whose end has not been told.
    fn present(&mut self) -> Vec<Session>;
    /// The rows of what waits for webhooks: slots and heads. Must not create anything.
    fn outbox(&mut self) -> Result<Vec<(u32, String)>, StoreError>;
    /// The body of one.
    fn outbox_body(&mut self, slot: u32) -> Result<Option<String>, StoreError>;
    /// Puts one into its slot, in place of what is there. Creates what it needs. One row written.
    fn put_outbox(&mut self, slot: u32, head: &str, body: &str) -> Result<(), StoreError>;
}

/// The methods of a test's store in which there are no members.
#[cfg(test)]
macro_rules! without_members {
    () => {
        fn members(&mut self) -> Result<Vec<crate::store::MemberRow>, StoreError> {
            Ok(Vec::new())
        }
        fn put_member(&mut self, _row: &crate::store::MemberRow) -> Result<(), StoreError> {
            Err(StoreError::Failed)
        }
        fn remove_member(&mut self, _source: &str, _user: &str) -> Result<(), StoreError> {
            Err(StoreError::Failed)
        }
        fn present(&mut self) -> Vec<crate::session::Session> {
            Vec::new()
        }
        fn outbox(&mut self) -> Result<Vec<(u32, String)>, StoreError> {
            Ok(Vec::new())
        }
        fn outbox_body(&mut self, _slot: u32) -> Result<Option<String>, StoreError> {
            Ok(None)
        }
        fn put_outbox(&mut self, _slot: u32, _head: &str, _body: &str) -> Result<(), StoreError> {
            Err(StoreError::Failed)
        }
    };
}
#[cfg(test)]
pub(crate) use without_members;

/// The store in memory: the twin of the runtime's, for tests and simulations.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    /// The rows by slot.
    pub rows: BTreeMap<u32, Row>,
    /// The followers' rows.
    pub followers: BTreeMap<String, FollowerRow>,
    /// The members' rows.
    pub members: BTreeMap<(String, String), MemberRow>,
    /// What waits for webhooks: heads and bodies, by slot.
    pub outbox: BTreeMap<u32, (String, String)>,
    /// The connected sessions, in presence channels.
    pub present: Vec<Session>,
    /// What the connected sessions remember.
    pub remembered: Option<Epoch>,
    /// The next writes fail so.
    pub failing: Option<StoreError>,
    /// Rows written so far.
    pub written: u64,
}

impl Store for MemoryStore {
    fn load(&mut self) -> Result<Vec<RowHead>, StoreError> {
        let mut heads: Vec<RowHead> = self.rows.values().map(|row| row.head.clone()).collect();
        heads.sort_by_key(|head| head.first);
        Ok(heads)
    }

    fn read(&mut self, slot: u32) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.get(&slot).map(|row| row.body.clone()))
    }

    fn write(&mut self, row: &Row) -> Result<(), StoreError> {
        if let Some(error) = self.failing {
            return Err(error);
        }
        self.rows.insert(row.head.slot, row.clone());
        self.written += 1;
        Ok(())
    }

    fn remove_before(&mut self, first: u64) -> Result<(), StoreError> {
        if let Some(error) = self.failing {
            return Err(error);
        }
        self.rows.retain(|_, row| row.head.first >= first);
        Ok(())
    }

    fn remembered_epoch(&mut self) -> Option<Epoch> {
        let followed = || self.followers.values().next().map(|row| row.epoch);
        self.remembered.or_else(followed).or_else(|| self.members.values().find_map(MemberRow::epoch))
    }

    fn followers(&mut self) -> Result<Vec<(String, FollowerRow)>, StoreError> {
        Ok(self.followers.iter().map(|(hub, row)| (hub.clone(), *row)).collect())
    }

    fn follow(&mut self, hub: &str, row: FollowerRow) -> Result<(), StoreError> {
        if let Some(error) = self.failing {
            return Err(error);
        }
        self.followers.insert(hub.to_owned(), row);
        self.written += 1;
        Ok(())
    }

    fn unfollow(&mut self, hub: &str) -> Result<(), StoreError> {
        if let Some(error) = self.failing {
            return Err(error);
        }
        self.followers.remove(hub);
        self.written += 1;
        Ok(())
    }

    fn members(&mut self) -> Result<Vec<MemberRow>, StoreError> {
        Ok(self.members.values().cloned().collect())
    }

    fn put_member(&mut self, row: &MemberRow) -> Result<(), StoreError> {
        if let Some(error) = self.failing {
            return Err(error);
        }
        self.members.insert((row.source.clone(), row.user.clone()), row.clone());
        self.written += 1;
        Ok(())
    }

    fn remove_member(&mut self, source: &str, user: &str) -> Result<(), StoreError> {
        if let Some(error) = self.failing {
            return Err(error);
        }
        self.members.remove(&(source.to_owned(), user.to_owned()));
        self.written += 1;
        Ok(())
    }

    fn present(&mut self) -> Vec<Session> {
        self.present.clone()
    }

    fn outbox(&mut self) -> Result<Vec<(u32, String)>, StoreError> {
        Ok(self.outbox.iter().map(|(slot, (head, _))| (*slot, head.clone())).collect())
    }

    fn outbox_body(&mut self, slot: u32) -> Result<Option<String>, StoreError> {
        Ok(self.outbox.get(&slot).map(|(_, body)| body.clone()))
    }

    fn put_outbox(&mut self, slot: u32, head: &str, body: &str) -> Result<(), StoreError> {
        if let Some(error) = self.failing {
            return Err(error);
        }
        self.outbox.insert(slot, (head.to_owned(), body.to_owned()));
        self.written += 1;
        Ok(())
    }
}
