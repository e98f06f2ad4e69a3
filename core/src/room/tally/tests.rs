use crate::call::{Connect, VERSION};
use crate::channel::ChannelName;
use crate::config::{Config, Rule};
use crate::limits;
use crate::link::{Delivery, Follow, Receipt, Tally};
use crate::position::Epoch;
use crate::room::{Input, Output, Room, Turn};
use crate::session::{Format, Session};
use crate::store::MemoryStore;
use crate::webhook::Hooks;

const PUSHER: &str = "v1:1:pusher-weur:0";
const OTHER: &str = "v1:1:weur:0";

/// A delivery that is on its way: to whom, its ticket, and the number in it.
type Brought = (String, u64, Option<u64>);

struct World {
    channel: ChannelName,
    room: Room,
    store: MemoryStore,
    hooks: Hooks,
    asks: bool,
    now: u64,
    random: u64,
    brought: Vec<Brought>,
    pauses: Vec<u64>,
    told: Vec<u64>,
}

impl World {
    fn new(asks: bool, hooks: bool) -> Self {
        let webhooks = if hooks {
            r#"[{"url":"https://a.example.com/","events":["subscription_count"],"batch":true}]"#
        } else {
            "[]"
        };
        let apps = format!(r#"[{{"id":"1","key":"key","secrets":["0123456789abcdef"],"webhooks":{webhooks}}}]"#);
        let channel = ChannelName::parse("a").unwrap();
        let hooks = Hooks::of(Config::parse(&apps).unwrap().app(None).unwrap(), &channel);
        let (brought, pauses, told) = (Vec::new(), Vec::new(), Vec::new());
        let (room, store) = (Room::wake(channel.clone(), Rule::default(), None), MemoryStore::default());
        let mut world = Self { channel, room, store, hooks, asks, now: 1_000_000, random: 7, brought, pauses, told };
        world.sleep();
        world
    }

    fn sleep(&mut self) {
        let rule = Rule { subscription_count: self.asks, ..Rule::default() };
        self.room = Room::wake(self.channel.clone(), rule, None).with_hooks(self.hooks.clone());
        self.brought.clear();
    }

    fn turn(&mut self) -> Turn {
        self.random += 1;
        Turn { now: self.now, random: self.random }
    }

    fn perform(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Deliver { hub, ticket, delivery } => {
                    self.brought.push((hub, ticket, Delivery::decode(&delivery).unwrap().count.map(|of| of.count)));
                }
                Output::AnnounceIn(pause) => self.pauses.push(pause),
                Output::Post(post) => {
                    let count = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse::<u64>();
                    let parts = post.body.split(r#""subscription_count":"#).skip(1);
                    self.told.extend(parts.map(|text| count(text).unwrap()));
                    self.handle(Input::Posted { url: post.url, ticket: post.ticket, taken: true });
                }
                _ => {}
            }
        }
    }

    fn handle(&mut self, input: Input) {
        let (turn, mut out) = (self.turn(), Vec::new());
        self.room.handle(input, turn, &mut self.store, &mut out);
        self.perform(out);
    }

    fn said(&mut self, hub: &str, count: Option<u64>) -> Follow {
        Follow { version: VERSION, hub: hub.to_owned(), at: self.random, count }
    }

    fn follow(&mut self, hub: &str, count: u64) {
        let (turn, follow, mut out) = (self.turn(), self.said(hub, Some(count)), Vec::new());
        self.room.follow(&follow, turn, &mut self.store, &mut out).unwrap();
        self.perform(out);
        // It has its answer first.
        assert!(self.brought.is_empty());
        self.pause();
    }

    fn tally(&mut self, hub: &str, count: u64) -> bool {
        let (turn, follow, mut out) = (self.turn(), self.said(hub, Some(count)), Vec::new());
        let known = self.room.tally(&follow, turn, &mut self.store, &mut out).unwrap().known;
        self.perform(out);
        known
    }

    fn joins(&mut self, sockets: usize) {
        let (format, user, data) = (Format::Json, None, None);
        let connect =
            Connect { version: VERSION, format, user, expires_at: None, may_publish: false, from: None, data };
        self.handle(Input::Connect { connect, connection: format!("c{sockets}"), sockets });
        self.store.present.push(session());
    }

    fn leaves(&mut self, sockets: usize) {
        self.store.present.pop();
        self.handle(Input::Left { session: session(), sockets });
    }

