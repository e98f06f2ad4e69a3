use crate::call::VERSION;
use crate::channel::ChannelName;
use crate::close::{Close, Closed, Whose};
use crate::config::Config;
use crate::directory::HubCount;
use crate::frame::Frame;
use crate::hub::{Hub, HubConnect, Input, Output, Slot, Want};
use crate::limits;
use crate::occupancy::Occupancy::{self, Held, Vacant};
use crate::room::Turn;
use crate::session::Format;
use crate::token::Grants;

const T: u64 = 1_763_760_000_000;

struct World {
    hub: Hub,
    now: u64,
    reports: Vec<(Occupancy, u64)>,
    alarm: Option<u64>,
    slots: Vec<Slot>,
}

impl World {
    fn new(directory: bool) -> Self {
        let apps = format!(r#"[{{"id":"1","key":"k","secrets":["0123456789abcdef"],"directory":{directory}}}]"#);
        let hub = Hub::wake(Config::parse(&apps).unwrap().app(None).unwrap().clone());
        Self { hub, now: T, reports: Vec::new(), alarm: None, slots: Vec::new() }
    }

    fn handle(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.hub.handle(input, Turn { now: self.now, random: 7 }, &mut out);
        self.perform(&out);
        out
    }

    fn perform(&mut self, out: &[Output]) {
        for output in out {
            match output {
                Output::Accept { slot, .. } => self.slots.push(*slot),
                Output::Register { state, at } => self.reports.push((*state, *at)),
                Output::WakeAt(at) => self.alarm = Some(*at),
                _ => {}
            }
        }
    }

    fn joins(&mut self, connection: &str, user: Option<&str>, format: Format, channels: &[&str]) -> Slot {
        let want = |name: &&str| Want {
            channel: ChannelName::parse(name).unwrap(),
            from: None,
            may_publish: false,
            data: None,
        };
        let (user, wants) = (user.map(str::to_owned), channels.iter().map(want).collect());
        let connect = HubConnect {
            version: VERSION,
            format,
            user,
            expires_at: None,
            grants: Grants::default(),
            info: None,
            resume: None,
            wants,
        };
        self.handle(Input::Connect { connect, connection: connection.into(), held: None });
        *self.slots.last().unwrap()
    }

    fn rings(&mut self) {
        self.now = self.now.max(self.alarm.take().unwrap());
        self.handle(Input::Alarm { kept: Vec::new() });
    }

    fn told(&mut self) -> Vec<Occupancy> {
        let mut told = Vec::new();
        while !self.reports.is_empty() {
            let (state, at) = self.reports.remove(0);
            told.push(state);
            self.handle(Input::Registered { at, state, answer: Some(at) });
        }
        told
    }

    fn close(&mut self, whose: Whose, is_open: impl Fn(Slot) -> bool) -> (Closed, Vec<Output>) {
        let mut out = Vec::new();
        let closed = self.hub.close(&Close { version: VERSION, whose }, is_open, &mut out);
        (closed, out)
    }
}

#[test]
fn the_first_socket_is_told_at_once_and_the_end_of_the_last_after_a_pause() {
    let mut world = World::new(true);
    let one = world.joins("a", None, Format::Many, &[]);
    assert_eq!(world.told(), [Held]);
    let other = world.joins("b", None, Format::Many, &[]);
    world.handle(Input::Left { slot: one });
    assert_eq!(world.told(), []);
    world.handle(Input::Left { slot: other });
    assert_eq!((world.told(), world.alarm), (vec![], Some(T + limits::REPORT_PAUSE_MS)));
    let back = world.joins("c", None, Format::Many, &[]);
    world.rings();
    assert_eq!(world.told(), []);
    world.handle(Input::Left { slot: back });
    world.rings();
    assert_eq!((world.told(), world.alarm), (vec![Vacant], None));
}

#[test]
fn a_hub_that_slept_repeats_it_by_alarm() {
    let mut world = World::new(true);
    world.joins("a", None, Format::Many, &[]);
    let session = world.hub.sessions.first().cloned().flatten().unwrap();
    let mut awake = World::new(true);
    awake.hub.restore(session);
    awake.joins("b", None, Format::Many, &[]);
    assert_eq!(awake.told(), []);
    awake.alarm = Some(T);
    awake.rings();
    assert_eq!(awake.told(), [Held]);
}

#[test]
fn a_hub_that_lost_its_calls_repeats_it_at_once() {
    let mut world = World::new(true);
    world.joins("a", None, Format::Many, &[]);
    let session = world.hub.sessions.first().cloned().flatten().unwrap();
    for (sockets, lost, told) in [(true, true, vec![Held]), (true, false, vec![]), (false, true, vec![])] {
        let mut awake = World::new(true);
        if sockets {
            awake.hub.restore(session.clone());
        }
        let mut out = Vec::new();
        awake.hub.restored(lost.then(Vec::new), Turn { now: T, random: 7 }, &mut out);
        awake.perform(&out);
        assert_eq!(awake.told(), told, "{sockets} {lost}");
    }
}

#[test]
fn a_user_or_one_connection_is_closed_in_every_format() {
    let mut world = World::new(true);
    let formats = [Format::Many, Format::ManyStream, Format::Json, Format::Stream, Format::RawStream, Format::Raw];
    for (format, connection) in formats.into_iter().zip(["a", "b", "c", "d", "e", "f"]) {
        world.joins(connection, Some("u"), format, &["lobby"]);
        let other = format!("{connection}-other");
        world.joins(&other, Some("v"), format, &["lobby"]);
    }
    let count = |world: &World| {
        let channels = vec![ChannelName::parse("lobby").unwrap(), ChannelName::parse("empty").unwrap()];
        world.hub.count(&HubCount { version: VERSION, channels }).connections
    };
    assert_eq!(count(&world), [12, 0]);
    let (closed, out) = world.close(Whose::User("u".into()), |_| true);
    assert_eq!(closed, Closed { closed: 6, state: Held });
    let ended: Vec<(Slot, u16)> = out
        .iter()
        .filter_map(|output| match output {
            Output::Close { slot, code, .. } => Some((*slot, *code)),
            _ => None,
        })
        .collect();
    assert_eq!(ended, [0, 2, 4, 6, 8, 10].map(|slot| (slot, 4403)));
    let words = out.iter().filter_map(|output| match output {
        Output::Send { frames, .. } => frames.first(),
        _ => None,
    });
    let words: Vec<&str> = words.map(|frame| if let Frame::Text(text) = frame { text } else { "" }).collect();
    // A raw socket has no words.
    assert_eq!(words.len(), 5);
    assert!(words.iter().all(|text| text.contains("closed by the app")), "{words:?}");
    // Those that were told are not told again.
    assert_eq!(world.close(Whose::User("u".into()), |slot| slot % 2 == 1).0.closed, 0);
    let (closed, out) = world.close(Whose::Connection("a-other".into()), |slot| slot % 2 == 1);
    assert_eq!((closed.closed, out.len()), (1, 2));
    for slot in 0..12 {
        world.handle(Input::Left { slot });
    }
    assert_eq!(count(&world), [0, 0]);
    let (closed, _) = world.close(Whose::User("u".into()), |_| true);
    assert_eq!(closed, Closed { closed: 0, state: Vacant });
    // The directory may have struck it out: whoever comes next is told, pause or not.
    world.told();
    world.joins("g", None, Format::Many, &[]);
    assert_eq!(world.told(), [Held]);
}

#[test]
fn an_app_without_a_directory_tells_nothing() {
    let mut world = World::new(false);
    let slot = world.joins("a", None, Format::Many, &[]);
    world.handle(Input::Left { slot });
    assert!(world.reports.is_empty() && world.alarm == Some(T + limits::HUB_REVIEW_MS));
}
