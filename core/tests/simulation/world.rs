//! The simulation itself: a room, its disk, its gate, and the network.

use super::Tally;
use super::people::{Publisher, Reader};
use super::stage::wake;
use crate::ledger::Ledger;
use dormouse_core::call::{Begin, Connect, Outcome, VERSION};
use dormouse_core::config::{History, Rule};
use dormouse_core::frame::Frame;
use dormouse_core::limits;
use dormouse_core::message::{Message, NewMessage, Payload};
use dormouse_core::room::{Input, Output, Room};
use dormouse_core::session::{Format, Session};
use dormouse_core::store::{MemoryStore, Row, StoreError};
use fastrand::Rng;
use std::collections::{BTreeMap, VecDeque};

const READERS: usize = 4;
const PUBLISHERS: usize = 4;
const STEPS: u64 = 250;

/// A socket as the runtime holds it: it survives sleep, and not a crash.
pub(super) struct Socket {
    pub(super) reader: usize,
    pub(super) attachment: String,
    /// On its way to the reader, in order.
    pub(super) wire: VecDeque<Frame>,
}

/// A request on its way to the room.
enum Request {
    Publish { publisher: usize, nth: u64, sent: u64 },
    Connect { reader: usize, from: Option<Begin> },
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now: u64,
    pub(super) rule: Rule,
    pub(super) room: Room,
    pub(super) store: MemoryStore,
    pub(super) disk: BTreeMap<u32, Row>,
    pub(super) alarm: Option<u64>,
    /// A flush is on its way.
    pub(super) flushing: bool,
    /// What the room said after a write that is not on the disk yet: the runtime's output gate.
    pub(super) gate: VecDeque<Output>,
    pub(super) sockets: BTreeMap<String, Socket>,
    pub(super) connections: u64,
    requests: Vec<Request>,
    pub(super) tickets: BTreeMap<u64, (usize, u64)>,
    pub(super) answers: Vec<(usize, u64, Vec<Outcome>)>,
    pub(super) readers: Vec<Reader>,
    pub(super) publishers: Vec<Publisher>,
    pub(super) arriving: Option<usize>,
    pub(super) ledger: Ledger,
    pub(super) tally: Tally,
    /// Bytes added to each message: where there are some, replays take more than one batch.
    pub(super) padding: usize,
    /// Whether things go wrong.
    pub(super) stormy: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let size = *rng.choice(&[0, 1, 3, 10, 100]).unwrap();
        let padding = if rng.u32(0..6) == 0 { rng.usize(1_000..12_000) } else { 0 };
        let history = History { size, ttl: rng.u64(1..=120) };
        let rule = Rule { publish: true, client_rate: 1000, history, ..Rule::default() };
        Self {
            room: wake(&rule, None),
            rng,
            now: 1_000_000,
            rule,
            store: MemoryStore::default(),
            disk: BTreeMap::new(),
            alarm: None,
            flushing: false,
            gate: VecDeque::new(),
            sockets: BTreeMap::new(),
            connections: 0,
            requests: Vec::new(),
            tickets: BTreeMap::new(),
            answers: Vec::new(),
            readers: (0..READERS).map(|_| Reader::default()).collect(),
            publishers: (0..PUBLISHERS).map(|_| Publisher::default()).collect(),
            arriving: None,
            ledger: Ledger::default(),
            tally: Tally::default(),
            padding,
            stormy: true,
        }
    }

    pub(super) fn tally(&self) -> Tally {
        Tally { rows: self.store.written, ..self.tally }
    }

    /// Everything goes wrong at random.
    pub(super) fn storm(&mut self) -> Result<(), String> {
        for _ in 0..STEPS {
            self.step().map_err(|error| format!("step {}: {error}", self.tally.steps))?;
        }
        Ok(())
    }

    /// Nothing goes wrong any more: everybody gets through, and what was promised has to hold.
    pub(super) fn clear(&mut self) -> Result<(), String> {
        self.stormy = false;
        self.store.failing = None;
        for publisher in &mut self.publishers {
            publisher.waiting = false;
        }
        for _ in 0..20_000 {
            self.step().map_err(|error| format!("clearing, step {}: {error}", self.tally.steps))?;
            if self.is_settled() {
                return Ok(());
            }
        }
        let positions: Vec<_> = self.readers.iter().map(|reader| reader.position.map(|at| at.to_string())).collect();
        Err(format!("never settled: readers at {positions:?}"))
    }

    fn is_settled(&self) -> bool {
        let quiet = !self.flushing && self.requests.is_empty() && self.answers.is_empty() && self.gate.is_empty();
        quiet
            && self.publishers.iter().all(|publisher| !publisher.waiting && publisher.nth.is_multiple_of(8))
            && self.readers.iter().all(|reader| {
                let Some(socket) = reader.connection.as_ref().and_then(|connection| self.sockets.get(connection))
                else {
                    return false;
                };
                let behind = Session::decode(&socket.attachment).unwrap().behind;
                let last = reader.position.map_or(0, |at| self.ledger.last(at.epoch));
                socket.wire.is_empty() && behind.is_none() && reader.position.is_some_and(|at| at.seq == last)
            })
    }

    fn step(&mut self) -> Result<(), String> {
        self.tally.steps += 1;
        self.now += self.rng.u64(0..200);
        if self.alarm.is_some_and(|at| at <= self.now) {
            self.alarm = None;
            let sessions = self.sockets.values().map(|socket| Session::decode(&socket.attachment).unwrap()).collect();
            return self.drive(Input::Alarm { sessions });
        }
        match self.rng.u32(0..100) {
            0..=24 => self.somebody_publishes(),
            25..=49 => return self.something_arrives(),
            50..=64 => return self.a_frame_arrives(),
            65..=69 => return self.flushed(),
            70..=79 => return self.replay(),
            80..=87 => self.somebody_connects(),
            88..=90 => self.sleep(),
            _ if self.stormy => return self.misfortune(),
            _ => {}
        }
        Ok(())
    }

    fn misfortune(&mut self) -> Result<(), String> {
        match self.rng.u32(0..12) {
            0..=1 => self.crash(false),
            2 if self.rng.u32(0..10) == 0 => self.crash(true),
            3..=6 => return self.cut(),
            7 => {
                let most = *self.rng.choice(&[150_000, 1_500_000]).unwrap();
                self.now += self.rng.u64(0..most);
            }
            8 => {
                let failing = [None, Some(StoreError::Full), Some(StoreError::Failed)];
                self.store.failing = *self.rng.choice(&failing).unwrap();
            }
            9 => drop(
                (!self.requests.is_empty()).then(|| self.requests.swap_remove(self.rng.usize(0..self.requests.len()))),
            ),
            10 => drop(
                (!self.answers.is_empty()).then(|| self.answers.swap_remove(self.rng.usize(0..self.answers.len()))),
            ),
            _ => self.store.failing = None,
        }
        Ok(())
    }

    fn somebody_publishes(&mut self) {
        let who = self.rng.usize(0..PUBLISHERS);
        let publisher = &mut self.publishers[who];
        if !self.stormy && publisher.nth.is_multiple_of(8) {
            return;
        }
        // An impatient one repeats what is still on its way; one past the window gives up, as it would have to.
        if publisher.waiting && self.stormy && self.rng.u32(0..8) > 0 {
            return;
        }
        if publisher.since != 0 && self.now - publisher.since > limits::ID_WINDOW_MS / 2 {
            *publisher = Publisher { nth: publisher.nth + 1, ..Publisher::default() };
            return;
        }
        if publisher.since == 0 {
            publisher.since = self.now;
        }
        publisher.waiting = true;
        let request = Request::Publish { publisher: who, nth: publisher.nth, sent: self.now };
        self.requests.push(request);
    }

    /// Requests overtake each other: they come on connections of their own.
    fn something_arrives(&mut self) -> Result<(), String> {
        if !self.answers.is_empty() && self.rng.bool() {
            let (publisher, nth, outcomes) = self.answers.swap_remove(self.rng.usize(0..self.answers.len()));
            self.answered(publisher, nth, &outcomes);
            return Ok(());
        }
        if self.requests.is_empty() {
            return Ok(());
        }
        match self.requests.swap_remove(self.rng.usize(0..self.requests.len())) {
            // Nothing travels longer than a client waits: a retry past the window of ids would be another message.
            Request::Publish { sent, .. } if self.now - sent > 60_000 => Ok(()),
            Request::Publish { publisher, nth, .. } => {
                let ticket = self.tally.steps;
                self.tickets.insert(ticket, (publisher, nth));
                let message = Message::new(
                    None,
                    Payload::Json(format!("\"{publisher}/{nth}{}\"", " ".repeat(self.padding))),
                    Some(format!("{publisher}/{nth}")),
                );
                let messages = vec![NewMessage::from(message)];
                self.drive(Input::Publish { ticket, messages })
            }
            Request::Connect { reader, from } => self.connect(reader, from),
        }
    }

    fn answered(&mut self, who: usize, nth: u64, outcomes: &[Outcome]) {
        let publisher = &mut self.publishers[who];
        if publisher.nth != nth {
            return;
        }
        publisher.waiting = false;
        if matches!(outcomes, [Outcome::Stored { .. }]) {
            *publisher = Publisher { nth: nth + 1, ..Publisher::default() };
        }
    }

    fn somebody_connects(&mut self) {
        let who = self.rng.usize(0..READERS);
        let reader = &self.readers[who];
        let on_its_way =
            self.requests.iter().any(|request| matches!(request, Request::Connect { reader, .. } if *reader == who));
        if !on_its_way && reader.connection.as_ref().is_none_or(|connection| !self.sockets.contains_key(connection)) {
            self.requests.push(Request::Connect { reader: who, from: reader.position.map(Begin::After) });
        }
    }

    fn connect(&mut self, reader: usize, from: Option<Begin>) -> Result<(), String> {
        let still = from == self.readers[reader].position.map(Begin::After);
        let connected =
            self.readers[reader].connection.as_ref().is_some_and(|connection| self.sockets.contains_key(connection));
        if !still || connected {
            return Ok(());
        }
        self.connections += 1;
        let connection = format!("c{}", self.connections);
        let connect = Connect {
            version: VERSION,
            format: Format::Json,
            user: None,
            expires_at: None,
            may_publish: true,
            from,
            data: None,
        };
        self.readers[reader].connects(connection.clone());
        self.arriving = Some(reader);
        let sockets = self.sockets.len();
        self.drive(Input::Connect { connect, connection, sockets })
    }

    fn a_frame_arrives(&mut self) -> Result<(), String> {
        let with_frames: Vec<&String> =
            self.sockets.iter().filter(|(_, socket)| !socket.wire.is_empty()).map(|(name, _)| name).collect();
        let Some(name) = self.rng.choice(&with_frames).map(|name| (*name).clone()) else { return Ok(()) };
        for _ in 0..self.rng.usize(1..6) {
            let Some(socket) = self.sockets.get_mut(&name) else { break };
            let Some(frame) = socket.wire.pop_front() else { break };
            let reader = socket.reader;
            self.readers[reader]
                .hears(&frame, &self.ledger, &mut self.tally)
                .map_err(|error| format!("reader {reader}: {error}"))?;
        }
        Ok(())
    }

    /// The connection breaks: what was on the wire is lost.
    fn cut(&mut self) -> Result<(), String> {
        let names: Vec<String> = self.sockets.keys().cloned().collect();
        let Some(name) = self.rng.choice(&names) else { return Ok(()) };
        let Some(socket) = self.sockets.remove(name) else { return Ok(()) };
        let session = Session::decode(&socket.attachment).unwrap();
        let sockets = self.sockets.len();
        self.drive(Input::Left { session, sockets })
    }

    fn replay(&mut self) -> Result<(), String> {
        let sessions = self.sockets.values().map(|socket| Session::decode(&socket.attachment).unwrap());
        let behind: Vec<Session> = sessions.filter(|session| session.behind.is_some()).collect();
        match self.rng.choice(&behind) {
            Some(session) => {
                self.tally.batches += 1;
                self.drive(Input::Replay { session: session.clone() })
            }
            None => Ok(()),
        }
    }
}