    /// Answers all that is on its way: what the Hub has then. What was brought, to whom.
    fn answer(&mut self, tally: Option<u64>) -> Vec<(String, Option<u64>)> {
        let all = core::mem::take(&mut self.brought);
        for (hub, ticket, _) in &all {
            let at = self.random;
            let tally = tally.map(|count| Tally { at, count });
            let have = Some(Epoch::new(self.epoch()).at(0));
            let result = Ok(Receipt { wanted: true, have, members: None, reporting: false, tally });
            self.handle(Input::Receipt { hub: hub.clone(), ticket: *ticket, result });
        }
        all.into_iter().map(|(hub, _, count)| (hub, count)).collect()
    }

    fn epoch(&self) -> u64 {
        let epoch = self.store.followers.values().next().unwrap().epoch;
        u64::from_str_radix(epoch.at(0).to_string().split(':').next().unwrap(), 16).unwrap()
    }

    fn counts(&self) -> Vec<(&str, Option<u64>)> {
        self.brought.iter().map(|(hub, _, count)| (hub.as_str(), *count)).collect()
    }

    /// The pause is over.
    fn pause(&mut self) {
        if let Some(pause) = self.pauses.pop() {
            self.now += pause;
            self.handle(Input::Announce);
        }
    }
}

fn session() -> Session {
    Session {
        connection: "c".into(),
        format: Format::Json,
        user: None,
        expires_at: None,
        may_publish: false,
        epoch: Epoch::new(7),
        behind: None,
        data: None,
        told: None,
    }
}

fn to(hub: &str, count: Option<u64>) -> (String, Option<u64>) {
    (hub.to_owned(), count)
}

#[test]
fn the_sockets_of_all_are_told_to_hubs_that_speak_pushers_protocol() {
    let mut world = World::new(true, true);
    world.follow(PUSHER, 1);
    assert_eq!((world.answer(Some(1)), world.told.clone()), (vec![to(PUSHER, Some(1))], vec![1]));
    world.follow(OTHER, 2);
    assert_eq!(world.answer(Some(1)), [to(PUSHER, Some(3))]);
    world.joins(0);
    world.pause();
    assert_eq!((world.answer(Some(1)), world.told.clone()), (vec![to(PUSHER, Some(4))], vec![1, 3, 4]));
    world.now += 1000;
    world.leaves(0);
    assert_eq!(world.answer(Some(1)), [to(PUSHER, Some(3))], "at once");
    world.now += 1000;
    world.tally(OTHER, 0);
    assert_eq!(world.counts(), [(PUSHER, Some(1))]);
    // What changes while it is on its way comes with the next, and one at a time.
    world.now += 1000;
    world.tally(OTHER, 5);
    assert_eq!(world.brought.len(), 1);
    assert_eq!(world.answer(Some(1)), [to(PUSHER, Some(1))]);
    assert_eq!(world.answer(Some(1)), [to(PUSHER, Some(6))]);
    assert_eq!((world.counts(), world.told.clone()), (vec![], vec![1, 3, 4, 3, 1, 6]));
}

#[test]
fn who_fails_is_told_again_and_a_hub_that_has_ended_counts_no_more() {
    let mut world = World::new(true, true);
    world.follow(PUSHER, 1);
    world.answer(Some(1));
    world.follow(OTHER, 2);
    world.pause();
    let (hub, ticket, _) = world.brought.remove(0);
    let result = Err(crate::refusal::Refusal::new(crate::refusal::Code::Overloaded, "no"));
    world.handle(Input::Receipt { hub, ticket, result });
    assert!(world.brought.is_empty());
    world.now += limits::DELIVERY_RETRY_MS;
    world.handle(Input::Alarm { sessions: Vec::new() });
    let brought = world.counts();
    assert!(brought.contains(&(PUSHER, Some(3))) && !brought.contains(&(OTHER, Some(3))), "{brought:?}");
    world.brought.retain(|(hub, _, _)| hub == PUSHER);
    world.answer(Some(1));
    let (turn, follow, mut out) = (world.turn(), world.said(OTHER, None), Vec::new());
    world.room.unfollow(&follow, turn, &mut world.store, &mut out).unwrap();
    world.perform(out);
    assert_eq!(world.answer(Some(1)), [to(PUSHER, Some(1))]);
    assert!(!world.tally(OTHER, 9) && world.tally(PUSHER, 1), "nobody counts that does not follow");
    assert_eq!(world.told, [1, 3, 1]);
}

