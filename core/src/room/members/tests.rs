use super::world::{Hub, World};
use super::{MembersQuery, limits};
use crate::call::{Connect, VERSION};
use crate::channel::ChannelName;
use crate::config::Rule;
use crate::link::Receipt;
use crate::presence::{Member, MemberData, Report};
use crate::refusal::{Code, Refusal};
use crate::room::{Input, Output, PageQuery, Room, Turn};
use crate::roster::Roster;
use crate::session::Format;
use crate::store::{MemoryStore, StoreError};
use std::collections::BTreeSet;

#[test]
fn one_join_and_one_leave_per_user_however_many_connections() {
    let mut world = World::new();
    world.connect("1", "a");
    assert_eq!(world.store.written, 2, "the first row of all, and a's");
    world.connect("2", "b");
    world.connect("3", "a");
    assert_eq!(world.store.written, 3);
    world.check(&["a", "b"]);
    world.disconnect("1");
    world.wait(60_000);
    world.check(&["a", "b"]);
    assert_eq!(world.store.written, 3);
    world.disconnect("3");
    world.check(&["a", "b"]);
    world.wait(limits::LEAVE_GRACE_MS - 1);
    world.check(&["a", "b"]);
    world.wait(10);
    world.check(&["b"]);
    assert_eq!(world.store.written, 4);
}

#[test]
fn a_page_that_is_loaded_again_is_no_leave_also_in_another_place() {
    for sleeps in [false, true] {
        let mut world = World::new();
        world.connect("1", "a");
        world.connect("2", "b");
        world.report("v1:1:weur:0", &["c"], &[], false);
        let doze = |world: &mut World| {
            if sleeps {
                world.sleep();
            }
        };
        doze(&mut world);
        world.disconnect("1");
        doze(&mut world);
        world.wait(limits::LEAVE_GRACE_MS - 10);
        world.report("v1:1:weur:1", &["a"], &[], false);
        doze(&mut world);
        world.wait(60_000);
        world.check(&["a", "b", "c"]);
        world.report("v1:1:weur:1", &[], &["a"], false);
        doze(&mut world);
        world.wait(1_000);
        world.connect("3", "a");
        doze(&mut world);
        world.wait(60_000);
        world.check(&["a", "b", "c"]);
        world.disconnect("3");
        doze(&mut world);
        world.wait(limits::LEAVE_GRACE_MS + 10);
        doze(&mut world);
        world.check(&["b", "c"]);
    }
}

#[test]
fn who_vanished_without_a_word_is_gone_within_a_minute() {
    let mut world = World::new();
    world.connect("1", "a");
    world.report("v1:1:weur:0", &["b"], &[], false);
    world.connect("2", "c");
    world.check(&["a", "b", "c"]);
    // The process is gone, the room's own sockets with it; the Hub is elsewhere.
    world.sockets.clear();
    world.sleep();
    world.wait(60_000);
    world.check(&["b"]);
    // The Hub lost its own as well, and says so.
    world.report("v1:1:weur:0", &[], &[], true);
    world.check(&["b"]);
    world.wait(limits::LOST_GRACE_MS);
    assert_eq!(world.page(), [""; 0]);
}

#[test]
fn a_hub_that_follows_no_longer_has_no_members() {
    // Also where the last that it said was that everybody is still there.
    for said_again in [false, true] {
        let mut world = World::new();
        world.connect("1", "a");
        world.report("v1:1:weur:0", &["b"], &[], false);
        if said_again {
            world.wait(1_000);
            world.report("v1:1:weur:0", &["b"], &[], true);
        }
        world.check(&["a", "b"]);
        let mut out = Vec::new();
        let turn = Turn { now: world.now, random: 9 };
        world.room.strike_out("v1:1:weur:0", turn, &mut world.store, &mut out).unwrap();
        for output in out {
            world.perform(output);
        }
        world.hubs.clear();
        world.wait(limits::LEAVE_GRACE_MS + 10);
        world.check(&["a"]);
    }
}

