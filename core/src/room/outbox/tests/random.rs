//! Random histories: sleeps and crashes between any two steps, answers that never come, and a disk that fails. At least once, in order, nothing lost within the bounds.

use super::{A, World, events};
use crate::limits;
use serde_json::json;
use std::collections::BTreeMap;

/// What the other side has seen: what it took, by id; the order of the first time.
#[derive(Default)]
struct Origin {
    by_id: BTreeMap<String, String>,
    order: Vec<String>,
}

impl Origin {
    fn hear(&mut self, world: &World) {
        let post = world.posts.iter().find(|post| post.url == A).unwrap();
        let known = self.by_id.insert(post.id.clone(), post.body.clone());
        match known {
            Some(body) => assert_eq!(body, post.body, "an id stands for one body"),
            None => self.order.extend(events(post)),
        }
    }
}

fn history(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let batch = rng.bool();
    let mut world = World::new("lobby", &json!([{ "url": A, "batch": batch, "events": ["client_event"] }]));
    let (mut origin, mut said) = (Origin::default(), Vec::new());
    let mut down = false;
    for _ in 0..rng.usize(10..120) {
        match rng.u32(0..10) {
            0..=3 => {
                let bodies: Vec<String> = (0..rng.usize(1..4)).map(|nth| (said.len() + nth).to_string()).collect();
                world.say(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
                said.extend(bodies.iter().map(|body| format!("client_event {body}")));
            }
            4 => world.sleep(),
            5 => down = rng.bool(),
            6 => world.wait(rng.u64(0..30_000)),
            _ if world.posts.is_empty() => world.wait(rng.u64(0..3_000)),
            // It is taken, and the Room falls before it hears that.
            7 if !down => {
                origin.hear(&world);
                world.crash();
            }
            _ => {
                if !down {
                    origin.hear(&world);
                }
                world.answer(A, !down);
            }
        }
        assert!(world.now < 1_000_000 + limits::WEBHOOK_AGE_MAX_MS);
    }
    for _ in 0..100_000 {
        if world.posts.is_empty() {
            world.wait(1_000);
        } else {
            origin.hear(&world);
            world.answer(A, true);
        }
        if world.alarm.is_none() && world.posts.is_empty() {
            break;
        }
    }
    assert_eq!(origin.order, said, "seed {seed}");
    assert!(world.forgotten || said.is_empty(), "seed {seed}: nothing is left, no alarm either");
}

#[test]
fn at_least_once_in_order_and_nothing_lost() {
    for seed in 0..2_000 {
        history(seed);
    }
}

/// Who is there, as one would put it together from what is told.
#[test]
fn members_and_occupancy_are_told_as_they_are() {
    for seed in 0..1_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new("presence-a", &json!([{ "url": A, "batch": rng.bool() }]));
        let mut origin = Origin::default();
        let mut connections = 0;
        for _ in 0..rng.usize(5..60) {
            match rng.u32(0..10) {
                0..=2 => {
                    connections += 1;
                    world.join(&connections.to_string(), Some(["u", "v", "w"][rng.usize(0..3)]));
                }
                3..=4 if !world.sockets.is_empty() => {
                    let nth = rng.usize(0..world.sockets.len());
                    let connection = world.sockets[nth].connection.clone();
                    world.leave(&connection);
                }
                5 => world.sleep(),
                6 if rng.u32(0..3) == 0 => world.crash(),
                7 => world.wait(rng.u64(0..5_000)),
                _ if world.posts.is_empty() => world.wait(rng.u64(0..1_000)),
                _ => {
                    let taken = rng.u32(0..4) > 0;
                    if taken {
                        origin.hear(&world);
                    }
                    world.answer(A, taken);
                }
            }
        }
        for _ in 0..8_000 {
            if world.posts.is_empty() {
                world.wait(1_000);
            } else {
                origin.hear(&world);
                world.answer(A, true);
            }
        }
        let mut users: BTreeMap<String, bool> = BTreeMap::new();
        let mut occupied = false;
        for event in &origin.order {
            match event.split_once(' ') {
                Some(("member_added", user)) => {
                    assert!(occupied, "seed {seed}: {:?}", origin.order);
                    let twice = users.insert(user.to_owned(), true) == Some(true);
                    assert!(!twice, "seed {seed}: {:?}", origin.order);
                }
                Some(("member_removed", user)) => {
                    users.insert(user.to_owned(), false);
                }
                _ => {
                    assert_ne!(occupied, event == "channel_occupied", "seed {seed}: {:?}", origin.order);
                    occupied = event == "channel_occupied";
                }
            }
        }
        users.retain(|_, there| *there);
        let mut there: Vec<String> = world.sockets.iter().filter_map(|socket| socket.user.clone()).collect();
        there.sort();
        there.dedup();
        assert_eq!(users.into_keys().collect::<Vec<_>>(), there, "seed {seed}: {:?}", origin.order);
        assert_eq!(occupied, !world.sockets.is_empty(), "seed {seed}: {:?}", origin.order);
    }
}
