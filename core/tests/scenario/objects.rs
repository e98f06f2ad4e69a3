//! The objects, in memory: every event, and what follows from it, one at a time and in a fixed order; and their sleep.

use crate::scenario::Sleep;
use crate::scenario::hall::Hall;
use crate::scenario::home::{Asker, Home};
use crate::scenario::values::Payload;
use dormouse_core::call::{Connect, Outcome, Published, decode_publish, encode_publish, parse_room_name};
use dormouse_core::config::Config;
use dormouse_core::connection::{in_hub, in_room};
use dormouse_core::edge::Hubs;
use dormouse_core::frame::Frame;
use dormouse_core::hub::{self, HubConnect};
use dormouse_core::link::parse_hub_name;
use dormouse_core::message::NewMessage;
use dormouse_core::refusal::Refusal;
use dormouse_core::room::{self, MembersPage, MembersQuery, Page, PageQuery, Turn};
use dormouse_core::session::Format;
use std::collections::{BTreeMap, VecDeque};

/// What reaches a client.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    Frame(Payload),
    /// An event of a stream, its lines joined by ` / `.
    Event(String),
    /// With a code for a socket, without for a stream.
    Closed(Option<u16>),
}

/// Everything behind the Worker, and the clock.
pub(crate) struct Objects {
    /// Without one nobody gets as far as an object.
    config: Option<Config>,
    pub(super) homes: BTreeMap<String, Home>,
    pub(super) halls: BTreeMap<String, Hall>,
    /// What is still to happen.
    pub(super) queue: VecDeque<Event>,
    sleep: Sleep,
    pub(crate) now: u64,
    random: u64,
    /// What was delivered, to whom.
    pub(crate) delivered: Vec<(String, Item)>,
    /// What the Worker remembers of full objects.
    pub(crate) full: Hubs,
}

/// What happens to an object. Objects are named by their object names.
pub(super) enum Event {
    Room(String, room::Input),
    /// The next batch for whoever is behind.
    Pump(String),
    Hub(String, hub::Input),
    /// A client's frame, or with `None` its close.
    Heard {
        object: String,
        client: String,
        frame: Option<Frame>,
    },
    /// A Hub's call to a room arrives.
    Ask {
        hub: String,
        call: hub::Output,
    },
    /// A room's delivery arrives at a Hub.
    Deliver {
        room: String,
        hub: String,
        ticket: u64,
        delivery: String,
    },
}

impl Event {
    /// Who waits for it, and does not sleep meanwhile: whoever has called, until the answer has come.
    fn waits(&self) -> Option<&str> {
        match self {
            Event::Ask { hub, .. } => Some(hub),
            Event::Deliver { room, .. } => Some(room),
            Event::Room(name, room::Input::Receipt { .. } | room::Input::Registered { .. }) => Some(name),
            Event::Hub(name, input) => is_answer(input).then_some(name),
            Event::Room(..) | Event::Pump(_) | Event::Heard { .. } => None,
        }
    }
}

fn is_answer(input: &hub::Input) -> bool {
    use hub::Input::{Followed, Missed, Published, Registered, Reported};
    matches!(input, Followed { .. } | Missed { .. } | Published { .. } | Reported { .. } | Registered { .. })
}

impl Objects {
    pub(crate) fn new(sleep: Sleep, config: Option<Config>) -> Self {
        // A whole second, so that a token for 2 s lives 2 s.
        let now = 1_763_760_000_000;
        Self {
            config,
            homes: BTreeMap::new(),
            halls: BTreeMap::new(),
            queue: VecDeque::new(),
            sleep,
            now,
            random: 0x9e37_79b9_7f4a_7c15,
            delivered: Vec::new(),
            full: Hubs::new(),
        }
    }

    /// All objects fall asleep, and wake.
    pub(crate) fn doze(&mut self) {
        self.homes.values_mut().for_each(Home::wake);
        let halls: Vec<String> = self.halls.keys().cloned().collect();
        for name in halls {
            self.wake_hub(&name);
        }
        self.run();
    }

    pub(crate) fn rows(&self, name: &str) -> usize {
        self.homes.get(name).map_or(0, |home| home.store.rows.len())
    }

    pub(crate) fn followers(&self, name: &str) -> usize {
        self.homes.get(name).map_or(0, |home| home.store.followers.len())
    }

