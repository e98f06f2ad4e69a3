//! The Directory of an app: which channels have connections, and which objects hold sockets. What it is told, what it answers, and how it is written. JSON,
//! versioned, unknown fields ignored.
//!
//! Its rows follow what Rooms and Hubs report ([`crate::occupancy`]): one row written for each change of a channel's or a Hub's occupancy, none otherwise. It may be
//! behind, since what is reported is not waited for; and it may be wrong after a crash that took sockets along without a word. Whoever asks a Room that it names
//! and finds nobody strikes the row out, on the condition that nothing was reported since.

mod orders;
mod store;

pub use orders::{Cursor, Input, Order, Output, Target};
pub use store::{DirectoryStore, MemoryDirectory, Row};

use crate::channel::ChannelName;
use crate::close::Holder;
use crate::limits;
use crate::link::parse_hub_name;
use crate::occupancy::Occupancy;
use crate::refusal::{Code, Refusal};
use crate::store::StoreError;
use orders::Orders;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The binding of the Directory class in `wrangler.toml`.
pub const DIRECTORY_BINDING: &str = "DIRECTORY";
/// Tells what an object has: `POST`, body [`Report`], answer [`Reported`]. One row written if it is a change.
pub const REPORT_PATH: &str = "/report";
/// Lists channels: `POST`, body [`List`], answer [`Listed`]. Nothing written.
pub const LIST_PATH: &str = "/list";
/// Strikes channels out that nobody has: `POST`, body [`Strike`], answer `{}`. One row deleted for each that was there.
pub const STRIKE_PATH: &str = "/strike";
/// Closes the connections of a user: `POST`, body [`CloseUser`], answer [`ClosedUser`]. Three rows written, and one request to each Hub and to each Room that has
/// sockets of its own.
pub const CLOSE_USER_PATH: &str = "/close-user";
/// What a Room has: `POST`, body [`Counting`], answer [`Count`]. Nothing written.
pub const COUNT_PATH: &str = "/count";
/// How many sockets of a Hub want each of some channels: `POST`, body [`HubCount`], answer [`HubCounts`]. Nothing written.
pub const HUB_COUNT_PATH: &str = "/count-channels";

/// The name of an app's Directory. The id has no colon.
#[must_use]
pub fn directory_name(app: &str) -> String {
    format!("v1:{app}")
}

/// The app's id that a Directory's name says.
#[must_use]
pub fn parse_directory_name(name: &str) -> Option<&str> {
    name.strip_prefix("v1:").filter(|app| !app.is_empty() && !app.contains(':'))
}

/// What an object has, as it says itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`crate::call::VERSION`].
    pub version: u32,
    /// Who.
    pub of: Holder,
    /// What it has.
    pub state: Occupancy,
    /// The object's count of its reports, in thousandths of a millisecond since 1970 and never the same twice: an earlier one than is known is ignored.
    pub at: u64,
    /// Whether it only repeats what it may have said before.
    #[serde(default)]
    pub again: bool,
}

/// The answer to a [`Report`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reported {
    /// The greatest number that is known of that object: one that is greater than the report's says that the report was ignored.
    pub at: u64,
}

/// Which channels to list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct List {
    /// [`crate::call::VERSION`].
    pub version: u32,
    /// What their names begin with.
    pub prefix: String,
    /// The last one of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ChannelName>,
    /// How many at most; up to [`limits::CHANNELS_NAMED_MAX`].
    pub limit: u64,
}

/// Some of the channels that have connections, in order of name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Listed {
    /// The channels.
    pub channels: Vec<Entry>,
    /// Whether there are more.
    pub more: bool,
}

/// A channel that has connections, or had some.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub channel: ChannelName,
    /// The number of the report that said so.
    pub at: u64,
}

/// Channels that turned out to have nobody.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Strike {
    /// [`crate::call::VERSION`].
    pub version: u32,
    /// As they were listed. What was reported since stays.
    pub channels: Vec<Entry>,
}

/// The order to close every connection of a user.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CloseUser {
    /// [`crate::call::VERSION`].
    pub version: u32,
    /// The user.
    pub user: String,
}

/// What became of it so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClosedUser {
    /// Connections that were told to go.
    pub closed: u64,
    /// Whether every object has answered. If not, it goes on.
    pub done: bool,
}

/// What to say beside what a Room has.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Counting {
    /// Whether the newest message is wanted as well.
    #[serde(default)]
    pub newest: bool,
}

/// The newest message of a channel, as long as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Newest {
    /// Its data, as the `pusher` dialect has it.
    pub data: String,
    /// How much longer it is kept, in seconds.
    pub ttl: u64,
}

/// What a Room has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Count {
    /// Sockets of its own.
    pub connections: u64,
    /// The Hubs that follow.
    #[serde(default)]
    pub hubs: Vec<String>,
    /// The members of a presence channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<u64>,
    /// The newest message, where it is asked for and there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Newest>,
}

