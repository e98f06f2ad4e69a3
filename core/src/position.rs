//! A message's place in its channel.

use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The largest `seq`: beyond it JavaScript's numbers are no longer exact.
const SEQ_MAX: u64 = (1 << 53) - 1;
const EPOCH_BITS: u32 = 48;

/// One life of a channel's log: 48 random bits, written as 12 hexadecimal digits. A new one says that the log was lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, Deserialize)]
pub struct Epoch(u64);

impl Epoch {
    /// Takes the low 48 bits: they fit SQLite's and JavaScript's integers.
    #[must_use]
    pub const fn new(random: u64) -> Self {
        Self(random & ((1 << EPOCH_BITS) - 1))
    }

    /// The 48 bits, for storing.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The position `seq` in this epoch.
    #[must_use]
    pub const fn at(self, seq: u64) -> Position {
        Position { epoch: self, seq }
    }
}

/// `epoch:seq`. `seq` counts 1, 2, 3 … without holes; 0 is the place before the first message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Position {
    /// The life of the log it belongs to.
    pub epoch: Epoch,
    /// The number of the message in that epoch.
    pub seq: u64,
}

impl Position {
    /// Reads exactly what `Display` writes; anything else is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, seq) = text.split_once(':')?;
        let hex = epoch.len() == 12 && epoch.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let decimal = (1..=16).contains(&seq.len())
            && seq.bytes().all(|b| b.is_ascii_digit())
            && (seq == "0" || !seq.starts_with('0'));
        if !hex || !decimal {
            return None;
        }
        let epoch = Epoch::new(u64::from_str_radix(epoch, 16).ok()?);
        let seq = seq.parse().ok().filter(|seq| *seq <= SEQ_MAX)?;
        Some(Self { epoch, seq })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}:{}", self.epoch.0, self.seq)
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("not a position: it looks like `9f2c41d07ab3:42`"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Epoch, Position};

    #[test]
    fn reads_what_it_writes() {
        for position in [Epoch::new(0).at(0), Epoch::new(u64::MAX).at((1 << 53) - 1), Epoch::new(0x9f2c).at(42)] {
            assert_eq!(Position::parse(&position.to_string()), Some(position));
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            ":",
            "1",
            "9f2c41d07ab3",
            "9f2c41d07ab3:",
            ":1",
            "9f2c41d07ab3:-1",
            "9f2c41d07ab3:+1",
            "9f2c41d07ab3:01",
            "9F2C41D07AB3:1",
            "9f2c41d07ab:1",
            "9f2c41d07ab33:1",
            "9f2c41d07ab3:1 ",
            " 9f2c41d07ab3:1",
            "9f2c41d07ab3:9007199254740992",
            "9f2c41d07ab3:99999999999999999999",
            "9f2c41d07ab3:1:2",
            "xyz:1",
            "9f2c41d07ab3:0x1",
            "９f2c41d07ab3:1",
        ] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
    }
}