    pub(crate) fn connect(&mut self, name: &str, connect: Connect, client: &str) -> Result<(), Refusal> {
        let random = format!("{:016x}{:016x}", self.random(), self.random());
        let home = self.home(name);
        let connection = in_room(&random, &home.channel);
        home.arriving = Some(client.to_owned());
        let sockets = home.sessions().count();
        self.happens(Event::Room(name.to_owned(), room::Input::Connect { connect, connection, sockets }));
        let home = self.home(name);
        home.arriving = None;
        home.refused.take().map_or(Ok(()), Err)
    }

    pub(crate) fn connect_hub(&mut self, name: &str, connect: HubConnect, client: &str) -> Result<(), Refusal> {
        let connection = in_hub(connect.format, &format!("{:016x}{:016x}", self.random(), self.random()), name);
        let app = parse_hub_name(name).and_then(|app| self.config.as_ref()?.app_by_id(app));
        let app = app.expect("the edge gives names of its apps");
        let hall = self.halls.entry(name.to_owned()).or_insert_with(|| Hall::new(app));
        hall.arriving = Some(client.to_owned());
        self.happens(Event::Hub(name.to_owned(), hub::Input::Connect { connect, connection, held: None }));
        let hall = self.halls.get_mut(name).expect("it has just been made");
        hall.arriving = None;
        hall.refused.take().map_or(Ok(()), Err)
    }

    /// The call and its answer go through what they are on the wire.
    pub(crate) fn publish(&mut self, name: &str, messages: &[NewMessage]) -> Result<Vec<Outcome>, Refusal> {
        let messages = decode_publish(&encode_publish(messages))?;
        let ticket = self.random();
        self.home(name).askers.insert(ticket, Asker::Worker);
        self.happens(Event::Room(name.to_owned(), room::Input::Publish { ticket, messages }));
        let outcomes = self.home(name).answers.remove(&ticket).unwrap_or_default();
        let text = serde_json::to_string(&Published { outcomes }).unwrap_or_default();
        Ok(serde_json::from_str::<Published>(&text).map(|published| published.outcomes).unwrap_or_default())
    }

    pub(crate) fn page(&mut self, name: &str, query: PageQuery) -> Result<Page, Refusal> {
        let turn = self.turn();
        let home = self.home(name);
        home.store.remembered = home.epoch();
        home.room.page(query, turn, &mut home.store)
    }

    pub(crate) fn members(&mut self, name: &str, query: &MembersQuery) -> Result<MembersPage, Refusal> {
        self.decide(name, |room, turn, store, _| room.members_page(query, turn, store))
    }

    /// A client's frame, or with `None` its close.
    pub(crate) fn hear(&mut self, object: &str, client: &str, frame: Option<Frame>) {
        self.happens(Event::Heard { object: object.to_owned(), client: client.to_owned(), frame });
    }

    /// Time passes, and alarms ring when they are due.
    pub(crate) fn wait(&mut self, ms: u64) {
        let until = self.now + ms;
        loop {
            let homes = self.homes.iter().filter_map(|(name, home)| Some((home.alarm?, name.clone())));
            let halls = self.halls.iter().filter_map(|(name, hall)| Some((hall.alarm?, name.clone())));
            let Some((at, name)) = homes.chain(halls).min().filter(|(at, _)| *at <= until) else { break };
            self.now = self.now.max(at);
            if let Some(home) = self.homes.get_mut(&name) {
                home.alarm = None;
                let sessions = home.sessions().collect();
                self.happens(Event::Room(name, room::Input::Alarm { sessions }));
            } else if let Some(hall) = self.halls.get_mut(&name) {
                hall.alarm = None;
                let kept = hall.kept();
                self.happens(Event::Hub(name, hub::Input::Alarm { kept }));
            }
        }
        self.now = until;
    }

    /// The room with that object name, made when it is first used.
    pub(super) fn home(&mut self, name: &str) -> &mut Home {
        let (app, channel) = parse_room_name(name).expect("the edge gives names that are names");
        let rule = self
            .config
            .as_ref()
            .and_then(|config| config.app_by_id(app))
            .map(|app| app.rule(&channel))
            .unwrap_or_default();
        self.homes.entry(name.to_owned()).or_insert_with(|| Home::new(channel, rule))
    }

    /// One event and all that follows from it. Nothing stays behind in an object's memory: it may sleep at any line.
    fn happens(&mut self, event: Event) {
        self.queue.push_back(event);
        self.run();
    }

