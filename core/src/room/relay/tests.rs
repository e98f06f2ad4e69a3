use super::Tree;
use crate::config::History;
use crate::limits;
use crate::link::{Delivery, Receipt, Receipts};
use crate::message::{Message, NewMessage, Payload};
use crate::position::Position;
use crate::refusal::{Code, Refusal};
use crate::room::followers::world::{World, alarms, at, failed, wake};
use crate::room::{Input, Output};
use std::collections::BTreeSet;
use std::rc::Rc;

const TREE: Tree = Tree { followers: 4, group: 3 };

/// A call to one Hub, or to the first of many.
#[derive(Clone, Debug)]
struct Call {
    hubs: Vec<String>,
    ticket: u64,
    text: Rc<str>,
}

impl Call {
    fn after(&self) -> Position {
        Delivery::decode(&self.text).unwrap().after
    }
}

fn calls(outputs: Vec<Output>) -> Vec<Call> {
    let call = |output| match output {
        Output::Relay { hubs, ticket, delivery } => Some(Call { hubs, ticket, text: delivery }),
        Output::Deliver { hub, ticket, delivery } => Some(Call { hubs: vec![hub], ticket, text: delivery }),
        _ => None,
    };
    outputs.into_iter().filter_map(call).collect()
}

fn sizes(calls: &[Call]) -> Vec<usize> {
    calls.iter().map(|call| call.hubs.len()).collect()
}

fn names<'a>(calls: impl IntoIterator<Item = &'a Call>) -> BTreeSet<String> {
    calls.into_iter().flat_map(|call| call.hubs.clone()).collect()
}

fn followed_by(count: usize) -> World {
    followed_with(count, TREE)
}

fn followed_with(count: usize, tree: Tree) -> World {
    let mut world = World::new(History::default());
    world.room = world.room.with_tree(tree);
    for nth in 0..count {
        world.follow(&format!("h{nth}")).unwrap();
    }
    world
}

fn publish(world: &mut World, body: &str) -> Vec<Call> {
    let message = Message::new(None, Payload::Text(body.into()), None);
    let new = NewMessage::from(message);
    let outputs = world.handle(Input::Publish { ticket: 0, messages: vec![new] });
    world.handle(Input::Flushed(Ok(())));
    calls(outputs)
}

fn receipt(seq: u64) -> String {
    serde_json::to_string(&Receipt { wanted: true, have: Some(at(seq)), members: None, reporting: false, tally: None })
        .unwrap()
}

fn answer(world: &mut World, call: &Call, result: Result<Receipts, Refusal>) -> Vec<Output> {
    if let [hub] = call.hubs.as_slice() {
        let text = result.and_then(|receipts| receipts.into_iter().next().unwrap().1);
        let result = text.map(|text| serde_json::from_str(&text).unwrap());
        return world.handle(Input::Receipt { hub: hub.clone(), ticket: call.ticket, result });
    }
    world.handle(Input::Relayed { hubs: call.hubs.clone(), ticket: call.ticket, result })
}

fn all_have(world: &mut World, call: &Call, seq: u64) -> Vec<Output> {
    let receipts = call.hubs.iter().map(|hub| (hub.clone(), Ok(receipt(seq)))).collect();
    answer(world, call, Ok(receipts))
}

fn each_has(world: &mut World, calls: &[Call], seq: u64) {
    for call in calls {
        all_have(world, call, seq);
    }
}

fn refused() -> Refusal {
    failed().unwrap_err()
}

#[test]
fn up_to_the_threshold_each_is_called_and_past_it_groups_of_about_the_same_size_are() {
    assert_eq!(sizes(&publish(&mut followed_by(4), "one")), [1; 4]);
    for (count, groups) in [(5, vec![3, 2]), (7, vec![3, 3, 1]), (8, vec![3, 3, 2]), (9, vec![3, 3, 3])] {
        let mut world = followed_by(count);
        let made = publish(&mut world, "one");
        assert_eq!(sizes(&made), groups);
        assert!(names(&made).len() == count && made.iter().all(|call| Rc::ptr_eq(&call.text, &made[0].text)));
        assert_eq!(world.store.written, count as u64 + 1, "each follower, and the message");
        for call in &made {
            assert_eq!(all_have(&mut world, call, 1), []);
        }
        assert_eq!(sizes(&publish(&mut world, "two")), groups);
    }
    let mut world = followed_with(limits::RELAY_FOLLOWERS + 44, Tree::default());
    assert_eq!(sizes(&publish(&mut world, "one")), [30; 10], "ten requests for 300 Hubs");
}

