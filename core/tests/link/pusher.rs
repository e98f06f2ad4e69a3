//! A client that speaks Pusher's protocol. It knows the protocol only; where its messages stand in the log is looked up.

use super::Tally;
use super::network::room_of;
use super::room::RoomSide;
use super::world::ROOMS;
use crate::ledger::Ledger;
use dormouse_core::channel::ChannelName;
use dormouse_core::frame::Frame;
use dormouse_core::position::Position;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(super) const SECRET: &str = "0123456789abcdef";

#[derive(Default)]
pub(super) struct Reader {
    /// Where it is connected, and as whom.
    pub(super) at: Option<(usize, String)>,
    welcomed: bool,
    pub(super) channels: [Channel; ROOMS],
    /// Channels that it has left: pongs say when that is so.
    pings: VecDeque<usize>,
    /// What it has published on this connection: only the others get it.
    own: BTreeSet<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum State {
    #[default]
    Without,
    Asked,
    Has,
    /// It has unsubscribed, which nobody answers: the pong to a ping that it sent after it says when that is so.
    Leaving,
    /// As well, and it has subscribed again after the ping.
    Returning,
}

#[derive(Default)]
pub(super) struct Channel {
    pub(super) state: State,
    /// Whether the subscription has been answered.
    begun: bool,
    /// What was stored by then.
    since: Option<Position>,
    /// Where it may be: a body may be in several places. Nowhere, before the first message.
    places: Vec<Position>,
    /// Where it was with the subscription before, on this connection.
    floor: Option<Position>,
    user: String,
    /// Who is there, and what they show.
    pub(super) members: Option<BTreeMap<String, String>>,
    /// The number of subscribers.
    pub(super) count: Option<u64>,
}

/// What is known beside the frame: the log, what was stored when it was sent, and the channels' rules.
pub(super) struct Known<'a> {
    pub(super) ledgers: &'a [Ledger],
    pub(super) since: Option<Position>,
    pub(super) rooms: &'a [RoomSide],
}