    fn run(&mut self) {
        while let Some(event) = self.queue.pop_front() {
            match event {
                Event::Room(name, input) => self.drive_room(&name, input),
                Event::Pump(name) => {
                    if let Some(session) = self.homes.get(&name).and_then(Home::behind) {
                        self.queue.push_back(Event::Pump(name.clone()));
                        self.drive_room(&name, room::Input::Replay { session });
                    }
                }
                Event::Hub(name, input) => {
                    if !is_answer(&input) {
                        self.rest(&name);
                    }
                    self.drive_hub(&name, input);
                }
                Event::Heard { object, client, frame } => self.heard(&object, &client, frame),
                Event::Ask { hub, call } => self.ask(hub, call),
                Event::Deliver { room, hub, ticket, delivery } => self.deliver(&room, hub, ticket, &delivery),
            }
        }
    }

    fn heard(&mut self, object: &str, client: &str, frame: Option<Frame>) {
        self.rest(object);
        if let Some(input) = self.homes.get_mut(object).and_then(|home| home.heard(client, frame.clone())) {
            self.drive_room(object, input);
        } else if let Some(input) = self.halls.get_mut(object).and_then(|hall| hall.heard(client, frame)) {
            self.drive_hub(object, input);
        }
    }

    pub(super) fn drive_room(&mut self, name: &str, input: room::Input) {
        if !matches!(input, room::Input::Receipt { .. }) {
            self.rest(name);
        }
        self.decide(name, |room, turn, store, out| room.handle(input, turn, store, out));
    }

    /// Asks a room, and performs what it says.
    pub(super) fn decide<T>(
        &mut self,
        name: &str,
        ask: impl FnOnce(&mut room::Room, Turn, &mut dormouse_core::store::MemoryStore, &mut Vec<room::Output>) -> T,
    ) -> T {
        let turn = self.turn();
        let home = self.home(name);
        home.store.remembered = home.epoch();
        home.store.present = home.sessions().collect();
        let mut outputs = Vec::new();
        let answer = ask(&mut home.room, turn, &mut home.store, &mut outputs);
        for output in outputs {
            self.room_performs(name, output);
        }
        answer
    }

    pub(super) fn drive_hub(&mut self, name: &str, input: hub::Input) {
        let turn = self.turn();
        let Some(hall) = self.halls.get_mut(name) else { return };
        let left = if let hub::Input::Left { slot } = input { Some(slot) } else { None };
        let mut outputs = Vec::new();
        hall.hub.handle(input, turn, &mut outputs);
        for output in outputs {
            self.hub_performs(name, output);
        }
        if let Some((hall, slot)) = self.halls.get_mut(name).zip(left) {
            hall.forget(slot);
        }
    }

    /// An object sleeps before an event, if that is asked for, and if it waits for nobody.
    pub(super) fn rest(&mut self, name: &str) {
        let publishes = |asker: &Asker| matches!(asker, Asker::Hub(hub) if hub == name);
        let waits = self.queue.iter().any(|event| event.waits() == Some(name))
            || self.homes.values().any(|home| home.askers.values().any(publishes));
        if self.sleep != Sleep::BeforeEveryEvent || waits {
            return;
        }
        if let Some(home) = self.homes.get_mut(name) {
            home.wake();
        }
        self.wake_hub(name);
    }

    /// Nobody sleeps and wakes within a millisecond: that is how a Hub's numbers grow over its sleep.
    fn wake_hub(&mut self, name: &str) {
        if !self.halls.contains_key(name) {
            return;
        }
        self.now += 1;
        let turn = self.turn();
        let outputs = self.halls.get_mut(name).map(|hall| hall.wake(turn)).unwrap_or_default();
        for output in outputs {
            self.hub_performs(name, output);
        }
    }

    fn turn(&mut self) -> Turn {
        Turn { now: self.now, random: self.random() }
    }

    /// xorshift64: the same run every time.
    pub(super) fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

pub(super) fn length(frame: &Frame) -> usize {
    match frame {
        Frame::Text(text) => text.encode_utf16().count(),
        Frame::Binary(bytes) => bytes.len(),
    }
}

pub(super) fn item(format: Format, frame: Frame) -> Item {
    match frame {
        Frame::Text(text) if format.is_stream() => Item::Event(text.trim_end_matches('\n').replace('\n', " / ")),
        Frame::Text(text) => Item::Frame(Payload::Text(text)),
        Frame::Binary(bytes) => Item::Frame(Payload::Bytes(bytes)),
    }
}
