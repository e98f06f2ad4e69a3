//! A Room with its disk and its gate.

use super::network::{Answer, Body, Call, Caller, Party, Reply, hub_of};
use super::presence::Guest;
use super::world::World;
use dormouse_core::call::VERSION;
use dormouse_core::channel::ChannelName;
use dormouse_core::config::{App, History, Rule};
use dormouse_core::directory::{Count, Counting};
use dormouse_core::link::{Delivery, Follow, Missed, decode, encode_relay};
use dormouse_core::message::Payload;
use dormouse_core::presence::Report;
use dormouse_core::refusal::Refusal;
use dormouse_core::room::{Input, Output, Room, Tree};
use dormouse_core::session::Session;
use dormouse_core::store::MemoryStore;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(super) struct RoomSide {
    pub(super) name: ChannelName,
    pub(super) room: Room,
    pub(super) rule: Rule,
    tree: Tree,
    pub(super) store: MemoryStore,
    pub(super) disk: MemoryStore,
    /// Whether the disk has what the store has, since the last event.
    pub(super) is_same: Cell<Option<bool>>,
    pub(super) alarm: Option<u64>,
    pub(super) life: u64,
    /// It has asked to be told when the disk has everything.
    flushing: bool,
    /// What it said after a write that is not on the disk yet.
    pub(super) gate: VecDeque<Said>,
    /// Publishes that wait: a Hub's call, or an origin's body.
    tickets: BTreeMap<u64, Asker>,
    /// Sockets of its own, by connection.
    pub(super) guests: BTreeMap<String, Guest>,
    /// Whether its alarm has rung in this life: what it asked then, it asks by no other.
    pub(super) asks: bool,
    /// When it announces.
    pub(super) timer: Option<u64>,
    /// Whether it lost its memory, and has told nobody since how many subscribers there are.
    pub(super) uncounted: bool,
    /// Hubs that lost their sockets, and have not been heard of since.
    pub(super) unheard: BTreeSet<String>,
}

pub(super) enum Said {
    /// In that life.
    Output(u64, Output),
    Reply(Reply),
}

enum Asker {
    Hub(Option<Caller>),
    Origin(String),
}

impl RoomSide {
    pub(super) fn new(name: ChannelName, history: History, tree: Tree, app: &App) -> Self {
        let rule = Rule { history, ..app.rule(&name) };
        Self {
            room: Room::wake(name.clone(), rule.clone(), None).with_tree(tree),
            name,
            rule,
            tree,
            store: MemoryStore::default(),
            disk: MemoryStore::default(),
            is_same: Cell::default(),
            alarm: None,
            life: 0,
            flushing: false,
            gate: VecDeque::new(),
            tickets: BTreeMap::new(),
            guests: BTreeMap::new(),
            asks: false,
            timer: None,
            uncounted: false,
            unheard: BTreeSet::new(),
        }
    }

    fn is_dirty(&self) -> bool {
        let (store, disk) = (&self.store, &self.disk);
        let differs = || store.rows != disk.rows || store.followers != disk.followers || store.members != disk.members;
        // Compared once after each event: that was half of the time.
        let is_same = self.is_same.get().unwrap_or_else(|| !differs());
        self.is_same.set(Some(is_same));
        self.flushing || !is_same
    }

    pub(super) fn is_quiet(&self) -> bool {
        !self.is_dirty() && self.gate.is_empty()
    }

    /// Whether it has that caller's call, and its answer is not out yet.
    pub(super) fn is_answering(&self, caller: Option<Caller>) -> bool {
        let gated = |said: &Said| matches!(said, Said::Reply(reply) if Some(reply.caller) == caller);
        let waiting = |asker: &Asker| matches!(asker, Asker::Hub(other) if *other == caller);
        self.gate.iter().any(gated) || self.tickets.values().any(waiting)
    }

    fn wake(&mut self) {
        if super::shows() {
            println!("{} falls", self.name);
        }
        self.life += 1;
        self.flushing = false;
        self.timer = None;
        self.asks = false;
        self.room = Room::wake(self.name.clone(), self.rule.clone(), self.alarm).with_tree(self.tree);
    }
}

