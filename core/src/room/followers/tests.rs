use crate::call::{Begin, VERSION};
use crate::config::{History, Rule};
use crate::frame::GapReason;
use crate::limits;
use crate::link::{Follow, Receipt};
use crate::position::Epoch;
use crate::refusal::Code;
use crate::room::followers::world::{World, alarms, at, brought, wake};
use crate::room::{Input, Output, Turn};
use crate::store::{FollowerRow, MemoryStore, StoreError};

#[test]
fn an_answer_from_before_it_followed_anew_does_not_end_it() {
    let mut world = World::followed_by(History::default(), &["a"]);
    let to = world.publish(&["one"]).remove(0);
    assert_eq!(world.follow("a"), Ok(at(1)));
    assert_eq!(world.receipt(&to, Ok(Receipt::UNWANTED)), []);
    assert_eq!(world.publish(&["two"])[0].is(), (at(1), vec!["two"], None));
}

#[test]
fn what_is_followed_is_not_forgotten_and_everyone_is_asked() {
    let mut world = World::followed_by(History::default(), &["a"]);
    let to = world.publish(&["one"]).remove(0);
    world.has(&to, 1);
    world.now += 3_600_000;
    let outputs = world.alarm();
    assert!(!outputs.contains(&Output::Forget));
    assert_eq!(alarms(&outputs, world.now), [limits::IDLE_LOOK_MS]);
    let probe = brought(outputs).remove(0);
    assert_eq!(probe.is(), (at(1), vec![], None));
    let outputs = world.receipt(&probe, Ok(Receipt::UNWANTED));
    assert_eq!(alarms(&outputs, world.now), [0], "nothing holds it back any more");
    assert_eq!(world.alarm(), [Output::Forget]);
}

#[test]
fn a_channel_without_messages_has_its_epoch_in_its_followers() {
    let mut world = World::followed_by(History::default(), &["a"]);
    world.sleep();
    assert_eq!(world.follow("b"), Ok(at(0)));
    let outputs = world.alarm();
    assert_eq!((alarms(&outputs, world.now), brought(outputs).len()), (vec![limits::IDLE_LOOK_MS], 2));
    world.follow("a").unwrap();
    let probe = brought(world.unfollow("a")).remove(0);
    world.receipt(&probe, Ok(Receipt::UNWANTED));
    let outputs = world.unfollow("b");
    assert_eq!(alarms(&outputs, world.now), [0; 0], "it rings by then anyway");
    assert_eq!(world.alarm(), [Output::Forget], "the empty table");
}

#[test]
fn followers_that_cannot_be_read_are_not_forgotten() {
    struct Broken(MemoryStore);
    impl crate::store::Store for Broken {
        fn load(&mut self) -> Result<Vec<crate::store::RowHead>, StoreError> {
            self.0.load()
        }
        fn read(&mut self, slot: u32) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.read(slot)
        }
        fn write(&mut self, row: &crate::store::Row) -> Result<(), StoreError> {
            self.0.write(row)
        }
        fn remove_before(&mut self, first: u64) -> Result<(), StoreError> {
            self.0.remove_before(first)
        }
        fn remembered_epoch(&mut self) -> Option<Epoch> {
            self.0.remembered_epoch()
        }
        fn followers(&mut self) -> Result<Vec<(String, FollowerRow)>, StoreError> {
            Err(StoreError::Failed)
        }
        fn follow(&mut self, hub: &str, row: FollowerRow) -> Result<(), StoreError> {
            self.0.follow(hub, row)
        }
        fn unfollow(&mut self, hub: &str) -> Result<(), StoreError> {
            self.0.unfollow(hub)
        }
        crate::store::without_members!();
    }
    let (mut room, mut out) = (wake(&Rule::default()), Vec::new());
    let turn = Turn { now: 1, random: 7 };
    room.handle(Input::Alarm { sessions: Vec::new() }, turn, &mut Broken(MemoryStore::default()), &mut out);
    assert_eq!(out, [Output::WakeAt(1 + limits::DELIVERY_RETRY_MAX_MS)]);
}

