//! Readers and publishers, with what they remember. They know the protocol only.

use super::Tally;
use crate::ledger::Ledger;
use dormouse_core::frame::Frame;
use dormouse_core::position::Position;
use serde_json::Value;

/// A client that follows `docs/protocol.md`: it remembers the position of the last welcome, gap or message.
#[derive(Default)]
pub(super) struct Reader {
    /// The connection that it has now.
    pub(super) connection: Option<String>,
    pub(super) position: Option<Position>,
    /// What it presented when it came back.
    presented: Option<Position>,
    /// It was told that it missed something, and waits to hear what.
    owed_gap: bool,
    welcomed: bool,
}

impl Reader {
    pub(super) fn connects(&mut self, connection: String) {
        self.connection = Some(connection);
        self.presented = self.position;
        self.owed_gap = false;
        self.welcomed = false;
    }

    pub(super) fn hears(&mut self, frame: &Frame, ledger: &Ledger, tally: &mut Tally) -> Result<(), String> {
        let Frame::Text(text) = frame else { return Err("a binary frame".into()) };
        let frame: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
        let position =
            |field: &str| frame[field].as_str().and_then(Position::parse).ok_or(format!("no {field}: {text}"));
        match frame["type"].as_str() {
            Some("welcome") => self.welcome(position("position")?, frame["resumed"].as_bool(), tally)?,
            Some("gap") => {
                let (after, until) = (position("after")?, position("position")?);
                if Some(after) != self.position
                    || frame["reason"] == "ahead"
                    || (after.epoch == until.epoch && after.seq >= until.seq)
                {
                    return Err(format!("at {:?}: {text}", self.position));
                }
                tally.gaps += 1;
                self.owed_gap = false;
                self.position = Some(until);
            }
            Some("message") => {
                let position = position("position")?;
                let body = frame["data"].as_str().ok_or(format!("no data: {text}"))?;
                ledger.expect(position, body.trim_end())?;
                let next = self.position.map(|last| last.epoch.at(last.seq + 1));
                if !self.welcomed || self.owed_gap || next != Some(position) {
                    return Err(format!("{position} after {:?}", self.position));
                }
                tally.seen += 1;
                self.position = Some(position);
            }
            // Answers to its own publishes are looked at where they are published.
            Some("ack" | "error") => {}
            _ => return Err(format!("unknown frame: {text}")),
        }
        Ok(())
    }

    fn welcome(&mut self, position: Position, resumed: Option<bool>, tally: &mut Tally) -> Result<(), String> {
        if self.welcomed || resumed.is_some() != self.presented.is_some() {
            return Err(format!("welcome {position} resumed {resumed:?}, presented {:?}", self.presented));
        }
        if let Some(presented) = self.presented
            && presented != position
        {
            return Err(format!("welcomed at {position}, presented {presented}"));
        }
        tally.resumed += u64::from(resumed == Some(true));
        self.welcomed = true;
        self.owed_gap = resumed == Some(false);
        self.position = Some(position);
        Ok(())
    }
}

/// A publisher that repeats each message under the same id until it is answered.
#[derive(Default)]
pub(super) struct Publisher {
    /// The message it is at.
    pub(super) nth: u64,
    /// When it first tried it.
    pub(super) since: u64,
    /// Whether an answer is on its way, as far as it can tell.
    pub(super) waiting: bool,
}
