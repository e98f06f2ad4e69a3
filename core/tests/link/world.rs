//! The simulation itself: what happens next, and when it is over.

use super::Tally;
use super::directory::{BOUND_MS as LISTED_MS, DirectorySide};
use super::hub::HubSide;
use super::network::{Call, Caller, Party, Reply, channel};
use super::reader::{Reader, State};
use super::room::RoomSide;
use super::{count, presence, pusher};
use crate::ledger::Ledger;
use dormouse_core::call::{Begin, VERSION};
use dormouse_core::channel::ChannelName;
use dormouse_core::config::{App, Config, History};
use dormouse_core::directory;
use dormouse_core::limits;
use dormouse_core::link::Missed;
use dormouse_core::message::{Message, NewMessage, Payload};
use dormouse_core::position::Position;
use dormouse_core::room::{Input, Tree, Turn};
use dormouse_core::token::Grants;
use fastrand::Rng;

pub(super) const READERS: usize = 5;
pub(super) const HUBS: usize = 3;
/// Those who speak Pusher's protocol, and Hubs of their own.
const PUSHERS: usize = 3;
const PUSHER_HUBS: usize = 2;
pub(super) const ROOMS: usize = 2;
const STEPS: u64 = 400;

#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now: u64,
    pub(super) app: App,
    pub(super) names: Vec<ChannelName>,
    /// Whether the channels have members, and what readers may have then.
    pub(super) has_members: bool,
    pub(super) grants: Grants,
    pub(super) rooms: Vec<RoomSide>,
    pub(super) hubs: Vec<HubSide>,
    pub(super) readers: Vec<Reader>,
    /// After the readers, where all clients are numbered.
    pub(super) pushers: Vec<pusher::Reader>,
    pub(super) ledgers: Vec<Ledger>,
    pub(super) calls: Vec<Call>,
    pub(super) replies: Vec<Reply>,
    pub(super) published: u64,
    pub(super) connections: u64,
    pub(super) tally: Tally,
    /// Whether things go wrong, and whether anything is published.
    pub(super) stormy: bool,
    publishing: bool,
    /// Which channels each reader wants in the end.
    pub(super) wants: Vec<[bool; ROOMS]>,
    /// Milliseconds that a step takes at most.
    pace: u64,
    /// Whether a Room fell while it asked what its followers have.
    pub(super) asks_in_vain: bool,
    /// Whether no reader wants the last channel, and nothing is published there: it has nothing but sockets of its own.
    alone: bool,
    /// Whether the app has a Directory.
    has_directory: bool,
    pub(super) directory: DirectorySide,
}

