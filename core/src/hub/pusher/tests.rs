use crate::call::{Begin, Outcome, VERSION};
use crate::channel::ChannelName;
use crate::close::{Close, Whose};
use crate::config::Config;
use crate::frame::{Frame, Gap, GapReason};
use crate::hub::{Hub, HubConnect, HubSession, Input, Output, Slot, Stage};
use crate::limits;
use crate::link::{Delivery, Receipt};
use crate::message::{Message, Payload};
use crate::position::{Epoch, Position};
use crate::presence::{Changes, Joined, Left, Member, MemberData, Report};
use crate::pusher::words::{PING, PONG};
use crate::refusal::{Code, Refusal};
use crate::room::Turn;
use crate::session::Format;
use crate::token::Grants;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

mod members;
mod users;

const NOW: u64 = 1_763_760_000_000;
const OLD_SECRET: &str = "secret-number-one-";
const SECRET: &str = "secret-number-two-";

/// A Hub, and what its sockets have been sent.
pub(super) struct World {
    pub(super) hub: Hub,
    now: u64,
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
    ChannelName::parse(name).unwrap()
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
                Output::Register { .. } | Output::Keep { .. } | Output::Trust { .. } | Output::Drop { .. } => {}
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
        let Output::Follow { channel, at } = self.calls.remove(place) else { return };
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
        let delivery = Delivery { channel: channel.clone(), after: at(after), messages, gap: None, members: None };
        self.handle(Input::Missed { channel, from, result: Ok(delivery) });
    }

    pub(super) fn delivers(&mut self, channel: &str, after: u64, messages: Vec<Message>, members: Option<Changes>) {
        let delivery = Delivery { channel: name(channel), after: at(after), messages, gap: None, members };
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
            assert_eq!((again.clone(), self.hub.restore(again)), (session.clone(), slot));
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

#[test]
fn a_ping_is_answered_however_it_is_written() {
    let mut world = World::new("");
    let slot = world.connect();
    for ping in [PING, r#"{"event": "pusher:ping"}"#, r#"{"data":"{}","event":"pusher:ping"}"#] {
        world.says(slot, ping);
        assert_eq!(world.hears(slot), PONG);
    }
    world.says(slot, r#"{"event":"pusher:pong","data":{}}"#);
    world.silent();
}

#[test]
fn a_public_channel_is_for_everybody_once() {
    let mut world = World::new("");
    let (one, other) = (world.has("a"), world.connect());
    world.does(other, "pusher:subscribe", &json!({ "channel": "a", "auth": "nonsense", "more": 1 }));
    assert_eq!(world.reads(other)["event"], "pusher_internal:subscription_succeeded");
    assert!(world.calls.is_empty(), "{:?}", world.calls);
    world.subscribes(one, "a", None);
    assert_eq!(world.error(one), (None, "Existing subscription to channel a".into()));
    world.delivers("a", 7, vec![message(r#"{"x":1}"#)], None);
    let expected = json!({ "event": "e", "channel": "a", "data": r#"{"x":1}"# });
    assert_eq!((world.reads(one), world.reads(other)), (expected.clone(), expected));
    world.does(one, "pusher:unsubscribe", &json!({ "channel": "a" }));
    world.does(one, "pusher:unsubscribe", &json!({ "channel": "a" }));
    world.delivers("a", 8, vec![message("2")], None);
    assert_eq!((world.hears(one), world.reads(other)["data"].clone()), (String::new(), json!("2")));
    world.subscribes(one, "a", None);
    assert_eq!(world.reads(one)["event"], "pusher_internal:subscription_succeeded");
    world.silent();
}

#[test]
fn a_private_channel_needs_a_signature_for_it() {
    let mut world = World::new("");
    let slot = world.connect();
    let text = format!("{}:private-a", id(slot));
    for (auth, data) in [
        (String::new(), None),
        ("k:".into(), None),
        (sign_with("another-secret-of-it", &text), None),
        (sign("3.99:private-a"), None),
        (sign(&format!("{}:private-b", id(slot))), None),
        (sign(&text).replace("k:", "l:"), None),
        // Data that is supplied has to be signed, on a private channel as well.
        (sign(&text), Some("{}")),
        (sign(&format!("{text}:{{}}")), None),
    ] {
        world.does(slot, "pusher:subscribe", &json!({ "channel": "private-a", "auth": auth, "channel_data": data }));
        let (code, message) = world.error(slot);
        assert!(code.is_none() && message.starts_with("Invalid "), "{auth}: {message}");
    }
    assert!(world.calls.is_empty(), "nobody follows for who may not: {:?}", world.calls);
    world.does(slot, "pusher:subscribe", &json!({ "channel": "private-a", "auth": sign_with(OLD_SECRET, &text) }));
    world.followed("private-a", Ok(at(1)));
    assert_eq!(world.reads(slot)["channel"], "private-a");
    world.subscribes(slot, "private-b", Some("{}"));
    world.followed("private-b", Ok(at(1)));
    assert_eq!(world.reads(slot)["channel"], "private-b");
    world.subscribes(slot, "private-encrypted-c", None);
    world.followed("private-encrypted-c", Ok(at(1)));
    assert_eq!(world.reads(slot)["channel"], "private-encrypted-c");
    world.silent();
}

#[test]
fn a_connection_has_a_hundred_channels() {
    let mut world = World::new("");
    let slot = world.connect();
    for nth in 0..limits::SUBSCRIPTIONS_MAX {
        world.subscribes(slot, &format!("a{nth}"), None);
        if nth % 50 == 0 {
            world.now += 1000;
        }
    }
    world.silent();
    world.subscribes(slot, "more", None);
    assert!(world.error(slot).1.contains("at most 100 channels"));
    assert_eq!(world.session(slot).subscriptions.len(), 100);
}

#[test]
fn a_cache_channel_begins_with_its_last_message_or_says_that_there_is_none() {
    let mut world = World::new("");
    for channel in ["cache-a", "private-cache-a", "private-encrypted-cache-a"] {
        let (one, other) = (world.connect(), world.connect());
        world.subscribes(one, channel, None);
        world.followed(channel, Ok(at(7)));
        world.silent();
        world.missed(channel, Begin::Last(1), 7, Vec::new());
        assert_eq!(world.reads(one)["event"], "pusher_internal:subscription_succeeded");
        assert_eq!(world.reads(one), json!({ "event": "pusher:cache_miss", "channel": channel }));
        world.delivers(channel, 7, vec![message("8")], None);
        assert_eq!(world.reads(one)["data"], "8");
        world.subscribes(other, channel, None);
        world.missed(channel, Begin::Last(1), 7, vec![message("8")]);
        assert_eq!(world.reads(other)["event"], "pusher_internal:subscription_succeeded");
        assert_eq!(world.reads(other)["data"], "8");
        world.silent();
    }
    // Its first message is on its way to the Hub already.
    let slot = world.connect();
    world.subscribes(slot, "cache-b", None);
    world.followed("cache-b", Ok(at(0)));
    world.missed("cache-b", Begin::Last(1), 0, vec![message("1")]);
    assert_eq!(world.reads(slot)["event"], "pusher_internal:subscription_succeeded");
    world.delivers("cache-b", 0, vec![message("1")], None);
    assert_eq!(world.reads(slot)["data"], "1");
    world.silent();
}

#[test]
fn what_cannot_be_had_is_an_event_of_the_channel() {
    let mut world = World::new("");
    let slot = world.has("a");
    let gap = Gap { after: at(7), position: at(9), reason: GapReason::Expired };
    let delivery =
        Delivery { channel: name("a"), after: at(9), messages: vec![message("10")], gap: Some(gap), members: None };
    world.handle(Input::Deliver { ticket: 1, delivery });
    let expected = r#"{"after":"9f2c41d07ab3:7","position":"9f2c41d07ab3:9","reason":"expired"}"#;
    assert_eq!(world.reads(slot), json!({ "event": "dormouse:gap", "channel": "a", "data": expected }));
    assert_eq!(world.reads(slot)["data"], "10");
    assert!(matches!(world.calls.as_slice(), [Output::Receipt { receipt: Receipt { have: Some(_), .. }, .. }]));
    world.silent();
}

#[test]
fn a_client_event_reaches_the_others_only() {
    let mut world = World::new("");
    let (one, other) = (world.has("private-a"), world.has("private-a"));
    world.says(one, r#"{"event":"client-x","channel":"private-a","data":{"a":1}}"#);
    let Some(Output::Publish { channel, messages }) = world.calls.pop() else { panic!("{:?}", world.calls) };
    let [new] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!((channel, new.from.as_deref()), (name("private-a"), Some(id(one).as_str())));
    assert_eq!((new.message.except.as_deref(), new.message.user.as_deref()), (Some(id(one).as_str()), None));
    let (message, position) = (new.message.clone(), at(8));
    world.handle(Input::Published {
        channel: name("private-a"),
        result: Ok(vec![Outcome::Stored { position, duplicate: false }]),
    });
    world.delivers("private-a", 7, vec![message.clone()], None);
    let expected = json!({ "event": "client-x", "channel": "private-a", "data": r#"{"a":1}"# });
    assert_eq!(world.reads(other), expected);
    world.silent();
    // Not by a replay either.
    world.wakes();
    world.subscribes(one, "private-cache-b", None);
    world.followed("private-cache-b", Ok(at(1)));
    world.missed("private-cache-b", Begin::Last(1), 0, vec![message]);
    assert_eq!(world.reads(one)["event"], "pusher_internal:subscription_succeeded");
    world.silent();
}

#[test]
fn client_events_are_for_channels_that_have_them_and_not_too_many() {
    let mut world = World::new("");
    let slot = world.has("a");
    for channel in ["private-a", "private-quiet", "private-encrypted-a"] {
        world.joins(slot, channel);
    }
    let event = |channel: &str, data: &str| format!(r#"{{"event":"client-x","channel":"{channel}","data":{data}}}"#);
    for (channel, data, words) in [
        ("a", "1", "only supported on private and presence channels"),
        ("private-encrypted-a", "1", "only supported on private and presence channels"),
        ("private-quiet", "1", "does not have `publish`"),
        ("private-other", "1", "you have subscribed to"),
        ("private-a", &format!("\"{}\"", "x".repeat(41)), "this channel takes 40"),
    ] {
        world.says(slot, &event(channel, data));
        let (code, message) = world.error(slot);
        assert!(code.is_none() && message.contains(words), "{channel}: {message}");
    }
    assert!(world.calls.is_empty(), "{:?}", world.calls);
    // Two a second, and twice as many at once.
    for _ in 0..4 {
        world.says(slot, &event("private-a", "1"));
    }
    world.silent();
    for _ in 0..150 {
        world.says(slot, &event("private-a", "1"));
        assert_eq!(world.error(slot), (Some(4301), "Client event rejected due to rate limit: 2 per second".into()));
    }
    world.silent();
    world.waits(500);
    world.says(slot, &event("private-a", "1"));
    world.silent();
    // Whatever an app calls its own events, no client may.
    for event in ["x", "pusher:error", "pusher_internal:member_added", "clientx"] {
        world.says(slot, &format!(r#"{{"event":"{event}","channel":"private-a","data":1}}"#));
        assert!(world.error(slot).1.starts_with("Unsupported event"), "{event}");
    }
}

#[test]
fn who_says_nonsense_is_told_and_stays() {
    let mut world = World::new("");
    let slot = world.has("a");
    for text in ["", "ping", "{", "[]", r#"{"event":"pusher:subscribe","data":{"channel":"a b"}}"#] {
        world.says(slot, text);
        assert_eq!(world.error(slot).0, None, "{text}");
    }
    world.handle(Input::Frame { slot, frame: Frame::Binary(vec![1]) });
    assert!(world.error(slot).1.contains("binary"));
    world.handle(Input::FrameTooLong { slot });
    assert!(world.error(slot).1.contains("at most"));
    world.silent();
    // As fast as it can: it is told for a while, and then may come back in a second.
    for _ in 0..2 * limits::HUB_FRAME_RATE {
        world.says(slot, PING);
    }
    assert!(world.closed.is_empty());
    for _ in 0..limits::RATE_STRIKES_MAX {
        world.handle(Input::FrameTooLong { slot });
    }
    assert_eq!(world.closed.first(), Some(&(slot, 4100)));
}

#[test]
fn what_fails_here_lets_clients_come_back() {
    let mut world = World::new("");
    let slot = world.connect();
    world.subscribes(slot, "a", None);
    world.followed("a", Err(Refusal::new(Code::Internal, "gone")));
    assert_eq!(world.closed, [(slot, 4100)]);
    let mut world = World::new("");
    let slot = world.connect();
    for nth in 0..limits::HUB_CALLS_MAX {
        world.hub.calls.add(Output::Unfollow { channel: name("x"), at: nth as u64 });
    }
    world.subscribes(slot, "a", None);
    assert_eq!(world.closed, [(slot, 4100)]);
    assert_eq!(world.hub.too_slow(), 4100);
}

#[test]
fn a_connection_that_is_closed_from_outside_does_not_come_back() {
    let mut world = World::new("");
    let slot = world.has("a");
    let close = Close { version: VERSION, whose: Whose::Connection(id(slot)) };
    let mut out = Vec::new();
    assert_eq!(world.hub.close(&close, |_| true, &mut out).closed, 1);
    assert_eq!(out, [Output::Close { slot, code: 4009, reason: "forbidden" }]);
}

#[test]
fn who_has_to_be_authorised_in_time_is_closed_if_it_is_not() {
    let mut world = World::new(r#","authorize_within":5"#);
    let [idle, private, presence, user, public] = [(); 5].map(|()| world.connect());
    world.joins(public, "a");
    world.joins(private, "private-a");
    world.subscribes(presence, "presence-a", Some(r#"{"user_id":"p"}"#));
    world.signs_in(user, r#"{"id":"u"}"#);
    assert!(world.hears(user).contains("signin_success"));
    world.wakes();
    world.waits(4_998);
    assert!(world.closed.is_empty());
    let late = world.connect();
    world.waits(1);
    world.closed.sort_unstable();
    assert_eq!(world.closed, [(idle, 4009), (public, 4009)]);
    for slot in [idle, public] {
        world.handle(Input::Left { slot });
    }
    world.closed.clear();
    world.waits(5_000);
    assert_eq!(world.closed, [(late, 4009)]);
    assert!(matches!(world.session(presence).subscriptions[0].stage, Stage::Joining(_)));
    // Nobody has to who is not asked to.
    let mut world = World::new("");
    let slot = world.connect();
    assert_eq!(world.session(slot).authorize_by, None);
}

pub(super) fn member(user: &str, data: Option<&str>) -> Member {
    Member { user: user.into(), data: data.map(|data| MemberData::parse(data).unwrap()) }
}

/// What a Room answers that has these members.
pub(super) fn listed(revision: u64, count: u64, members: &[Member]) -> Changes {
    Changes { after: None, revision, count, joined: Vec::new(), left: Vec::new(), list: Some(members.to_vec()) }
}

/// What a Room says of one who came, or went.
pub(super) fn changed(after: u64, count: u64, joined: Option<Member>, left: Option<&str>) -> Changes {
    let at = after + 1;
    let joined = joined.into_iter().map(|member| Joined { at, member }).collect();
    let left = left.into_iter().map(|user| Left { at, user: user.into() }).collect();
    Changes { after: Some(after), revision: at, count, joined, left, list: None }
}