/// Channels whose sockets a Hub shall count.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HubCount {
    /// [`crate::call::VERSION`].
    pub version: u32,
    /// At most [`limits::CHANNELS_PAGE_MAX`].
    pub channels: Vec<ChannelName>,
}

/// The sockets of a Hub that want a channel, for each that was asked for, in the same order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HubCounts {
    /// How many.
    pub connections: Vec<u64>,
}

/// The Directory of an app.
#[derive(Debug)]
pub struct Directory {
    app: String,
    /// What was struck out, and by which number: a cache against reports that were overtaken.
    struck: BTreeMap<Holder, u64>,
    /// What was repeated and is in no row, by which number: as well.
    repeated: BTreeMap<Holder, u64>,
    orders: Orders,
}

impl Directory {
    /// A Directory that has just been woken, or made.
    #[must_use]
    pub fn wake(app: String) -> Self {
        Self { app, struck: BTreeMap::new(), repeated: BTreeMap::new(), orders: Orders::default() }
    }

    /// Learns when the object's alarm will ring.
    pub fn armed(&mut self, armed: Option<u64>) {
        self.orders.armed(armed);
    }

    /// Decides about orders. Everything that shall be done is appended to `out`; `now` is in milliseconds.
    pub fn handle<S: DirectoryStore>(&mut self, input: Input, now: u64, store: &mut S, out: &mut Vec<Output>) {
        let struck = self.orders.handle(input, now, store, out);
        for (holder, at) in struck {
            remember(&mut self.struck, holder, at);
        }
    }

    /// Takes what an object says of itself: one row written, or deleted, if it is a change.
    pub fn report<S: DirectoryStore>(&mut self, report: &Report, store: &mut S) -> Result<Reported, Refusal> {
        if let Holder::Hub(name) = &report.of
            && (name.len() > limits::HUB_NAME_MAX || parse_hub_name(name) != Some(&self.app))
        {
            return Err(Refusal::new(Code::InvalidField, "call: hub"));
        }
        self.take(report, store).map_err(refusal_of)
    }

    fn take<S: DirectoryStore>(&mut self, report: &Report, store: &mut S) -> Result<Reported, StoreError> {
        let known = store.row(&report.of)?;
        let remembered = self.struck.get(&report.of).max(self.repeated.get(&report.of)).copied();
        let at = known.map(|row| row.at).max(remembered).unwrap_or_default();
        if at >= report.at {
            return Ok(Reported { at });
        }
        let sockets = report.state == Occupancy::Held;
        match known {
            Some(_) if report.state == Occupancy::Vacant => store.remove(&report.of)?,
            None if report.state == Occupancy::Vacant => {}
            // Not worth a row; but what was said before it, and then lost with the memory of who said it, may still be on its way.
            Some(row) if report.again && row.sockets == sockets => {
                remember(&mut self.repeated, report.of.clone(), report.at);
                return Ok(Reported { at });
            }
            Some(_) | None => store.put(&report.of, Row { at: report.at, sockets })?,
        }
        self.repeated.remove(&report.of);
        if report.state == Occupancy::Vacant {
            remember(&mut self.struck, report.of.clone(), report.at);
        } else {
            self.struck.remove(&report.of);
        }
        Ok(Reported { at: report.at })
    }

    /// Lists channels. Nothing written.
    pub fn list<S: DirectoryStore>(&self, list: &List, store: &mut S) -> Result<Listed, Refusal> {
        let limit = list.limit.clamp(1, limits::CHANNELS_NAMED_MAX);
        let after = list.after.as_ref().map_or("", ChannelName::as_str);
        let mut channels = store.channels(&list.prefix, after, limit + 1).map_err(refusal_of)?;
        let more = channels.len() as u64 > limit;
        channels.truncate(usize::try_from(limit).unwrap_or_default());
        Ok(Listed { channels, more })
    }

    /// Strikes out what nobody has: one row deleted for each that is as it was listed.
    pub fn strike<S: DirectoryStore>(&mut self, strike: Strike, store: &mut S) -> Result<(), Refusal> {
        for Entry { channel, at } in strike.channels {
            let holder = Holder::Channel(channel);
            if store.row(&holder).map_err(refusal_of)?.is_some_and(|row| row.at == at) {
                store.remove(&holder).map_err(refusal_of)?;
                remember(&mut self.struck, holder, at);
            }
        }
        Ok(())
    }
}

fn remember(numbers: &mut BTreeMap<Holder, u64>, holder: Holder, at: u64) {
    if numbers.len() >= limits::STRUCK_MAX {
        numbers.clear();
    }
    numbers.insert(holder, at);
}

/// What an object or the Worker is told when the store fails.
fn refusal_of(error: StoreError) -> Refusal {
    match error {
        StoreError::Full => Refusal::new(Code::StorageFull, "there is no room in the directory"),
        StoreError::Failed => Refusal::new(Code::Internal, "the directory's storage failed: try again"),
    }
}

#[cfg(test)]
mod tests;