#[test]
fn the_one_that_is_called_is_another_each_time() {
    let mut world = followed_by(6);
    let mut called = BTreeSet::new();
    for seq in 1..=12 {
        let made = publish(&mut world, "m");
        for call in &made {
            called.insert(call.hubs[0].clone());
            all_have(&mut world, call, seq);
        }
    }
    assert_eq!(called.len(), 6, "{called:?}");
}

#[test]
fn what_came_meanwhile_goes_to_the_whole_group_with_the_next() {
    let mut world = followed_by(6);
    let first = publish(&mut world, "one");
    assert!(publish(&mut world, "two").is_empty() && publish(&mut world, "three").is_empty());
    let next = calls(all_have(&mut world, &first[0], 1));
    assert_eq!((sizes(&next), next[0].after(), names(&next)), (vec![3], at(1), names(&first[..1])));
    let other = calls(all_have(&mut world, &first[1], 1));
    assert!(Rc::ptr_eq(&next[0].text, &other[0].text));
    assert_eq!((all_have(&mut world, &next[0], 3), all_have(&mut world, &next[0], 3)), (vec![], vec![]));
}

#[test]
fn when_the_relay_fails_each_of_its_group_is_called_alone_until_it_has_answered() {
    let mut world = followed_by(6);
    let first = publish(&mut world, "one");
    let old_hub = Refusal::new(Code::NotFound, "no such call");
    let outputs = answer(&mut world, &first[0], Err(old_hub));
    assert_eq!(alarms(&outputs, world.now), [limits::DELIVERY_RETRY_MS], "one row for all of them");
    all_have(&mut world, &first[1], 1);
    let meanwhile = publish(&mut world, "two");
    assert_eq!(names(&meanwhile), names(&first[1..]), "the others go on");
    world.now += limits::DELIVERY_RETRY_MS;
    let again = calls(world.alarm());
    assert_eq!((sizes(&again), names(&again)), (vec![1; 3], names(&first[..1])));
    // One of them fails again, and the message after that is not brought to it through another, nor to another through it.
    assert_eq!(alarms(&answer(&mut world, &again[0], Err(refused())), world.now), [2 * limits::DELIVERY_RETRY_MS]);
    assert_eq!((all_have(&mut world, &again[1], 2), all_have(&mut world, &again[2], 2)), (vec![], vec![]));
    all_have(&mut world, &meanwhile[0], 2);
    let next = publish(&mut world, "three");
    assert!(names(&next).len() == 5 && !names(&next).contains(&again[0].hubs[0]), "{next:?}");
    world.now += 2 * limits::DELIVERY_RETRY_MS;
    let last = calls(world.alarm());
    assert_eq!((sizes(&last), names(&last)), (vec![1], names(&again[..1])));
    assert_eq!(last[0].after(), at(0));
    all_have(&mut world, &last[0], 3);
    each_has(&mut world, &next, 3);
    assert_eq!(sizes(&publish(&mut world, "four")), [3, 3], "all are as good as any other again");
}

#[test]
fn one_of_the_group_that_fails_is_called_alone_and_the_others_are_not() {
    let mut world = followed_by(6);
    let first = publish(&mut world, "one");
    let [relay, silent, broken] = first[0].hubs.clone().try_into().unwrap();
    // One is not spoken of, one answers nonsense, and one is not of the group at all.
    let stranger = first[1].hubs[0].clone();
    let unwanted = r#"{"wanted":false}"#.to_owned();
    let receipts = vec![(relay.clone(), Ok(receipt(1))), (broken.clone(), Ok("7".into())), (stranger, Ok(unwanted))];
    answer(&mut world, &first[0], Ok(receipts));
    assert_eq!(world.store.followers.len(), 6, "what is said of others is not heard");
    assert_eq!(names(&publish(&mut world, "two")), BTreeSet::from([relay]));
    world.now += limits::DELIVERY_RETRY_MS;
    let again = calls(world.alarm());
    assert_eq!((sizes(&again), names(&again)), (vec![1, 1], BTreeSet::from([silent, broken])));
}

