//! Tabs, the Hubs that they come to, and the Rooms of their channels. What is checked: of each channel a tab sees every message once and in order, unless a gap says which it may lack;
//! in the end it is where the channel is; and where nothing goes wrong but connections, what is uncertain is a window of what it missed at most, and what was live.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a simulation that is wrong has to stop")]

mod hub;
mod room;
mod tab;
mod world;

/// What has happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) published: u64,
    pub(crate) seen: u64,
    pub(crate) gaps: u64,
    /// Messages inside of gaps that had come, and those that had not.
    pub(crate) spared: u64,
    pub(crate) lost: u64,
    pub(crate) connections: u64,
    pub(crate) cuts: u64,
    pub(crate) crashes: u64,
    pub(crate) sleeps: u64,
    pub(crate) traps: u64,
    pub(crate) stalls: u64,
    pub(crate) pings: u64,
    pub(crate) rows: u64,
    pub(crate) fetched: u64,
    /// Where nothing goes wrong but connections.
    pub(crate) mild_seen: u64,
    pub(crate) mild_lost: u64,
    /// How often a tab missed more of a channel than a window.
    pub(crate) long_replays: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.published += other.published;
        self.seen += other.seen;
        self.gaps += other.gaps;
        self.spared += other.spared;
        self.lost += other.lost;
        self.connections += other.connections;
        self.cuts += other.cuts;
        self.crashes += other.crashes;
        self.sleeps += other.sleeps;
        self.traps += other.traps;
        self.stalls += other.stalls;
        self.pings += other.pings;
        self.rows += other.rows;
        self.fetched += other.fetched;
        self.mild_seen += other.mild_seen;
        self.mild_lost += other.mild_lost;
        self.long_replays += other.long_replays;
    }
}

/// Runs the history of a seed; `Err` says what was violated. `shown`: what happens is printed.
pub(crate) fn run(seed: u64, shown: bool) -> Result<Tally, String> {
    let mut world = world::World::new(seed, shown);
    world.storm()?;
    world.clear()?;
    let mut tally = world.tally;
    if world.mild {
        (tally.mild_seen, tally.mild_lost) = (tally.seen, tally.lost);
    }
    Ok(tally)
}
