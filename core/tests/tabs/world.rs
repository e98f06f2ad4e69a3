//! What happens next, and when it is over.

use super::Tally;
use super::hub::{HubSide, Said};
use super::room::RoomSide;
use super::tab::{Tab, View};
use dormouse_core::call::{Begin, Outcome};
use dormouse_core::channel::ChannelName;
use dormouse_core::config::{App, Config, History};
use dormouse_core::hub::Input;
use dormouse_core::link::{Delivery, Follow, Receipt};
use dormouse_core::message::{Message, NewMessage};
use dormouse_core::position::{Epoch, Position};
use dormouse_core::refusal::{Code, Refusal};
use dormouse_core::resume::{Held, TakeOver};
use dormouse_core::room::{self, Turn};
use fastrand::Rng;
use std::collections::BTreeMap;

const TABS: usize = 4;
const ROOMS: usize = 2;
const STEPS: usize = 600;
/// The epoch of all pointers.
const POINTERS: Epoch = Epoch::new(9);
/// How long it may take until everything is right again, in milliseconds: a Room that fell looks after its followers ten minutes later.
const PATIENCE_MS: u64 = 3_600_000;

#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now: u64,
    pub(super) app: App,
    pub(super) rooms: Vec<RoomSide>,
    pub(super) hubs: Vec<HubSide>,
    pub(super) tabs: Vec<Tab>,
    pub(super) calls: Vec<Call>,
    replies: Vec<((Party, u64), Answer)>,
    pub(super) receipt: Said,
    /// Whether what a Hub sends now is what comes.
    pub(super) is_live: bool,
    /// What is said in the pointers' Rooms, and how often it has been.
    pub(super) pointers: BTreeMap<ChannelName, (u64, Message)>,
    pub(super) sockets: u64,
    pub(super) tally: Tally,
    pace: u64,
    /// How seldom something goes wrong; whether nothing but connections does; and whether much is published at once, now and then.
    seldom: u32,
    pub(super) mild: bool,
    pub(super) floods: bool,
    stormy: bool,
    shown: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Party {
    Room(usize),
    Hub(usize),
}

/// A request between objects, and who waits for its answer, as it was then.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) caller: Option<(Party, u64)>,
    pub(super) body: Body,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Follow { channel: ChannelName, follow: Follow },
    Unfollow { channel: ChannelName, follow: Follow },
    Missed { channel: ChannelName, from: Begin },
    Deliver { hub: String, ticket: u64, delivery: Delivery },
    Publish { channel: ChannelName, message: NewMessage },
    TakeOver { hub: String, asked: TakeOver },
}

#[derive(Debug)]
pub(super) enum Answer {
    Followed { channel: ChannelName, at: u64, result: Result<Position, Refusal> },
    Missed { channel: ChannelName, from: Begin, result: Result<Delivery, Refusal> },
    Receipt { hub: String, ticket: u64, result: Result<Receipt, String> },
    Published { channel: ChannelName, result: Result<Vec<Outcome>, Refusal> },
    TakenOver { asked: TakeOver, result: Result<Option<Held>, Refusal> },
    Nothing,
}

fn hub_of(name: &str) -> Result<usize, String> {
    name.rsplit(':').next().and_then(|nth| nth.parse().ok()).ok_or("whose hub?".into())
}

fn lost() -> Refusal {
    Refusal::new(Code::Overloaded, "lost")
}

impl Body {
    /// What the caller learns when the call, or its answer, does not come through.
    fn lost(&self) -> Answer {
        match self {
            Self::Follow { channel, follow } => {
                Answer::Followed { channel: channel.clone(), at: follow.at, result: Err(lost()) }
            }
            Self::Unfollow { .. } => Answer::Nothing,
            Self::Missed { channel, from } => {
                Answer::Missed { channel: channel.clone(), from: *from, result: Err(lost()) }
            }
            Self::Deliver { hub, ticket, .. } => {
                Answer::Receipt { hub: hub.clone(), ticket: *ticket, result: Err("lost".into()) }
            }
            Self::Publish { channel, .. } => Answer::Published { channel: channel.clone(), result: Err(lost()) },
            Self::TakeOver { asked, .. } => Answer::TakenOver { asked: asked.clone(), result: Err(lost()) },
        }
    }
}