#[test]
fn a_word_that_was_overtaken_is_not_heard() {
    let mut world = World::new(true, true);
    world.follow(PUSHER, 3);
    let mut late = world.said(PUSHER, Some(1));
    late.at -= 1;
    let (turn, mut out) = (world.turn(), Vec::new());
    world.room.tally(&late, turn, &mut world.store, &mut out).unwrap();
    world.answer(None);
    assert_eq!((world.told.clone(), world.pauses.len()), (vec![3], 0));
}

#[test]
fn a_change_is_told_also_where_an_answer_was_faster_than_the_call() {
    let mut world = World::new(true, true);
    world.follow(PUSHER, 1);
    world.answer(Some(1));
    world.now += 60_000;
    world.sleep();
    let call = world.said(PUSHER, Some(2));
    world.handle(Input::Alarm { sessions: Vec::new() });
    world.room.counting.doubtful = false;
    world.answer(Some(2));
    assert_eq!((world.counts(), world.told.clone()), (vec![], vec![1]), "that it is a change is not known");
    let (turn, mut out) = (world.turn(), Vec::new());
    world.room.tally(&call, turn, &mut world.store, &mut out).unwrap();
    world.perform(out);
    assert_eq!((world.counts(), world.told.clone()), (vec![(PUSHER, Some(2))], vec![1, 2]));
}

#[test]
fn after_a_sleep_all_are_asked_before_anything_is_said() {
    let mut world = World::new(true, true);
    world.follow(PUSHER, 1);
    world.answer(Some(1));
    world.follow(OTHER, 2);
    world.pause();
    world.answer(Some(1));
    world.joins(0);
    world.pause();
    world.answer(Some(1));
    world.now += 60_000;
    // What is delivered meanwhile is no change: webhooks are not told.
    world.sleep();
    world.handle(Input::Alarm { sessions: vec![session()] });
    assert!(world.counts().iter().all(|(_, count)| count.is_none()));
    world.answer(Some(1));
    assert_eq!((world.told.clone(), world.answer(Some(1))), (vec![1, 3, 4], vec![to(PUSHER, Some(3))]));
    assert_eq!((world.told.clone(), world.counts()), (vec![1, 3, 4], vec![]));
    world.now += 60_000;
    world.sleep();
    world.tally(PUSHER, 2);
    assert_eq!((world.counts(), world.told.len()), (vec![(PUSHER, None), (OTHER, None)], 3), "it asks first");
    world.answer(Some(2));
    assert_eq!((world.counts(), world.told.clone()), (vec![(PUSHER, Some(5))], vec![1, 3, 4, 5]));
    // A Hub of older code has no number, and nobody waits for it.
    world.now += 60_000;
    world.sleep();
    world.tally(PUSHER, 3);
    let older: Vec<_> = world.brought.extract_if(.., |(hub, ..)| hub == OTHER).collect();
    world.answer(Some(3));
    world.brought.extend(older);
    world.answer(None);
    assert_eq!(world.told.last(), Some(&4));
}

#[test]
fn who_was_told_late_is_told_again() {
    let mut world = World::new(true, true);
    world.follow(PUSHER, 1);
    world.answer(Some(1));
    world.tally(PUSHER, 2);
    world.pause();
    // On its way to one that follows anew meanwhile, because it has lost its memory.
    let late = world.brought.remove(0);
    world.follow(PUSHER, 3);
    assert_eq!(world.answer(Some(3)), [to(PUSHER, Some(3))]);
    world.pause();
    assert_eq!((world.counts(), world.told.clone()), (vec![], vec![1, 2, 3]));
    world.brought.push(late);
    assert_eq!(world.answer(Some(3)), [to(PUSHER, Some(2))]);
    world.pause();
    assert_eq!((world.answer(Some(3)), world.told.clone()), (vec![to(PUSHER, Some(3))], vec![1, 2, 3]));
    world.pause();
    assert_eq!(world.counts(), []);
    // Its answer comes first, though it was told the number after that of the other.
    world.tally(PUSHER, 4);
    world.pause();
    let late = world.brought.remove(0);
    world.follow(PUSHER, 5);
    let newer = world.brought.remove(0);
    world.brought.extend([late, newer]);
    assert_eq!(world.answer(Some(5)), [to(PUSHER, Some(4)), to(PUSHER, Some(5))]);
    world.pause();
    assert_eq!(world.answer(Some(5)), [to(PUSHER, Some(5))]);
}

