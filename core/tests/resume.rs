//! Random histories of tabs of a stock Pusher client that resume: several thousand in `cargo test`. `SEED=7 cargo test --test resume -- --nocapture` shows one of them.

mod tabs;

use tabs::{Tally, run};

#[test]
fn three_thousand_histories_keep_the_promise() {
    let mut tally = Tally::default();
    let seeds = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).map_or(0..3_000, |seed| seed..seed + 1);
    let one = seeds.end == seeds.start + 1;
    for seed in seeds {
        match run(seed, one) {
            Ok(history) => tally.add(&history),
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    println!("{tally:#?}");
    // A simulation in which nothing happens would keep every promise too; and who says that everything is lost tells no lie either.
    assert!(one || tally.seen > 200_000 && tally.cuts > 10_000 && tally.crashes > 1_000, "{tally:?}");
    assert!(one || tally.sleeps > 1_000 && tally.traps > 1_000 && tally.stalls > 500, "{tally:?}");
    assert!(one || tally.gaps > 5_000 && tally.fetched > 1_000, "{tally:?}");
    assert!(one || tally.long_replays > 500, "{tally:?}");
    assert!(one || tally.mild_seen > 50_000 && tally.mild_lost * 4 < tally.mild_seen, "{tally:?}");
}