impl World {
    pub(super) fn new(seed: u64, shown: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let apps = r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"]}]"#;
        let app = Config::parse(apps).unwrap().app(None).unwrap().clone();
        let hubs = rng.usize(1..=2);
        let mild = seed.is_multiple_of(3);
        let floods = seed.is_multiple_of(6);
        let size = if floods {
            1_000
        } else if mild {
            100
        } else {
            *rng.choice(&[0, 3, 100, 100, 100]).unwrap()
        };
        let history = History { size, ttl: 36_000 };
        let name = |nth: usize| ChannelName::parse(&format!("news-{nth}")).unwrap();
        let view = |nth: usize| (name(nth).to_string(), View::default());
        let tab = |_| Tab { channels: (0..ROOMS).map(view).collect(), ..Tab::default() };
        Self {
            now: 1_763_760_000_000,
            hubs: (0..hubs).map(|_| HubSide::new(&app)).collect(),
            app,
            rooms: (0..ROOMS).map(|nth| RoomSide::new(name(nth), history)).collect(),
            tabs: (0..TABS).map(tab).collect(),
            calls: Vec::new(),
            replies: Vec::new(),
            receipt: None,
            is_live: false,
            pointers: BTreeMap::new(),
            sockets: 0,
            tally: Tally::default(),
            seldom: if mild { 8 } else { *rng.choice(&[1, 4, 12]).unwrap() },
            mild,
            floods,
            pace: *rng.choice(&[10, 50, 200]).unwrap(),
            rng,
            stormy: true,
            shown,
        }
    }

    pub(super) fn turn(&mut self) -> Turn {
        Turn { now: self.now, random: self.rng.u64(1..) }
    }

    pub(super) fn show(&self, what: impl FnOnce() -> String) {
        if self.shown {
            println!("{} {}", self.now, what());
        }
    }

    /// Everything goes wrong at random.
    pub(super) fn storm(&mut self) -> Result<(), String> {
        for step in 0..STEPS {
            self.step().map_err(|error| format!("step {step}: {error}"))?;
        }
        Ok(())
    }

    /// Nothing goes wrong any more, and a last message in each channel shows who lacks something.
    pub(super) fn clear(&mut self) -> Result<(), String> {
        self.stormy = false;
        let until = self.now + PATIENCE_MS;
        let mut spoken = false;
        while self.now < until {
            self.step().map_err(|error| format!("clearing: {error}"))?;
            if !self.is_idle() {
                continue;
            }
            if !std::mem::replace(&mut spoken, true) {
                for nth in 0..ROOMS {
                    self.publishes(nth)?;
                }
                continue;
            }
            let head =
                |name: &str| self.rooms.iter().find(|room| room.name.as_str() == name).map_or(0, |room| room.head);
            if self.tabs.iter().all(|tab| tab.channels.iter().all(|(name, view)| view.is_at(head(name)))) {
                return Ok(());
            }
        }
        let at: Vec<_> =
            self.tabs.iter().map(|tab| tab.channels.values().map(|view| view.up_to).collect::<Vec<_>>()).collect();
        let heads: Vec<u64> = self.rooms.iter().map(|room| room.head).collect();
        Err(format!("never settled: {at:?}, and the channels are at {heads:?}"))
    }

    /// Whether nothing happens until a time has come.
    fn is_idle(&self) -> bool {
        let sockets = || self.hubs.iter().flat_map(|hub| hub.sockets.values());
        self.calls.is_empty()
            && self.replies.is_empty()
            && sockets().all(|socket| socket.up.is_empty() && !socket.dead)
            && sockets().all(|socket| socket.down.is_empty())
            && self.tabs.iter().all(|tab| tab.connected)
    }

