use crate::config::History;
use crate::frame::GapReason;
use crate::limits;
use crate::link::Receipt;
use crate::message::{Message, NewMessage, Payload};
use crate::position::Epoch;
use crate::room::followers::world::{Brought, World, alarms, at, brought, failed};
use crate::room::{Input, Output};
use crate::store::StoreError;
use std::rc::Rc;

const EPHEMERAL: History = History { size: 0, ttl: 60 };

#[test]
fn what_is_published_is_encoded_once_for_all_who_follow() {
    let mut world = World::followed_by(History::default(), &["a", "b", "c"]);
    let brought = world.publish(&["one", "two"]);
    assert_eq!(brought.iter().map(|to| to.hub.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(brought.iter().all(|to| Rc::ptr_eq(&to.text, &brought[0].text)));
    assert_eq!(brought[0].is(), (at(0), vec!["one", "two"], None));
    assert_eq!(world.store.written, 4, "three followers, one row of log");
}

#[test]
fn one_delivery_is_on_its_way_and_the_next_has_what_came_meanwhile() {
    let mut world = World::followed_by(History::default(), &["a", "b"]);
    let first = world.publish(&["one"]);
    assert!(world.publish(&["two"]).is_empty());
    assert!(world.publish(&["three"]).is_empty());
    let next: Vec<Brought> = first.iter().flat_map(|to| brought(world.has(to, 1))).collect();
    assert_eq!(next[0].is(), (at(1), vec!["two", "three"], None));
    assert!(next.len() == 2 && Rc::ptr_eq(&next[0].text, &next[1].text));
    assert_eq!(world.has(&next[0], 3), []);
    assert_eq!(world.publish(&["four"])[0].is(), (at(3), vec!["four"], None));
    assert_eq!(world.has(&first[1], 3), [], "a receipt for something else");
}

#[test]
fn a_hole_that_the_hub_reports_is_filled_in_batches() {
    for sleeps in [false, true] {
        let mut world = World::followed_by(History::default(), &["a"]);
        let large = "x".repeat(limits::MESSAGE_BYTES_DEFAULT - 8);
        for _ in 0..6 {
            drop(world.publish(&[&large]));
        }
        world.sleep();
        let probe = brought(world.alarm());
        assert_eq!(probe[0].is(), (at(6), vec![], None));
        if sleeps {
            world.sleep();
            assert_eq!(world.has(&probe[0], 1), [], "nothing is known of it any more");
            let live = world.publish(&["new"]);
            assert_eq!(live[0].is(), (at(6), vec!["new"], None));
            assert_eq!(brought(world.has(&live[0], 1))[0].is().0, at(1));
            continue;
        }
        let filled = brought(world.has(&probe[0], 1));
        assert_eq!((filled[0].is().0, filled[0].delivery.messages.len()), (at(1), 4));
        let rest = brought(world.has(&filled[0], 5));
        assert_eq!((rest[0].is().0, rest[0].delivery.messages.len()), (at(5), 1));
        assert_eq!(world.has(&rest[0], 6), []);
    }
}

#[test]
fn what_fails_is_tried_again_after_longer_and_longer_pauses() {
    let mut world = World::followed_by(History::default(), &["a"]);
    let mut to = world.publish(&["one"]).remove(0);
    for pause in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
        let outputs = world.receipt(&to, failed());
        assert_eq!(alarms(&outputs, world.now), [pause], "{outputs:?}");
        assert!(world.publish(&["more"]).is_empty(), "it waits for its turn");
        world.now += pause;
        let again = brought(world.alarm());
        assert_eq!(again[0].is().0, at(0));
        to = brought(vec![Output::Deliver {
            hub: "a".into(),
            ticket: again[0].ticket,
            delivery: again[0].text.clone(),
        }])
        .remove(0);
    }
    assert_eq!(world.has(&to, 8), []);
    // It is as good as any other again.
    let to = world.publish(&["nine"]).remove(0);
    assert_eq!(alarms(&world.receipt(&to, failed()), world.now), [limits::DELIVERY_RETRY_MS]);
}

#[test]
fn a_room_that_falls_while_it_tries_again_is_woken_all_the_same() {
    let mut world = World::followed_by(History { size: 10, ttl: 3_600 }, &["a"]);
    let to = world.publish(&["one"]).remove(0);
    world.receipt(&to, failed());
    world.now += limits::DELIVERY_RETRY_MS;
    assert_eq!(alarms(&world.alarm(), world.now), [limits::DELIVERY_LOOK_MS]);
    world.now += 60_000;
    assert_eq!(alarms(&world.alarm(), world.now), [limits::DELIVERY_LOOK_MS], "it is still on its way");
    world.sleep();
    world.now += limits::DELIVERY_LOOK_MS;
    let probe = brought(world.alarm()).remove(0);
    assert_eq!(brought(world.has(&probe, 0))[0].is(), (at(0), vec!["one"], None));
}

#[test]
fn an_answer_that_says_nothing_new_makes_no_loop() {
    let mut world = World::followed_by(History::default(), &["a"]);
    let to = world.publish(&["one", "two"]).remove(0);
    let outputs =
        world.receipt(&to, Ok(Receipt { wanted: true, have: None, members: None, reporting: false, tally: None }));
    assert!(brought(outputs).is_empty(), "it has not begun");
    world.now += limits::DELIVERY_RETRY_MS;
    let mut to = brought(world.alarm()).remove(0);
    assert_eq!(to.is(), (at(0), vec!["one", "two"], None));
    // Once it may be a hole; twice the same is none.
    to = brought(world.has(&to, 0)).remove(0);
    assert_eq!(alarms(&world.has(&to, 0), world.now).len(), 1);
    world.now += limits::DELIVERY_RETRY_MAX_MS;
    to = brought(world.alarm()).remove(0);
    let other = |seq| {
        Ok(Receipt { wanted: true, have: Some(Epoch::new(9).at(seq)), members: None, reporting: false, tally: None })
    };
    let lost = brought(world.receipt(&to, other(5))).remove(0);
    assert_eq!(lost.is(), (at(0), vec!["one", "two"], Some((Epoch::new(9).at(5), GapReason::Lost))));
    assert!(brought(world.receipt(&lost, other(5))).is_empty());
    world.now += limits::DELIVERY_RETRY_MAX_MS;
    to = brought(world.alarm()).remove(0);
    assert_eq!(world.has(&to, 99), [], "more than there is");
    assert_eq!(world.publish(&["three"])[0].is(), (at(2), vec!["three"], None));
}

#[test]
fn a_hub_that_does_not_want_the_channel_is_removed() {
    let mut world = World::followed_by(History::default(), &["a", "b"]);
    let to = world.publish(&["one"]);
    let unwanted = || Ok(Receipt::UNWANTED);
    world.store.failing = Some(StoreError::Failed);
    assert_eq!(alarms(&world.receipt(&to[0], unwanted()), world.now), [limits::DELIVERY_RETRY_MS]);
    assert_eq!(world.store.followers.len(), 2, "the row is still there: it is asked again");
    world.store.failing = None;
    assert_eq!(world.receipt(&to[1], unwanted()), []);
    world.now += limits::DELIVERY_RETRY_MS;
    let again = brought(world.alarm()).remove(0);
    assert_eq!(again.hub, "a");
    world.receipt(&again, unwanted());
    assert!(world.store.followers.is_empty() && world.publish(&["two"]).is_empty());
}

#[test]
fn of_an_ephemeral_channel_there_is_what_is_in_memory_and_then_a_gap() {
    let mut world = World::followed_by(EPHEMERAL, &["a"]);
    let first = world.publish(&["one"]).remove(0);
    drop((world.publish(&["two"]), world.publish(&["three"])));
    let next = brought(world.has(&first, 1)).remove(0);
    assert_eq!(next.is(), (at(1), vec!["two", "three"], None));
    let large = "x".repeat(limits::MESSAGE_BYTES_DEFAULT - 8);
    for _ in 0..6 {
        drop(world.publish(&[&large]));
    }
    let cut = brought(world.has(&next, 3)).remove(0);
    assert_eq!((cut.is().0, cut.is().2), (at(5), Some((at(3), GapReason::Expired))));
    assert_eq!(cut.delivery.messages.len(), 4);
    // A row larger than what stays in memory goes whole.
    assert_eq!(world.has(&cut, 9), []);
    let large = "x".repeat(limits::MESSAGE_BYTES_DEFAULT);
    let mut to = world.publish(&[large.as_str(); 8]).remove(0);
    assert_eq!((to.is().0, to.delivery.messages.len()), (at(9), 4));
    to = brought(world.has(&to, 13)).remove(0);
    assert_eq!((to.is().2, to.delivery.position()), (Some((at(13), GapReason::Expired)), at(17)));
    world.has(&to, 17);
    world.sleep();
    let probe = brought(world.alarm()).remove(0);
    let gone = brought(world.has(&probe, 15)).remove(0);
    assert_eq!(gone.is(), (at(17), vec![], Some((at(15), GapReason::Expired))));
}

#[test]
fn after_a_sleep_the_next_message_is_delivered_as_if_there_had_been_none() {
    for sleeps in [false, true] {
        let mut world = World::followed_by(History::default(), &["a"]);
        let to = world.publish(&["one"]).remove(0);
        world.has(&to, 1);
        if sleeps {
            world.sleep();
        }
        assert_eq!(world.publish(&["two"])[0].is(), (at(1), vec!["two"], None));
    }
}

#[test]
fn by_alarm_a_room_that_slept_asks_and_one_that_knows_does_not() {
    let mut world = World::followed_by(History::default(), &["a"]);
    let to = world.publish(&["one"]).remove(0);
    assert!(brought(world.alarm()).is_empty(), "one on its way is enough");
    world.has(&to, 1);
    assert!(brought(world.alarm()).is_empty());
    world.sleep();
    let probe = brought(world.alarm());
    assert_eq!(probe[0].is(), (at(1), vec![], None));
    assert_eq!(world.has(&probe[0], 1), []);
    assert!(brought(world.alarm()).is_empty());
}

#[test]
fn a_flush_that_failed_takes_what_was_delivered_with_it() {
    let mut world = World::followed_by(History::default(), &["a"]);
    let to = world.publish(&["one"]).remove(0);
    world.has(&to, 1);
    let message = Message::new(None, Payload::Text("lost".into()), None);
    let messages = vec![NewMessage::from(message)];
    let before = world.store.clone();
    world.handle(Input::Publish { ticket: 0, messages });
    world.store = before;
    world.handle(Input::Flushed(Err(StoreError::Full)));
    assert_eq!(world.publish(&["two"])[0].is(), (at(1), vec!["two"], None));
}

#[test]
fn an_alarm_that_rings_while_a_delivery_is_under_way_rings_again() {
    let mut world = World::followed_by(History { size: 10, ttl: 3_600 }, &["a"]);
    world.publish(&["one"]);
    // A crash from now on forgets the delivery, and with it that there is anything to ask.
    let outputs = world.alarm();
    assert_eq!(alarms(&outputs, world.now), [limits::DELIVERY_LOOK_MS]);
    world.sleep();
    world.now += limits::DELIVERY_LOOK_MS;
    let outputs = world.alarm();
    assert_eq!(alarms(&outputs, world.now), [limits::DELIVERY_LOOK_MS]);
    let [probe] = brought(outputs).try_into().unwrap();
    assert_eq!(world.has(&probe, 1), []);
    world.sleep();
    world.now += limits::DELIVERY_LOOK_MS;
    let outputs = world.alarm();
    assert!(alarms(&outputs, world.now)[0] > limits::DELIVERY_LOOK_MS, "not for ever");
}
