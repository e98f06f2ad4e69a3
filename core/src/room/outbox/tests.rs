use crate::call::{Begin, Connect, VERSION};
use crate::channel::ChannelName;
use crate::config::{Config, History, Rule};
use crate::limits;
use crate::link::{Follow, Missed};
use crate::message::{Message, NewMessage, Payload};
use crate::position::Epoch;
use crate::room::{Input, Output, Room, Turn};
use crate::session::{Format, Session};
use crate::store::{MemoryStore, StoreError};
use crate::webhook::{Hooks, Post};
use serde_json::{Value, json};

mod random;

pub(super) const A: &str = "https://a.example.com/";
const B: &str = "https://b.example.com/";

/// A room with webhooks, its store, its sockets and its clock.
pub(super) struct World {
    room: Room,
    pub(super) store: MemoryStore,
    channel: ChannelName,
    hooks: Hooks,
    pub(super) now: u64,
    random: u64,
    pub(super) alarm: Option<u64>,
    pub(super) sockets: Vec<Session>,
    /// Requests that nobody has answered.
    pub(super) posts: Vec<Post>,
    pub(super) forgotten: bool,
}

impl World {
    pub(super) fn new(channel: &str, webhooks: &Value) -> Self {
        let apps = json!([{ "id": "1", "key": "key", "secrets": ["0123456789abcdef"], "webhooks": webhooks }]);
        let config = Config::parse(&apps.to_string()).unwrap();
        let channel = ChannelName::parse(channel).unwrap();
        let hooks = Hooks::of(config.app(None).unwrap(), &channel);
        let mut world = Self {
            room: Room::wake(channel.clone(), Rule::default(), None),
            store: MemoryStore::default(),
            channel,
            hooks,
            now: 1_000_000,
            random: 7,
            alarm: None,
            sockets: Vec::new(),
            posts: Vec::new(),
            forgotten: false,
        };
        world.sleep();
        world
    }

    /// Only what is in attachments and storage is left; and nobody hears of what was on its way.
    pub(super) fn sleep(&mut self) {
        let rule = Rule { publish: true, history: History { size: 5, ttl: 60 }, ..Rule::default() };
        self.room = Room::wake(self.channel.clone(), rule, self.alarm).with_hooks(self.hooks.clone());
        self.posts.clear();
    }

    /// The process dies: the sockets too.
    pub(super) fn crash(&mut self) {
        self.sockets.clear();
        self.store.present.clear();
        self.store.remembered = None;
        self.sleep();
    }

    fn turn(&mut self) -> Turn {
        self.random += 1;
        Turn { now: self.now, random: self.random }
    }

