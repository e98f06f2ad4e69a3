//! Runs as many histories of weather as asked for, on all cores: `npm run weather -- --histories 1000000`, or one: `--seed 7`. With `--link` it is the weather
//! on the link between Rooms and Hubs.

#[path = "../tests/ledger/mod.rs"]
mod ledger;
#[path = "../tests/link/mod.rs"]
mod link;
#[path = "../tests/simulation/mod.rs"]
mod simulation;

use std::fmt::Debug;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A kind of weather: how one history runs, and what it had in it.
trait Weather: Default + Debug + Send {
    fn run(seed: u64) -> Result<Self, String>;
    fn add(&mut self, other: &Self);
}

impl Weather for simulation::Tally {
    fn run(seed: u64) -> Result<Self, String> {
        simulation::run(seed)
    }
    fn add(&mut self, other: &Self) {
        self.add(other);
    }
}

impl Weather for link::Tally {
    fn run(seed: u64) -> Result<Self, String> {
        link::run(seed)
    }
    fn add(&mut self, other: &Self) {
        self.add(other);
    }
}

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--link") {
        return histories::<link::Tally>();
    }
    histories::<simulation::Tally>()
}

fn histories<W: Weather>() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    if let Some(seed) = number("--seed") {
        let history = W::run(seed);
        println!("seed {seed}: {history:#?}");
        return ExitCode::from(u8::from(history.is_err()));
    }
    let histories = number("--histories").unwrap_or(10_000);
    let first = number("--from").unwrap_or(0);
    let next = AtomicU64::new(first);
    let total = Mutex::new((W::default(), Vec::<String>::new()));
    let began = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| work(&next, first + histories, &total));
        }
        scope.spawn(|| {
            while next.load(Ordering::Relaxed) < first + histories {
                std::thread::sleep(Duration::from_secs(2));
                let done = (next.load(Ordering::Relaxed) - first).min(histories);
                println!("{done} of {histories} histories, {:.0} s", began.elapsed().as_secs_f64());
            }
        });
    });
    let Ok((tally, failures)) = total.into_inner() else { return ExitCode::FAILURE };
    println!("{histories} histories from seed {first} in {:.1} s: {tally:#?}", began.elapsed().as_secs_f64());
    for failure in &failures {
        println!("{failure}");
    }
    println!("{} passed, {} failed", histories - failures.len() as u64, failures.len());
    ExitCode::from(u8::from(!failures.is_empty()))
}

fn work<W: Weather>(next: &AtomicU64, end: u64, total: &Mutex<(W, Vec<String>)>) {
    let mut tally = W::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            break;
        }
        match W::run(seed) {
            Ok(history) => tally.add(&history),
            Err(error) => {
                if let Ok(mut total) = total.lock() {
                    total.1.push(format!("seed {seed}: {error}"));
                }
            }
        }
    }
    if let Ok(mut total) = total.lock() {
        total.0.add(&tally);
    }
}