#[test]
fn one_that_wants_it_no_longer_is_removed_and_one_that_followed_anew_is_not_touched() {
    let mut world = followed_by(6);
    let first = publish(&mut world, "one");
    let [gone, anew, good] = first[0].hubs.clone().try_into().unwrap();
    assert_eq!(world.follow(&anew), Ok(at(1)));
    let unwanted = || Ok(r#"{"wanted":false}"#.to_owned());
    let receipts = vec![(gone.clone(), unwanted()), (anew.clone(), unwanted()), (good.clone(), Ok(receipt(1)))];
    answer(&mut world, &first[0], Ok(receipts));
    assert!(!world.store.followers.contains_key(&gone) && world.store.followers.contains_key(&anew));
    assert_eq!(names(&publish(&mut world, "two")), BTreeSet::from([anew, good]));
}

#[test]
fn one_that_is_behind_is_not_in_the_group_of_those_that_are_not() {
    let mut world = followed_by(6);
    let first = publish(&mut world, "one");
    assert!(publish(&mut world, "two").is_empty());
    let behind = first[0].hubs[2].clone();
    let have = |hub: &String| (hub.clone(), Ok(receipt(u64::from(*hub != behind))));
    let next = calls(answer(&mut world, &first[0], Ok(first[0].hubs.iter().map(have).collect())));
    let mut found: Vec<_> = next.iter().map(|call| (call.hubs.len(), call.after())).collect();
    found.sort_by_key(|(size, _)| *size);
    assert_eq!(found, [(1, at(0)), (2, at(1))]);
}

#[test]
fn after_a_sleep_the_followers_are_asked_in_groups() {
    let mut world = followed_by(6);
    let first = publish(&mut world, "one");
    each_has(&mut world, &first, 1);
    world.room = wake(&world.rule).with_tree(TREE);
    let asked = calls(world.alarm());
    assert_eq!((sizes(&asked), asked[0].after()), (vec![3, 3], at(1)));
    // One that ends it is asked alone.
    each_has(&mut world, &asked, 1);
    world.room = wake(&world.rule).with_tree(TREE);
    assert_eq!(sizes(&calls(world.unfollow("h0"))), [1]);
}

#[test]
fn who_answers_while_many_calls_are_on_their_way_is_put_into_a_group_again() {
    let mut world = followed_by(9);
    for call in publish(&mut world, "one") {
        answer(&mut world, &call, Err(refused()));
    }
    assert!(publish(&mut world, "two").is_empty());
    world.now += limits::DELIVERY_RETRY_MS;
    let alone = calls(world.alarm());
    assert_eq!(sizes(&alone), [1; 9]);
    assert!(publish(&mut world, "three").is_empty());
    // Four calls may be on their way: with five, those who have answered wait.
    for call in &alone[..5] {
        assert!(calls(all_have(&mut world, call, 2)).is_empty(), "{call:?}");
    }
    let next = calls(all_have(&mut world, &alone[5], 2));
    assert_eq!((sizes(&next), names(&next)), (vec![3, 3], names(&alone[..6])));
    // Then each goes on by itself, or with the next message all who have answered.
    assert!(calls(all_have(&mut world, &alone[6], 2)).is_empty());
    let fourth = publish(&mut world, "four");
    assert_eq!(names(&fourth), names(&alone[6..7]));
    let mut open = [&next[..], &alone[7..], &fourth[..]].concat();
    let mut made = 0;
    while let Some(call) = open.pop() {
        made += 1;
        open.extend(calls(all_have(&mut world, &call, 4)));
    }
    assert!(made < 9, "{made}");
    assert_eq!(sizes(&publish(&mut world, "five")), [3, 3, 3]);
}

#[test]
fn so_many_are_tried_again_in_one_turn_and_the_others_a_second_later() {
    let most = limits::DELIVERY_TRIES_AT_ONCE;
    let mut world = followed_with(most + 10, Tree::default());
    for call in publish(&mut world, "one") {
        answer(&mut world, &call, Err(refused()));
    }
    world.now += limits::DELIVERY_RETRY_MS;
    let outputs = world.alarm();
    assert_eq!(alarms(&outputs, world.now), [1000]);
    assert_eq!(sizes(&calls(outputs)), vec![1; most]);
    world.now += 1000;
    assert_eq!(sizes(&calls(world.alarm())), [1; 10]);
}