    fn perform(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Post(post) => {
                    assert!(!self.posts.iter().any(|other| other.url == post.url), "one at a time");
                    self.posts.push(post);
                }
                Output::WakeAt(at) => self.alarm = Some(at),
                Output::Accept(session) => self.sockets.push(session),
                Output::Flush => self.handle(Input::Flushed(Ok(()))),
                Output::Forget => {
                    assert!(self.sockets.is_empty());
                    (self.store, self.alarm, self.forgotten) = (MemoryStore::default(), None, true);
                }
                Output::Told { of, revision } => {
                    self.sockets.iter_mut().filter(|socket| socket.connection == of).for_each(|socket| {
                        socket.told = Some(revision);
                    });
                }
                Output::Announce(announcement) => {
                    for socket in &mut self.sockets {
                        socket.told = Some(announcement.revision);
                    }
                }
                _ => {}
            }
        }
        self.store.present.clone_from(&self.sockets);
        self.store.remembered = self.sockets.first().map(|socket| socket.epoch);
    }

    pub(super) fn handle(&mut self, input: Input) {
        let (turn, mut out) = (self.turn(), Vec::new());
        self.room.handle(input, turn, &mut self.store, &mut out);
        self.perform(out);
    }

    pub(super) fn join(&mut self, connection: &str, user: Option<&str>) {
        let connect = Connect {
            version: VERSION,
            format: Format::Json,
            user: user.map(str::to_owned),
            expires_at: None,
            may_publish: true,
            from: None,
            data: None,
        };
        let sockets = self.sockets.len();
        self.handle(Input::Connect { connect, connection: connection.to_owned(), sockets });
    }

    pub(super) fn leave(&mut self, connection: &str) {
        let at = self.sockets.iter().position(|socket| socket.connection == connection).unwrap();
        let session = self.sockets.remove(at);
        self.store.present.clone_from(&self.sockets);
        self.handle(Input::Left { session, sockets: self.sockets.len() });
    }

    /// A client publishes.
    pub(super) fn say(&mut self, bodies: &[&str]) {
        let new = |body: &&str| {
            let message = Message::new(Some("client-e".into()), Payload::Text((*body).to_owned()), None);
            NewMessage { message, from: Some("1.2".into()), if_position: None }
        };
        self.handle(Input::Publish { ticket: 0, messages: bodies.iter().map(new).collect() });
    }

    pub(super) fn follow(&mut self, hub: &str, follows: bool) {
        let (turn, mut out) = (self.turn(), Vec::new());
        let follow = Follow { version: VERSION, hub: hub.to_owned(), at: turn.random, count: None };
        if follows {
            self.room.follow(&follow, turn, &mut self.store, &mut out).unwrap();
        } else {
            self.room.unfollow(&follow, turn, &mut self.store, &mut out).unwrap();
        }
        self.perform(out);
    }

    fn miss(&mut self, from: Begin) {
        let (turn, mut out) = (self.turn(), Vec::new());
        self.room.missed(&Missed { version: VERSION, from }, turn, &mut self.store, &mut out).unwrap();
        self.perform(out);
    }

    /// Time passes, and the alarm rings when it is due.
    pub(super) fn wait(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(at) = self.alarm.filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.alarm = None;
            self.handle(Input::Alarm { sessions: self.sockets.clone() });
        }
        self.now = end;
    }

    /// Answers the request to a webhook, and tells what was in it.
    pub(super) fn answer(&mut self, url: &str, taken: bool) -> (Post, Vec<String>) {
        let at = self.posts.iter().position(|post| post.url == url).unwrap();
        let post = self.posts.remove(at);
        self.handle(Input::Posted { url: post.url.clone(), ticket: post.ticket, taken });
        let events = events(&post);
        (post, events)
    }

    /// Takes everything that is sent until nothing is.
    pub(super) fn take_all(&mut self, url: &str) -> Vec<String> {
        let mut all = Vec::new();
        while self.posts.iter().any(|post| post.url == url) {
            all.extend(self.answer(url, true).1);
        }
        all
    }
}

/// The events of a request, in short.
pub(super) fn events(post: &Post) -> Vec<String> {
    let body: Value = serde_json::from_str(&post.body).unwrap();
    assert!(body["time_ms"].is_u64());
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = ["user_id", "data", "count"];
    let short = |event: &Value| {
        let field = fields.iter().find_map(|field| event.get(field)).map(text);
        let name = event["name"].as_str().unwrap().to_owned();
        field.map_or(name.clone(), |field| format!("{name} {field}"))
    };
    body["events"].as_array().unwrap().iter().map(short).collect()
}

fn one(batch: bool) -> Value {
    json!([{ "url": A, "batch": batch }])
}

#[test]
fn nothing_happens_without_webhooks_or_for_what_nobody_wants() {
    for webhooks in [json!([]), json!([{ "url": A, "events": ["cache_miss"] }])] {
        let mut world = World::new("presence-a", &webhooks);
        let mut other = World::new("presence-a", &json!([]));
        for world in [&mut world, &mut other] {
            world.join("1", Some("u"));
            world.say(&["hi"]);
            world.leave("1");
            world.wait(10_000);
        }
        assert!(world.store.outbox.is_empty() && world.posts.is_empty());
        assert_eq!((world.store.written, world.alarm), (other.store.written, other.alarm));
    }
}