impl World {
    fn is_asking(&self, nth: usize) -> bool {
        self.rooms[nth].asks && self.waits(Party::Room(nth), self.rooms[nth].life)
    }

    pub(super) fn room_crashes(&mut self, nth: usize, disk_too: bool) {
        self.tally.crashes += 1;
        self.tally.losses += u64::from(disk_too);
        self.asks_in_vain |= self.is_asking(nth);
        let side = &mut self.rooms[nth];
        if disk_too {
            side.disk = MemoryStore::default();
            side.alarm = None;
        }
        side.store = side.disk.clone();
        side.is_same.set(None);
        side.guests.clear();
        for said in std::mem::take(&mut side.gate) {
            if let Said::Reply(Reply { caller, answer }) = said {
                self.replies.push(Reply { caller, answer: answer.lost() });
            }
        }
        for asker in std::mem::take(&mut side.tickets).into_values() {
            if let Asker::Hub(Some(caller)) = asker {
                let answer = Answer::Published { channel: side.name.clone(), result: Ok(Vec::new()) }.lost();
                self.replies.push(Reply { caller, answer });
            }
        }
        side.wake();
        side.uncounted = true;
        self.ledgers[nth].crash();
    }

    /// Memory goes, and with it timers and who waited; sockets stay, and what was written or said goes its way.
    pub(super) fn room_traps(&mut self, nth: usize) -> Result<(), String> {
        self.tally.traps += 1;
        self.asks_in_vain |= self.is_asking(nth);
        let side = &mut self.rooms[nth];
        let is_answered = |ticket: u64| {
            let answers =
                |said: &Said| matches!(said, Said::Output(_, Output::Answer { ticket: other, .. }) if *other == ticket);
            side.gate.iter().any(answers)
        };
        let open: Vec<u64> = side.tickets.keys().copied().filter(|ticket| !is_answered(*ticket)).collect();
        for ticket in open {
            if let Some(Asker::Hub(Some(caller))) = side.tickets.remove(&ticket) {
                let answer = Answer::Published { channel: side.name.clone(), result: Ok(Vec::new()) }.lost();
                self.replies.push(Reply { caller, answer });
            }
        }
        side.wake();
        side.uncounted = true;
        side.look_around();
        let mut out = Vec::new();
        side.room.rebuilt(&mut side.store, &mut out);
        self.room_performs(nth, out)
    }

    pub(super) fn room_sleeps(&mut self, nth: usize) {
        let side = &self.rooms[nth];
        if side.is_quiet() && side.timer.is_none() && !self.waits(Party::Room(nth), self.rooms[nth].life) {
            self.tally.sleeps += 1;
            self.rooms[nth].wake();
        }
    }

    /// The disk has what was written: what was said after it goes out.
    pub(super) fn room_flushes(&mut self, nth: usize) -> Result<(), String> {
        if self.rooms[nth].is_quiet() {
            return Ok(());
        }
        let side = &mut self.rooms[nth];
        side.disk = side.store.clone();
        side.is_same.set(None);
        let asked = std::mem::take(&mut side.flushing);
        self.tally.stored += self.ledgers[nth].flush()?;
        while let Some(said) = self.rooms[nth].gate.pop_front() {
            self.room_says(nth, said)?;
        }
        if asked { self.drive_room(nth, Input::Flushed(Ok(()))) } else { Ok(()) }
    }

    pub(super) fn publishes(&mut self, nth: usize) -> Result<(), String> {
        self.published += 1;
        let body = format!("m{}", self.published);
        let ticket = self.tally.steps * 4;
        self.rooms[nth].tickets.insert(ticket, Asker::Origin(body.clone()));
        let messages = vec![super::world::message(&body)];
        self.drive_room(nth, Input::Publish { ticket, messages })
    }

