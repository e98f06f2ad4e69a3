//! Weather: a seeded simulation of one room, its storage, publishers, readers and the network between them, with everything that goes wrong.
//!
//! What is checked, at every step:
//! - what is acknowledged is stored, and what is seen is stored;
//! - stored positions are contiguous in each epoch, one message each, one position per id;
//! - a reader's sequence has neither a hole nor a repeat, except for a gap that it was told;
//! - a room that was put to sleep decides as one that was not;
//! - and when the weather clears, every publish is acknowledged and every reader has everything up to the log's end.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a simulation that is wrong has to stop"
)]

mod people;
mod stage;
mod world;

use world::World;

/// What one history had in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) steps: u64,
    pub(crate) stored: u64,
    pub(crate) acknowledged: u64,
    pub(crate) duplicates: u64,
    pub(crate) seen: u64,
    pub(crate) resumed: u64,
    pub(crate) batches: u64,
    pub(crate) gaps: u64,
    pub(crate) sleeps: u64,
    pub(crate) crashes: u64,
    pub(crate) losses: u64,
    pub(crate) failed_writes: u64,
    pub(crate) rows: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.stored += other.stored;
        self.acknowledged += other.acknowledged;
        self.duplicates += other.duplicates;
        self.seen += other.seen;
        self.resumed += other.resumed;
        self.batches += other.batches;
        self.gaps += other.gaps;
        self.sleeps += other.sleeps;
        self.crashes += other.crashes;
        self.losses += other.losses;
        self.failed_writes += other.failed_writes;
        self.rows += other.rows;
    }
}

/// Runs the history of a seed; `Err` says what was violated, and when.
pub(crate) fn run(seed: u64) -> Result<Tally, String> {
    let mut world = World::new(seed);
    world.storm()?;
    world.clear()?;
    Ok(world.tally())
}
