//! The objects, in memory: performs what rooms say as `durable` does, and puts rooms to sleep.

use crate::scenario::Sleep;
use crate::scenario::values::Payload;
use dormouse_core::call::{Connect, Outcome, Published, decode_publish, encode_publish, parse_room_name};
use dormouse_core::channel::ChannelName;
use dormouse_core::config::{Config, Rule};
use dormouse_core::connection::in_room;
use dormouse_core::frame::Frame;
use dormouse_core::message::NewMessage;
use dormouse_core::position::Epoch;
use dormouse_core::refusal::Refusal;
use dormouse_core::room::{Input, Output, Page, PageQuery, Room, Turn};
use dormouse_core::session::{Format, Session};
use dormouse_core::store::MemoryStore;
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
    homes: BTreeMap<String, Home>,
    sleep: Sleep,
    pub(crate) now: u64,
    random: u64,
    /// What was delivered, to whom.
    pub(crate) delivered: Vec<(String, Item)>,
}

struct Home {
    channel: ChannelName,
    rule: Rule,
    room: Room,
    store: MemoryStore,
    alarm: Option<u64>,
    sockets: Vec<Socket>,
    arriving: Option<String>,
    refused: Option<Refusal>,
    answers: BTreeMap<u64, Vec<Outcome>>,
}

struct Socket {
    client: String,
    /// A session, encoded.
    attachment: String,
    open: bool,
}

/// What a turn leaves to be done after it.
enum Next {
    Input(Input),
    Pump,
}

impl Home {
    fn wake(&mut self) {
        self.room = Room::wake(self.channel.clone(), self.rule.clone(), None);
        self.room.armed(self.alarm);
    }

    fn sessions(&self) -> impl Iterator<Item = (&Socket, Session)> {
        let open = self.sockets.iter().filter(|socket| socket.open);
        open.filter_map(|socket| Some((socket, Session::decode(&socket.attachment)?)))
    }

    /// What a connected session remembers.
    fn epoch(&self) -> Option<Epoch> {
        self.sessions().next().map(|(_, session)| session.epoch)
    }

    fn socket(&mut self, connection: &str) -> Option<(&mut Socket, Format)> {
        self.sockets.iter_mut().find_map(|socket| {
            let session = Session::decode(&socket.attachment)?;
            (session.connection == connection).then_some((socket, session.format))
        })
    }
}

impl Objects {
    pub(crate) fn new(sleep: Sleep) -> Self {
        // A whole second, so that a token for 2 s lives 2 s.
        let now = 1_763_760_000_000;
        Self { homes: BTreeMap::new(), sleep, now, random: 0x9e37_79b9_7f4a_7c15, delivered: Vec::new() }
    }

    /// All objects fall asleep, and wake.
    pub(crate) fn doze(&mut self) {
        self.homes.values_mut().for_each(Home::wake);
    }

    pub(crate) fn rows(&self, name: &str) -> usize {
        self.homes.get(name).map_or(0, |home| home.store.rows.len())
    }

    pub(crate) fn connect(
        &mut self,
        config: &Config,
        name: &str,
        connect: Connect,
        client: &str,
    ) -> Result<(), Refusal> {
        let random = format!("{:016x}{:016x}", self.random(), self.random());
        let home = self.home(config, name);
        let connection = in_room(&random, &home.channel);
        home.arriving = Some(client.to_owned());
        let sockets = home.sessions().count();
        self.drive(name, Input::Connect { connect, connection, sockets });
        let home = self.home(config, name);
        home.arriving = None;
        home.refused.take().map_or(Ok(()), Err)
    }

    /// The call and its answer go through what they are on the wire.
    pub(crate) fn publish(
        &mut self,
        config: &Config,
        name: &str,
        messages: &[NewMessage],
    ) -> Result<Vec<Outcome>, Refusal> {
        let messages = decode_publish(&encode_publish(messages))?;
        self.home(config, name);
        let ticket = self.random();
        self.drive(name, Input::Publish { ticket, messages });
        let outcomes = self.home(config, name).answers.remove(&ticket).unwrap_or_default();
        let text = serde_json::to_string(&Published { outcomes }).unwrap_or_default();
        Ok(serde_json::from_str::<Published>(&text).map(|published| published.outcomes).unwrap_or_default())
    }

    pub(crate) fn page(&mut self, config: &Config, name: &str, query: PageQuery) -> Result<Page, Refusal> {
        let turn = self.turn();
        let home = self.home(config, name);
        home.store.remembered = home.epoch();
        home.room.page(query, turn, &mut home.store)
    }

    /// A client's frame, or with `None` its close.
    pub(crate) fn hear(&mut self, name: &str, client: &str, frame: Option<Frame>) {
        let Some(home) = self.homes.get_mut(name) else { return };
        let Some(session) = home.sessions().find(|(socket, _)| socket.client == client).map(|(_, session)| session)
        else {
            return;
        };
        match frame {
            Some(frame) if length(&frame) > dormouse_core::limits::FRAME_BYTES_MAX => {
                self.drive(name, Input::FrameTooLong { session });
            }
            Some(frame) => self.drive(name, Input::Frame { session, frame }),
            None => {
                home.sockets.retain(|socket| socket.client != client);
                let sockets = home.sessions().count();
                self.drive(name, Input::Left { connection: session.connection, sockets });
            }
        }
    }