/// Whether that frame answers a subscription, and of which room.
pub(super) fn begins(frame: &Frame) -> Option<usize> {
    let Frame::Text(text) = frame else { return None };
    let rest = text.strip_prefix(r#"{"event":"pusher_internal:subscription_succeeded","channel":""#)?;
    room_of(rest.split('"').next()?)
}

fn command(event: &str, data: &Value) -> String {
    json!({ "event": event, "data": data }).to_string()
}

impl Reader {
    pub(super) fn connects(&mut self, hub: usize, connection: String) {
        *self = Self { at: Some((hub, connection)), ..Self::default() };
    }

    pub(super) fn has(&self, room: usize) -> bool {
        self.channels[room].state == State::Has
    }

    /// What it sends to have a channel.
    pub(super) fn subscribes(&mut self, room: usize, name: &ChannelName, user: String, shows: u64) -> Vec<String> {
        let channel = &mut self.channels[room];
        channel.state = if channel.state == State::Without { State::Asked } else { State::Returning };
        if !name.has_members() {
            return vec![command("pusher:subscribe", &json!({ "channel": name.as_str() }))];
        }
        let connection = self.at.as_ref().map(|(_, connection)| connection.as_str()).unwrap_or_default();
        let data = json!({ "user_id": user, "user_info": format!("s{shows}") }).to_string();
        channel.user = user;
        let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        let mac = mac.chain_update(format!("{connection}:{name}:{data}"));
        let auth = format!("k:{}", hex::encode(mac.finalize().into_bytes()));
        vec![command("pusher:subscribe", &json!({ "channel": name.as_str(), "auth": auth, "channel_data": data }))]
    }

    /// Not as the runtime's own answer has it: the Hub's comes after what it has said before.
    pub(super) fn unsubscribes(&mut self, room: usize, name: &ChannelName) -> Vec<String> {
        self.channels[room].state = State::Leaving;
        self.pings.push_back(room);
        let leave = command("pusher:unsubscribe", &json!({ "channel": name.as_str() }));
        vec![leave, r#"{"event":"pusher:ping"}"#.to_owned()]
    }

    /// An event for the others. Its data is JSON as a text, as with everybody else's messages.
    pub(super) fn publishes(&mut self, name: &ChannelName, body: &str) -> Vec<String> {
        self.own.insert(body.to_owned());
        let data = format!("\"{body}\"");
        vec![json!({ "event": "client-x", "channel": name.as_str(), "data": data }).to_string()]
    }

    pub(super) fn hears(&mut self, frame: &Frame, known: &Known<'_>, tally: &mut Tally) -> Result<(), String> {
        let Frame::Text(text) = frame else { return Err("a binary frame".into()) };
        if super::shows() {
            println!("{:?} <- {text}", self.at);
        }
        let frame: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
        let event = frame["event"].as_str().ok_or(format!("no event: {text}"))?;
        if event == "pusher:connection_established" {
            self.welcomed = true;
            return Ok(());
        }
        if !self.welcomed {
            return Err(format!("before the welcome: {text}"));
        }
        if event == "pusher:pong" {
            let room = self.pings.pop_front().ok_or("a pong that nobody asked for")?;
            self.channels[room].ends();
            return Ok(());
        }
        if event == "pusher:error" {
            // About an event of its own.
            let is_own = frame["data"]["message"] == "lost" && !self.own.is_empty();
            return if is_own { Ok(()) } else { Err(text.clone()) };
        }
        let room = frame["channel"].as_str().and_then(room_of).ok_or(format!("no channel: {text}"))?;
        let data = frame["data"].as_str().ok_or(format!("no data: {text}"))?;
        let data: Value = serde_json::from_str(data).map_err(|error| format!("{error}: {text}"))?;
        let channel = &mut self.channels[room];
        channel
            .hears(event, &data, &self.own, (room, known), tally)
            .map_err(|error| format!("channel {room}, in state {:?}: {error}: {text}", channel.state))
    }
}

impl Channel {
    /// The subscription is over.
    fn ends(&mut self) {
        let state = if self.state == State::Returning { State::Asked } else { State::Without };
        let floor = self.places.first().copied().or(self.floor);
        *self = Self { state, floor, user: core::mem::take(&mut self.user), ..Self::default() };
    }

    fn hears(
        &mut self,
        event: &str,
        data: &Value,
        own: &BTreeSet<String>,
        (room, known): (usize, &Known<'_>),
        tally: &mut Tally,
    ) -> Result<(), String> {
        let (ledger, counts) = (&known.ledgers[room], known.rooms[room].rule.subscription_count);
        if event == "pusher_internal:subscription_succeeded" {
            return self.succeeds(data, known.since, tally);
        }
        if !self.begun {
            return Err("before the answer".into());
        }
        match event {
            "pusher_internal:member_added" => {
                tally.added += 1;
                let (user, members) = (data["user_id"].as_str().ok_or("nobody")?, self.members.as_mut());
                let members = members.ok_or("of no members")?;
                if user == self.user || members.insert(user.to_owned(), data["user_info"].to_string()).is_some() {
                    return Err("twice there".into());
                }
            }
            "pusher_internal:member_removed" => {
                let (user, members) = (data["user_id"].as_str().ok_or("nobody")?, self.members.as_mut());
                if user == self.user {
                    return Err("it is there itself".into());
                }
                // Who came and went at once is told of as gone.
                let known = members.ok_or("of no members")?.remove(user).is_some();
                tally.removed += u64::from(known);
                tally.strangers += u64::from(!known);
            }
            "pusher_internal:subscription_count" => {
                tally.counts += 1;
                let count = data["subscription_count"].as_u64();
                self.count = Some(count.filter(|_| counts).ok_or("no number")?);
            }
            "dormouse:gap" => {
                tally.pusher_gaps += 1;
                let position = |field: &str| data[field].as_str().and_then(Position::parse).ok_or("no position");
                let (after, until) = (position("after")?, position("position")?);
                if self.lacks(after, own, ledger) || (after.epoch == until.epoch && after.seq >= until.seq) {
                    return Err(format!("a gap at {:?}", self.places));
                }
                self.places = vec![until];
            }
            "message" | "client-x" => {
                tally.heard += 1;
                let body = data.as_str().ok_or("no message")?;
                self.comes(body, own, ledger)?;
            }
            _ => return Err("what?".into()),
        }
        Ok(())
    }

    /// The answer. In a presence channel the list may come again, where what was said before holds no more.
    fn succeeds(&mut self, data: &Value, since: Option<Position>, tally: &mut Tally) -> Result<(), String> {
        let presence = &data["presence"];
        if self.state == State::Without || self.begun && presence.is_null() {
            return Err("nobody asked for it".into());
        }
        if self.begun {
            tally.relists += 1;
        } else {
            (self.begun, self.since) = (true, since);
            tally.begun += 1;
            if self.state == State::Asked {
                self.state = State::Has;
            }
        }
        if presence.is_null() {
            return Ok(());
        }
        let ids = presence["ids"].as_array().ok_or("no ids")?;
        let shown = |id: &Value| Some((id.as_str()?.to_owned(), presence["hash"].get(id.as_str()?)?.to_string()));
        let members: BTreeMap<String, String> = ids.iter().filter_map(shown).collect();
        let count = presence["count"].as_u64();
        if members.len() != ids.len() || count != Some(ids.len() as u64) || !members.contains_key(&self.user) {
            return Err("not everybody once".into());
        }
        self.members = Some(members);
        Ok(())
    }

    /// A message: the next one that is not its own.
    fn comes(&mut self, body: &str, own: &BTreeSet<String>, ledger: &Ledger) -> Result<(), String> {
        if own.contains(body) {
            return Err("its own".into());
        }
        if self.places.is_empty() {
            let floor = self.floor;
            let is_next = |at: &Position| {
                let before = at.epoch.at(at.seq - 1);
                floor.is_none_or(|floor| ledger.is_before(floor, *at)) && !self.lacks(before, own, ledger)
            };
            let places: Vec<Position> = ledger.places(body).into_iter().filter(is_next).collect();
            if places.is_empty() {
                return Err(format!(
                    "as the first after {:?} and {floor:?}, and is at {:?}",
                    self.since,
                    ledger.places(body)
                ));
            }
            self.places = places;
            return Ok(());
        }
        let next = |at: &Position| {
            let following = (at.seq + 1..).map(|seq| at.epoch.at(seq));
            let mut following = following.skip_while(|at| ledger.body(*at).is_some_and(|body| own.contains(body)));
            following.next().filter(|at| ledger.body(*at) == Some(body))
        };
        let places: Vec<Position> = self.places.iter().filter_map(next).collect();
        if places.is_empty() {
            return Err(format!("after {:?}, and is at {:?}", self.places, ledger.places(body)));
        }
        self.places = places;
        Ok(())
    }

    /// Whether there is a message of others up to there that it has not been told.
    fn lacks(&self, until: Position, own: &BTreeSet<String>, ledger: &Ledger) -> bool {
        if self.places.is_empty() {
            let since = self.since;
            // It began in an epoch of which nothing was stored.
            if until.seq == 0 && ledger.last(until.epoch) == 0 {
                return false;
            }
            return ledger.between(since, until).into_iter().any(|body| !own.contains(body));
        }
        let is_own = |at: Position| ledger.body(at).is_some_and(|body| own.contains(body));
        self.places.iter().all(|at| {
            at.epoch != until.epoch
                || until.seq < at.seq
                || (at.seq + 1..=until.seq).any(|seq| !is_own(at.epoch.at(seq)))
        })
    }
}

impl Reader {
    /// Whether it has all messages of a channel up to the log's end.
    pub(super) fn is_at(&self, room: usize, end: Position, ledger: &Ledger) -> bool {
        let channel = &self.channels[room];
        let is_empty = |at: &Position| at.seq == 0 && end.seq == 0;
        channel.state == State::Has && (channel.places.iter().any(is_empty) || !channel.lacks(end, &self.own, ledger))
    }
}