#[test]
fn what_a_hub_said_before_a_sleep_and_comes_after_it_is_not_taken() {
    let mut world = World::new(true, true);
    let late = world.said(PUSHER, Some(1));
    world.follow(PUSHER, 2);
    world.answer(Some(2));
    world.now += 60_000;
    world.sleep();
    let (turn, mut out) = (world.turn(), Vec::new());
    world.room.tally(&late, turn, &mut world.store, &mut out).unwrap();
    world.perform(out);
    assert_eq!(world.answer(Some(2)), [to(PUSHER, None)], "it is asked");
    assert_eq!(world.answer(Some(2)), [to(PUSHER, Some(2))]);
}

#[test]
fn who_was_to_be_told_before_a_sleep_is_told_by_alarm() {
    let mut world = World::new(true, true);
    world.follow(PUSHER, 1);
    // It has not begun: its call to follow is not answered yet.
    let (hub, ticket, count) = world.brought.remove(0);
    assert_eq!(count, Some(1));
    let tally = Some(Tally { at: world.random, count: 1 });
    let receipt = Receipt { wanted: true, have: None, members: None, reporting: false, tally };
    world.handle(Input::Receipt { hub, ticket, result: Ok(receipt) });
    assert!(world.brought.is_empty());
    world.sleep();
    world.now += limits::DELIVERY_RETRY_MS;
    world.handle(Input::Alarm { sessions: Vec::new() });
    assert_eq!(world.answer(Some(1)), [to(PUSHER, None)], "it asks first");
    assert_eq!(world.answer(Some(1)), [to(PUSHER, Some(1))]);
    // Once: it is known now.
    world.now += limits::DELIVERY_LOOK_MS;
    world.handle(Input::Alarm { sessions: Vec::new() });
    world.answer(Some(1));
    assert_eq!((world.counts(), world.told.clone()), (vec![], vec![1]));
}

#[test]
fn what_is_announced_later_has_the_greater_number_also_after_a_sleep() {
    let mut world = World::new(true, false);
    let mut last = 0;
    for count in [1, 2, 1, 2] {
        if count == 1 {
            world.sleep();
        }
        world.follow(PUSHER, count);
        // After a sleep it is asked first.
        while !world.brought.is_empty() {
            world.answer(Some(count));
        }
        let of = world.room.counting.announced().unwrap();
        assert!(of.count == count && of.at > last, "{of:?} after {last}");
        last = of.at;
        world.now += 1;
    }
}

#[test]
fn above_a_hundred_there_is_a_pause() {
    let mut world = World::new(true, true);
    world.follow(PUSHER, limits::COUNT_SMALL);
    world.answer(None);
    world.now += limits::COUNT_PAUSE_MS;
    world.tally(PUSHER, limits::COUNT_SMALL + 1);
    assert_eq!(world.answer(None), [to(PUSHER, Some(101))], "the first of them is told at once");
    for count in [102, 103, 50] {
        world.now += 1000;
        world.tally(PUSHER, count);
        assert!(world.counts().iter().all(|(_, count)| *count == Some(101)), "{:?}", world.counts());
    }
    world.answer(None);
    assert_eq!(world.pauses, [limits::COUNT_LARGE_PAUSE_MS - 1000], "one timer");
    // It began a second after the announcement.
    world.now -= 2000;
    world.pause();
    assert_eq!((world.counts(), world.told.clone()), (vec![(PUSHER, Some(50))], vec![100, 101, 50]));
}

#[test]
fn nothing_is_done_where_no_rule_asks_or_nobody_hears() {
    let mut world = World::new(false, true);
    world.follow(PUSHER, 1);
    world.tally(PUSHER, 2);
    world.joins(0);
    world.leaves(0);
    assert_eq!((world.counts(), world.told.clone(), world.pauses.clone()), (vec![], vec![], vec![]));
    let mut world = World::new(true, false);
    world.follow(OTHER, 1);
    world.sleep();
    world.joins(0);
    world.tally(OTHER, 2);
    world.leaves(0);
    assert_eq!((world.counts(), world.pauses.clone()), (vec![], vec![]));
}

#[test]
fn the_last_number_is_told_before_the_channel_is_forgotten() {
    let mut world = World::new(true, true);
    world.joins(0);
    world.leaves(0);
    assert_eq!(world.told, [1]);
    world.handle(Input::Alarm { sessions: Vec::new() });
    assert_eq!(world.told, [1, 0]);
}