    /// A call arrives at a room.
    pub(super) fn room_hears(&mut self, nth: usize, call: &Call) -> Result<(), String> {
        let turn = self.turn();
        if super::shows() {
            println!("{} room {nth} {call:?}", self.now);
        }
        self.room_hears_of(nth, call);
        let mut out = Vec::new();
        let side = &mut self.rooms[nth];
        side.look_around();
        let channel = side.name.clone();
        let answer = match &call.body {
            Body::Tally { follow, .. } => {
                // As it is on the wire.
                let follow: Follow = decode(&serde_json::to_string(follow).unwrap()).unwrap();
                let result = side.room.tally(&follow, turn, &mut side.store, &mut out);
                Answer::Tallied { channel, result: result.map(|tallied| tallied.known) }
            }
            Body::Follow { follow, .. } => {
                let result = side.room.follow(follow, turn, &mut side.store, &mut out);
                let result = result.map(|followed| followed.position);
                Answer::Followed { channel, at: follow.at, result }
            }
            Body::Unfollow { follow, .. } => {
                let _ = side.room.unfollow(follow, turn, &mut side.store, &mut out);
                Answer::Unfollowed
            }
            Body::Missed { from, .. } => {
                let missed = Missed { version: VERSION, from: *from };
                let result = side.room.missed(&missed, turn, &mut side.store, &mut out);
                // As it is on the wire.
                let result = result.map(|delivery| Delivery::decode(&delivery.encode()).unwrap());
                Answer::Missed { channel, from: *from, result }
            }
            Body::Publish { messages, .. } => {
                let ticket = self.tally.steps * 4 + 1;
                side.tickets.insert(ticket, Asker::Hub(call.caller));
                let messages = messages.clone();
                return self.drive_room(nth, Input::Publish { ticket, messages });
            }
            Body::Report { report, .. } => {
                // As it is on the wire.
                let text = serde_json::to_string(report).unwrap();
                let report: Report = decode(&text).unwrap();
                let result = side.room.report(&report, turn, &mut side.store, &mut out);
                let result = result.map(|changes| decode(&serde_json::to_string(&changes).unwrap()).unwrap());
                Answer::Reported { channel, at: report.at, result }
            }
            Body::Close { close, call, .. } => {
                let open: Vec<Session> = side.guests.values().map(|guest| guest.session.clone()).collect();
                let result = side.room.close(close, &open, open.len(), &mut side.store, &mut out);
                Answer::Closed { call: *call, result }
            }
            _ => return Err("not for a room".into()),
        };
        if super::shows() {
            println!("    room {nth} answers {answer:?}");
        }
        self.room_performs(nth, out)?;
        match call.caller {
            Some(caller) => self.room_gates(nth, Said::Reply(Reply { caller, answer })),
            None => Ok(()),
        }
    }

    /// What a list asks.
    pub(super) fn room_counts(&mut self, nth: usize) -> Result<Count, String> {
        let turn = self.turn();
        let side = &mut self.rooms[nth];
        side.look_around();
        let count = side
            .room
            .count(Counting::default(), side.guests.len(), turn, &mut side.store)
            .map_err(|refusal| refusal.to_string());
        if super::shows() {
            println!("{} room {nth} counts {count:?}", self.now);
        }
        count
    }

    pub(super) fn drive_room(&mut self, nth: usize, input: Input) -> Result<(), String> {
        let turn = self.turn();
        if super::shows() {
            println!("{} room {nth} {input:?}", self.now);
        }
        let mut out = Vec::new();
        let side = &mut self.rooms[nth];
        side.look_around();
        side.room.handle(input, turn, &mut side.store, &mut out);
        self.room_performs(nth, out)
    }

