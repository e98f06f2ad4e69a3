//! What is kept of a tab of a stock Pusher client between its connections. Such a client sends no positions, so its Hub knows what it has: what it has
//! acknowledged (with its pong to a ping of the server: it handles frames in order), and what it was sent. What is between the two is uncertain. Pure rules; where rows
//! are written and pings are sent is in [`crate::hub`].

use crate::channel::ChannelName;
use crate::limits;
use crate::position::{Epoch, Position};
use crate::refusal::{Code, Refusal};
use serde::{Deserialize, Serialize};
use std::fmt;

/// In place of what a client has, when that is not known.
pub(crate) const UNKNOWN: Position = Epoch::new(0).at(0);

/// A tab's name for itself, which it keeps over its connections: 16 to 64 characters of `A-Za-z0-9_-`, best an UUID. Who knows it can take the tab's place.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResumeId(String);

impl ResumeId {
    /// Checks an id as it came in. Refused with `invalid_field`.
    pub fn parse(id: &str) -> Result<Self, Refusal> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if (limits::RESUME_ID_MIN..=limits::RESUME_ID_MAX).contains(&id.len()) && id.bytes().all(allowed) {
            return Ok(Self(id.to_owned()));
        }
        let (least, most) = (limits::RESUME_ID_MIN, limits::RESUME_ID_MAX);
        Err(Refusal::new(
            Code::InvalidField,
            format!("the id after /r/ is {least} to {most} characters of A-Za-z0-9_-: crypto.randomUUID() makes one"),
        ))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ResumeId {
    type Error = Refusal;

    fn try_from(id: String) -> Result<Self, Refusal> {
        Self::parse(&id)
    }
}

impl From<ResumeId> for String {
    fn from(id: ResumeId) -> Self {
        id.0
    }
}

impl fmt::Display for ResumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a tab has of one channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// The channel.
    #[serde(rename = "c")]
    pub channel: ChannelName,
    /// It has everything up to here.
    #[serde(rename = "k")]
    pub acked: Position,
    /// Nothing beyond this was sent to it; `None`: not known.
    #[serde(rename = "s", skip_serializing_if = "Option::is_none", default)]
    pub sent: Option<Position>,
    /// Whether it also has what [`Reached::acked`] says, as long as its connection lasted.
    #[serde(rename = "f", skip_serializing_if = "core::ops::Not::not", default)]
    pub follows: bool,
}

/// What a Hub keeps of a tab: a row, and what one Hub hands over to another. As JSON with short names; fields of a newer version are ignored.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Held {
    /// The ids of its last connections, newest first: what was kept from those is kept from the next one as well.
    #[serde(rename = "w", skip_serializing_if = "Vec::is_empty", default)]
    pub was: Vec<String>,
    /// What the tab's pointer has to say for this to be true; empty: nothing has been said.
    #[serde(rename = "t", skip_serializing_if = "String::is_empty", default)]
    pub tag: String,
    /// Its channels.
    #[serde(rename = "s", skip_serializing_if = "Vec::is_empty", default)]
    pub claims: Vec<Claim>,
    /// Whether it may have had channels of which nothing is known any more.
    #[serde(rename = "l", skip_serializing_if = "core::ops::Not::not", default)]
    pub lost: bool,
}

/// Takes over from the Hub where a tab was: `POST`, body [`TakeOver`], answer [`TakenOver`].
pub const RESUME_PATH: &str = "/resume";

/// A tab has come to another Hub.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TakeOver {
    /// [`crate::call::VERSION`].
    pub version: u32,
    /// Which tab.
    pub id: ResumeId,
    /// What its pointer says: [`Held::tag`].
    pub tag: String,
}

/// What the Hub where it was knew of it; it does not any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TakenOver {
    /// `None`: nothing, or nothing that the pointer means.
    #[serde(default)]
    pub held: Option<Held>,
}

/// What a Hub has saved of a channel for its tabs together, for one of its lives: from one loss of all sockets to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reached {
    /// All tabs that follow have everything up to here.
    pub acked: Position,
    /// A position at which the channel was after that life had ended: nothing beyond was sent in it.
    pub bound: Option<Position>,
}

impl Held {
    /// Nothing but that something was lost.
    #[must_use]
    pub fn nothing() -> Self {
        Self { lost: true, ..Self::default() }
    }

    /// The row's text.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a row; one that cannot be read says that something was lost.
    #[must_use]
    pub fn decode(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|_| Self::nothing())
    }

    /// What is known where the connection was lost together with its Hub's memory and all sockets. `reached` is what was saved in that life.
    #[must_use]
    pub fn after_loss(mut self, reached: impl Fn(&ChannelName) -> Option<Reached>) -> Self {
        for claim in &mut self.claims {
            if let Some(Reached { acked, bound }) = reached(&claim.channel) {
                if claim.follows && acked.epoch == claim.acked.epoch && acked.seq > claim.acked.seq {
                    claim.acked = acked;
                }
                let is_before = |bound: &Position| bound.epoch == claim.acked.epoch && bound.seq < claim.acked.seq;
                claim.sent = claim.sent.or(bound.filter(|bound| !is_before(bound)));
            }
            claim.follows = false;
        }
        self
    }

    /// What is known where the connection ended without a word, and its Hub went on: what was saved since may be without it.
    #[must_use]
    pub fn after_silence(self) -> Self {
        self.after_loss(|_| None)
    }
}

