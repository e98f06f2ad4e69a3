use crate::call::{Connect, VERSION};
use crate::channel::ChannelName;
use crate::close::{Close, Closed, Holder, Whose};
use crate::config::{History, Rule};
use crate::directory::{Counting, Report};
use crate::limits;
use crate::link::{Follow, hub_name};
use crate::message::{Message, NewMessage, Payload};
use crate::occupancy::Occupancy::{self, Followed, Held, Vacant};
use crate::position::Epoch;
use crate::room::{Input, Output, Room, Turn};
use crate::session::{Format, Session};
use crate::store::MemoryStore;

const T: u64 = 1_763_760_000_000;

/// A room and its sockets.
struct World {
    channel: &'static str,
    room: Room,
    store: MemoryStore,
    now: u64,
    sessions: Vec<Session>,
    reports: Vec<Report>,
    alarm: Option<u64>,
    closed: Vec<(String, u16)>,
    forgotten: bool,
}

fn awake(channel: &str) -> Room {
    let rule = Rule { directory: true, history: History { size: 10, ttl: 5 }, ..Rule::default() };
    Room::wake(ChannelName::parse(channel).unwrap(), rule, None)
}

impl World {
    fn new() -> Self {
        Self::of("lobby")
    }

    fn of(channel: &'static str) -> Self {
        let (sessions, reports, closed) = (Vec::new(), Vec::new(), Vec::new());
        let store = MemoryStore::default();
        Self { channel, room: awake(channel), store, now: T, sessions, reports, alarm: None, closed, forgotten: false }
    }

    fn turn(&self) -> Turn {
        Turn { now: self.now, random: 7 }
    }

    fn perform(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Accept(session) => self.sessions.push(session),
                Output::Register(report) => self.reports.push(report),
                Output::WakeAt(at) => self.alarm = Some(at),
                Output::Close { of, code, .. } => self.closed.push((of, code)),
                Output::Forget => (self.forgotten, self.alarm) = (true, None),
                Output::Count => {
                    let sockets = self.sessions.len();
                    self.handle(Input::Counted { sockets });
                }
                Output::Flush => self.handle(Input::Flushed(Ok(()))),
                _ => {}
            }
        }
    }

    fn handle(&mut self, input: Input) {
        self.look_around();
        let mut out = Vec::new();
        let turn = self.turn();
        self.room.handle(input, turn, &mut self.store, &mut out);
        self.perform(out);
    }

    /// What its sockets remember, for the store.
    fn look_around(&mut self) {
        self.store.present = self.sessions.clone();
        self.store.remembered = self.sessions.first().map(|session| session.epoch);
    }

    fn joins(&mut self, connection: &str, user: Option<&str>) {
        let user = user.map(str::to_owned);
        let (version, format, expires_at) = (VERSION, Format::Json, None);
        let connect = Connect { version, format, user, expires_at, may_publish: false, from: None, data: None };
        let sockets = self.sessions.len();
        self.handle(Input::Connect { connect, connection: connection.into(), sockets });
    }

    fn leaves(&mut self, connection: &str) {
        let at = self.sessions.iter().position(|session| session.connection == connection).unwrap();
        let session = self.sessions.remove(at);
        let sockets = self.sessions.len();
        self.handle(Input::Left { session, sockets });
    }

    fn follows(&mut self, follows: bool) {
        self.now += 1;
        let follow = Follow { version: VERSION, hub: hub_name("1", "weur", 0), at: self.now * 1000, count: None };
        let (mut out, turn) = (Vec::new(), self.turn());
        if follows {
            self.room.follow(&follow, turn, &mut self.store, &mut out).unwrap();
        } else {
            self.room.unfollow(&follow, turn, &mut self.store, &mut out).unwrap();
        }
        self.perform(out);
    }

    fn rings(&mut self) {
        self.now = self.now.max(self.alarm.take().unwrap());
        let sessions = self.sessions.clone();
        self.room.armed(None);
        self.handle(Input::Alarm { sessions });
    }

    fn sleeps(&mut self) {
        self.room = awake(self.channel);
        self.room.armed(self.alarm);
    }

    /// The reports since the last call, all of them answered.
    fn told(&mut self) -> Vec<Occupancy> {
        let mut told = Vec::new();
        while !self.reports.is_empty() {
            let report = self.reports.remove(0);
            assert_eq!(report.of, Holder::Channel(ChannelName::parse(self.channel).unwrap()));
            told.push(report.state);
            self.handle(Input::Registered { at: report.at, state: report.state, answer: Some(report.at) });
        }
        told
    }

    fn close(&mut self, whose: Whose) -> Closed {
        let (mut out, open) = (Vec::new(), self.sessions.clone());
        let close = Close { version: VERSION, whose };
        let closed = self.room.close(&close, &open, open.len(), &mut self.store, &mut out).unwrap();
        self.perform(out);
        closed
    }
}