#[test]
fn each_event_and_the_grace() {
    let mut world = World::new("presence-a", &one(true));
    world.join("1", Some("u"));
    assert_eq!(world.take_all(A), ["channel_occupied", "member_added u"]);
    world.join("2", Some("u"));
    world.say(&["hi", "ho"]);
    assert_eq!(world.take_all(A), ["client_event hi", "client_event ho"]);
    world.join("3", Some("v"));
    world.leave("2");
    world.leave("1");
    assert_eq!(world.take_all(A), ["member_added v"]);
    world.wait(2_500);
    assert!(world.posts.is_empty());
    world.join("4", Some("u"));
    world.wait(10_000);
    assert!(world.posts.is_empty(), "back in time");
    world.leave("3");
    world.leave("4");
    world.wait(2_999);
    assert!(world.posts.is_empty());
    world.wait(1_001);
    assert_eq!(world.take_all(A), ["member_removed v", "member_removed u", "channel_vacated"]);
    world.wait(700_000);
    assert!(world.forgotten && world.store.outbox.is_empty());
}

#[test]
fn what_came_true_during_a_sleep_is_told() {
    let mut world = World::new("presence-a", &one(true));
    world.join("1", Some("u"));
    world.join("2", Some("v"));
    assert_eq!(world.take_all(A), ["channel_occupied", "member_added u", "member_added v"]);
    world.sleep();
    world.leave("1");
    world.sleep();
    world.wait(4_000);
    assert_eq!(world.take_all(A), ["member_removed u"]);
    world.sleep();
    world.join("3", Some("w"));
    assert_eq!(world.take_all(A), ["member_added w"], "and not who was there");
    world.wait(20_000);
    world.crash();
    world.wait(50_000);
    assert!(world.posts.is_empty(), "nobody looks");
    world.wait(limits::WEBHOOK_LOOK_MS);
    assert_eq!(world.take_all(A), ["member_removed v", "member_removed w", "channel_vacated"]);
}

#[test]
fn hubs_occupy_a_channel() {
    let mut world = World::new("lobby", &one(true));
    world.follow("h", true);
    world.follow("i", true);
    assert_eq!(world.take_all(A), ["channel_occupied"]);
    world.join("1", None);
    world.follow("h", false);
    world.follow("i", false);
    world.wait(5_000);
    assert!(world.posts.is_empty());
    world.follow("h", true);
    world.leave("1");
    world.wait(5_000);
    assert!(world.posts.is_empty());
    world.follow("h", false);
    world.wait(1_000);
    assert_eq!(world.take_all(A), ["channel_vacated"], "the Hub has waited already");
    world.join("1", None);
    assert_eq!(world.take_all(A), ["channel_occupied"]);
}

#[test]
fn a_cache_without_a_message() {
    let mut world = World::new("private-cache-a", &json!([{ "url": A, "events": ["cache_miss"] }]));
    world.miss(Begin::Last(2));
    world.miss(Begin::After(Epoch::new(7).at(0)));
    assert!(world.posts.is_empty() && world.store.outbox.is_empty());
    world.miss(Begin::Last(1));
    assert_eq!(world.take_all(A), ["cache_miss"]);
    world.say(&["hi"]);
    world.miss(Begin::Last(1));
    assert!(world.posts.is_empty());
}

#[test]
fn one_request_for_each_event_or_for_many() {
    let mut world =
        World::new("lobby", &json!([{ "url": A }, { "url": B, "batch": true, "events": ["client_event"] }]));
    let written = world.store.written;
    world.say(&["1", "2"]);
    assert_eq!(world.store.written, written + 3, "the message's row, and one for each webhook");
    for body in ["3", "4"] {
        world.say(&[body]);
    }
    let (one, events) = world.answer(A, true);
    assert_eq!(events, ["client_event 1"]);
    let mut ids = vec![one.id];
    for expected in ["2", "3", "4"] {
        let (post, events) = world.answer(A, true);
        assert_eq!(events, [format!("client_event {expected}")]);
        ids.push(post.id);
    }
    assert_eq!(world.answer(B, true).1, ["client_event 1", "client_event 2"]);
    let (post, events) = world.answer(B, true);
    assert_eq!(events, ["client_event 3", "client_event 4"], "what came meanwhile");
    ids.push(post.id);
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert!(world.posts.is_empty());
}

