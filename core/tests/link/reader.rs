//! A client of many channels. It knows the protocol only.

use super::Tally;
use crate::ledger::Ledger;
use dormouse_core::frame::Frame;
use dormouse_core::position::Position;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Reader {
    /// Where it is connected, and as whom.
    pub(super) at: Option<(usize, String)>,
    welcomed: bool,
    pub(super) channels: BTreeMap<usize, Channel>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum State {
    #[default]
    Without,
    Asked,
    Has,
    Leaving,
}

#[derive(Default)]
pub(super) struct Channel {
    pub(super) state: State,
    pub(super) position: Option<Position>,
    presented: Option<Position>,
    owed_gap: bool,
}

impl Reader {
    pub(super) fn connects(&mut self, hub: usize, connection: String) {
        self.at = Some((hub, connection));
        self.welcomed = false;
        self.forgets();
    }

    /// What was asked for on a connection is gone with it; positions stay.
    pub(super) fn forgets(&mut self) {
        for channel in self.channels.values_mut() {
            channel.state = State::Without;
        }
    }

    /// What it sends to have a channel.
    pub(super) fn subscribes(&mut self, room: usize, last: u64) -> String {
        let channel = self.channels.entry(room).or_default();
        channel.state = State::Asked;
        channel.presented = channel.position;
        channel.owed_gap = false;
        match channel.position {
            Some(position) => format!(r#"{{"type":"subscribe","channel":"channel-{room}","position":"{position}"}}"#),
            None if last > 0 => format!(r#"{{"type":"subscribe","channel":"channel-{room}","last":{last}}}"#),
            None => format!(r#"{{"type":"subscribe","channel":"channel-{room}"}}"#),
        }
    }

    pub(super) fn unsubscribes(&mut self, room: usize) -> String {
        self.channels.entry(room).or_default().state = State::Leaving;
        format!(r#"{{"type":"unsubscribe","channel":"channel-{room}"}}"#)
    }

    pub(super) fn hears(&mut self, frame: &Frame, ledgers: &[Ledger], tally: &mut Tally) -> Result<(), String> {
        let Frame::Text(text) = frame else { return Err("a binary frame".into()) };
        if std::env::var("SEED").is_ok() {
            println!("{:?} <- {text}", self.at);
        }
        let frame: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
        if frame["type"] == "welcome" {
            self.welcomed = true;
            return Ok(());
        }
        let room = frame["channel"].as_str().and_then(|name| name.strip_prefix("channel-"));
        let room: usize = room.and_then(|room| room.parse().ok()).ok_or(format!("no channel: {text}"))?;
        if !self.welcomed {
            return Err(format!("before the welcome: {text}"));
        }
        let channel = self.channels.entry(room).or_default();
        channel.hears(&frame, text, &ledgers[room], tally).map_err(|error| format!("channel {room}: {error}"))
    }
}

impl Channel {
    fn hears(&mut self, frame: &Value, text: &str, ledger: &Ledger, tally: &mut Tally) -> Result<(), String> {
        let position =
            |field: &str| frame[field].as_str().and_then(Position::parse).ok_or(format!("no {field}: {text}"));
        let kind = frame["type"].as_str().unwrap_or_default();
        match (kind, self.state) {
            ("subscribed", State::Asked | State::Leaving) => {
                let (at, resumed) = (position("position")?, frame["resumed"].as_bool());
                if resumed.is_some() != self.presented.is_some() {
                    return Err(format!("presented {:?}: {text}", self.presented));
                }
                if self.presented.is_some_and(|presented| presented != at) {
                    return Err(format!("presented {:?}: {text}", self.presented));
                }
                tally.resumed += u64::from(resumed == Some(true));
                self.owed_gap = resumed == Some(false);
                self.position = Some(at);
                if self.state == State::Asked {
                    self.state = State::Has;
                }
            }
            ("gap", State::Has | State::Leaving) => {
                let (after, until) = (position("after")?, position("position")?);
                if Some(after) != self.position || (after.epoch == until.epoch && after.seq >= until.seq) {
                    return Err(format!("at {:?}: {text}", self.position));
                }
                tally.gaps += 1;
                self.owed_gap = false;
                self.position = Some(until);
            }
            ("message", State::Has | State::Leaving) => {
                let at = position("position")?;
                ledger.expect(at, frame["data"].as_str().ok_or(format!("no data: {text}"))?)?;
                let next = self.position.map(|last| last.epoch.at(last.seq + 1));
                if self.owed_gap || next != Some(at) {
                    return Err(format!("{at} after {:?}", self.position));
                }
                tally.seen += 1;
                self.position = Some(at);
            }
            ("ack", _) => {
                tally.acknowledged += 1;
                ledger.expect(position("position")?, frame["id"].as_str().unwrap_or_default())?;
            }
            // About a message.
            ("error", _) if frame["id"].is_string() => {}
            ("error", State::Asked | State::Leaving) | ("unsubscribed", State::Has | State::Leaving) => {
                self.state = State::Without;
            }
            // Of a subscription that the Hub had ended already.
            ("error" | "unsubscribed", _) => {}
            _ => return Err(format!("in state {:?}: {text}", self.state)),
        }
        Ok(())
    }
}
