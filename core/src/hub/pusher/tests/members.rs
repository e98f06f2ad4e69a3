//! Presence channels.

use super::{World, at, changed, id, listed, member, message, name};
use crate::call::Begin;
use crate::hub::{Input, Output, Slot, Stage};
use crate::limits;
use crate::presence::{Changes, Member};
use crate::pusher::words;
use crate::refusal::{Code, Refusal};
use serde_json::{Value, json};

const A: &str = "presence-a";

/// Members, count and what they show, as a subscription was answered.
fn list(frame: &Value) -> (Vec<String>, u64, Value) {
    assert_eq!(frame["event"], "pusher_internal:subscription_succeeded", "{frame}");
    let data: Value = serde_json::from_str(frame["data"].as_str().unwrap()).unwrap();
    let presence = &data["presence"];
    let ids = presence["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    (ids, presence["count"].as_u64().unwrap(), presence["hash"].clone())
}

/// An event's name, and what it says.
fn event(frame: &Value) -> (String, Value) {
    let data = serde_json::from_str(frame["data"].as_str().unwrap()).unwrap();
    (frame["event"].as_str().unwrap().to_owned(), data)
}

/// Somebody who has the channel, as that user alone.
fn there(world: &mut World, user: &str) -> Slot {
    let slot = world.connect();
    world.subscribes(slot, A, Some(&json!({ "user_id": user }).to_string()));
    if world.calls.iter().any(|call| matches!(call, Output::Follow { .. })) {
        world.followed(A, Ok(at(7)));
    }
    world.reported(A, Ok(listed(100, 1, &[member(user, None)])));
    assert_eq!(list(&world.reads(slot)).0, [user]);
    slot
}

/// Somebody who comes to a large room.
fn there_too(world: &mut World) -> Slot {
    let slot = world.connect();
    world.subscribes(slot, A, Some(r#"{"user_id":"w"}"#));
    world.reported(A, Ok(listed(102, 149, &many(limits::MEMBERS_LISTED))));
    assert_eq!(list(&world.reads(slot)).1, 149);
    slot
}

fn many(count: usize) -> Vec<Member> {
    (0..count).map(|nth| member(&format!("a{nth:03}"), None)).collect()
}

fn reports(world: &World) -> bool {
    world.calls.iter().any(|call| matches!(call, Output::Report { .. }))
}

#[test]
fn a_subscription_is_answered_with_who_is_there() {
    let mut world = World::new("");
    let slot = world.connect();
    world.subscribes(slot, A, Some(r#"{"user_id":10,"user_info":{"n":1}}"#));
    world.followed(A, Ok(at(7)));
    // Not before the list: messages and members that come meanwhile are from before it.
    world.delivers(A, 7, vec![message("8")], Some(changed(50, 3, Some(member("9", None)), None)));
    world.silent();
    let report = world.reported(A, Ok(listed(100, 2, &[member("10", Some(r#"{"n":1}"#)), member("9", None)])));
    assert_eq!((report.joined, report.list), (vec![member("10", Some(r#"{"n":1}"#))], true));
    let (ids, count, hash) = list(&world.reads(slot));
    assert_eq!((ids, count, hash), (vec!["10".into(), "9".into()], 2, json!({ "10": { "n": 1 }, "9": null })));
    world.delivers(A, 8, vec![message("9")], Some(changed(100, 3, Some(member("11", Some("[1]"))), None)));
    let added = ("pusher_internal:member_added".into(), json!({ "user_id": "11", "user_info": [1] }));
    assert_eq!(event(&world.reads(slot)), added);
    assert_eq!(world.reads(slot)["data"], "9");
    world.delivers(A, 9, Vec::new(), Some(changed(101, 2, None, Some("9"))));
    assert_eq!(event(&world.reads(slot)), ("pusher_internal:member_removed".into(), json!({ "user_id": "9" })));
    world.silent();
}

#[test]
fn whoever_sleeps_meanwhile_is_answered_all_the_same() {
    let mut world = World::new("");
    let (slot, room) = (world.connect(), "presence-cache-a");
    world.subscribes(slot, room, Some(r#"{"user_id":"u"}"#));
    world.wakes();
    world.followed(room, Ok(at(7)));
    assert!(matches!(world.session(slot).subscriptions[0].stage, Stage::Listing(Some(Begin::Last(1)))));
    // A crash takes the answer to the report with it. Where the Hub is, nobody's attachment says yet.
    world.report(room);
    world.wakes();
    world.followed(room, Ok(at(7)));
    world.reported(room, Ok(listed(100, 1, &[member("u", None)])));
    assert_eq!(list(&world.reads(slot)).0, ["u"]);
    // The last message comes after the answer, also where there is a crash between the two. Whether the list was of the channel's epoch is in nobody's attachment then: it
    // comes once more.
    world.wakes();
    world.followed(room, Ok(at(7)));
    world.reported(room, Ok(listed(100, 1, &[member("u", None)])));
    assert_eq!(list(&world.reads(slot)).0, ["u"]);
    world.missed(room, Begin::Last(1), 6, vec![message("7")]);
    assert_eq!(world.reads(slot)["data"], "7");
    assert!(matches!(world.session(slot).subscriptions[0].stage, Stage::Live(_)));
    world.delivers(room, 7, Vec::new(), Some(changed(100, 2, Some(member("v", None)), None)));
    assert_eq!(event(&world.reads(slot)).0, "pusher_internal:member_added");
    world.silent();
}

#[test]
fn one_needs_to_be_somebody() {
    let mut world = World::new("");
    let slot = world.connect();
    let long = json!({ "user_id": "x".repeat(129) }).to_string();
    let large = json!({ "user_id": "x", "user_info": "x".repeat(1100) }).to_string();
    for data in [None, Some("{}"), Some("x"), Some(r#"{"user_id":""}"#), Some(&long), Some(&large)] {
        world.subscribes(slot, A, data);
        assert_eq!(world.error(slot).0, None, "{data:?}");
    }
    assert!(world.calls.is_empty(), "{:?}", world.calls);
    world.silent();
}

#[test]
fn who_one_is_may_differ_from_channel_to_channel() {
    let mut world = World::new("");
    let slot = there(&mut world, "u");
    world.subscribes(slot, "presence-b", Some(r#"{"user_id":"v"}"#));
    world.followed("presence-b", Ok(at(7)));
    let report = world.reported("presence-b", Ok(listed(100, 1, &[member("v", None)])));
    assert_eq!(report.joined, [member("v", None)]);
    world.reads(slot);
    for (channel, user) in [(A, "u"), ("presence-b", "v")] {
        world.says(slot, &format!(r#"{{"event":"client-x","channel":"{channel}","data":1}}"#));
        let Some(Output::Publish { messages, .. }) = world.calls.pop() else { panic!("{:?}", world.calls) };
        assert_eq!(messages[0].message.user.as_deref(), Some(user));
        let told = words::message(&name(channel), &messages[0].message);
        assert!(told.contains(&format!(r#""user_id":"{user}""#)), "{told}");
    }
    // Signing in changes nothing of that, and each leaves as who it was.
    world.signs_in(slot, r#"{"id":"w"}"#);
    world.reads(slot);
    world.does(slot, "pusher:unsubscribe", &json!({ "channel": "presence-b" }));
    assert_eq!(world.report("presence-b").left, ["v"]);
    world.handle(Input::Left { slot });
    assert_eq!(world.report(A).left, ["u"]);
}

#[test]
fn two_tabs_are_one_member() {
    let mut world = World::new("");
    let one = there(&mut world, "u");
    let other = world.connect();
    world.subscribes(other, A, Some(r#"{"user_id":"u","user_info":2}"#));
    let report = world.reported(A, Ok(listed(100, 1, &[member("u", Some("1"))])));
    assert!(report.joined.is_empty() && report.list);
    // What the first one shows is shown.
    assert_eq!(list(&world.reads(other)).2, json!({ "u": 1 }));
    world.does(one, "pusher:unsubscribe", &json!({ "channel": A }));
    assert!(!reports(&world), "{:?}", world.calls);
    world.does(other, "pusher:unsubscribe", &json!({ "channel": A }));
    assert_eq!(world.report(A).left, ["u"]);
    world.silent();
}

#[test]
fn in_a_large_room_one_finds_oneself_and_the_count_is_true() {
    let mut world = World::new("");
    let [one, other] = ["y", "z"].map(|user| {
        let slot = world.connect();
        world.subscribes(slot, A, Some(&json!({ "user_id": user, "user_info": { "me": user } }).to_string()));
        slot
    });
    world.followed(A, Ok(at(7)));
    world.reported(A, Ok(listed(100, 252, &many(limits::MEMBERS_LISTED))));
    for (slot, user) in [(one, "y"), (other, "z")] {
        let (ids, count, hash) = list(&world.reads(slot));
        assert_eq!((ids.len(), count, &hash[user]), (101, 252, &json!({ "me": user })));
        assert!(ids.contains(&user.to_owned()));
    }
    world.silent();
}

#[test]
fn in_a_large_room_the_count_is_put_right_when_somebody_has_left() {
    let mut world = World::new("");
    let one = there(&mut world, "u");
    world.delivers(A, 7, Vec::new(), Some(changed(100, 150, Some(member("v", None)), None)));
    assert_eq!(event(&world.reads(one)).0, "pusher_internal:member_added");
    world.waits(limits::RELIST_MS);
    assert!(!reports(&world), "who comes is counted by every client: {:?}", world.calls);
    world.delivers(A, 7, Vec::new(), Some(changed(101, 149, None, Some("unknown"))));
    assert_eq!(event(&world.reads(one)).0, "pusher_internal:member_removed");
    let other = there_too(&mut world);
    // Also after a sleep.
    world.wakes();
    world.waits(limits::RELIST_MS);
    let report = world.reported(A, Ok(listed(103, 148, &many(limits::MEMBERS_LISTED))));
    assert!(report.list && report.joined.is_empty());
    for slot in [one, other] {
        let (ids, count, _) = list(&world.reads(slot));
        assert_eq!((ids.len(), count), (101, 148));
    }
    world.silent();
    // Once: nothing is owed any more, and in a small room everybody is known.
    for changes in [None, Some(changed(103, 99, None, Some("a000")))] {
        world.wakes();
        world.delivers(A, 7, Vec::new(), changes);
        world.waits(limits::RELIST_MS);
        assert!(!reports(&world), "{:?}", world.calls);
    }
}

#[test]
fn a_list_that_cannot_be_had_lets_the_client_come_back() {
    let mut world = World::new("");
    let slot = world.connect();
    world.subscribes(slot, A, Some(r#"{"user_id":"u"}"#));
    world.followed(A, Ok(at(7)));
    world.reported(A, Err(Refusal::new(Code::Overloaded, "too much")));
    assert_eq!(world.closed, [(slot, 4100)]);
    assert_eq!(world.session(slot).connection, id(slot));
}

#[test]
fn who_finds_no_place_is_told_so_and_keeps_its_other_channels() {
    let mut world = World::new("");
    let one = there(&mut world, "7");
    let other = world.has("a");
    world.subscribes(other, A, Some(r#"{"user_id":"8"}"#));
    let full = || Changes { refused: vec!["8".into()], after: Some(100), ..listed(100, 1, &[member("7", None)]) };
    assert_eq!(world.reported(A, Ok(full())).joined, [member("8", None)]);
    let told = world.reads(other);
    let says =
        json!({ "type": "overloaded", "error": "this channel has as many members as it can list", "status": 503 });
    assert_eq!((event(&told), &told["channel"]), (("pusher:subscription_error".into(), says), &json!(A)));
    assert!(!reports(&world));
    world.silent();
    world.delivers(A, 7, vec![message("8")], None);
    assert_eq!(world.reads(one)["data"], "8");
    world.delivers("a", 7, vec![message("9")], None);
    assert_eq!(world.reads(other)["data"], "9");
    world.silent();
    // It may ask again.
    world.subscribes(other, A, Some(r#"{"user_id":"8"}"#));
    let both = listed(100, 2, &[member("7", None), member("8", None)]);
    world.reported(A, Ok(Changes { after: Some(100), ..both }));
    assert_eq!(list(&world.reads(other)).1, 2);
    world.silent();
}