#[test]
fn it_backs_off_for_as_long_as_it_takes_and_keeps_the_id() {
    let mut world = World::new("lobby", &one(true));
    world.say(&["first"]);
    let start = world.now;
    let id = world.posts[0].id.clone();
    let mut pauses = Vec::new();
    for round in 0..15 {
        let before = world.now;
        world.answer(A, false);
        assert!(world.posts.is_empty());
        world.say(&["later"]);
        assert!(world.posts.is_empty(), "the message is published, and waits for no webhook");
        if round % 3 == 2 {
            // Also when what failed before is in no memory any more.
            world.sleep();
        }
        while world.posts.is_empty() {
            world.wait(250);
        }
        assert_eq!(world.posts[0].id, id);
        pauses.push((world.now - before) / 1000);
    }
    for (round, least) in [1, 2, 4, 8, 16, 10, 32, 60, 10, 60, 60, 10, 60, 60, 10].into_iter().enumerate() {
        // After a sleep it is the alarm of the request that rings, if it is earlier.
        assert!(pauses[round] >= least && pauses[round] <= (2 * least).max(76), "{pauses:?}");
    }
    assert!(world.now - start > 300_000, "five minutes");
    let mut expected = vec!["client_event first".to_owned()];
    expected.extend((0..15).map(|_| "client_event later".to_owned()));
    assert_eq!(world.take_all(A), expected);
}

#[test]
fn five_minutes_away_with_a_crash_in_between() {
    for batch in [true, false] {
        let mut world = World::new("lobby", &one(batch));
        let (mut said, mut tries) = (Vec::new(), 0);
        world.join("1", None);
        let end = world.now + 300_000;
        while world.now < end {
            if !world.posts.is_empty() {
                tries += 1;
                world.answer(A, false);
            }
            if world.now % 10_000 < 1_000 {
                let body = said.len().to_string();
                world.say(&[&body]);
                said.push(format!("client_event {body}"));
            }
            if world.now == end - 150_000 {
                world.crash();
                world.join("2", None);
            }
            world.wait(1_000);
        }
        assert!((8..=25).contains(&tries), "{tries}");
        while world.posts.is_empty() {
            world.wait(1_000);
        }
        said.insert(0, "channel_occupied".to_owned());
        assert_eq!(world.take_all(A), said);
    }
}

#[test]
fn a_target_that_does_not_answer_holds_nobody_up() {
    let mut world = World::new("lobby", &json!([{ "url": A, "batch": true }, { "url": B, "batch": true }]));
    for body in ["1", "2", "3"] {
        world.say(&[body]);
    }
    assert_eq!(world.take_all(B).len(), 3);
    assert_eq!(world.posts.len(), 1);
    world.wait(limits::WEBHOOK_LEASE_MS);
    assert_eq!(world.posts.len(), 1, "still on its way");
    let late = world.posts[0].clone();
    world.sleep();
    world.wait(limits::WEBHOOK_LEASE_MS);
    assert_eq!(world.posts[0].id, late.id);
    world.handle(Input::Posted { url: late.url.clone(), ticket: late.ticket, taken: true });
    assert_eq!(world.posts.len(), 1, "an answer to a request that nobody remembers");
    assert_eq!(world.take_all(A), ["client_event 1", "client_event 2", "client_event 3"]);
}

