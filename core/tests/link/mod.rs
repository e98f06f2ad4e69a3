//! Weather on the link: Rooms, the Hubs that follow them and in a part of the histories hand on to each other what they are brought, readers on the Hubs, and a network that loses, delays, repeats and reorders what they say to each other.
//!
//! What is checked, at every step:
//! - what is acknowledged is stored, and what is seen is stored;
//! - a reader's sequence of each channel has neither a hole nor a repeat, except for a gap that it was told;
//! - nothing comes of a channel that was not asked for;
//! - and when the weather clears, every reader has everything of its channels up to their logs' ends, whichever Hub it is on;
//! - in a half of the histories channels have members, on Hubs and in the Rooms themselves: nobody comes twice, `count` is right with every frame, and within
//!   [`presence::BOUND_MS`] after the weather has cleared all know who is there, and nobody else;
//! - in two of three histories there are clients of Pusher's protocol too, on Hubs of their own: a subscription is answered once and before anything else of its channel, messages come
//!   in the log's order, none twice, none of the others' missing without a gap; whoever comes was not there; in the end they know who is there and have every message, and, where the
//!   channel's rule asks for it, the number of subscribers, within [`count::BOUND_MS`]: by themselves, or after one more change where a crash took what had to be told;
//! - in three of four histories there is a Directory, which falls as well: within [`directory::BOUND_MS`] after that the list of channels is exactly those that have connections, with their
//!   numbers, and the Directory knows every object with sockets.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a simulation that is wrong has to stop"
)]

mod count;
mod directory;
mod hub;
mod network;
mod people;
mod presence;
mod pusher;
mod reader;
mod room;
mod traffic;
mod world;

/// What one history had in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) steps: u64,
    pub(crate) stored: u64,
    pub(crate) acknowledged: u64,
    pub(crate) seen: u64,
    pub(crate) resumed: u64,
    pub(crate) gaps: u64,
    pub(crate) calls: u64,
    pub(crate) deliveries: u64,
    pub(crate) relays: u64,
    pub(crate) broken_relays: u64,
    pub(crate) forwards: u64,
    pub(crate) lost_calls: u64,
    pub(crate) repeated_calls: u64,
    pub(crate) sleeps: u64,
    pub(crate) crashes: u64,
    pub(crate) losses: u64,
    pub(crate) full: u64,
    pub(crate) traps: u64,
    /// Where there are members.
    pub(crate) guests: u64,
    pub(crate) reports: u64,
    pub(crate) whole_reports: u64,
    pub(crate) announcements: u64,
    pub(crate) lists: u64,
    pub(crate) joins: u64,
    pub(crate) leaves: u64,
    /// Of the Directory.
    pub(crate) told: u64,
    pub(crate) directory_falls: u64,
    pub(crate) listings: u64,
    pub(crate) struck: u64,
    pub(crate) orders: u64,
    /// Of those who speak Pusher's protocol.
    pub(crate) begun: u64,
    pub(crate) heard: u64,
    pub(crate) pusher_gaps: u64,
    pub(crate) closes: u64,
    pub(crate) relists: u64,
    pub(crate) added: u64,
    pub(crate) removed: u64,
    pub(crate) strangers: u64,
    pub(crate) tallies: u64,
    pub(crate) counts: u64,
    /// Channels whose number was right without another change.
    pub(crate) counted: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.stored += other.stored;
        self.acknowledged += other.acknowledged;
        self.seen += other.seen;
        self.resumed += other.resumed;
        self.gaps += other.gaps;
        self.calls += other.calls;
        self.deliveries += other.deliveries;
        self.relays += other.relays;
        self.broken_relays += other.broken_relays;
        self.forwards += other.forwards;
        self.lost_calls += other.lost_calls;
        self.repeated_calls += other.repeated_calls;
        self.sleeps += other.sleeps;
        self.crashes += other.crashes;
        self.losses += other.losses;
        self.full += other.full;
        self.traps += other.traps;
        self.guests += other.guests;
        self.reports += other.reports;
        self.whole_reports += other.whole_reports;
        self.announcements += other.announcements;
        self.lists += other.lists;
        self.joins += other.joins;
        self.leaves += other.leaves;
        self.told += other.told;
        self.directory_falls += other.directory_falls;
        self.listings += other.listings;
        self.struck += other.struck;
        self.orders += other.orders;
        self.begun += other.begun;
        self.heard += other.heard;
        self.pusher_gaps += other.pusher_gaps;
        self.closes += other.closes;
        self.relists += other.relists;
        self.added += other.added;
        self.removed += other.removed;
        self.strangers += other.strangers;
        self.tallies += other.tallies;
        self.counts += other.counts;
        self.counted += other.counted;
    }
}

/// Whether what happens is to be seen: in a run with `SEED` set.
fn shows() -> bool {
    static SHOWS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *SHOWS.get_or_init(|| std::env::var("SEED").is_ok())
}

/// Runs the history of a seed; `Err` says what was violated, and when.
pub(crate) fn run(seed: u64) -> Result<Tally, String> {
    let mut world = world::World::new(seed);
    world.storm()?;
    world.clear()?;
    Ok(world.tally)
}