    fn room_performs(&mut self, nth: usize, outputs: Vec<Output>) -> Result<(), String> {
        for output in outputs {
            if super::shows() {
                println!("    room {nth}: {output:?}");
            }
            match output {
                Output::Flush => self.rooms[nth].flushing = true,
                Output::WakeAt(at) => self.rooms[nth].alarm = Some(at),
                Output::Forget => {
                    let side = &mut self.rooms[nth];
                    side.store = MemoryStore::default();
                    side.disk = MemoryStore::default();
                    side.is_same.set(None);
                    side.alarm = None;
                }
                Output::Broadcast { position, message, .. } => {
                    let Payload::Json(text) = &message.payload else { return Err("not JSON".into()) };
                    let body = text.trim_matches('"').to_owned();
                    self.ledgers[nth].write(position, body, None);
                }
                Output::Accept(session) => {
                    self.rooms[nth].guests.insert(session.connection.clone(), Guest::new(session));
                }
                Output::Announce(told) => self.rooms[nth].announces(&told, &mut self.tally)?,
                Output::AnnounceIn(pause) => self.rooms[nth].timer = Some(self.now + pause),
                Output::Told { of, revision } => {
                    self.rooms[nth].guests.get_mut(&of).ok_or("nobody to remember")?.session.told = Some(revision);
                }
                Output::Count => {
                    let sockets = self.rooms[nth].guests.len();
                    self.drive_room(nth, Input::Counted { sockets })?;
                }
                // To a socket of its own, about messages.
                Output::Send { .. } | Output::CloseSlow { .. } | Output::Pump => {}
                output => {
                    let life = self.rooms[nth].life;
                    self.room_gates(nth, Said::Output(life, output))?;
                }
            }
        }
        Ok(())
    }

    fn room_gates(&mut self, nth: usize, said: Said) -> Result<(), String> {
        if self.rooms[nth].is_dirty() {
            self.rooms[nth].gate.push_back(said);
            return Ok(());
        }
        self.room_says(nth, said)
    }

    fn room_says(&mut self, nth: usize, said: Said) -> Result<(), String> {
        match said {
            Said::Reply(reply) => self.replies.push(reply),
            Said::Output(life, Output::Deliver { hub: name, ticket, delivery }) => {
                self.tally.deliveries += 1;
                let delivery = self.expect_delivery(nth, &delivery)?;
                self.rooms[nth].uncounted &= delivery.count.is_none();
                let caller = Some(Caller { party: Party::Room(nth), life });
                self.calls.push(Call { caller, body: Body::Deliver { hub: hub_of(&name)?, name, ticket, delivery } });
            }
            Said::Output(life, Output::Relay { hubs, ticket, delivery }) => {
                self.tally.relays += 1;
                let count = self.expect_delivery(nth, &delivery)?.count;
                self.rooms[nth].uncounted &= count.is_none();
                let (first, others) = hubs.split_first().ok_or("a relay to nobody")?;
                let (hub, text) = (hub_of(first)?, encode_relay(others, &delivery));
                let caller = Some(Caller { party: Party::Room(nth), life });
                self.calls.push(Call { caller, body: Body::Relay { hub, hubs, ticket, text } });
            }
            Said::Output(life, Output::Register(report)) => {
                let caller = Some(Caller { party: Party::Room(nth), life });
                self.calls.push(Call { caller, body: Body::Register { report } });
            }
            Said::Output(_, Output::Answer { ticket, outcomes }) => match self.rooms[nth].tickets.remove(&ticket) {
                Some(Asker::Origin(body)) => {
                    for outcome in &outcomes {
                        if let dormouse_core::call::Outcome::Stored { position, .. } = outcome {
                            self.tally.acknowledged += 1;
                            self.ledgers[nth].expect(*position, &body).map_err(|e| format!("acknowledged: {e}"))?;
                        }
                    }
                }
                Some(Asker::Hub(Some(caller))) => {
                    let answer = Answer::Published { channel: self.names[nth].clone(), result: Ok(outcomes) };
                    self.replies.push(Reply { caller, answer });
                }
                Some(Asker::Hub(None)) | None => {}
            },
            Said::Output(_, other) => return Err(format!("unexpected {other:?}")),
        }
        Ok(())
    }

    /// What is delivered is stored.
    fn expect_delivery(&self, nth: usize, text: &str) -> Result<Delivery, String> {
        let delivery = Delivery::decode(text).map_err(|refusal: Refusal| refusal.to_string())?;
        for (position, message) in delivery.placed() {
            let Payload::Json(text) = &message.payload else { return Err("not JSON".into()) };
            self.ledgers[nth].expect(position, text.trim_matches('"')).map_err(|e| format!("delivered: {e}"))?;
        }
        Ok(delivery)
    }
}