/// When a Hub looks for what it has kept of tabs for long enough, and whether anything is kept: as long as it is, the alarm has to ring some day, whatever else it rings for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sweeps {
    swept_at: u64,
    is_left: bool,
}

impl Sweeps {
    /// A row was written.
    pub const fn kept(&mut self) {
        self.is_left = true;
    }

    /// Whether it is time, in milliseconds: at once after waking, and then every [`limits::RESUME_SWEEP_MS`].
    #[must_use]
    pub const fn is_due(&self, now: u64) -> bool {
        now >= self.swept_at.saturating_add(limits::RESUME_SWEEP_MS)
    }

    /// It was done, and that many rows are left.
    pub const fn swept(&mut self, now: u64, rows: u64) {
        (self.swept_at, self.is_left) = (now, rows > 0);
    }

    /// Whether there are rows to look after.
    #[must_use]
    pub const fn is_left(&self) -> bool {
        self.is_left
    }
}

#[cfg(test)]
mod tests {
    use super::{Claim, Held, Reached, ResumeId, Sweeps};
    use crate::channel::ChannelName;
    use crate::limits;
    use crate::position::{Epoch, Position};

    fn at(seq: u64) -> Position {
        Epoch::new(7).at(seq)
    }

    fn claim(acked: Position, sent: Option<Position>, follows: bool) -> Claim {
        Claim { channel: ChannelName::parse("a").unwrap(), acked, sent, follows }
    }

    fn lost(claim: Claim, reached: Option<Reached>) -> (Position, Option<Position>) {
        let held = Held { claims: vec![claim], ..Held::default() };
        let held = Held::decode(&held.encode()).after_loss(|_| reached);
        (held.claims[0].acked, held.claims[0].sent)
    }

    #[test]
    fn an_id_is_long_enough_not_to_be_guessed() {
        for id in ["0123456789abcdef", "0b6f0f5e-3a54-4a3c-9d3b-6b1f4f9d2a10", &"x".repeat(64)] {
            assert_eq!(ResumeId::parse(id).unwrap().as_str(), id);
        }
        for id in ["", "0123456789abcde", &"x".repeat(65), "0123456789abcdef.", "0123456789abcdeä", "0123456789 abcdef"]
        {
            assert!(ResumeId::parse(id).is_err(), "{id}");
        }
    }

    #[test]
    fn after_a_loss_who_followed_has_what_all_had() {
        let reached = |acked, bound| Some(Reached { acked, bound });
        for (from, follows, saved, acked) in [(3, true, 9, 9), (9, true, 3, 9), (3, false, 9, 3)] {
            assert_eq!(lost(claim(at(from), None, follows), reached(at(saved), None)), (at(acked), None));
        }
        assert_eq!(lost(claim(at(3), None, true), None), (at(3), None));
        // A position of another epoch says nothing about this one.
        assert_eq!(lost(claim(at(3), None, true), reached(Epoch::new(8).at(9), None)), (at(3), None));
    }

    #[test]
    fn nothing_beyond_the_bound_was_sent() {
        let bound = |bound| Some(Reached { acked: at(5), bound: Some(bound) });
        assert_eq!(lost(claim(at(3), None, true), bound(at(8))), (at(5), Some(at(8))));
        // What is known exactly stays.
        assert_eq!(lost(claim(at(3), Some(at(6)), false), bound(at(8))), (at(3), Some(at(6))));
        // One that cannot be is none.
        assert_eq!(lost(claim(at(9), None, false), bound(at(8))), (at(9), None));
        assert_eq!(lost(claim(at(3), None, false), bound(Epoch::new(8).at(1))), (at(3), Some(Epoch::new(8).at(1))));
    }

    #[test]
    fn what_ended_in_silence_has_only_what_its_own_row_says() {
        let held = Held { claims: vec![claim(at(3), None, true)], ..Held::default() };
        assert_eq!(held.after_silence().claims, [claim(at(3), None, false)]);
    }

    #[test]
    fn whoever_looks_within_the_hour_is_told_of_what_is_left_too() {
        let (mut sweeps, hour) = (Sweeps::default(), limits::RESUME_SWEEP_MS);
        assert!(sweeps.is_due(9 * hour) && !sweeps.is_left());
        sweeps.swept(9 * hour, 3);
        assert!(!sweeps.is_due(10 * hour - 1) && sweeps.is_left() && sweeps.is_due(10 * hour));
        sweeps.swept(10 * hour, 0);
        assert!(!sweeps.is_left());
        sweeps.kept();
        assert!(!sweeps.is_due(10 * hour + 1) && sweeps.is_left());
    }

    #[test]
    fn a_row_that_cannot_be_read_is_a_loss() {
        assert!(Held::decode("{").lost && !Held::decode("{}").lost);
        assert!(!Held::decode(r#"{"later":1,"s":[]}"#).lost);
    }
}