#[test]
fn a_change_of_sockets_or_followers_is_told_and_nothing_else() {
    let mut world = World::new();
    world.joins("a", None);
    assert_eq!(world.told(), [Held]);
    world.joins("b", None);
    world.follows(true);
    world.leaves("a");
    world.follows(false);
    world.follows(true);
    assert_eq!((world.told(), world.alarm), (vec![], Some(T + 1 + limits::DELIVERY_LOOK_MS)));
    world.leaves("b");
    assert_eq!((world.told(), world.alarm), (vec![], Some(world.now + limits::REPORT_PAUSE_MS)));
    world.rings();
    assert_eq!(world.told(), [Followed]);
    world.follows(false);
    world.rings();
    assert_eq!(world.told(), [Vacant]);
    world.follows(true);
    assert_eq!(world.told(), [Followed]);
    world.joins("c", None);
    assert_eq!(world.told(), [Held]);
}

#[test]
fn no_message_causes_a_report() {
    let mut world = World::new();
    world.joins("a", None);
    world.told();
    world.sleeps();
    for nth in 0..5 {
        let message = Message::new(None, Payload::Text("x".into()), None);
        let messages = vec![NewMessage::from(message)];
        world.handle(Input::Publish { ticket: nth, messages });
    }
    assert_eq!(world.told(), []);
}

#[test]
fn a_room_that_slept_knows_nothing_and_repeats_it_when_its_alarm_rings() {
    let mut world = World::new();
    world.joins("a", None);
    world.told();
    world.sleeps();
    world.joins("b", None);
    world.leaves("a");
    assert_eq!(world.told(), [], "there is somebody, as before");
    world.follows(true);
    assert_eq!(world.told(), [Held], "what there was before is not known, so what there is, is told");
    world.sleeps();
    world.follows(true);
    assert_eq!(world.told(), []);
    world.rings();
    assert_eq!(world.told(), [Held]);
    world.rings();
    assert_eq!(world.told(), []);
    // It sleeps in the pause.
    world.leaves("b");
    world.sleeps();
    world.rings();
    assert_eq!(world.told(), [Followed]);
}

#[test]
fn a_room_that_answers_for_members_repeats_it_once_or_twice_in_ten_minutes() {
    let mut world = World::of("presence-lobby");
    world.joins("a", Some("u"));
    world.follows(true);
    world.told();
    let (mut rings, mut told) = (0, 0);
    while world.now < T + 10 * limits::DELIVERY_LOOK_MS {
        // Asleep each time: the alarm finds nothing that it remembers.
        world.sleeps();
        world.rings();
        rings += 1;
        told += world.told().len();
    }
    assert!(rings >= 140 && (10..=20).contains(&told), "{told} in {rings} rings");
    // Whose members are all elsewhere is woken less often, and repeats it every time.
    world.leaves("a");
    world.rings();
    assert_eq!(world.told(), [Followed]);
    world.sleeps();
    world.now += limits::DELIVERY_LOOK_MS / 2;
    world.rings();
    assert_eq!(world.told(), [Followed]);
}

#[test]
fn a_room_whose_report_was_lost_in_a_trap_repeats_it_at_once() {
    for (sockets, followed, state) in [(1, false, Held), (0, true, Followed), (1, true, Held), (0, false, Vacant)] {
        let mut world = World::new();
        if sockets > 0 {
            world.joins("a", None);
        }
        if followed {
            world.follows(true);
        }
        world.reports.clear();
        world.sleeps();
        let mut out = Vec::new();
        world.room.rebuilt(&mut world.store, &mut out);
        world.perform(out);
        assert_eq!(world.told(), [state]);
    }
}

#[test]
fn a_room_is_forgotten_after_the_directory_has_heard_that_nobody_is_there() {
    let mut world = World::new();
    world.joins("a", None);
    let message = Message::new(None, Payload::Text("x".into()), None);
    world.handle(Input::Publish { ticket: 1, messages: vec![NewMessage::from(message)] });
    world.told();
    world.leaves("a");
    world.rings();
    assert_eq!(world.told(), [Vacant]);
    assert!(!world.forgotten, "there is still a message");
    world.sleeps();
    world.now += limits::ID_WINDOW_MS + 60_000;
    world.rings();
    assert!(!world.forgotten && world.alarm.is_some(), "it does not know what the directory knows");
    // It sleeps again before the answer comes.
    world.sleeps();
    assert_eq!(world.told(), [Vacant]);
    assert!(world.forgotten);
}

#[test]
fn a_room_is_forgotten_in_the_end_if_the_directory_never_answers() {
    let mut world = World::new();
    world.joins("a", None);
    world.leaves("a");
    let mut rings = 0;
    while !world.forgotten && rings < 100 {
        for report in core::mem::take(&mut world.reports) {
            world.handle(Input::Registered { at: report.at, state: report.state, answer: None });
        }
        if world.alarm.is_none() {
            break;
        }
        world.rings();
        rings += 1;
    }
    assert!(rings > 10 && rings < 40, "{rings}");
    assert!(world.forgotten);
}

