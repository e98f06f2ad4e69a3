//! Signing in.

use super::{World, at, changed, id, listed, member, sign};
use crate::call::VERSION;
use crate::close::{Close, Whose};
use crate::hub::{Output, Slot};
use serde_json::{Value, json};

fn signed_in(world: &mut World, user_data: &str) -> Slot {
    let slot = world.connect();
    world.signs_in(slot, user_data);
    assert_eq!(success(&world.reads(slot)), user_data);
    slot
}

/// The text that it signed in with.
fn success(frame: &Value) -> String {
    assert_eq!(frame["event"], "pusher:signin_success", "{frame}");
    let data: Value = serde_json::from_str(frame["data"].as_str().unwrap()).unwrap();
    data["user_data"].as_str().unwrap().to_owned()
}

#[test]
fn one_signs_in_as_whom_the_app_says_and_as_nobody_else_then() {
    let mut world = World::new("");
    let slot = signed_in(&mut world, r#"{"id":"7","name":"x"}"#);
    world.signs_in(slot, r#"{"id":"8"}"#);
    assert!(world.error(slot).1.contains("already signed in"));
    world.signs_in(slot, r#"{"id":"7","name":"y"}"#);
    assert_eq!(success(&world.reads(slot)), r#"{"id":"7","name":"y"}"#);
    assert_eq!(world.session(slot).user.as_deref(), Some("7"));
    let other = world.connect();
    let (seven, number) = (r#"{"id":"7"}"#, r#"{"id":7}"#);
    for (user_data, auth) in [
        (seven, String::new()),
        (seven, sign(&format!("{}::user::{seven}", id(slot)))),
        (seven, sign(&format!("{}::user::{number}", id(other)))),
        (seven, sign(&format!("{}:{seven}", id(other)))),
        (number, sign(&format!("{}::user::{number}", id(other)))),
        ("{}", sign(&format!("{}::user::{{}}", id(other)))),
    ] {
        world.does(other, "pusher:signin", &json!({ "auth": auth, "user_data": user_data }));
        assert_eq!(world.error(other).0, None, "{user_data} {auth}");
    }
    assert_eq!(world.session(other).user, None);
    world.silent();
}

#[test]
fn a_users_channel_is_for_that_user() {
    let mut world = World::new("");
    let (slot, nobody) = (signed_in(&mut world, r#"{"id":"7"}"#), world.connect());
    for (who, channel) in [(nobody, "#server-to-user-7"), (slot, "#server-to-user-8")] {
        for auth in [String::new(), sign(&format!("{}:{channel}", id(who)))] {
            world.does(who, "pusher:subscribe", &json!({ "channel": channel, "auth": auth }));
            assert!(world.error(who).1.contains("for that user alone"));
        }
    }
    world.wakes();
    world.does(slot, "pusher:subscribe", &json!({ "channel": "#server-to-user-7", "auth": "" }));
    world.followed("#server-to-user-7", Ok(at(7)));
    assert_eq!(world.reads(slot)["channel"], "#server-to-user-7");
    world.says(slot, r##"{"event":"client-x","channel":"#server-to-user-7","data":1}"##);
    assert!(world.error(slot).1.contains("only supported"));
    world.silent();
}

#[test]
fn its_connections_are_closed_by_its_name() {
    let mut world = World::new("");
    let (one, other) = (signed_in(&mut world, r#"{"id":"7"}"#), signed_in(&mut world, r#"{"id":"8"}"#));
    // Who a connection is in a presence channel alone does not count.
    let member_only = world.connect();
    world.subscribes(member_only, "presence-a", Some(r#"{"user_id":"7"}"#));
    let mut out = Vec::new();
    let close = Close { version: VERSION, whose: Whose::User("7".into()) };
    assert_eq!(world.hub.close(&close, |_| true, &mut out).closed, 1);
    assert_eq!(out, [Output::Close { slot: one, code: 4009, reason: "forbidden" }]);
    assert_eq!(world.session(other).user.as_deref(), Some("8"));
}

#[test]
fn what_it_signed_in_with_opens_channels() {
    let mut world = World::new("");
    let channels = r#"{"private-a-*":["sub"],"private-b":["sub","pub"],"presence-*":["sub","pub"]}"#;
    let user = format!(r#"{{"id":"7","user_info":{{"n":1}},"channels":{channels}}}"#);
    let (slot, nobody) = (signed_in(&mut world, &user), world.connect());
    world.wakes();
    let asks = |world: &mut World, slot: Slot, channel: &str, data: Option<&str>| {
        world.does(slot, "pusher:subscribe", &json!({ "channel": channel, "auth": "", "channel_data": data }));
    };
    for channel in ["private-a-1", "private-b"] {
        asks(&mut world, slot, channel, None);
        world.followed(channel, Ok(at(7)));
        assert_eq!(world.reads(slot)["channel"], channel);
    }
    asks(&mut world, slot, "presence-a", None);
    world.followed("presence-a", Ok(at(7)));
    let own = member("7", Some(r#"{"n":1}"#));
    let report = world.reported("presence-a", Ok(listed(1, 1, std::slice::from_ref(&own))));
    assert_eq!(report.joined, [own]);
    assert_eq!(world.reads(slot)["channel"], "presence-a");
    // Who one is, a signature says, and nothing else.
    for (who, channel, data) in
        [(slot, "presence-b", Some(r#"{"user_id":"8"}"#)), (slot, "private-c", None), (nobody, "private-b", None)]
    {
        asks(&mut world, who, channel, data);
        assert!(world.error(who).1.starts_with("Invalid"), "{channel}");
    }
    world.says(slot, r#"{"event":"client-x","channel":"private-b","data":1}"#);
    assert!(matches!(world.calls.pop(), Some(Output::Publish { .. })));
    world.says(slot, r#"{"event":"client-x","channel":"private-a-1","data":1}"#);
    assert!(world.error(slot).1.contains("was not granted"));
    world.silent();
}

#[test]
fn what_does_not_fit_is_refused_and_the_connection_stays() {
    let mut world = World::new("");
    let slot = world.connect();
    let pattern = |nth: usize| format!(r#""private-{nth}-{}":["sub"]"#, "x".repeat(150));
    let patterns: Vec<String> = (0..100).map(pattern).collect();
    world.signs_in(slot, &format!(r#"{{"id":"7","channels":{{{}}}}}"#, patterns.join(",")));
    assert!(world.error(slot).1.contains("does not fit"));
    assert_eq!(world.session(slot).user, None);
    world.silent();
}

/// What a watcher is told: who is online, or not.
fn watched(world: &mut World, slot: Slot) -> (String, String) {
    let frame = world.reads(slot);
    assert_eq!(frame["event"], "pusher_internal:watchlist_events", "{frame}");
    let data: Value = serde_json::from_str(frame["data"].as_str().unwrap()).unwrap();
    let event = &data["events"][0];
    (event["name"].as_str().unwrap().into(), event["user_ids"][0].as_str().unwrap().into())
}

fn is(name: &str, user: &str) -> (String, String) {
    (name.into(), user.into())
}

/// Signed in, and all that follows from it answered: these of the watchlist are online.
fn watches(world: &mut World, id: &str, watchlist: &[&str], online: &[&str]) -> Slot {
    let slot = signed_in(world, &json!({ "id": id, "watchlist": watchlist }).to_string());
    let all = watchlist.iter().filter(|user| **user != id).chain([&id]);
    for user in all {
        let channel = format!("#online-{user}");
        if world
            .calls
            .iter()
            .any(|call| matches!(call, Output::Follow { channel: other, .. } if other.as_str() == channel))
        {
            world.followed(&channel, Ok(at(0)));
        }
        let list: Vec<_> = online.iter().filter(|other| *other == user).map(|user| member(user, None)).collect();
        let report = world.reported(&channel, Ok(listed(100, list.len() as u64, &list)));
        let joined = if *user == id { vec![member(id, None)] } else { Vec::new() };
        assert_eq!((report.joined, report.list), (joined, *user != id), "{user}");
        if *user != id {
            let name = if online.contains(user) { "online" } else { "offline" };
            assert_eq!(watched(world, slot), is(name, user));
        }
    }
    assert!(world.calls.is_empty(), "{:?}", world.calls);
    world.silent();
    slot
}

#[test]
fn a_user_is_told_who_of_the_watchlist_is_online() {
    let mut world = World::new(r#","watchlist":true"#);
    let one = watches(&mut world, "7", &["8", "7", "9"], &["8"]);
    world.wakes();
    world.silent();
    world.delivers("#online-9", 0, Vec::new(), Some(changed(100, 1, Some(member("9", None)), None)));
    assert_eq!(watched(&mut world, one), is("online", "9"));
    let other = watches(&mut world, "6", &["9"], &["9"]);
    world.wakes();
    world.delivers("#online-9", 0, Vec::new(), Some(changed(101, 0, None, Some("9"))));
    assert_eq!((watched(&mut world, one), watched(&mut world, other)), (is("offline", "9"), is("offline", "9")));
    world.misses("#online-9", 0, 1);
    world.silent();
    // Nothing of a hidden channel is a channel to its client.
    world.subscribes(one, "a", None);
    world.followed("a", Ok(at(1)));
    assert_eq!(world.reads(one)["channel"], "a");
    for text in ["pusher:subscribe", "pusher:unsubscribe"] {
        world.does(one, text, &json!({ "channel": "#online-9" }));
        assert!(world.error(one).1.starts_with("a channel name"));
    }
    assert_eq!(world.session(one).subscriptions.len(), 4);
    // The last connection of a user takes the user away, and the last watcher its watching.
    world.leaves(one);
    assert_eq!(world.report("#online-7").left, ["7"]);
    world.delivers("#online-9", 0, Vec::new(), Some(changed(102, 1, Some(member("9", None)), None)));
    assert_eq!(watched(&mut world, other), is("online", "9"));
    world.leaves(other);
    world.silent();
}

#[test]
fn a_watchlist_has_a_hundred_users() {
    let mut world = World::new(r#","watchlist":true"#);
    let slot = world.connect();
    let many: Vec<String> = (0..101).map(|nth| format!("u{nth}")).collect();
    world.signs_in(slot, &json!({ "id": "7", "watchlist": many }).to_string());
    assert!(success(&world.reads(slot)).contains("u100"));
    assert_eq!(world.error(slot).0, Some(4302));
    // It is online all the same.
    assert!(matches!(world.calls.as_slice(), [Output::Follow { channel, .. }] if channel.as_str() == "#online-7"));
    let other = world.connect();
    world.signs_in(other, &json!({ "id": "8", "watchlist": many[..100] }).to_string());
    assert!(success(&world.reads(other)).contains("u99"));
    assert_eq!(world.session(other).subscriptions.len(), 101);
    // Nor does one that does not fit.
    let third = world.connect();
    let long: Vec<String> = (0..100).map(|nth| format!("{nth}-{}", "x".repeat(120))).collect();
    world.signs_in(third, &json!({ "id": "9", "watchlist": long }).to_string());
    assert!(success(&world.reads(third)).contains("99-x"));
    assert!(world.error(third).1.contains("does not fit"));
    assert_eq!(world.session(third).member(&super::name("#online-9")), Some("9"));
    // Who cannot be watched is watched when the client is back: nobody would ask for it otherwise.
    world.followed("#online-u3", Err(crate::refusal::Refusal::new(crate::refusal::Code::Overloaded, "no")));
    assert_eq!(core::mem::take(&mut world.closed), [(other, 4100)]);
    world.silent();
}

#[test]
fn without_watchlists_signing_in_asks_nobody() {
    let mut world = World::new("");
    let slot = signed_in(&mut world, r#"{"id":"7","watchlist":["8"]}"#);
    assert!(world.calls.is_empty() && world.session(slot).subscriptions.is_empty());
}