    /// Time passes, and alarms ring when they are due.
    pub(crate) fn wait(&mut self, ms: u64) {
        let until = self.now + ms;
        loop {
            let due = self.homes.iter().filter_map(|(name, home)| Some((home.alarm?, name.clone()))).min();
            let Some((at, name)) = due.filter(|(at, _)| *at <= until) else { break };
            self.now = self.now.max(at);
            if let Some(home) = self.homes.get_mut(&name) {
                home.alarm = None;
                let sessions = home.sessions().map(|(_, session)| session).collect();
                self.drive(&name, Input::Alarm { sessions });
            }
        }
        self.now = until;
    }

    fn home(&mut self, config: &Config, name: &str) -> &mut Home {
        let (app, channel) = parse_room_name(name).expect("the edge gives names that are names");
        let rule = config.app_by_id(app).map(|app| app.rule(&channel)).unwrap_or_default();
        self.homes.entry(name.to_owned()).or_insert_with(|| Home {
            room: Room::wake(channel.clone(), rule.clone(), None),
            channel,
            rule,
            store: MemoryStore::default(),
            alarm: None,
            sockets: Vec::new(),
            arriving: None,
            refused: None,
            answers: BTreeMap::new(),
        })
    }

    /// One event and all that follows from it. Nothing stays behind in a room's memory: it may sleep at any line.
    fn drive(&mut self, name: &str, input: Input) {
        let mut queue = VecDeque::from([Next::Input(input)]);
        while let Some(next) = queue.pop_front() {
            let turn = self.turn();
            let Some(home) = self.homes.get_mut(name) else { return };
            let input = match next {
                Next::Input(input) => input,
                Next::Pump => match home.sessions().find(|(_, session)| session.behind.is_some()) {
                    Some((_, session)) => {
                        queue.push_back(Next::Pump);
                        Input::Replay { session }
                    }
                    None => continue,
                },
            };
            if self.sleep == Sleep::BeforeEveryEvent {
                home.wake();
            }
            home.store.remembered = home.epoch();
            let mut outputs = Vec::new();
            home.room.handle(input, turn, &mut home.store, &mut outputs);
            for output in outputs {
                perform(home, output, &mut self.delivered, &mut queue);
            }
        }
    }

    fn turn(&mut self) -> Turn {
        Turn { now: self.now, random: self.random() }
    }

    /// xorshift64: the same run every time.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

fn length(frame: &Frame) -> usize {
    match frame {
        Frame::Text(text) => text.encode_utf16().count(),
        Frame::Binary(bytes) => bytes.len(),
    }
}

fn perform(home: &mut Home, output: Output, delivered: &mut Vec<(String, Item)>, queue: &mut VecDeque<Next>) {
    match output {
        Output::Accept(session) => {
            let client = home.arriving.take().expect("only who is connecting is accepted");
            home.sockets.push(Socket { client, attachment: session.encode(), open: true });
        }
        Output::Refuse(refusal) => home.refused = Some(refusal),
        Output::Send { to, frame } => {
            if let Some((socket, format)) = home.socket(&to).filter(|(socket, _)| socket.open) {
                delivered.push((socket.client.clone(), item(format, frame)));
            }
        }
        Output::SendAll { to, frames } => {
            if let Some((socket, format)) = home.socket(&to).filter(|(socket, _)| socket.open) {
                delivered.extend(frames.iter().map(|frame| (socket.client.clone(), item(format, frame.clone()))));
            }
        }
        Output::Broadcast { position, message, except } => {
            for (socket, session) in home.sessions() {
                if session.behind.is_none() && except.as_ref() != Some(&session.connection) {
                    let frame = home.room.frame(session.format, position, &message);
                    delivered.push((socket.client.clone(), item(session.format, frame)));
                }
            }
        }
        Output::Remember(session) => {
            if let Some((socket, _)) = home.socket(&session.connection) {
                socket.attachment = session.encode();
            }
        }
        Output::Pump => queue.push_back(Next::Pump),
        // Nothing is ever unsent here.
        // Nobody is slow here, and nobody follows.
        Output::CloseSlow { .. } | Output::Deliver { .. } => {}
        Output::Close { of, code, .. } => {
            if let Some((socket, format)) = home.socket(&of).filter(|(socket, _)| socket.open) {
                socket.open = false;
                let code = (!format.is_stream()).then_some(code);
                delivered.push((socket.client.clone(), Item::Closed(code)));
            }
            home.sockets.retain(|socket| socket.open);
            let sockets = home.sessions().count();
            queue.push_back(Next::Input(Input::Left { connection: of, sockets }));
        }
        Output::Count => queue.push_back(Next::Input(Input::Counted { sockets: home.sessions().count() })),
        // A Directory that always answers.
        Output::Register(report) => {
            queue.push_back(Next::Input(Input::Registered {
                at: report.at,
                state: report.state,
                answer: Some(report.at),
            }));
        }
        Output::Answer { ticket, outcomes } => {
            home.answers.insert(ticket, outcomes);
        }
        Output::Flush => queue.push_front(Next::Input(Input::Flushed(Ok(())))),
        Output::WakeAt(at) => home.alarm = Some(at),
        Output::Forget => {
            home.store.rows.clear();
            home.store.followers.clear();
            home.alarm = None;
        }
    }
}

fn item(format: Format, frame: Frame) -> Item {
    match frame {
        Frame::Text(text) if format.is_stream() => Item::Event(text.trim_end_matches('\n').replace('\n', " / ")),
        Frame::Text(text) => Item::Frame(Payload::Text(text)),
        Frame::Binary(bytes) => Item::Frame(Payload::Bytes(bytes)),
    }
}
