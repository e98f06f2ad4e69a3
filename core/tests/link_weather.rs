//! 10,000 histories of weather on the link between Rooms and Hubs; `npm run weather -- --link --histories N` runs as many as asked for.

mod ledger;
mod link;

use link::{Tally, run};

#[test]
fn ten_thousand_histories_keep_the_promises() {
    let mut tally = Tally::default();
    for seed in 0..10_000 {
        match run(seed) {
            Ok(history) => tally.add(&history),
            Err(error) => panic!("seed {seed}: {error}\nreplay it with: npm run weather -- --link --seed {seed}"),
        }
    }
    println!("{tally:#?}");
    // A simulation in which nothing happens would keep every promise too.
    assert!(tally.stored > 100_000 && tally.seen > 100_000 && tally.acknowledged > 50_000, "{tally:?}");
    assert!(tally.resumed > 4_000 && tally.gaps > 10_000 && tally.deliveries > 100_000, "{tally:?}");
    assert!(tally.relays > 20_000 && tally.forwards > 20_000 && tally.broken_relays > 1_000, "{tally:?}");
    assert!(tally.sleeps > 10_000 && tally.crashes > 10_000 && tally.losses > 1_000, "{tally:?}");
    assert!(tally.lost_calls > 10_000 && tally.repeated_calls > 5_000 && tally.full > 1_000, "{tally:?}");
}
