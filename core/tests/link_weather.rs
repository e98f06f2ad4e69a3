//! 10,000 histories of weather on the link between Rooms and Hubs, half of them with members; `npm run weather -- --link --histories N` runs as many as asked for.

mod ledger;
mod link;

use link::{Tally, run};

#[expect(clippy::panic, reason = "a test fails so")]
fn five_thousand(first: u64) -> Tally {
    let mut tally = Tally::default();
    for seed in (first..10_000).step_by(2) {
        match run(seed) {
            Ok(history) => tally.add(&history),
            Err(error) => panic!("seed {seed}: {error}\nreplay it with: npm run weather -- --link --seed {seed}"),
        }
    }
    println!("{tally:#?}");
    // A simulation in which nothing happens would keep every promise too.
    assert!(tally.stored > 100_000 && tally.seen > 100_000 && tally.acknowledged > 50_000, "{tally:?}");
    assert!(tally.resumed > 500 && tally.gaps > 2_500 && tally.deliveries > 75_000, "{tally:?}");
    assert!(tally.relays > 10_000 && tally.forwards > 10_000 && tally.broken_relays > 200, "{tally:?}");
    assert!(tally.sleeps > 10_000 && tally.crashes > 10_000 && tally.losses > 1_000, "{tally:?}");
    assert!(tally.lost_calls > 10_000 && tally.repeated_calls > 5_000 && tally.full > 1_000, "{tally:?}");
    assert!(tally.traps > 1_000, "{tally:?}");
    assert!(tally.told > 50_000 && tally.listings > 5_000 && tally.struck > 300, "{tally:?}");
    assert!(tally.directory_falls > 2_000 && tally.orders > 2_000, "{tally:?}");
    assert!(tally.begun > 5_000 && tally.heard > 20_000 && tally.pusher_gaps > 200, "{tally:?}");
    assert!(tally.closes > 500, "{tally:?}");
    tally
}

#[test]
fn five_thousand_histories_keep_the_promises() {
    let tally = five_thousand(0);
    assert_eq!(tally.reports, 0);
    assert!(tally.tallies > 20_000 && tally.counts > 20_000 && tally.counted > 2_500, "{tally:?}");
}

#[test]
fn five_thousand_histories_with_members_keep_the_promises() {
    let tally = five_thousand(1);
    assert!(tally.guests > 20_000 && tally.announcements > 40_000, "{tally:?}");
    assert!(tally.reports > 40_000 && tally.whole_reports > 7_000, "{tally:?}");
    assert!(tally.added > 3_000 && tally.removed > 3_000 && tally.counts == 0, "{tally:?}");
    assert!(tally.lists > 40_000 && tally.joins > 20_000 && tally.leaves > 15_000, "{tally:?}");
}
