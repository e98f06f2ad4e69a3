//! A client of many channels. It knows the protocol only.

use super::Tally;
use super::network::room_of;
use super::presence::View;
use crate::ledger::Ledger;
use dormouse_core::channel::ChannelName;
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
    /// Who is there.
    pub(super) view: View,
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
            channel.ends();
        }
    }

    pub(super) fn has(&self, room: usize) -> bool {
        self.channels.get(&room).is_some_and(|channel| channel.state == State::Has)
    }

    /// What it sends to have a channel.
    pub(super) fn subscribes(&mut self, room: usize, name: &ChannelName, last: u64, shows: u64) -> String {
        let channel = self.channels.entry(room).or_default();
        channel.state = State::Asked;
        channel.presented = channel.position;
        channel.owed_gap = false;
        let data = if name.has_members() { format!(r#","data":"s{shows}""#) } else { String::new() };
        match channel.position {
            Some(position) => format!(r#"{{"type":"subscribe","channel":"{name}","position":"{position}"{data}}}"#),
            None if last > 0 => format!(r#"{{"type":"subscribe","channel":"{name}","last":{last}{data}}}"#),
            None => format!(r#"{{"type":"subscribe","channel":"{name}"{data}}}"#),
        }
    }

    pub(super) fn unsubscribes(&mut self, room: usize, name: &ChannelName) -> String {
        self.channels.entry(room).or_default().state = State::Leaving;
        format!(r#"{{"type":"unsubscribe","channel":"{name}"}}"#)
    }

    pub(super) fn hears(&mut self, frame: &Frame, ledgers: &[Ledger], tally: &mut Tally) -> Result<(), String> {
        let Frame::Text(text) = frame else { return Err("a binary frame".into()) };
        if super::shows() {
            println!("{:?} <- {text}", self.at);
        }
        let frame: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
        if frame["type"] == "welcome" {
            self.welcomed = true;
            return Ok(());
        }
        let room = frame["channel"].as_str().and_then(room_of).ok_or(format!("no channel: {text}"))?;
        if !self.welcomed {
            return Err(format!("before the welcome: {text}"));
        }
        let channel = self.channels.entry(room).or_default();
        channel.hears(&frame, text, &ledgers[room], tally).map_err(|error| format!("channel {room}: {error}"))
    }
}

impl Channel {
    fn ends(&mut self) {
        self.state = State::Without;
        self.view = View::default();
    }

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
                self.view = View::default();
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
            ("members" | "presence", State::Has | State::Leaving) => self.view.hears(frame, text, tally)?,
            ("ack", _) => {
                tally.acknowledged += 1;
                ledger.expect(position("position")?, frame["id"].as_str().unwrap_or_default())?;
            }
            // About a message.
            ("error", _) if frame["id"].is_string() => {}
            ("error", State::Asked | State::Leaving) | ("unsubscribed", State::Has | State::Leaving) => {
                self.ends();
            }
            // Of a subscription that the Hub had ended already.
            ("error" | "unsubscribed", _) => {}
            _ => return Err(format!("in state {:?}: {text}", self.state)),
        }
        Ok(())
    }
}
