use crate::call::{Begin, Outcome, VERSION};
use crate::close::{Close, Whose};
use crate::frame::{Frame, Gap, GapReason};
use crate::hub::{Input, Output, Stage};
use crate::limits;
use crate::link::{Delivery, Receipt};
use crate::pusher::words::{PING, PONG};
use crate::refusal::{Code, Refusal};
use serde_json::json;

mod members;
mod noise;
mod users;
mod world;

use world::{OLD_SECRET, World, at, changed, id, listed, member, message, name, sign, sign_with};

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
    let delivery = Delivery {
        channel: name("a"),
        after: at(9),
        messages: vec![message("10")],
        gap: Some(gap),
        members: None,
        count: None,
    };
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
        world.leaves(slot);
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
