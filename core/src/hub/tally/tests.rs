use crate::call::{Begin, VERSION};
use crate::channel::ChannelName;
use crate::config::Config;
use crate::frame::Frame;
use crate::hub::{Hub, HubConnect, Input, Output, Slot};
use crate::limits;
use crate::link::{Delivery, Receipt, Tally};
use crate::position::{Epoch, Position};
use crate::refusal::{Code, Refusal};
use crate::room::Turn;
use crate::session::Format;
use crate::token::Grants;

fn name(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

fn at(seq: u64) -> Position {
    Epoch::new(7).at(seq)
}

struct World {
    hub: Hub,
    now: u64,
    come: u32,
}

impl World {
    fn new(more: &str) -> Self {
        let apps = format!(r#"[{{"id":"1","key":"k","secrets":["0123456789abcdef"],"channels":[{{{more}}}]}}]"#);
        let hub = Hub::wake(Config::parse(&apps).unwrap().app(None).unwrap().clone());
        Self { hub, now: 1_000_000, come: 0 }
    }

    fn counting() -> Self {
        Self::new(r#""subscription_count":true"#)
    }

    fn handle(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.hub.handle(input, Turn { now: self.now, random: 7 }, &mut out);
        out
    }

    fn connect(&mut self, format: Format) -> Slot {
        let (grants, wants) = (Grants::default(), Vec::new());
        let connect = HubConnect {
            version: VERSION,
            format,
            user: None,
            expires_at: None,
            grants,
            info: None,
            resume: None,
            wants,
        };
        let connection = format!("3.{}", self.come);
        self.come += 1;
        match self.handle(Input::Connect { connect, connection, held: None }).first() {
            Some(Output::Accept { slot, .. }) => *slot,
            other => panic!("{other:?}"),
        }
    }

    /// Comes, and subscribes.
    fn joins(&mut self, format: Format, channel: &str) -> (Slot, Vec<Output>) {
        let slot = self.connect(format);
        let text = match format {
            Format::Pusher => format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#),
            _ => format!(r#"{{"type":"subscribe","channel":"{channel}"}}"#),
        };
        (slot, self.handle(Input::Frame { slot, frame: Frame::Text(text) }))
    }

    /// The first one, whose call to follow is answered.
    fn begins(&mut self, channel: &str) -> Slot {
        let (slot, out) = self.joins(Format::Pusher, channel);
        assert_eq!((follows(&out), tallies(&out)), (vec![Some(1)], vec![]), "{out:?}");
        let at = self.hub.channels.get(&name(channel)).unwrap().following.unwrap();
        let out = self.handle(Input::Followed { channel: name(channel), at, result: Ok(self::at(0)) });
        assert!(tallies(&out).is_empty(), "{out:?}");
        if out.iter().any(|output| matches!(output, Output::Missed { .. })) {
            let after = self::at(0);
            let empty =
                Delivery { channel: name(channel), after, messages: Vec::new(), gap: None, members: None, count: None };
            self.handle(Input::Missed { channel: name(channel), from: Begin::Last(1), result: Ok(empty) });
        }
        slot
    }

    fn tallied(&mut self, result: Result<bool, Refusal>) -> Vec<Output> {
        self.handle(Input::Tallied { channel: name("a"), result })
    }

    fn delivers(&mut self, count: Option<u64>) -> (Receipt, Vec<Output>) {
        self.delivers_of(count.map(|count| Tally { at: 0, count }))
    }

    fn delivers_of(&mut self, count: Option<Tally>) -> (Receipt, Vec<Output>) {
        let (channel, messages) = (name("a"), Vec::new());
        let delivery = Delivery { channel, after: at(0), messages, gap: None, members: None, count };
        let mut out = self.handle(Input::Deliver { ticket: 1, delivery });
        let place = out.iter().position(|output| matches!(output, Output::Receipt { .. })).unwrap();
        match out.remove(place) {
            Output::Receipt { receipt, .. } => (receipt, out),
            other => panic!("{other:?}"),
        }
    }
}

fn follows(out: &[Output]) -> Vec<Option<u64>> {
    let count = |output: &Output| if let Output::Follow { count, .. } = output { Some(*count) } else { None };
    out.iter().filter_map(count).collect()
}

fn tallies(out: &[Output]) -> Vec<u64> {
    let count = |output: &Output| if let Output::Tally { tally, .. } = output { Some(tally.count) } else { None };
    out.iter().filter_map(count).collect()
}

fn pauses(out: &[Output]) -> Vec<u64> {
    out.iter().filter_map(|output| if let Output::TallyIn(ms) = output { Some(*ms) } else { None }).collect()
}

/// Who was told, and what.
fn told(out: &[Output]) -> Vec<(Vec<Slot>, String)> {
    let sent = out.iter().filter_map(|output| match output {
        Output::Send { slots, frames } => Some((slots.clone(), format!("{:?}", frames.first()?))),
        _ => None,
    });
    sent.filter(|(_, text)| text.contains("subscription_count")).collect()
}

#[test]
fn a_change_is_said_at_once_and_those_after_it_together() {
    let mut world = World::counting();
    let first = world.begins("a");
    let (_, out) = world.joins(Format::Many, "a");
    assert_eq!((tallies(&out), pauses(&out)), (vec![2], vec![]), "sockets of every dialect count");
    // One call at a time, whatever happens.
    let (_, out) = world.joins(Format::Pusher, "a");
    assert_eq!((tallies(&out), pauses(&out)), (vec![], vec![]));
    world.now += 50;
    let out = world.tallied(Ok(true));
    assert_eq!((tallies(&out), pauses(&out)), (vec![], vec![limits::COUNT_PAUSE_MS - 50]));
    let out = world.handle(Input::Left { slot: first });
    assert_eq!((tallies(&out), pauses(&out)), (vec![], vec![]), "one timer");
    world.now += limits::COUNT_PAUSE_MS - 50;
    assert_eq!(tallies(&world.handle(Input::Tally)), [2]);
    assert_eq!(tallies(&world.tallied(Ok(true))), [] as [u64; 0]);
    assert_eq!(tallies(&world.handle(Input::Tally)), [] as [u64; 0]);
}

#[test]
fn who_comes_while_the_hub_begins_to_follow_is_said_after_it() {
    let mut world = World::counting();
    let (_, out) = world.joins(Format::Pusher, "a");
    assert_eq!((follows(&out), tallies(&out)), (vec![Some(1)], vec![]));
    let (_, out) = world.joins(Format::Pusher, "a");
    assert_eq!((follows(&out), tallies(&out), pauses(&out)), (vec![], vec![], vec![]));
    let at = world.hub.channels.get(&name("a")).unwrap().following.unwrap();
    let out = world.handle(Input::Followed { channel: name("a"), at, result: Ok(self::at(0)) });
    assert_eq!(tallies(&out), [2]);
}

#[test]
fn a_call_that_failed_is_made_again_before_the_hub_sleeps() {
    let mut world = World::counting();
    let first = world.begins("a");
    let (slot, _) = world.joins(Format::Pusher, "a");
    let out = world.tallied(Err(Refusal::new(Code::Overloaded, "no")));
    assert_eq!((tallies(&out), pauses(&out)), (vec![], vec![limits::COUNT_RETRY_MS]));
    // Also when the last one has left meanwhile: no attachment says that there is something to say.
    for slot in [slot, first] {
        let out = world.handle(Input::Left { slot });
        assert_eq!((tallies(&out), pauses(&out)), (vec![], vec![]), "one timer");
    }
    world.now += limits::COUNT_RETRY_MS - 1;
    let out = world.handle(Input::Tally);
    assert_eq!((tallies(&out), pauses(&out)), (vec![], vec![1]), "it rang early");
    world.now += 1;
    assert_eq!(tallies(&world.handle(Input::Tally)), [0]);
    // A room that does not know the Hub is followed anew.
    world.joins(Format::Pusher, "a");
    assert_eq!(follows(&world.tallied(Ok(false))), [Some(1)]);
}

#[test]
fn what_has_failed_holds_nothing_else_up() {
    let mut world = World::counting();
    world.begins("a");
    world.joins(Format::Pusher, "a");
    world.tallied(Err(Refusal::new(Code::Overloaded, "no")));
    world.begins("b");
    world.joins(Format::Pusher, "b");
    world.handle(Input::Tallied { channel: name("b"), result: Ok(true) });
    let (_, out) = world.joins(Format::Pusher, "b");
    assert_eq!((tallies(&out), pauses(&out)), (vec![], vec![limits::COUNT_PAUSE_MS]));
    world.now += limits::COUNT_PAUSE_MS;
    let out = world.handle(Input::Tally);
    assert_eq!((tallies(&out), pauses(&out)), (vec![3], vec![]), "the other timer waits already");
    world.now += limits::COUNT_RETRY_MS;
    assert_eq!(tallies(&world.handle(Input::Tally)), [2]);
    // A clock that was set back is not waited for.
    world.tallied(Err(Refusal::new(Code::Overloaded, "no")));
    world.now -= 600_000;
    assert_eq!(tallies(&world.handle(Input::Tally)), [2]);
}

#[test]
fn a_number_that_was_overtaken_is_not_told() {
    let mut world = World::counting();
    world.begins("a");
    let of = |at, count| Some(Tally { at, count });
    for (of, is_told) in [(of(7, 12), true), (of(6, 11), false), (of(8, 12), false), (of(7, 11), false)] {
        assert_eq!(!told(&world.delivers_of(of).1).is_empty(), is_told, "{of:?}");
    }
    assert_eq!(told(&world.delivers_of(of(8, 13)).1).len(), 1, "of the same announcement");
    assert_eq!(told(&world.delivers(Some(14)).1).len(), 1, "a Room of older code does not say");
    assert!(told(&world.delivers_of(of(7, 11)).1).len() == 1, "and what it said has no place");
}

#[test]
fn subscribers_in_pushers_protocol_are_told_each_number_once() {
    let mut world = World::counting();
    let first = world.begins("a");
    world.joins(Format::Many, "a");
    let (receipt, out) = world.delivers(Some(12));
    let text = r#"{"event":"pusher_internal:subscription_count","channel":"a","data":"{\"subscription_count\":12}"}"#;
    assert_eq!(told(&out), [(vec![first], format!("{:?}", Frame::Text(text.into())))]);
    assert_eq!(receipt.tally.map(|tally| tally.count), Some(2));
    assert!(told(&world.delivers(Some(12)).1).is_empty() && told(&world.delivers(None).1).is_empty());
    let (third, _) = world.joins(Format::Pusher, "a");
    assert_eq!(told(&world.delivers(Some(12)).1)[0].0, [first, third], "the newcomer has not been told");
    assert_eq!(told(&world.delivers(Some(13)).1).len(), 1);
    // What is said later has the greater number.
    let (one, other) = (world.delivers(None).0, world.delivers(None).0);
    assert!(one.tally.unwrap().at < other.tally.unwrap().at);
}

#[test]
fn who_waits_is_the_reason_for_one_number_and_not_for_the_next() {
    let mut world = World::counting();
    world.begins("cache-a");
    // It waits for the last message, and is not live when the number comes.
    let (late, out) = world.joins(Format::Pusher, "cache-a");
    assert_eq!(tallies(&out), [2]);
    let channel = name("cache-a");
    let delivers = |world: &mut World| {
        let (channel, messages) = (channel.clone(), Vec::new());
        let delivery = Delivery {
            channel,
            after: at(0),
            messages,
            gap: None,
            members: None,
            count: Some(Tally { at: 0, count: 2 }),
        };
        world.handle(Input::Deliver { ticket: 1, delivery })
    };
    let tallied = |world: &mut World| world.handle(Input::Tallied { channel: channel.clone(), result: Ok(true) });
    assert_eq!(told(&delivers(&mut world)).len(), 1);
    for _ in 0..5 {
        world.now += limits::COUNT_PAUSE_MS;
        let mut out = tallied(&mut world);
        out.extend(world.handle(Input::Tally));
        assert!(tallies(&out).is_empty() && pauses(&out).is_empty(), "{out:?}");
    }
    let empty = Delivery {
        channel: channel.clone(),
        after: at(0),
        messages: Vec::new(),
        gap: None,
        members: None,
        count: None,
    };
    let out = world.handle(Input::Missed { channel: channel.clone(), from: Begin::Last(1), result: Ok(empty) });
    assert_eq!(tallies(&out), [2], "now it can be told");
    tallied(&mut world);
    assert!(told(&delivers(&mut world))[0].0.contains(&late));
    assert!(told(&delivers(&mut world)).is_empty());
}

#[test]
fn after_a_sleep_nothing_is_said_and_after_a_trap_everything() {
    for (lost, expected) in [(None, vec![]), (Some(Vec::new()), vec![1])] {
        let mut world = World::counting();
        let slot = world.begins("a");
        let session = world.hub.session(slot).unwrap().clone();
        let mut other = World::counting();
        other.hub.restore(session);
        let mut out = Vec::new();
        other.hub.restored(lost, Turn { now: world.now, random: 7 }, &mut out);
        assert_eq!(tallies(&out), expected);
    }
}

#[test]
fn without_the_rule_nothing_is_said() {
    for more in ["", r#""prefix":"b","subscription_count":true"#] {
        let mut world = World::new(more);
        let (_, out) = world.joins(Format::Pusher, "a");
        assert_eq!(follows(&out), [None]);
        let at = world.hub.channels.get(&name("a")).unwrap().following.unwrap();
        world.handle(Input::Followed { channel: name("a"), at, result: Ok(self::at(0)) });
        let (slot, out) = world.joins(Format::Pusher, "a");
        assert!(tallies(&out).is_empty(), "{out:?}");
        assert!(tallies(&world.handle(Input::Left { slot })).is_empty());
        assert_eq!(world.delivers(None).0.tally, None);
    }
    let counts = |channel: &ChannelName| World::counting().hub.app.counts(channel);
    assert!(counts(&name("a")) && counts(&name("private-a")) && !counts(&name("presence-a")));
    assert!(!counts(&ChannelName::of_user("7").unwrap()) && !counts(&ChannelName::of_online("7").unwrap()));
}