#[test]
fn calls_that_come_late_or_twice_change_nothing() {
    let mut world = World::new();
    world.connect("1", "a");
    let call = |at: u64, joined: &[&str], left: &[&str], whole: bool| Report {
        version: VERSION,
        hub: "v1:1:weur:0".into(),
        at,
        have: None,
        whole,
        joined: joined.iter().map(|user| Member { user: (*user).to_owned(), data: None }).collect(),
        left: left.iter().map(|user| (*user).to_owned()).collect(),
        list: false,
    };
    world.hubs.insert("v1:1:weur:0", Hub::default());
    let say = |world: &mut World, report: Report| {
        world.sleep();
        world.decide(|room, turn, store, out| room.report(&report, turn, store, out)).unwrap();
        world.wait(60_000);
        world.page()
    };
    assert_eq!(say(&mut world, call(5, &["b"], &[], false)), ["a", "b"]);
    assert_eq!(say(&mut world, call(5, &["b"], &[], false)), ["a", "b"]);
    assert_eq!(say(&mut world, call(4, &[], &["b"], false)), ["a", "b"]);
    assert_eq!(say(&mut world, call(6, &[], &["b"], false)), ["a"]);
    assert_eq!(say(&mut world, call(5, &["b"], &[], false)), ["a"]);
    assert_eq!(say(&mut world, call(8, &["c"], &[], true)), ["a", "c"]);
    assert_eq!(say(&mut world, call(7, &["b"], &["c"], false)), ["a", "c"]);
    assert_eq!(say(&mut world, call(7, &[], &[], true)), ["a", "c"]);
    assert_eq!(say(&mut world, call(9, &[], &[], true)), ["a"]);
}

#[test]
fn a_room_with_members_of_its_own_asks_who_follows_once_an_hour() {
    let mut world = World::new();
    world.connect("1", "a");
    world.report("v1:1:weur:0", &["b"], &[], false);
    world.wait(limits::PRESENCE_LOOK_MS - world.now % limits::PRESENCE_LOOK_MS - 1_000);
    for _ in 0..3 {
        let before = world.deliveries;
        for _ in 0..limits::PRESENCE_LOOK_MS / 10_000 {
            // It may have fallen, for all that it knows.
            world.sleep();
            world.wait(10_000);
        }
        assert!((1..=2).contains(&(world.deliveries - before)), "{}", world.deliveries - before);
    }
}

#[test]
fn a_hub_that_was_not_told_before_the_room_was_away_for_long_is_told_soon_after() {
    for minutes in [4, 10, 20] {
        let mut world = World::new();
        world.connect("1", "a");
        world.report("v1:1:weur:0", &["b"], &[], false);
        world.wait(60_000);
        // It falls with that on its way, and for as long its alarm does not ring.
        world.held = Some(Vec::new());
        world.connect("2", "c");
        world.held = None;
        world.sleep();
        world.now += minutes * 60_000;
        world.wait(minutes * 60_000 + 2 * limits::PRESENCE_LEASE_MS);
        world.check(&["a", "b", "c"]);
    }
}

#[test]
fn a_hub_that_could_not_be_told_for_long_is_told_soon_after_though_the_room_slept() {
    let mut world = World::new();
    world.connect("1", "a");
    world.report("v1:1:weur:0", &["b"], &[], false);
    world.connect("2", "c");
    world.wait(60_000);
    let written = world.store.written;
    world.held = Some(Vec::new());
    world.disconnect("2");
    for _ in 0..20 {
        world.wait(limits::PRESENCE_LEASE_MS);
        for (hub, ticket, _) in world.held.replace(Vec::new()).unwrap() {
            let result = Err(Refusal::new(Code::Overloaded, "no"));
            world.handle(Input::Receipt { hub, ticket, result });
        }
        world.sleep();
    }
    assert_eq!(world.store.written, written + 2, "the leave, and that it could not be told");
    world.held = None;
    world.wait(limits::DELIVERY_RETRY_MAX_MS);
    world.check(&["a", "b"]);
    assert_eq!(world.store.written, written + 3);
}