#[test]
fn what_is_too_old_is_counted_and_the_count_is_told() {
    let mut world = World::new("lobby", &one(true));
    for body in ["1", "2", "3"] {
        world.say(&[body]);
    }
    let fail_until = |world: &mut World, end: u64| {
        while world.now < end {
            if world.posts.is_empty() {
                world.wait(1_000);
            } else {
                world.answer(A, false);
            }
        }
    };
    let start = world.now;
    fail_until(&mut world, start + limits::WEBHOOK_AGE_MAX_MS - 100_000);
    world.say(&["young"]);
    fail_until(&mut world, start + limits::WEBHOOK_AGE_MAX_MS + 200_000);
    while world.posts.is_empty() {
        world.wait(1_000);
    }
    // The first row had one event; what came while it was tried is with the young one.
    assert_eq!(world.take_all(A), ["dormouse_lost 1", "client_event 2", "client_event 3", "client_event young"]);
    // All of them, and the count by itself.
    world.say(&["4", "5"]);
    world.say(&["6"]);
    let start = world.now;
    fail_until(&mut world, start + limits::WEBHOOK_AGE_MAX_MS + 100_000);
    world.sleep();
    while world.posts.is_empty() {
        world.wait(1_000);
    }
    assert_eq!(world.take_all(A), ["dormouse_lost 3"]);
    // Nobody hears of it for another hour: it is over.
    world.say(&["7"]);
    let start = world.now;
    fail_until(&mut world, start + 2 * limits::WEBHOOK_AGE_MAX_MS + 200_000);
    assert!(world.posts.is_empty());
    world.wait(100_000);
    assert!(world.posts.is_empty() && world.store.outbox.values().all(|(_, body)| body.is_empty()));
}

