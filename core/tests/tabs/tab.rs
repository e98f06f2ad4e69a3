//! A tab as pusher-js makes it: it handles frames in order, answers each ping, asks for all of its channels whenever it is connected, and knows no positions.

use super::Tally;
use dormouse_core::limits;
use dormouse_core::position::Position;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct Tab {
    /// Its connection: in which Hub, and which socket.
    pub(super) at: Option<(usize, u64)>,
    pub(super) connected: bool,
    pub(super) channels: BTreeMap<String, View>,
}

/// What it has seen of a channel.
#[derive(Default)]
pub(super) struct View {
    /// Asked for on this connection, and answered.
    pub(super) subscribed: bool,
    /// Where the channel was when it first had it: all that is published from then on is for it.
    base: Option<u64>,
    /// The last that it has, or knows that it may lack.
    pub(super) up_to: Option<u64>,
    seen: BTreeSet<u64>,
    announced: BTreeSet<u64>,
    /// Of those that a Hub sent to all who were live: how many, and how many of them a pong has acknowledged.
    pub(super) live: u64,
    pub(super) acked: u64,
    /// How many were sent to it of what it missed, since it was answered.
    replayed: u64,
    /// What a Hub has said that cannot be had.
    pub(super) gone: BTreeSet<u64>,
}

impl Tab {
    /// It has lost its connection.
    pub(super) fn loses(&mut self) {
        self.at = None;
        self.connected = false;
        for view in self.channels.values_mut() {
            view.subscribed = false;
        }
    }

    /// Handles a frame; what it sends then. `heads`: where each channel is. `is_mild`: nothing but connections has gone wrong.
    pub(super) fn hears(
        &mut self,
        text: &str,
        heads: impl Fn(&str) -> u64,
        is_mild: bool,
        tally: &mut Tally,
    ) -> Result<Vec<String>, String> {
        let frame: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
        let event = frame["event"].as_str().unwrap_or_default();
        if event == "pusher:connection_established" {
            self.connected = true;
            let subscribe = |name: &String| format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{name}"}}}}"#);
            return Ok(self.channels.keys().map(subscribe).collect());
        }
        if event == "pusher:ping" {
            return Ok(vec![r#"{"event":"pusher:pong","data":{}}"#.to_owned()]);
        }
        if event == "pusher:error" {
            return Err(format!("refused: {text}"));
        }
        let name = frame["channel"].as_str().ok_or(format!("no channel: {text}"))?;
        let Some(view) = self.channels.get_mut(name) else { return Ok(Vec::new()) };
        let data = frame["data"].as_str().unwrap_or_default();
        match event {
            "pusher_internal:subscription_succeeded" => {
                view.subscribed = true;
                view.base = view.base.or(Some(heads(name)));
            }
            "dormouse:gap" => view.lacks(data, is_mild, tally).map_err(|error| format!("{name}: {error}"))?,
            "tick" => {
                let seq = data.parse().map_err(|_| format!("what is {text}?"))?;
                view.gets(seq, tally).map_err(|error| format!("{name}: {error}"))?;
            }
            _ => return Err(format!("what is {text}?")),
        }
        Ok(Vec::new())
    }
}

/// After which message a gap is, which is its last, and why.
pub(super) fn gap_of(data: &str) -> Result<(u64, u64, String), String> {
    let gap: Value = serde_json::from_str(data).map_err(|error| format!("{error}: {data}"))?;
    let position = |field: &str| gap[field].as_str().and_then(Position::parse).ok_or(format!("no {field}: {data}"));
    let (after, position) = (position("after")?, position("position")?);
    let after = if after.epoch == position.epoch { after.seq } else { 0 };
    Ok((after, position.seq, gap["reason"].as_str().unwrap_or_default().to_owned()))
}

impl View {
    /// A Hub has sent it something, which may come or not. `live`: to all who were, as it came.
    pub(super) fn is_sent(&mut self, event: &str, data: &str, live: bool, tally: &mut Tally) -> Result<(), String> {
        match event {
            "pusher_internal:subscription_succeeded" => self.replayed = 0,
            "tick" if live => self.live += 1,
            "tick" => {
                self.replayed += 1;
                tally.long_replays += u64::from(self.replayed == limits::RESUME_WINDOW_MESSAGES + 1);
            }
            _ => {}
        }
        if event == "dormouse:gap"
            && let (after, last, reason) = gap_of(data)?
            && reason != "unconfirmed"
        {
            self.gone.extend(after + 1..=last);
        }
        Ok(())
    }

    fn gets(&mut self, seq: u64, tally: &mut Tally) -> Result<(), String> {
        if !self.subscribed {
            return Err(format!("{seq} before the answer"));
        }
        tally.seen += 1;
        if !self.seen.insert(seq) {
            return Err(format!("{seq} comes twice"));
        }
        if self.up_to.is_some_and(|up_to| seq <= up_to) {
            return Err(format!("{seq} after {:?}", self.up_to));
        }
        let first = self.up_to.or(self.base).unwrap_or_default() + 1;
        if let Some(missing) = (first..seq).find(|one| !self.announced.contains(one)) {
            return Err(format!("{missing} is missing before {seq}, and nothing says so"));
        }
        self.up_to = Some(seq);
        Ok(())
    }

    fn lacks(&mut self, data: &str, is_mild: bool, tally: &mut Tally) -> Result<(), String> {
        if !self.subscribed {
            return Err(format!("{data} before the answer"));
        }
        let (after, last, reason) = gap_of(data)?;
        let known = self.up_to.or(self.base).unwrap_or_default();
        if after > known {
            return Err(format!("{data}, and {known} is the last"));
        }
        if last < self.up_to.unwrap_or_default() {
            return Err(format!("{data}, and {known} has come"));
        }
        tally.gaps += 1;
        let uncertain = (after + 1..=last).filter(|seq| !self.gone.contains(seq)).count() as u64;
        let live = self.live - self.acked;
        if is_mild && reason == "unconfirmed" && uncertain > limits::RESUME_WINDOW_MESSAGES + live {
            return Err(format!("{data}: {uncertain} are uncertain, {live} of them were live"));
        }
        for seq in after + 1..=last {
            if self.announced.insert(seq) {
                let count = if self.seen.contains(&seq) { &mut tally.spared } else { &mut tally.lost };
                *count += 1;
            }
        }
        self.up_to = Some(last.max(self.up_to.unwrap_or_default()));
        Ok(())
    }

    /// Whether it is where the channel is.
    pub(super) fn is_at(&self, head: u64) -> bool {
        self.subscribed && self.up_to.or(self.base).is_some_and(|at| at >= head)
    }
}