#[test]
fn what_a_user_shows_stays_until_it_has_gone() {
    let shows = |data: &str| Member { user: "a".into(), data: MemberData::parse(data).ok() };
    let mut roster = Roster::default();
    drop(roster.begin(crate::position::Epoch::new(7), 1_000));
    let comes = |roster: &mut Roster, data: &str, at: u64, now: u64| {
        drop(roster.join("hub", &shows(data), at, now).unwrap());
        roster.page(None, 9)
    };
    assert_eq!(comes(&mut roster, "1", 1, 1_000), [shows("1")]);
    roster.leave("hub", "a", 2, 2_000, limits::LEAVE_GRACE_MS).unwrap();
    assert_eq!(comes(&mut roster, "2", 3, 3_000), [shows("1")], "nobody has been told of another");
    roster.leave("hub", "a", 4, 4_000, limits::LEAVE_GRACE_MS).unwrap();
    assert_eq!(comes(&mut roster, "3", 5, 9_000), [shows("3")]);
}

#[test]
fn a_hub_that_reports_does_not_say_that_it_needs_to_know_nothing() {
    let mut world = World::new();
    world.connect("1", "a");
    world.report("v1:1:weur:0", &["b"], &[], false);
    // Its answer is still on its way when this comes.
    world.held = Some(Vec::new());
    world.connect("2", "c");
    let (hub, ticket, delivery) = world.held.take().unwrap().remove(0);
    let have = Some(delivery.position());
    let receipt = Receipt { wanted: true, have, members: None, reporting: true, tally: None };
    world.handle(Input::Receipt { hub, ticket, result: Ok(receipt) });
    world.wait(limits::DELIVERY_RETRY_MS);
    world.check(&["a", "b", "c"]);
    world.connect("3", "d");
    world.check(&["a", "b", "c", "d"]);
}

#[test]
fn a_report_that_comes_twice_has_told_the_hub_nothing() {
    for sleeps in [false, true] {
        let mut world = World::new();
        world.connect("1", "a");
        world.report("v1:1:weur:0", &["b"], &[], false);
        let hub = "v1:1:weur:0".to_owned();
        let (at, have) = (world.store.members[&(hub.clone(), "b".to_owned())].at, None);
        let joined = vec![Member { user: "b".into(), data: None }];
        let again = Report { version: VERSION, hub, at, have, whole: false, joined, left: Vec::new(), list: true };
        // It comes before the others have been told of this.
        world.timeless = true;
        world.connect("2", "c");
        if sleeps {
            world.sleep();
        }
        world.decide(|room, turn, store, out| room.report(&again, turn, store, out)).unwrap();
        world.timeless = false;
        world.handle(Input::Announce);
        world.wait(1_000);
        world.check(&["a", "b", "c"]);
    }
}

#[test]
fn who_has_not_been_told_does_not_remember_for_the_others() {
    let mut world = World::new();
    world.connect("2", "a");
    world.timeless = true;
    world.now += 10;
    world.connect("1", "b");
    world.disconnect("2");
    assert_eq!(world.sockets["1"].0.told, None);
    world.timeless = false;
    world.sleep();
    world.wait(60_000);
    world.check(&["b"]);
}

/// What comes of it, which is not performed.
fn b_connects(world: &mut World) -> Vec<Output> {
    let (sockets, mut out) = (1, Vec::new());
    let connect = Connect {
        version: VERSION,
        format: Format::Json,
        user: Some("b".into()),
        expires_at: None,
        may_publish: false,
        from: None,
        data: None,
    };
    let turn = Turn { now: world.now, random: 9 };
    world.store.present = world.sockets.values().map(|(session, _)| session.clone()).collect();
    let input = Input::Connect { connect, connection: "2".into(), sockets };
    world.room.handle(input, turn, &mut world.store, &mut out);
    out
}

#[test]
fn what_cannot_be_written_is_not_told() {
    let mut world = World::new();
    world.connect("1", "a");
    world.store.failing = Some(StoreError::Full);
    let out = b_connects(&mut world);
    let refused = |output: &Output| matches!(output, Output::Refuse(refusal) if refusal.code == Code::StorageFull);
    assert!(out.iter().any(refused) && !out.iter().any(|output| matches!(output, Output::Accept(_))), "{out:?}");
    world.disconnect("1");
    world.store.failing = None;
    world.connect("3", "c");
    world.wait(60_000);
    world.check(&["c"]);
}

