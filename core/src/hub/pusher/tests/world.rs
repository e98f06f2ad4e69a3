//! A Hub whose sockets speak Pusher's protocol, in memory.

use crate::call::{Begin, VERSION};
use crate::channel::ChannelName;
use crate::config::Config;
use crate::frame::{Frame, Gap, GapReason};
use crate::hub::{Hub, HubConnect, HubSession, Input, Output, Slot};
use crate::link::Delivery;
use crate::message::{Message, Payload};
use crate::position::{Epoch, Position};
use crate::presence::{Changes, Joined, Left, Member, MemberData, Report};
use crate::refusal::Refusal;
use crate::room::Turn;
use crate::session::Format;
use crate::token::Grants;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

const NOW: u64 = 1_763_760_000_000;
pub(super) const OLD_SECRET: &str = "secret-number-one-";
const SECRET: &str = "secret-number-two-";

/// A Hub, and what its sockets have been sent.
pub(super) struct World {
    pub(super) hub: Hub,
    pub(super) now: u64,
    come: u64,
    /// What was asked of others.
    pub(super) calls: Vec<Output>,
    /// What sockets were sent and have not looked at.
    sent: Vec<(Slot, String)>,
    pub(super) closed: Vec<(Slot, u16)>,
    /// Attachments.
    sessions: Vec<(Slot, HubSession)>,
    alarm: Option<u64>,
}

pub(super) fn name(name: &str) -> ChannelName {
    ChannelName::known(name).unwrap()
}

pub(super) fn at(seq: u64) -> Position {
    Epoch::new(0x9f2c_41d0_7ab3).at(seq)
}

pub(super) fn sign_with(secret: &str, text: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(text);
    format!("k:{}", hex::encode(mac.finalize().into_bytes()))
}

pub(super) fn sign(text: &str) -> String {
    sign_with(SECRET, text)
}

/// The connection of a slot.
pub(super) fn id(slot: Slot) -> String {
    format!("3.{slot}")
}

pub(super) fn message(data: &str) -> Message {
    Message::new(Some("e".into()), Payload::Json(data.into()), None)
}

