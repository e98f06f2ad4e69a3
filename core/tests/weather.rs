//! 10,000 histories of weather; `npm run weather -- --histories N` runs as many as asked for.

mod ledger;
mod simulation;

use simulation::{Tally, run};

#[test]
fn ten_thousand_histories_keep_the_promises() {
    let mut tally = Tally::default();
    for seed in 0..10_000 {
        match run(seed) {
            Ok(history) => tally.add(&history),
            Err(error) => panic!("seed {seed}: {error}\nreplay it with: npm run weather -- --seed {seed}"),
        }
    }
    println!("{tally:#?}");
    // A simulation in which nothing happens would keep every promise too.
    assert!(tally.stored > 100_000 && tally.seen > 100_000 && tally.acknowledged > 100_000, "{tally:?}");
    assert!(
        tally.duplicates > 1_000 && tally.resumed > 1_000 && tally.gaps > 1_000 && tally.batches > 1_000,
        "{tally:?}"
    );
    assert!(
        tally.sleeps > 1_000 && tally.crashes > 1_000 && tally.losses > 100 && tally.failed_writes > 1_000,
        "{tally:?}"
    );
    assert!(tally.rows < tally.stored, "group commit never grouped: {tally:?}");
}