pub(super) fn message(body: &str) -> NewMessage {
    let message = Message::new(None, Payload::Json(format!("\"{body}\"")), Some(body.to_owned()));
    NewMessage::from(message)
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let has_members = seed % 2 == 1;
        let kind = if has_members { "presence" } else { "channel" };
        let names: Vec<ChannelName> = (0..ROOMS).map(|nth| channel(kind, nth)).collect();
        let grants = if has_members { r#"{"presence-*":["sub","pub"]}"# } else { "{}" };
        let pace = if has_members { *rng.choice(&[20, 200, 1_000]).unwrap() } else { 200 };
        let full = rng.usize(2..=READERS);
        let has_directory = seed % 8 > 1;
        let alone = has_directory && rng.u32(0..4) == 0;
        let wanted: [bool; ROOMS] = core::array::from_fn(|nth| !alone || nth + 1 < ROOMS);
        // In two of three histories there are clients of Pusher's protocol, and where there are no members they are told in most of them how many there are.
        let (pushers, pusher_hubs) = if (seed / 2).is_multiple_of(3) { (0, 0) } else { (PUSHERS, PUSHER_HUBS) };
        let counted = *rng.choice(&["", "", "channel-0", "none"]).unwrap();
        let apps = format!(
            r#"[{{"id":"1","key":"k","secrets":["{}"],"hub_connections":{full},"directory":{has_directory},"channels":[
                {{"publish":true,"client_rate":1000,"subscription_count":{}}},
                {{"prefix":"channel-0","publish":true,"client_rate":1000,"subscription_count":{}}}]}}]"#,
            pusher::SECRET,
            counted.is_empty(),
            counted != "none"
        );
        let app = Config::parse(&apps).unwrap().app(None).unwrap().clone();
        let ttl = if rng.bool() { 3600 } else { rng.u64(1..=120) };
        let history = History { size: *rng.choice(&[0, 1, 10, 100, 100]).unwrap(), ttl };
        // In three of four histories the Hubs hand on to each other what the Rooms bring.
        let tree =
            Tree { followers: *rng.choice(&[1, 1, 2, limits::RELAY_FOLLOWERS]).unwrap(), group: rng.usize(2..=3) };
        Self {
            rng,
            now: 1_000_000,
            rooms: names.iter().map(|name| RoomSide::new(name.clone(), history, tree, &app)).collect(),
            hubs: (0..HUBS + pusher_hubs).map(|_| HubSide::new(&app)).collect(),
            app,
            names,
            has_members,
            grants: serde_json::from_str(grants).unwrap(),
            readers: (0..READERS).map(|_| Reader::default()).collect(),
            pushers: (0..pushers).map(|_| pusher::Reader::default()).collect(),
            ledgers: (0..ROOMS).map(|_| Ledger::default()).collect(),
            calls: Vec::new(),
            replies: Vec::new(),
            published: 0,
            connections: 0,
            tally: Tally::default(),
            stormy: true,
            publishing: true,
            wants: vec![wanted; READERS + pushers],
            pace,
            asks_in_vain: false,
            alone,
            has_directory,
            directory: DirectorySide::new(),
        }
    }

    pub(super) fn turn(&mut self) -> Turn {
        Turn { now: self.now, random: self.rng.u64(..) }
    }

    /// Everything goes wrong at random.
    pub(super) fn storm(&mut self) -> Result<(), String> {
        for _ in 0..STEPS {
            self.step().map_err(|error| format!("step {}: {error}", self.tally.steps))?;
        }
        Ok(())
    }

    /// Nothing goes wrong any more, and every reader wants every channel; where there are members, some of them. In half of the histories nothing is published either: then no later message shows who lacks something.
    pub(super) fn clear(&mut self) -> Result<(), String> {
        self.stormy = false;
        if self.has_members || self.is_counting() {
            self.pace = 20;
        }
        if self.has_members || self.has_directory && self.rng.bool() {
            for wants in self.wants.iter_mut().flatten() {
                *wants &= self.rng.bool();
            }
        }
        for nth in 0..ROOMS {
            if self.has_directory && self.rng.bool() {
                self.guests_leave(nth)?;
            }
        }
        // A Room that fell between storing and delivering asks its followers when its alarm rings, ten minutes later; one that
        // has lost its followers too, or falls again while it asks, is found by the Hubs' review, once a day.
        let patience = match (self.tally.losses, self.asks_in_vain) {
            (0, false) if self.has_members => 2 * limits::PRESENCE_LOOK_MS,
            (0, false) => 4 * limits::ID_WINDOW_MS,
            _ => 2 * limits::HUB_REVIEW_MS,
        };
        let (mut calm_at, mut listed_at, mut known) = (None, 0, Ok(()));
        let (cleared_at, steps, speaks) = (self.now, self.tally.steps, self.rng.bool());
        while self.now < cleared_at + patience {
            self.step().map_err(|error| format!("clearing, step {}: {error}", self.tally.steps))?;
            self.publishing = speaks && self.tally.steps < steps + 300;
            if self.publishing || !self.is_idle() {
                continue;
            }
            if calm_at.is_none() {
                calm_at = Some(self.now);
                self.somebody_asks()?;
                self.somebody_comes()?;
            }
            // What is right by then stays so.
            let is_time = calm_at.is_some_and(|at| self.now >= at + self.bound_ms());
            known = if is_time { self.everybody_knows().and_then(|()| self.everybody_can_count()) } else { Ok(()) };
            if self.tally.losses == 0 {
                known.clone().map_err(|error| format!("calm since {calm_at:?}, now {}: {error}", self.now))?;
            }
            if !is_time || known.is_err() || !self.is_settled() {
                continue;
            }
            if !self.has_directory {
                return Ok(());
            }
            if calm_at.is_some_and(|at| self.now >= at + LISTED_MS) && self.now >= listed_at {
                // Where it may take a day, somebody lists once an hour.
                listed_at = self.now + 3_600_000;
                let may_wait = self.tally.losses > 0 || self.asks_in_vain;
                match self.everything_is_listed() {
                    Err(_) if may_wait && listed_at < cleared_at + patience => {}
                    listed => {
                        return listed.map_err(|error| format!("calm since {calm_at:?}, now {}: {error}", self.now));
                    }
                }
            }
        }
        Err(format!("never settled: {known:?}, {}", self.where_all_are()))
    }

    /// When everything has to be known.
    fn bound_ms(&self) -> u64 {
        let members = if self.has_members { presence::BOUND_MS } else { 0 };
        if self.is_counting() { members.max(count::BOUND_MS) } else { members }
    }

    fn where_all_are(&mut self) -> String {
        let of_readers = self.readers.iter().map(|reader| {
            let channels = reader.channels.values();
            let channels: Vec<_> =
                channels.map(|channel| (channel.state, channel.position.map(|at| at.to_string()))).collect();
            (reader.at.clone(), channels)
        });
        let of_readers: Vec<_> = of_readers.collect();
        let of_pushers = self.pushers.iter().map(|pusher| {
            let channels: Vec<_> = pusher.channels.iter().map(|channel| channel.state).collect();
            (pusher.at.clone(), channels)
        });
        let of_pushers: Vec<_> = of_pushers.collect();
        let ends: Vec<_> = (0..ROOMS).map(|nth| self.end(nth).to_string()).collect();
        let quiet: Vec<_> = self.rooms.iter().map(RoomSide::is_quiet).collect();
        let under_way = (self.calls.len(), self.replies.len());
        format!("{of_readers:?}, {of_pushers:?}, the logs end at {ends:?}, quiet {quiet:?}, under way {under_way:?}")
    }

    fn end(&mut self, nth: usize) -> Position {
        let turn = self.turn();
        let side = &mut self.rooms[nth];
        side.room
            .missed(&Missed { version: VERSION, from: Begin::Last(0) }, turn, &mut side.store, &mut Vec::new())
            .unwrap()
            .after
    }

    /// Whether nothing is under way, and everybody has what it asked for: then nothing happens until an alarm rings.
    fn is_idle(&self) -> bool {
        let wires = self.hubs.iter().flat_map(|hub| hub.sockets.values());
        self.calls.is_empty()
            && self.replies.is_empty()
            && self.rooms.iter().all(RoomSide::is_quiet)
            && wires.into_iter().all(|socket| socket.up.is_empty() && socket.down.is_empty() && !socket.closing)
            && self.wants.iter().enumerate().all(|(who, wants)| {
                self.place(who).is_some() == wants.contains(&true)
                    && (0..ROOMS).all(|nth| self.has(who, nth) == wants[nth])
            })
    }

    fn is_settled(&mut self) -> bool {
        let ends: Vec<Position> = (0..ROOMS).map(|nth| self.end(nth)).collect();
        let of_pushers = self.pushers.iter().zip(self.wants.iter().skip(READERS));
        let mut of_pushers =
            of_pushers.flat_map(|(pusher, wants)| (0..ROOMS).map(move |nth| (pusher, wants[nth], nth)));
        if !of_pushers.all(|(pusher, wants, nth)| !wants || pusher.is_at(nth, ends[nth], &self.ledgers[nth])) {
            return false;
        }
        self.readers.iter().zip(&self.wants).all(|(reader, wants)| {
            reader.at.is_some() == wants.contains(&true)
                && (0..ROOMS).filter(|nth| wants[*nth]).all(|nth| {
                    reader.channels.get(&nth).is_some_and(|channel| {
                        let there =
                            channel.position.is_some_and(|at| at == ends[nth] || at.seq == 0 && ends[nth].seq == 0);
                        channel.state == State::Has && there
                    })
                })
        })
    }

    /// Whether an object waits for an answer: it is not put to sleep then.
    pub(super) fn waits(&self, party: Party, life: u64) -> bool {
        let caller = Some(Caller { party, life });
        self.calls.iter().any(|call| call.caller == caller)
            || self.replies.iter().any(|reply| Some(reply.caller) == caller)
            || self.rooms.iter().any(|room| room.is_answering(caller))
            || self.hubs.iter().any(|hub| hub.is_answering(caller))
    }

    fn step(&mut self) -> Result<(), String> {
        self.tally.steps += 1;
        self.now += self.rng.u64(0..self.pace);
        if !self.stormy && !self.publishing && self.is_idle() {
            let rooms = self.rooms.iter().flat_map(|side| [side.alarm, side.timer]).flatten();
            let hubs = self.hubs.iter().flat_map(|side| side.alarm.iter().chain(&side.timers).copied());
            let next = rooms.chain(hubs).chain(self.directory.alarm).min();
            self.now = next.unwrap_or(u64::MAX).min(self.now + 60_000).max(self.now);
        }
        for nth in 0..ROOMS {
            if self.rooms[nth].alarm.is_some_and(|at| at <= self.now) {
                self.rooms[nth].asks = true;
                self.rooms[nth].alarm = None;
                let sessions = self.rooms[nth].guests.values().map(|guest| guest.session.clone()).collect();
                return self.drive_room(nth, Input::Alarm { sessions });
            }
            if self.rooms[nth].timer.is_some_and(|at| at <= self.now) {
                self.rooms[nth].timer = None;
                return self.drive_room(nth, Input::Announce);
            }
        }
        if self.directory.alarm.is_some_and(|at| at <= self.now) {
            self.directory.alarm = None;
            return self.drive_directory(directory::Input::Alarm);
        }
        for nth in 0..self.hubs.len() {
            if let Some(rings) = self.hubs[nth].timers.iter().position(|at| *at <= self.now) {
                self.hubs[nth].timers.swap_remove(rings);
                return self.drive_hub(nth, dormouse_core::hub::Input::Tally, None);
            }
            if self.hubs[nth].alarm.is_some_and(|at| at <= self.now) {
                self.hubs[nth].alarm = None;
                let kept = self.hubs[nth].kept();
                return self.drive_hub(nth, dormouse_core::hub::Input::Alarm { kept }, None);
            }
        }
        let (room, hub) = (self.rng.usize(0..ROOMS), self.rng.usize(0..self.hubs.len()));
        if (self.has_members || self.has_directory || self.is_counting()) && self.stormy && self.rng.u32(0..30) == 0 {
            return self.a_guest_acts(room);
        }
        if self.has_directory && self.stormy && self.rng.u32(0..30) == 0 {
            return self.directory_is_used();
        }
        match self.rng.u32(0..100) {
            0..=9 if self.publishing && !(self.alone && room + 1 == ROOMS) => self.publishes(room),
            0..=24 => self.room_flushes(room),
            25..=44 => self.something_arrives(),
            45..=59 => self.a_frame_arrives(),
            60..=74 => self.a_reader_acts(),
            75..=84 => self.a_frame_goes_up(hub),
            85..=87 => {
                self.room_sleeps(room);
                Ok(())
            }
            88..=90 if !self.hubs[hub].is_busy() && !self.waits(Party::Hub(hub), self.hubs[hub].life) => {
                self.tally.sleeps += 1;
                self.hub_falls(hub, false);
                Ok(())
            }
            91.. if self.stormy => self.misfortune(room, hub),
            _ => Ok(()),
        }
    }

    fn misfortune(&mut self, room: usize, hub: usize) -> Result<(), String> {
        match self.rng.u32(0..20) {
            0..=2 => {
                self.room_crashes(room, false);
                Ok(())
            }
            3 if self.rng.u32(0..4) == 0 => {
                self.room_crashes(room, true);
                Ok(())
            }
            4..=5 => {
                self.hub_crashes(hub);
                Ok(())
            }
            6 if (self.has_members || self.has_directory) && self.rng.bool() => self.room_traps(room),
            6 => self.hub_traps(hub),
            7..=10 => match self.somebody(hub) {
                Some(connection) => self.breaks(hub, &connection),
                None => Ok(()),
            },
            11 => {
                let most = *self.rng.choice(&[10_000, 10_000, 10_000, 150_000, 150_000, 1_500_000, 8_000_000]).unwrap();
                self.now += self.rng.u64(0..most);
                Ok(())
            }
            _ => self.the_network_fails(),
        }
    }
}