    fn step(&mut self) -> Result<(), String> {
        self.now += self.rng.u64(0..self.pace);
        if !self.stormy && self.is_idle() {
            let alarms = self.rooms.iter().filter_map(|room| room.alarm);
            let next = alarms
                .chain(self.hubs.iter().flat_map(|hub| hub.alarm.into_iter().chain(hub.looks.iter().copied())))
                .min();
            self.now = next.unwrap_or(u64::MAX).min(self.now + 60_000).max(self.now);
        }
        for nth in 0..self.rooms.len() {
            if self.rooms[nth].alarm.is_some_and(|at| at <= self.now) {
                self.rooms[nth].alarm = None;
                return self.drive_room(nth, room::Input::Alarm { sessions: Vec::new() });
            }
        }
        for nth in 0..self.hubs.len() {
            if let Some(next) = self.hubs[nth].looks.iter().position(|at| *at <= self.now) {
                let at = self.hubs[nth].looks.swap_remove(next);
                return self.drive_hub(nth, Input::Look { at }, None);
            }
            if self.hubs[nth].alarm.is_some_and(|at| at <= self.now) {
                self.hubs[nth].alarm = None;
                return self.drive_hub(nth, Input::Alarm { kept: Vec::new() }, None);
            }
        }
        let (room, hub, tab) = (self.rng.usize(0..ROOMS), self.rng.usize(0..self.hubs.len()), self.rng.usize(0..TABS));
        match self.rng.u32(0..100) {
            0..=14 if self.stormy => self.publishes_some(room),
            0..=34 => self.something_arrives(),
            35..=59 => match self.some_socket(hub) {
                Some(socket) => (0..self.rng.usize(1..6)).try_for_each(|_| self.comes_down(hub, socket)),
                None => Ok(()),
            },
            60..=79 => match self.some_socket(hub) {
                Some(socket) => self.goes_up(hub, socket),
                None => Ok(()),
            },
            80..=87 if self.tabs[tab].at.is_none() => self.connects(tab, hub),
            88..=90 => {
                let dead = self.hubs[hub].sockets.iter().find(|(_, socket)| socket.dead && socket.up.is_empty());
                dead.map(|(number, _)| *number).map_or(Ok(()), |number| self.notices(hub, number))
            }
            91.. if self.stormy && self.rng.u32(0..self.seldom) == 0 => self.misfortune(room, hub),
            _ => Ok(()),
        }
    }

    fn misfortune(&mut self, room: usize, hub: usize) -> Result<(), String> {
        let most = if self.mild { 13 } else { 20 };
        match self.rng.u32(0..most) {
            0..=6 => {
                if let Some(socket) = self.some_socket(hub) {
                    self.tally.cuts += 1;
                    self.gives_up(hub, socket);
                }
            }
            7..=8 => {
                let until = self.now + self.rng.u64(0..5_000);
                if let Some(number) = self.some_socket(hub)
                    && let Some(socket) = self.hubs[hub].sockets.get_mut(&number)
                {
                    socket.frozen = until;
                }
            }
            9..=12 if !self.waits(Party::Hub(hub)) => {
                self.tally.sleeps += 1;
                self.hub_falls(hub);
            }
            13 => return self.hub_crashes(hub),
            14 => {
                self.tally.traps += 1;
                self.hub_falls(hub);
            }
            15 => self.room_falls(room),
            16 => self.now += self.rng.u64(0..*self.rng.clone().choice(&[2_000, 10_000, 90_000]).unwrap()),
            _ => return self.the_network_fails(),
        }
        Ok(())
    }

    fn the_network_fails(&mut self) -> Result<(), String> {
        if self.calls.is_empty() {
            return Ok(());
        }
        let at = self.rng.usize(0..self.calls.len());
        if self.rng.bool() {
            let copy = Call { caller: None, ..self.calls[at].clone() };
            self.calls.push(copy);
            return Ok(());
        }
        let call = self.calls.swap_remove(at);
        if let Some(caller) = call.caller {
            self.replies.push((caller, call.body.lost()));
        }
        if self.rng.bool() { self.arrives(Call { caller: None, ..call }) } else { Ok(()) }
    }

    fn something_arrives(&mut self) -> Result<(), String> {
        if !self.replies.is_empty() && (self.calls.is_empty() || self.rng.bool()) {
            let (caller, answer) = self.replies.swap_remove(self.rng.usize(0..self.replies.len()));
            return self.comes_back(caller, answer);
        }
        if self.calls.is_empty() {
            return Ok(());
        }
        let call = self.calls.swap_remove(self.rng.usize(0..self.calls.len()));
        self.arrives(call)
    }

