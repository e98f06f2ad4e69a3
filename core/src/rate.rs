//! How often a connection may speak: a token bucket each. In memory only: after a sleep every bucket is full anyway.

use crate::limits;
use std::collections::HashMap;

#[derive(Debug)]
pub(crate) struct Buckets {
    per_second: u32,
    buckets: HashMap<String, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// In thousandths of a frame, so that it fills by whole numbers.
    level: u64,
    at: u64,
    strikes: u32,
}

impl Buckets {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second, buckets: HashMap::new() }
    }

    /// Takes one frame's worth; `Err` says how many in a row were refused.
    pub(crate) fn take(&mut self, connection: &str, now: u64) -> Result<(), u32> {
        let full = u64::from(self.per_second) * 2 * 1000;
        if !self.buckets.contains_key(connection) {
            if self.buckets.len() >= limits::SOCKETS_MAX {
                self.buckets.clear();
            }
            self.buckets.insert(connection.to_owned(), Bucket { level: full, at: now, strikes: 0 });
        }
        let Some(bucket) = self.buckets.get_mut(connection) else { return Ok(()) };
        let gained = now.saturating_sub(bucket.at).saturating_mul(u64::from(self.per_second));
        bucket.level = bucket.level.saturating_add(gained).min(full);
        bucket.at = now;
        if bucket.level < 1000 {
            bucket.strikes += 1;
            return Err(bucket.strikes);
        }
        bucket.level -= 1000;
        bucket.strikes = 0;
        Ok(())
    }

    pub(crate) fn remove(&mut self, connection: &str) {
        self.buckets.remove(connection);
    }
}

#[cfg(test)]
mod tests {
    use super::Buckets;

    #[test]
    fn twice_the_rate_at_once_then_the_rate() {
        let mut buckets = Buckets::new(10);
        let mut taken = |now| buckets.take("a", now).is_ok();
        assert_eq!((0..30).filter(|_| taken(1000)).count(), 20);
        assert_eq!(
            (0..100).filter(|step| taken(1000 + step * 10)).count(),
            9,
            "the first tenth of a second is already spent"
        );
        assert_eq!((0..30).filter(|_| taken(1_000_000)).count(), 20);
        assert_eq!(buckets.take("b", 5), Ok(()));
    }

    #[test]
    fn strikes_are_counted_in_a_row() {
        let mut buckets = Buckets::new(1);
        assert!(buckets.take("a", 0).is_ok() && buckets.take("a", 0).is_ok());
        assert_eq!((buckets.take("a", 0), buckets.take("a", 0)), (Err(1), Err(2)));
        assert_eq!((buckets.take("a", 1000), buckets.take("a", 1000)), (Ok(()), Err(1)));
    }
}