impl World {
    pub(super) fn new(more: &str) -> Self {
        let apps = format!(
            r#"[{{"id":"1","key":"k","secrets":["{OLD_SECRET}","{SECRET}"]{more},"channels":[
                {{"prefix":"","publish":true,"message_bytes":40,"client_rate":2}},{{"prefix":"private-quiet","publish":false}}]}}]"#
        );
        let hub = Hub::wake(Config::parse(&apps).unwrap().app(None).unwrap().clone());
        let (calls, sent, closed, sessions) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { hub, now: NOW, come: 0, calls, sent, closed, sessions, alarm: None }
    }

    pub(super) fn handle(&mut self, input: Input) {
        let mut out = Vec::new();
        self.hub.handle(input, Turn { now: self.now, random: 7 }, &mut out);
        self.perform(out);
    }

    fn perform(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Accept { slot, session } | Output::Remember { slot, session } => {
                    self.sessions.retain(|(other, _)| *other != slot);
                    self.sessions.push((slot, session));
                }
                Output::Send { slots, frames } => {
                    for (slot, frame) in slots.iter().flat_map(|slot| frames.iter().map(move |frame| (*slot, frame))) {
                        let Frame::Text(text) = frame else { panic!("{frame:?}") };
                        self.sent.push((slot, text.clone()));
                    }
                }
                Output::Close { slot, code, .. } => self.closed.push((slot, code)),
                Output::WakeAt(at) => self.alarm = Some(at),
                Output::Register { .. }
                | Output::Keep { .. }
                | Output::Trust { .. }
                | Output::Drop { .. }
                | Output::CloseSlow { .. } => {}
                call => self.calls.push(call),
            }
        }
    }

    /// A new socket, whose greeting has been looked at.
    pub(super) fn connect(&mut self) -> Slot {
        let connect = HubConnect {
            version: VERSION,
            format: Format::Pusher,
            user: None,
            expires_at: None,
            grants: Grants::default(),
            info: None,
            resume: None,
            wants: Vec::new(),
        };
        let connection = id(Slot::try_from(self.come).unwrap());
        self.come += 1;
        self.handle(Input::Connect { connect, connection, held: None });
        let slot = Slot::try_from(self.come - 1).unwrap();
        assert!(self.hears(slot).starts_with(r#"{"event":"pusher:connection_established""#));
        slot
    }

    pub(super) fn says(&mut self, slot: Slot, text: &str) {
        self.handle(Input::Frame { slot, frame: Frame::Text(text.into()) });
    }

    pub(super) fn does(&mut self, slot: Slot, event: &str, data: &Value) {
        self.says(slot, &json!({ "event": event, "data": data }).to_string());
    }

    pub(super) fn leaves(&mut self, slot: Slot) {
        self.sessions.retain(|(other, _)| *other != slot);
        self.handle(Input::Left { slot });
    }

    /// With a signature that is good, and data if it needs any.
    pub(super) fn subscribes(&mut self, slot: Slot, channel: &str, data: Option<&str>) {
        let text =
            data.map_or_else(|| format!("{}:{channel}", id(slot)), |data| format!("{}:{channel}:{data}", id(slot)));
        let auth = if name(channel).needs_token() { sign(&text) } else { String::new() };
        self.does(slot, "pusher:subscribe", &json!({ "channel": channel, "auth": auth, "channel_data": data }));
    }

    pub(super) fn signs_in(&mut self, slot: Slot, user_data: &str) {
        let auth = sign(&format!("{}::user::{user_data}", id(slot)));
        self.does(slot, "pusher:signin", &json!({ "auth": auth, "user_data": user_data }));
    }

    /// The answer to the call to follow.
    pub(super) fn followed(&mut self, channel: &str, result: Result<Position, Refusal>) {
        let is_it = |call: &Output| matches!(call, Output::Follow { channel: other, .. } if *other == name(channel));
        let place = self.calls.iter().rposition(is_it).expect("a call to follow");
        let Output::Follow { channel, at, .. } = self.calls.remove(place) else { return };
        self.handle(Input::Followed { channel, at, result });
    }

    /// The last report of a channel, which is taken to have been sent.
    pub(super) fn report(&mut self, channel: &str) -> Report {
        let is_it = |call: &Output| matches!(call, Output::Report { channel: other, .. } if *other == name(channel));
        let place = self.calls.iter().rposition(is_it).expect("a report");
        match self.calls.remove(place) {
            Output::Report { report, .. } => report,
            other => panic!("{other:?}"),
        }
    }

    /// The answer to it.
    pub(super) fn reported(&mut self, channel: &str, changes: Result<Changes, Refusal>) -> Report {
        let report = self.report(channel);
        self.handle(Input::Reported { channel: name(channel), at: report.at, result: changes });
        report
    }

    /// What was missed, as the Room answers it.
    pub(super) fn missed(&mut self, channel: &str, from: Begin, after: u64, messages: Vec<Message>) {
        let is_it = |call: &Output| matches!(call, Output::Missed { channel: other, .. } if *other == name(channel));
        let place = self.calls.iter().rposition(is_it).expect("a question for what was missed");
        assert_eq!(self.calls.remove(place), Output::Missed { channel: name(channel), from });
        let channel = name(channel);
        let delivery =
            Delivery { channel: channel.clone(), after: at(after), messages, gap: None, members: None, count: None };
        self.handle(Input::Missed { channel, from, result: Ok(delivery) });
    }

    pub(super) fn delivers(&mut self, channel: &str, after: u64, messages: Vec<Message>, members: Option<Changes>) {
        let delivery = Delivery { channel: name(channel), after: at(after), messages, gap: None, members, count: None };
        self.handle(Input::Deliver { ticket: 1, delivery });
        self.calls.retain(|call| !matches!(call, Output::Receipt { .. }));
    }

    /// What lies between cannot be had.
    pub(super) fn misses(&mut self, channel: &str, after: u64, position: u64) {
        let gap = Gap { after: at(after), position: at(position), reason: GapReason::Expired };
        let (channel, after, gap) = (name(channel), at(position), Some(gap));
        let delivery = Delivery { channel, after, messages: Vec::new(), gap, members: None, count: None };
        self.handle(Input::Deliver { ticket: 1, delivery });
        self.calls.retain(|call| !matches!(call, Output::Receipt { .. }));
    }

    /// Subscribed, and live.
    pub(super) fn has(&mut self, channel: &str) -> Slot {
        let slot = self.connect();
        self.joins(slot, channel);
        slot
    }

    pub(super) fn joins(&mut self, slot: Slot, channel: &str) {
        self.subscribes(slot, channel, None);
        if self.calls.iter().any(|call| matches!(call, Output::Follow { .. })) {
            self.followed(channel, Ok(at(7)));
        }
        let expected = json!({ "event": "pusher_internal:subscription_succeeded", "channel": channel, "data": "{}" });
        assert_eq!(self.reads(slot), expected);
    }

    /// The next that it has been sent.
    pub(super) fn hears(&mut self, slot: Slot) -> String {
        let place = self.sent.iter().position(|(to, _)| *to == slot);
        place.map(|place| self.sent.remove(place).1).unwrap_or_default()
    }

    /// All that it has been sent.
    pub(super) fn all(&mut self, slot: Slot) -> Vec<String> {
        let (own, others) = core::mem::take(&mut self.sent).into_iter().partition(|(to, _)| *to == slot);
        self.sent = others;
        let own: Vec<(Slot, String)> = own;
        own.into_iter().map(|(_, text)| text).collect()
    }

    pub(super) fn reads(&mut self, slot: Slot) -> Value {
        let text = self.hears(slot);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The in-band error that it has been sent: code and message.
    pub(super) fn error(&mut self, slot: Slot) -> (Option<u64>, String) {
        let frame = self.reads(slot);
        assert_eq!(frame["event"], "pusher:error", "{frame}");
        (frame["data"]["code"].as_u64(), frame["data"]["message"].as_str().unwrap().to_owned())
    }

    /// Nobody has been sent anything that was not looked at, or been closed.
    pub(super) fn silent(&self) {
        assert!(self.sent.is_empty() && self.closed.is_empty(), "{:?} {:?}", self.sent, self.closed);
    }

    pub(super) fn wakes(&mut self) {
        let mut sessions = core::mem::take(&mut self.sessions);
        sessions.sort_unstable_by_key(|(slot, _)| *slot);
        let app = self.hub.app.clone();
        self.hub = Hub::wake(app);
        self.hub.armed(self.alarm);
        for (slot, session) in sessions {
            let again = HubSession::decode(&session.encode()).unwrap();
            assert_eq!(again, session);
            assert_eq!(self.hub.restore(again), slot, "nobody has left in these tests before a sleep");
            self.sessions.push((slot, session));
        }
        let mut out = Vec::new();
        self.now += 1;
        self.hub.restored(None, Turn { now: self.now, random: 7 }, &mut out);
        self.perform(out);
    }

    pub(super) fn waits(&mut self, ms: u64) {
        self.now += ms;
        if self.alarm.is_some_and(|at| at <= self.now) {
            self.alarm = None;
            self.handle(Input::Alarm { kept: Vec::new() });
        }
    }

    pub(super) fn session(&self, slot: Slot) -> &HubSession {
        self.sessions.iter().find(|(other, _)| *other == slot).map(|(_, session)| session).unwrap()
    }
}

pub(super) fn member(user: &str, data: Option<&str>) -> Member {
    Member { user: user.into(), data: data.map(|data| MemberData::parse(data).unwrap()) }
}

/// What a Room answers that has these members.
pub(super) fn listed(revision: u64, count: u64, members: &[Member]) -> Changes {
    Changes {
        epoch: None,
        after: None,
        revision,
        count,
        joined: Vec::new(),
        left: Vec::new(),
        list: Some(members.to_vec()),
        refused: Vec::new(),
    }
}

/// What a Room says of one who came, or went.
pub(super) fn changed(after: u64, count: u64, joined: Option<Member>, left: Option<&str>) -> Changes {
    let at = after + 1;
    let joined = joined.into_iter().map(|member| Joined { at, member }).collect();
    let left = left.into_iter().map(|user| Left { at, user: user.into() }).collect();
    Changes { after: Some(after), revision: at, count, joined, left, ..Changes::default() }
}