    fn arrives(&mut self, call: Call) -> Result<(), String> {
        let caller = call.caller;
        let answer = match &call.body {
            Body::Deliver { hub, .. } => {
                let nth = hub_of(hub)?;
                self.hub_delivers(nth, call)?
            }
            Body::TakeOver { hub, asked } => self.hub_hands_over(hub_of(hub)?, asked)?,
            Body::Publish { channel, message } => self.pointer_hears(channel, message),
            Body::Missed { channel, from } if channel.is_pointer() => self.pointer_says(channel, *from),
            Body::Follow { channel, .. } | Body::Unfollow { channel, .. } | Body::Missed { channel, .. } => {
                let nth = self.rooms.iter().position(|room| room.name == *channel).ok_or("whose channel?")?;
                self.room_hears(nth, &call.body)?
            }
        };
        self.replies.extend(caller.map(|caller| (caller, answer)));
        Ok(())
    }

    fn comes_back(&mut self, (party, life): (Party, u64), answer: Answer) -> Result<(), String> {
        match (party, answer) {
            (Party::Room(nth), Answer::Receipt { hub, ticket, result }) if self.rooms[nth].life == life => {
                let result = result.map_err(|_| lost());
                self.drive_room(nth, room::Input::Receipt { hub, ticket, result })
            }
            (Party::Hub(nth), answer) if self.hubs[nth].memory == life => match answer {
                Answer::Followed { channel, at, result } => {
                    self.drive_hub(nth, Input::Followed { channel, at, result }, None)
                }
                Answer::Missed { channel, from, result } => {
                    self.drive_hub(nth, Input::Missed { channel, from, result }, None)
                }
                Answer::Published { channel, result } => {
                    self.drive_hub(nth, Input::Published { channel, result }, None)
                }
                Answer::TakenOver { asked, result } => {
                    let TakeOver { id, tag, .. } = asked;
                    self.drive_hub(nth, Input::Fetched { id, tag, result }, None)
                }
                Answer::Receipt { .. } | Answer::Nothing => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// The Room of a pointer keeps one message, and takes another only where it is what its sender has seen.
    fn pointer_hears(&mut self, channel: &ChannelName, new: &NewMessage) -> Answer {
        let count = self.pointers.get(channel).map_or(0, |(count, _)| *count);
        let channel = channel.clone();
        let is_second = new.message.id.is_some() && count > 0;
        if is_second || new.if_position.is_some_and(|at| at != POINTERS.at(count)) {
            let refusal = Refusal::new(Code::PositionChanged, "it is somewhere else");
            return Answer::Published { channel, result: Ok(vec![Outcome::Refused { error: refusal }]) };
        }
        self.pointers.insert(channel.clone(), (count + 1, new.message.clone()));
        let stored = Outcome::Stored { position: POINTERS.at(count + 1), duplicate: false };
        Answer::Published { channel, result: Ok(vec![stored]) }
    }

    fn pointer_says(&self, channel: &ChannelName, from: Begin) -> Answer {
        let (count, messages) = match self.pointers.get(channel) {
            Some((count, message)) => (*count, vec![message.clone()]),
            None => (0, Vec::new()),
        };
        let after = POINTERS.at(count - messages.len() as u64);
        let delivery = Delivery { channel: channel.clone(), after, messages, gap: None, members: None, count: None };
        let delivery = Delivery::decode(&delivery.encode());
        Answer::Missed { channel: channel.clone(), from, result: delivery }
    }

    fn waits(&self, party: Party) -> bool {
        let is = |caller: &Option<(Party, u64)>| caller.is_some_and(|(other, _)| other == party);
        self.calls.iter().any(|call| is(&call.caller)) || self.replies.iter().any(|(caller, _)| is(&Some(*caller)))
    }

    fn some_socket(&mut self, hub: usize) -> Option<u64> {
        let sockets: Vec<u64> = self.hubs[hub].sockets.keys().copied().collect();
        self.rng.choice(&sockets).copied()
    }
}
