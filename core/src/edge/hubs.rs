//! Which Hub has room: what one Worker remembers of it, so that not every client costs a request to each that is full.
//!
//! Hubs of an app and region are numbered from 0, and fill up one after another. A full one refuses, and the next is tried; where several in a row are full, ones further and
//! further on are only asked, until one has room, and then the first with room is looked for between the two ([`Search`]). After a while it
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

/// What to ask a Hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Try {
    /// To let the client in.
    Connect(u32),
    /// Only whether it has room: it is too far on to be used before those between have been looked at.
    Look(u32),
}

/// One client's way to a Hub that has room: 0, 1, 2, 3, then 5, 9, 17 and so on, and half the way back as often as it takes. Of 10,000 Hubs that are full it takes 31 tries.
#[derive(Debug)]
pub struct Search {
    first: u32,
    /// The highest that is known to be full, and the lowest above it that had room.
    full: Option<u32>,
    free: Option<u32>,
    /// How many were full since the steps began with 1.
    passed: u32,
    tries: u32,
}

/// Hubs in a row that are tried before any are left out: mostly the next one has room.
const TRIED_IN_A_ROW: u32 = 3;

impl Search {
    /// Begins with what [`Hubs::first`] says.
    #[must_use]
    pub const fn new(first: u32) -> Self {
        Self { first, full: None, free: None, passed: 0, tries: 0 }
    }

    /// What to try next; `None` after [`limits::HUBS_TRIED_MAX`] tries.
    pub fn step(&mut self) -> Option<Try> {
        self.tries += 1;
        if self.tries > limits::HUBS_TRIED_MAX {
            return None;
        }
        let Some(full) = self.full else { return Some(Try::Connect(self.first)) };
        let ahead = match self.free {
            Some(free) => free.saturating_sub(full) / 2,
            None => 1_u32.checked_shl(self.passed.saturating_sub(TRIED_IN_A_ROW)).unwrap_or(u32::MAX),
        };
        let nth = full.saturating_add(ahead.max(1));
        Some(if ahead > 1 { Try::Look(nth) } else { Try::Connect(nth) })
    }

    /// That Hub is full, and all before `next`, which is what [`Hubs::full`] said.
    pub fn full(&mut self, nth: u32, next: u32) {
        let full = nth.max(next.saturating_sub(1)).max(self.full.unwrap_or_default());
        // One that had room and has none any more, or that others have passed: it goes on from there with small steps.
        let overtaken = self.free.is_some_and(|free| free <= full) || full > nth;
        self.passed = if overtaken { 1 } else { self.passed + 1 };
        self.free = self.free.filter(|free| *free > full);
        self.full = Some(full);
    }

    /// That Hub has room, or did not say that it has none.
    pub fn free(&mut self, nth: u32) {
        self.free = Some(nth);
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
    use super::{Hubs, Search, Try};
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

    /// One client: where it gets in, and all that was tried. `room` is what a Hub says, to a client or when it is only asked.
    fn comes(hubs: &mut Hubs, now: u64, room: impl Fn(Try) -> bool) -> (Option<u32>, Vec<Try>) {
        let mut search = Search::new(hubs.first("1", "weur", now));
        let mut tries = Vec::new();
        while let Some(next) = search.step() {
            tries.push(next);
            match (next, room(next)) {
                (Try::Connect(nth), true) => return (Some(nth), tries),
                (Try::Look(nth), true) => search.free(nth),
                (Try::Connect(nth) | Try::Look(nth), false) => {
                    let next = hubs.full("1", "weur", nth, now);
                    search.full(nth, next);
                }
            }
        }
        (None, tries)
    }

    fn number(of: Try) -> u32 {
        match of {
            Try::Connect(nth) | Try::Look(nth) => nth,
        }
    }

    #[test]
    fn however_many_are_full_one_client_finds_the_first_that_is_not() {
        let mut most = 0;
        for full in 0..=10_000 {
            let mut hubs = Hubs::new();
            let (found, tries) = comes(&mut hubs, 0, |asked| number(asked) >= full);
            assert_eq!(found, Some(full), "{tries:?}");
            most = most.max(tries.len());
            // Who comes after it begins there.
            assert_eq!(comes(&mut hubs, 1, |asked| number(asked) >= full), (found, vec![Try::Connect(full)]));
        }
        assert_eq!(most, 31);
        let (found, tries) = comes(&mut Hubs::new(), 0, |asked| number(asked) >= 11);
        assert_eq!((found, tries.len()), (Some(11), 11));
        assert_eq!(tries[..4], [0, 1, 2, 3].map(Try::Connect));
        assert_eq!(tries[4..9], [5, 9, 17, 13, 11].map(Try::Look));
        assert_eq!(tries[9..], [10, 11].map(Try::Connect));
    }

    #[test]
    fn it_begins_with_0_again_and_uses_what_has_gone() {
        let mut hubs = Hubs::new();
        comes(&mut hubs, 0, |asked| number(asked) >= 500);
        let later = limits::HUB_MEMORY_MS;
        assert_eq!(comes(&mut hubs, later - 1, |_| true).0, Some(500));
        assert_eq!(comes(&mut hubs, later, |_| true).0, Some(0));
        // Some of the first are full again, and the others are used one after another.
        assert_eq!(comes(&mut hubs, 2 * later, |asked| number(asked) >= 20).0, Some(20));
        assert_eq!(comes(&mut hubs, 2 * later, |asked| number(asked) >= 21).0, Some(21));
    }

    #[test]
    fn who_is_told_of_room_and_refused_goes_on_from_there() {
        // Others have taken it meanwhile: whoever is looked at has room, and nobody before 40 lets anybody in.
        let refuses = |asked| matches!(asked, Try::Look(_)) || number(asked) >= 40;
        let mut hubs = Hubs::new();
        let places = (0..3).map(|_| comes(&mut hubs, 0, refuses).0);
        assert!(places.collect::<Vec<_>>().contains(&Some(40)), "each leaves the next further on");
        // Hubs from before a deploy cannot be asked, which is as good as room.
        let (found, tries) = comes(&mut Hubs::new(), 0, |asked| matches!(asked, Try::Look(_)) || number(asked) >= 12);
        assert_eq!(found, Some(12), "{tries:?}");
        assert!(comes(&mut Hubs::new(), 0, |_| false).1.len() == limits::HUBS_TRIED_MAX as usize);
        let mut hubs = Hubs::new();
        assert_eq!(hubs.full("1", "weur", u32::MAX - 1, 0), u32::MAX);
        assert!(comes(&mut hubs, 0, |_| false).0.is_none());
    }

    #[test]
    fn what_others_find_out_meanwhile_is_not_found_out_again() {
        let mut hubs = Hubs::new();
        let mut search = Search::new(hubs.first("1", "weur", 0));
        assert_eq!(search.step(), Some(Try::Connect(0)));
        comes(&mut hubs, 0, |asked| number(asked) >= 300);
        let next = hubs.full("1", "weur", 0, 0);
        search.full(0, next);
        assert_eq!(search.step(), Some(Try::Connect(300)));
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
