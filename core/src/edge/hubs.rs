//! Which Hub has room: what one Worker remembers of it, so that not every client costs a request to each that is full.
//!
//! Hubs of an app and region are numbered from 0, and fill up one after another. A full one refuses, and the next is tried; after a while it
//! is begun with 0 again, so that those with low numbers are used again when their sockets have gone. Nothing here has to be true: a wrong memory costs a request.

use crate::limits;
use std::collections::BTreeMap;

/// What a Worker remembers of rooms and Hubs that are full. Times are in milliseconds.
#[derive(Debug, Default)]
pub struct Hubs {
    /// By app and region: the number to begin with.
    next: BTreeMap<(String, String), Remembered>,
    /// By object name: full rooms.
    rooms: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    nth: u32,
    until: u64,
}

impl Hubs {
    /// Nothing remembered.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: BTreeMap::new(), rooms: BTreeMap::new() }
    }

    /// The number of the Hub to try first.
    #[must_use]
    pub fn first(&self, app: &str, region: &str, now: u64) -> u32 {
        let remembered = self.next.get(&(app.to_owned(), region.to_owned()));
        remembered.filter(|remembered| now < remembered.until).map_or(0, |remembered| remembered.nth)
    }

    /// That Hub was full. Returns the number of the one to try next; the next client begins there, too.
    pub fn full(&mut self, app: &str, region: &str, nth: u32, now: u64) -> u32 {
        let next = nth.saturating_add(1).max(self.first(app, region, now));
        // What is remembered is not kept for longer by being right: else 0 would never be tried again.
        let fresh = now.saturating_add(limits::HUB_MEMORY_MS);
        let key = (app.to_owned(), region.to_owned());
        let until = self.next.get(&key).map(|known| known.until).filter(|until| now < *until).unwrap_or(fresh);
        make_room(&mut self.next, limits::HUB_PLACES_MAX, |known| now < known.until);
        self.next.insert(key, Remembered { nth: next, until });
        next
    }

    /// That room was full.
    pub fn room_is_full(&mut self, object: String, now: u64) {
        make_room(&mut self.rooms, limits::FULL_ROOMS_MAX, |until| now < *until);
        self.rooms.insert(object, now.saturating_add(limits::FULL_ROOM_MEMORY_MS));
    }

    /// Whether that room was full a moment ago.
    #[must_use]
    pub fn is_room_full(&self, object: &str, now: u64) -> bool {
        self.rooms.get(object).is_some_and(|until| now < *until)
    }
}

/// Leaves place for one more: what is out of date goes, and if that is not enough, everything.
fn make_room<K: Ord, V>(known: &mut BTreeMap<K, V>, most: usize, is_good: impl Fn(&V) -> bool) {
    if known.len() >= most {
        known.retain(|_, value| is_good(value));
    }
    if known.len() >= most {
        known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::Hubs;
    use crate::limits;

    #[test]
    fn a_full_hub_is_passed_over_for_a_while() {
        let mut hubs = Hubs::new();
        assert_eq!(hubs.first("1", "weur", 0), 0);
        assert_eq!(hubs.full("1", "weur", 0, 1000), 1);
        assert_eq!(hubs.full("1", "weur", 1, 2000), 2);
        assert_eq!(
            (hubs.first("1", "weur", 2000), hubs.first("1", "enam", 2000), hubs.first("2", "weur", 2000)),
            (2, 0, 0)
        );
        // The time counts from the first that was full: afterwards it begins at 0 again, however busy it was.
        assert_eq!(hubs.first("1", "weur", 999 + limits::HUB_MEMORY_MS), 2);
        assert_eq!(hubs.first("1", "weur", 1000 + limits::HUB_MEMORY_MS), 0);
        assert_eq!(hubs.full("1", "weur", 0, 1000 + limits::HUB_MEMORY_MS), 1);
        assert_eq!(hubs.first("1", "weur", 2 * limits::HUB_MEMORY_MS), 1);
    }

    #[test]
    fn clients_at_the_same_time_share_what_they_learn() {
        let mut hubs = Hubs::new();
        assert_eq!(hubs.full("1", "weur", 0, 0), 1);
        assert_eq!(hubs.full("1", "weur", 1, 0), 2);
        // This one asked 0 before it was known to be full, and skips what the others have found out.
        assert_eq!(hubs.full("1", "weur", 0, 0), 2);
        assert_eq!(hubs.full("1", "weur", u32::MAX, 0), u32::MAX);
    }

    #[test]
    fn a_client_who_finds_nothing_leaves_the_next_one_further_on() {
        let mut hubs = Hubs::new();
        let mut nth = hubs.first("1", "weur", 0);
        for _ in 0..limits::HUBS_TRIED_MAX {
            nth = hubs.full("1", "weur", nth, 0);
        }
        assert_eq!(hubs.first("1", "weur", 1), limits::HUBS_TRIED_MAX);
    }

    #[test]
    fn full_rooms_are_remembered_briefly_and_not_without_bound() {
        let mut hubs = Hubs::new();
        hubs.room_is_full("v1:1:a".into(), 0);
        assert!(hubs.is_room_full("v1:1:a", limits::FULL_ROOM_MEMORY_MS - 1));
        assert!(!hubs.is_room_full("v1:1:a", limits::FULL_ROOM_MEMORY_MS) && !hubs.is_room_full("v1:1:b", 0));
        for nth in 0..3 * limits::FULL_ROOMS_MAX {
            hubs.room_is_full(format!("v1:1:{nth}"), 1);
            assert!(hubs.rooms.len() <= limits::FULL_ROOMS_MAX && hubs.is_room_full(&format!("v1:1:{nth}"), 1));
        }
        for nth in 0..3 * limits::HUB_PLACES_MAX {
            hubs.full(&nth.to_string(), "weur", 0, 1);
            assert!(hubs.next.len() <= limits::HUB_PLACES_MAX);
        }
    }
}