#[test]
fn the_list_is_paged_and_a_newcomer_is_told_of_the_first() {
    let mut world = World::new();
    let users: Vec<String> = (0..250).map(|nth| format!("{nth:03}")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    world.report("v1:1:weur:0", &names, &[], false);
    world.connect("1", "x");
    let view = &world.sockets["1"].1;
    assert_eq!((view.users.as_ref().unwrap().len(), view.count), (limits::MEMBERS_LISTED, 251));
    let mut after = None;
    let mut sizes = Vec::new();
    loop {
        let query = MembersQuery { after: after.take(), limit: 100 };
        let page = world.decide(|room, turn, store, _| room.members_page(&query, turn, store)).unwrap();
        sizes.push(page.members.len());
        assert_eq!((page.count, page.channel.as_str()), (251, "presence-a"));
        if !page.more {
            break;
        }
        after = page.members.last().map(|member| member.user.clone());
    }
    assert_eq!(sizes, [100, 100, 51]);
    let mut lobby = Room::wake(ChannelName::parse("lobby").unwrap(), Rule::default(), None);
    let query = MembersQuery { after: None, limit: 100 };
    let turn = Turn { now: 1, random: 1 };
    assert_eq!(
        lobby.members_page(&query, turn, &mut MemoryStore::default()).map_err(|refusal: Refusal| refusal.code),
        Err(Code::InvalidChannel)
    );
}

#[test]
fn thousands_of_joins_are_a_few_announcements() {
    let mut world = World::new();
    world.connect("1", "x");
    world.report("v1:1:weur:0", &["y"], &[], false);
    let before = world.deliveries;
    let users: Vec<String> = (0..2_000).map(|nth| format!("{nth:04}")).collect();
    for chunk in users.chunks(100) {
        let chunk: Vec<&str> = chunk.iter().map(String::as_str).collect();
        world.report("v1:1:weur:1", &chunk, &[], false);
        world.now += 10;
    }
    world.wait(1_000);
    assert!(world.deliveries - before <= 25, "{}", world.deliveries - before);
    assert_eq!(world.sockets["1"].1.count, 2_002);
    assert_eq!(world.sockets["1"].1.users.as_ref().unwrap().len(), 2_002);
}

/// Whatever happens, in whatever order, with sleeps anywhere: everybody ends up knowing who is there.
#[test]
fn random_histories_converge() {
    for seed in 0..400_u64 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new();
        let hubs = ["v1:1:weur:0", "v1:1:weur:1"];
        let mut connections = 0;
        for _ in 0..60 {
            match rng.u8(0..9) {
                0 | 1 => {
                    connections += 1;
                    let user = rng.choice(["a", "b", "c"]).unwrap();
                    world.connect(&connections.to_string(), user);
                }
                2 | 3 => {
                    let names: Vec<String> = world.sockets.keys().cloned().collect();
                    if let Some(name) = rng.choice(&names) {
                        world.disconnect(name);
                    }
                }
                4 => world.report(rng.choice(hubs).unwrap(), &[rng.choice(["a", "b", "d"]).unwrap()], &[], false),
                5 => world.report(rng.choice(hubs).unwrap(), &[], &[rng.choice(["a", "b", "d"]).unwrap()], false),
                6 => world.wait(rng.u64(0..5_000)),
                7 => world.sleep(),
                _ => {
                    if rng.u8(0..6) == 0 {
                        world.sockets.clear();
                        world.sleep();
                    }
                }
            }
        }
        world.wait(60_000);
        let mut there: BTreeSet<String> =
            world.sockets.values().filter_map(|(session, _)| session.user.clone()).collect();
        there.extend(world.hubs.values().flat_map(|hub| hub.users.iter().cloned()));
        let there: Vec<&str> = there.iter().map(String::as_str).collect();
        world.check(&there);
    }
}