#[test]
fn past_the_bound_the_oldest_are_dropped_and_counted() {
    for batch in [true, false] {
        let mut world = World::new("lobby", &one(batch));
        let many = limits::WEBHOOK_EVENTS_MAX + 500;
        let bodies: Vec<String> = (0..many).map(|nth| nth.to_string()).collect();
        for bodies in bodies.chunks(10) {
            world.say(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
        }
        world.sleep();
        world.wait(limits::WEBHOOK_LEASE_MS);
        let got = world.take_all(A);
        let lost = got.iter().find_map(|event| event.strip_prefix("dormouse_lost ")).unwrap().parse::<usize>().unwrap();
        assert_eq!(got.len() - 1 + lost, many, "every one is sent or counted");
        assert!(lost >= 500 && lost < many / 4, "{lost}");
        let sent: Vec<usize> =
            got.iter().filter_map(|event| event.strip_prefix("client_event ")?.parse().ok()).collect();
        assert!(sent.is_sorted());
        assert_eq!(&sent[..10], (0..10).collect::<Vec<_>>(), "what was on its way");
        assert!(world.store.outbox.len() < 1_000);
    }
    let mut world = World::new("lobby", &one(true));
    let large = "x".repeat(60_000);
    for _ in 0..300 {
        world.say(&[&large]);
    }
    assert!(
        world.store.outbox.values().map(|(_, body)| body.len()).sum::<usize>() < limits::WEBHOOK_BYTES_MAX + 100_000
    );
    let got = world.take_all(A);
    assert!(got.iter().any(|event| event.starts_with("dormouse_lost ")) && got.len() > 200);
}

#[test]
fn what_cannot_be_written_is_counted() {
    let mut world = World::new("lobby", &json!([{ "url": A, "batch": true, "events": ["client_event"] }]));
    world.say(&["1"]);
    assert_eq!(world.take_all(A), ["client_event 1"]);
    // The message is stored, and then the disk fails.
    world.room.published(&[Message::new(None, Payload::Text("x".into()), None)], &[Some("1.2".into())]);
    world.store.failing = Some(StoreError::Full);
    world.handle(Input::Announce);
    world.store.failing = None;
    world.say(&["2"]);
    assert_eq!(world.take_all(A), ["dormouse_lost 1", "client_event 2"]);
}

#[test]
fn rows_are_replaced_and_a_url_that_is_gone_is_not_called() {
    let mut world = World::new("lobby", &one(true));
    for _ in 0..50 {
        world.say(&["x"]);
        world.take_all(A);
    }
    assert_eq!(world.store.outbox.len(), 1);
    world.say(&["x"]);
    let written = world.store.written;
    world.hooks = Hooks::default();
    world.sleep();
    world.wait(20_000);
    assert!(world.posts.is_empty() && world.store.written == written);
}

#[test]
fn each_webhook_has_its_turn_where_not_all_can_have_theirs_at_once() {
    let urls: Vec<String> = (0..limits::WEBHOOKS_MAX).map(|nth| format!("https://{nth}.example.com/")).collect();
    let hooks: Vec<Value> = urls.iter().map(|url| json!({ "url": url, "batch": false })).collect();
    let mut world = World::new("lobby", &json!(hooks));
    let bodies: Vec<String> = (0..10).map(|nth| nth.to_string()).collect();
    world.say(&bodies.iter().map(String::as_str).collect::<Vec<_>>());
    let mut taken: Vec<String> = Vec::new();
    for _ in 0..2 * urls.len() {
        assert_eq!(world.posts.len(), limits::WEBHOOK_CALLS_AT_ONCE);
        let url = world.posts[0].url.clone();
        world.answer(&url, true);
        taken.push(url);
    }
    for url in &urls {
        assert_eq!(taken.iter().filter(|other| *other == url).count(), 2, "{taken:?}");
    }
}

#[test]
fn what_was_lost_takes_the_place_of_a_row_that_is_spent() {
    let mut world = World::new("lobby", &one(true));
    for round in 1..=4 {
        world.say(&["x"]);
        let start = world.now;
        while world.now < start + limits::WEBHOOK_AGE_MAX_MS + 100_000 {
            if world.posts.is_empty() {
                world.wait(1_000);
            } else {
                world.answer(A, false);
            }
        }
        while world.posts.is_empty() {
            world.wait(1_000);
        }
        assert_eq!(world.take_all(A), ["dormouse_lost 1"]);
        assert!(world.store.outbox.len() <= 2, "round {round}: {}", world.store.outbox.len());
    }
}

#[test]
fn a_row_that_cannot_be_read_is_given_up_like_one_that_is_not_taken() {
    let mut world = World::new("lobby", &one(true));
    world.say(&["1"]);
    world.say(&["2"]);
    // It is known, and its events are not there any more.
    world.answer(A, false);
    world.store.outbox.pop_first().unwrap();
    let start = world.now;
    while world.now < start + limits::WEBHOOK_AGE_MAX_MS + 200_000 && world.posts.is_empty() {
        world.wait(1_000);
    }
    assert!(world.now >= start + limits::WEBHOOK_AGE_MAX_MS, "not before its time");
    assert_eq!(world.take_all(A), ["dormouse_lost 2"]);
}

#[test]
fn a_count_that_cannot_be_written_is_told_with_the_next_row() {
    for both in [false, true] {
        let mut world = World::new("lobby", &one(true));
        world.say(&["old"]);
        let start = world.now;
        let fail_until = |world: &mut World, end: u64| {
            while world.now < end {
                if world.posts.is_empty() {
                    world.wait(1_000);
                } else {
                    world.answer(A, false);
                }
            }
        };
        fail_until(&mut world, start + limits::WEBHOOK_AGE_MAX_MS - 100_000);
        if both {
            // There is a row behind it, which would say it.
            world.say(&["young"]);
        }
        while world.posts.is_empty() {
            world.wait(1_000);
        }
        world.now = start + limits::WEBHOOK_AGE_MAX_MS + 1;
        world.store.failing = Some(StoreError::Full);
        world.answer(A, false);
        world.store.failing = None;
        if both {
            while world.posts.is_empty() {
                world.wait(1_000);
            }
            assert_eq!(world.take_all(A), ["client_event young"]);
        }
        world.say(&["new"]);
        while world.posts.is_empty() {
            world.wait(1_000);
        }
        assert_eq!(world.take_all(A), ["dormouse_lost 1", "client_event new"]);
    }
}