#[test]
fn who_comes_back_before_it_is_forgotten_keeps_it() {
    let mut world = World::new();
    world.joins("a", None);
    world.told();
    world.leaves("a");
    world.rings();
    world.joins("b", None);
    assert_eq!(world.told(), [Vacant, Held]);
    assert!(!world.forgotten);
}

#[test]
fn a_listing_that_found_nobody_may_strike_it_out_and_the_next_one_is_told() {
    let mut world = World::new();
    world.joins("a", None);
    world.told();
    world.leaves("a");
    let count = world.room.count(Counting::default(), 0, world.turn(), &mut world.store).unwrap();
    assert_eq!((count.connections, count.hubs.len()), (0, 0));
    world.joins("b", None);
    assert_eq!(world.told(), [Held]);
    world.follows(true);
    let count = world.room.count(Counting::default(), 1, world.turn(), &mut world.store).unwrap();
    assert_eq!((count.connections, count.hubs), (1, vec![hub_name("1", "weur", 0)]));
}

#[test]
fn a_user_or_one_connection_is_closed_and_nobody_else() {
    let mut world = World::new();
    for (connection, user) in [("a", Some("u")), ("b", Some("v")), ("c", None), ("d", Some("u"))] {
        world.joins(connection, user);
    }
    assert_eq!(world.close(Whose::User("u".into())), Closed { closed: 2, state: Held });
    assert_eq!(world.closed, [("a".into(), 4403), ("d".into(), 4403)]);
    assert_eq!(world.close(Whose::Connection("c".into())).closed, 1);
    assert_eq!(world.close(Whose::Connection("e".into())).closed, 0);
    assert_eq!(world.closed.len(), 3);
    world.sessions.clear();
    assert_eq!(world.close(Whose::User("u".into())), Closed { closed: 0, state: Vacant });
    world.follows(true);
    assert_eq!(world.close(Whose::User("u".into())).state, Followed);
}

#[test]
fn an_app_without_a_directory_tells_nothing() {
    let mut world = World::new();
    world.room = Room::wake(ChannelName::parse("lobby").unwrap(), Rule::default(), None);
    world.joins("a", None);
    world.follows(true);
    world.leaves("a");
    world.follows(false);
    while world.alarm.is_some() && !world.forgotten {
        world.rings();
    }
    assert!(world.reports.is_empty() && world.forgotten);
    assert_eq!(world.store.remembered, None::<Epoch>);
}

#[test]
fn the_newest_message_is_told_as_long_as_it_is_kept() {
    let mut world = World::new();
    let newest = |world: &mut World| {
        let asked = Counting { newest: true };
        let count = world.room.count(asked, 0, world.turn(), &mut world.store).unwrap();
        count.newest.map(|newest| (newest.data, newest.ttl))
    };
    assert_eq!(newest(&mut world), None);
    for text in ["old", "new"] {
        let message = Message::new(None, Payload::Text(text.into()), None);
        world.handle(Input::Publish { ticket: 0, messages: vec![NewMessage::from(message)] });
    }
    assert_eq!(newest(&mut world), Some(("new".into(), 5)));
    world.now += 4_500;
    assert_eq!(newest(&mut world), Some(("new".into(), 1)));
    world.now += 501;
    assert_eq!(newest(&mut world), None);
    // Nobody has asked.
    let count = world.room.count(Counting::default(), 0, world.turn(), &mut world.store).unwrap();
    assert_eq!(count.newest, None);
}

#[test]
fn an_alarm_that_was_forgotten_with_the_rest_is_set_again() {
    let mut world = World::new();
    world.joins("a", None);
    world.told();
    let message = Message::new(None, Payload::Text("x".into()), None);
    world.handle(Input::Publish { ticket: 1, messages: vec![message.into()] });
    world.leaves("a");
    world.now += 3_600_000;
    world.rings();
    assert!(world.alarm.is_some() && !world.forgotten, "the Directory has to hear of it first");
    assert_eq!(world.told(), [Vacant]);
    assert!(world.alarm.is_none() && world.forgotten);
    world.now += 3_600_000;
    world.joins("b", None);
    let report = world.reports.remove(0);
    world.handle(Input::Registered { at: report.at, state: report.state, answer: None });
    assert_eq!(world.alarm, Some(world.now + limits::REPORT_RETRY_MS));
}

#[test]
fn a_late_answer_forgets_nothing_where_somebody_has_come() {
    for somebody in [true, false] {
        let mut world = World::new();
        if somebody {
            world.joins("a", None);
        }
        world.sleeps();
        world.look_around();
        world.handle(Input::Registered { at: 1, state: Vacant, answer: Some(1) });
        assert_eq!(world.forgotten, !somebody);
    }
}