#[test]
fn a_channel_without_messages_keeps_its_epoch_as_long_as_its_members_may_come_back() {
    let mut world = World::new();
    world.report("v1:1:weur:0", &["a"], &[], false);
    let epoch = |world: &mut World| {
        let page = PageQuery { after: None, limit: 1 };
        world.decide(|room, turn, store, _| room.page(page, turn, store)).unwrap().position.epoch
    };
    let before = epoch(&mut world);
    // The Hub lost everybody, so it follows no longer; their clients come back with positions of this epoch.
    world.report("v1:1:weur:0", &[], &[], true);
    let mut out = Vec::new();
    let turn = Turn { now: world.now, random: 99 };
    world.room.strike_out("v1:1:weur:0", turn, &mut world.store, &mut out).unwrap();
    world.hubs.clear();
    world.sleep();
    assert_eq!(epoch(&mut world), before);
}

#[test]
fn a_channel_that_is_full_takes_no_user_more_but_every_tab_of_those_who_are_there() {
    let mut world = World::new();
    let users: Vec<String> = (0..limits::MEMBERS_MAX).map(|nth| nth.to_string()).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    world.report("v1:1:weur:0", &names, &[], false);
    world.connect("tab", "7");
    world.report("v1:1:weur:1", &["7", "8"], &[], false);
    // Beside a newcomer, one goes: that is heard all the same, and by a report of everybody as well.
    for (at, whole, left) in [(998, false, vec!["8".to_owned()]), (999, true, Vec::new())] {
        let member = |user: &str| Member { user: user.into(), data: None };
        let joined = vec![member("new"), member("7")];
        let (have, at, hub) = (None, world.now * 1000 + at, "v1:1:weur:1".to_owned());
        let report = Report { version: VERSION, hub, at, have, whole, joined, left, list: true };
        let answer = world.decide(|room, turn, store, out| room.report(&report, turn, store, out)).unwrap();
        assert_eq!(
            (answer.refused.as_slice(), answer.count),
            (["new".to_owned()].as_slice(), limits::MEMBERS_MAX as u64)
        );
        assert_eq!(answer.list.unwrap().len(), limits::MEMBERS_LISTED);
        let key = |user: &str| ("v1:1:weur:1".to_owned(), user.to_owned());
        assert!(!world.store.members.contains_key(&key("new")) && world.store.members[&key("7")].gone == 0);
        assert!(world.store.members[&key("8")].gone > 0);
    }
    assert_eq!(world.sockets.len(), 1);
    // As many as there are places for.
    world.report("v1:1:weur:0", &[], &["9"], false);
    world.wait(limits::LEAVE_GRACE_MS + 10);
    let joined = ["x", "y"].map(|user| Member { user: user.into(), data: None }).to_vec();
    let (have, at, hub) = (None, world.now * 1000 + 999, "v1:1:weur:1".to_owned());
    let report = Report { version: VERSION, hub, at, have, whole: false, joined, left: Vec::new(), list: false };
    let answer = world.decide(|room, turn, store, out| room.report(&report, turn, store, out)).unwrap();
    assert_eq!((answer.refused, answer.count), (vec!["y".to_owned()], limits::MEMBERS_MAX as u64));
}

#[test]
fn what_a_refused_connection_has_set_is_rung() {
    let mut world = World::new();
    world.connect("1", "a");
    world.alarm = None;
    world.sleep();
    world.store.failing = Some(StoreError::Full);
    let out = b_connects(&mut world);
    assert!(out.contains(&Output::WakeAt(world.now + limits::DELIVERY_RETRY_MAX_MS)), "{out:?}");
}

#[test]
fn what_was_set_before_the_alarm_was_known_stands_if_it_is_earlier() {
    let mut world = World::new();
    world.connect("1", "a");
    world.connect("2", "b");
    world.alarm = None;
    // A trap: made anew inside the event, it learns of an alarm an hour ahead a moment later.
    world.sleep();
    world.disconnect("1");
    let due = world.alarm.unwrap();
    assert!(due <= world.now + limits::LEAVE_GRACE_MS + 1, "{due}");
    world.room.armed(Some(world.now + 3_600_000));
    let mut out = Vec::new();
    world.room.wake_at(world.now + 600_000, &mut out);
    assert_eq!((out, world.room.armed), (Vec::new(), Some(due)));
    world.room.armed(Some(world.now + 1));
    assert_eq!(world.room.armed, Some(world.now + 1));
}