#[test]
fn following_again_costs_nothing_and_begins_at_the_end() {
    let mut world = World::new(History::default());
    let mut out = Vec::new();
    let (turn, follow) = (world.turn(), Follow { version: VERSION, hub: "a".into(), at: 0, count: None });
    world.room.follow(&follow, turn, &mut world.store, &mut out).unwrap();
    assert_eq!(out, [Output::WakeAt(world.now + limits::DELIVERY_LOOK_MS)]);
    assert_eq!((world.follow("a"), world.store.written), (Ok(at(0)), 1));
    drop((world.publish(&["one"]), world.publish(&["two"])));
    let written = world.store.written;
    assert_eq!((world.follow("a"), world.store.written), (Ok(at(2)), written));
    assert_eq!(world.publish(&["three"])[0].is(), (at(2), vec!["three"], None));
    assert_eq!(world.unfollow("unknown"), []);
    // A row from another life of the channel is written anew.
    world.store.followers.insert("a".into(), FollowerRow { epoch: Epoch::new(1), failed: false });
    world.sleep();
    world.follow("a").unwrap();
    assert_eq!(world.store.followers.get("a"), Some(&FollowerRow { epoch: Epoch::new(7), failed: false }));
}

#[test]
fn a_call_that_was_overtaken_by_a_later_one_changes_nothing() {
    let mut world = World::new(History::default());
    assert_eq!(world.follow_at("a", 5), Ok(at(0)));
    let to = world.publish(&["one"]).remove(0);
    world.unfollow_at("a", 4);
    assert_eq!(world.store.followers.len(), 1);
    assert_eq!(world.follow_at("a", 3), Ok(at(1)));
    assert!(world.publish(&["two"]).is_empty(), "what is on its way stays so");
    assert_eq!(brought(world.has(&to, 1))[0].is(), (at(1), vec!["two"], None));
    world.unfollow_at("a", 6);
    assert!(world.store.followers.is_empty() && world.publish(&["three"]).is_empty());
}

#[test]
fn a_room_that_slept_asks_before_it_ends_it() {
    for (wanted, late) in [(true, false), (true, true), (false, false)] {
        let mut world = World::followed_by(History::default(), &["a"]);
        let to = world.publish(&["one"]).remove(0);
        world.has(&to, 1);
        world.sleep();
        if late {
            // Of what was called before, in this order: to follow, to end it, to follow again.
            world.follow_at("a", 1).unwrap();
        }
        let probe = brought(world.unfollow("a")).remove(0);
        assert_eq!((probe.is(), world.unfollow("a")), ((at(1), vec![], None), vec![]));
        world.receipt(
            &probe,
            Ok(Receipt { wanted, have: wanted.then_some(at(1)), members: None, reporting: false, tally: None }),
        );
        assert_eq!(world.publish(&["two"]).len(), usize::from(wanted));
    }
}

#[test]
fn followers_are_bounded() {
    let mut world = World::new(History::default());
    for nth in 0..limits::FOLLOWERS_MAX {
        assert_eq!(world.follow(&nth.to_string()), Ok(at(0)));
    }
    assert_eq!((world.follow("more"), world.follow("0")), (Err(Code::Overloaded), Ok(at(0))));
    assert_eq!(world.follow(&"x".repeat(limits::HUB_NAME_MAX + 1)), Err(Code::InvalidField));
    let mut world = World::new(History::default());
    world.store.failing = Some(StoreError::Full);
    assert_eq!(world.follow("a"), Err(Code::StorageFull));
    assert!(world.store.followers.is_empty() && world.publish(&["refused"]).is_empty());
}

#[test]
fn what_a_socket_missed_comes_in_batches_and_writes_nothing() {
    let mut world = World::new(History { size: 4, ttl: 60 });
    for body in ["one", "two", "three", "four", "five"] {
        world.publish(&[body]);
    }
    let written = world.store.written;
    let delivery = world.missed(Begin::After(at(3)));
    assert_eq!((delivery.after, delivery.messages.len(), delivery.gap), (at(3), 2, None));
    let delivery = world.missed(Begin::After(at(0)));
    let gap = delivery.gap.unwrap();
    assert_eq!((gap.after, gap.position, gap.reason), (at(0), at(1), GapReason::Expired));
    assert_eq!((delivery.after, delivery.messages.len()), (at(1), 4));
    assert_eq!(world.missed(Begin::After(at(9))).gap.map(|gap| gap.reason), Some(GapReason::Ahead));
    let delivery = world.missed(Begin::Last(2));
    assert_eq!((delivery.after, delivery.messages.len(), delivery.gap), (at(3), 2, None));
    assert_eq!(world.store.written, written);
    let large = "x".repeat(limits::MESSAGE_BYTES_DEFAULT);
    drop((world.publish(&[&large]), world.publish(&[&large])));
    assert_eq!(world.missed(Begin::After(at(5))).messages.len(), 1);
}
