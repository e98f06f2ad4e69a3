//! A room with its disk and its sockets: performs what it says as `durable` does.

use crate::scenario::objects::{Event, Item, Objects, item};
use dormouse_core::call::Outcome;
use dormouse_core::channel::ChannelName;
use dormouse_core::config::Rule;
use dormouse_core::directory::Report;
use dormouse_core::frame::Frame;
use dormouse_core::limits;
use dormouse_core::message::Message;
use dormouse_core::position::{Epoch, Position};
use dormouse_core::refusal::Refusal;
use dormouse_core::room::{Announcement, Input, Output, Room};
use dormouse_core::session::{Format, Session};
use dormouse_core::store::MemoryStore;
use std::collections::BTreeMap;

pub(super) struct Home {
    pub(super) channel: ChannelName,
    rule: Rule,
    pub(super) room: Room,
    pub(super) store: MemoryStore,
    pub(super) alarm: Option<u64>,
    sockets: Vec<Socket>,
    pub(super) arriving: Option<String>,
    pub(super) refused: Option<Refusal>,
    /// The publishes whose outcome is not known yet, by ticket.
    pub(super) askers: BTreeMap<u64, Asker>,
    pub(super) answers: BTreeMap<u64, Vec<Outcome>>,
}

struct Socket {
    client: String,
    /// A session, encoded.
    attachment: String,
    open: bool,
}

/// Who publishes.
pub(super) enum Asker {
    Worker,
    Hub(String),
}

impl Home {
    pub(super) fn new(channel: ChannelName, rule: Rule) -> Self {
        Self {
            room: Room::wake(channel.clone(), rule.clone(), None),
            channel,
            rule,
            store: MemoryStore::default(),
            alarm: None,
            sockets: Vec::new(),
            arriving: None,
            refused: None,
            askers: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }

    pub(super) fn wake(&mut self) {
        self.room = Room::wake(self.channel.clone(), self.rule.clone(), None);
        self.room.armed(self.alarm);
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = Session> {
        self.listeners().map(|(_, session)| session)
    }

    pub(super) fn behind(&self) -> Option<Session> {
        self.sessions().find(|session| session.behind.is_some())
    }

    /// What a connected session remembers.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.sessions().next().map(|session| session.epoch)
    }

    /// What it means that a client sent a frame, or with `None` that it closed.
    pub(super) fn heard(&mut self, client: &str, frame: Option<Frame>) -> Option<Input> {
        let session = self.listeners().find(|(socket, _)| socket.client == client).map(|(_, session)| session)?;
        Some(match frame {
            Some(frame) if super::objects::length(&frame) > limits::FRAME_BYTES_MAX => Input::FrameTooLong { session },
            Some(frame) => Input::Frame { session, frame },
            None => {
                self.sockets.retain(|socket| socket.client != client);
                Input::Left { session, sockets: self.sessions().count() }
            }
        })
    }

    fn listeners(&self) -> impl Iterator<Item = (&Socket, Session)> {
        let open = self.sockets.iter().filter(|socket| socket.open);
        open.filter_map(|socket| Some((socket, Session::decode(&socket.attachment)?)))
    }

    fn socket(&mut self, connection: &str) -> Option<(&mut Socket, Format)> {
        self.sockets.iter_mut().find_map(|socket| {
            let session = Session::decode(&socket.attachment)?;
            (session.connection == connection).then_some((socket, session.format))
        })
    }

    fn broadcast(&self, position: Position, message: &Message) -> Vec<(String, Item)> {
        let hears = |session: &Session| session.behind.is_none() && !message.is_kept_from(&session.connection);
        let listeners = self.listeners().filter(|(_, session)| hears(session));
        let frame = |(socket, session): (&Socket, Session)| {
            (socket.client.clone(), item(session.format, self.room.frame(session.format, position, message)))
        };
        listeners.map(frame).collect()
    }

    /// Closes a connection; its client, what it is told, and its end.
    fn close(&mut self, connection: &str, code: u16) -> Option<((String, Item), Input)> {
        let (socket, format) = self.socket(connection).filter(|(socket, _)| socket.open)?;
        socket.open = false;
        let told = (socket.client.clone(), Item::Closed((!format.is_stream()).then_some(code)));
        let session = Session::decode(&socket.attachment)?;
        self.sockets.retain(|socket| socket.open);
        Some((told, Input::Left { session, sockets: self.sessions().count() }))
    }

    fn announce(&mut self, announcement: &Announcement) -> Vec<(String, Item)> {
        let frames = |(socket, session): (&Socket, Session)| {
            let (changes, members) = self.room.announced(session.format, announcement);
            let is_fresh = announcement.fresh.contains(&session.connection);
            let frames = if is_fresh { members.into_iter().collect() } else { changes };
            let items = frames.into_iter().map(|frame| (socket.client.clone(), item(session.format, frame)));
            items.collect::<Vec<_>>()
        };
        let told = self.listeners().flat_map(frames).collect();
        for connection in &announcement.fresh {
            self.remembers(connection, announcement.revision);
        }
        if announcement.fresh.is_empty() {
            self.one_remembers(announcement.revision);
        }
        told
    }

    fn one_remembers(&mut self, revision: u64) {
        let keeper = self.sessions().next().map(|session| session.connection);
        if let Some(keeper) = keeper {
            self.remembers(&keeper, revision);
        }
    }

    fn remembers(&mut self, connection: &str, revision: u64) {
        if let Some((socket, _)) = self.socket(connection)
            && let Some(session) = Session::decode(&socket.attachment)
        {
            socket.attachment = Session { told: Some(revision), ..session }.encode();
        }
    }
}

impl Objects {
    pub(super) fn room_performs(&mut self, name: &str, output: Output) {
        let Some(home) = self.homes.get_mut(name) else { return };
        match output {
            Output::Accept(session) => {
                let client = home.arriving.take().expect("only who is connecting is accepted");
                home.sockets.push(Socket { client, attachment: session.encode(), open: true });
            }
            Output::Refuse(refusal) => home.refused = Some(refusal),
            Output::Send { to, frame } => {
                if let Some((socket, format)) = home.socket(&to).filter(|(socket, _)| socket.open) {
                    self.delivered.push((socket.client.clone(), item(format, frame)));
                }
            }
            Output::SendAll { to, frames } => {
                if let Some((socket, format)) = home.socket(&to).filter(|(socket, _)| socket.open) {
                    let items = frames.iter().map(|frame| (socket.client.clone(), item(format, frame.clone())));
                    self.delivered.extend(items);
                }
            }
            Output::Broadcast { position, message } => {
                self.delivered.extend(home.broadcast(position, &message));
            }
            Output::Remember(session) => {
                if let Some((socket, _)) = home.socket(&session.connection) {
                    socket.attachment = session.encode();
                }
            }
            Output::Announce(announcement) => self.delivered.extend(home.announce(&announcement)),
            Output::Told { of, revision } => home.remembers(&of, revision),
            // Time does not pass meanwhile.
            Output::AnnounceIn(_) => self.queue.push_back(Event::Room(name.to_owned(), Input::Announce)),
            Output::Pump => self.queue.push_back(Event::Pump(name.to_owned())),
            Output::Relay { hubs, .. } => panic!("{} followers are not a large channel", hubs.len()),
            // Nobody is slow here, and nobody has webhooks.
            Output::CloseSlow { .. } | Output::Post(_) => {}
            Output::Close { of, code, .. } => {
                let Some((told, end)) = home.close(&of, code) else { return };
                self.delivered.push(told);
                self.queue.push_back(Event::Room(name.to_owned(), end));
            }
            Output::Answer { ticket, outcomes } => match home.askers.remove(&ticket) {
                Some(Asker::Hub(hub)) => self.room_has_published(name, hub, outcomes),
                Some(Asker::Worker) => {
                    home.answers.insert(ticket, outcomes);
                }
                None => {}
            },
            Output::Deliver { hub, ticket, delivery } => {
                let room = name.to_owned();
                self.queue.push_back(Event::Deliver { room, hub, ticket, delivery: delivery.to_string() });
            }
            Output::Count => {
                let sockets = home.sessions().count();
                self.queue.push_back(Event::Room(name.to_owned(), Input::Counted { sockets }));
            }
            // A Directory that always answers.
            Output::Register(Report { at, state, .. }) => {
                let answer = Input::Registered { at, state, answer: Some(at) };
                self.queue.push_back(Event::Room(name.to_owned(), answer));
            }
            Output::Flush => self.queue.push_front(Event::Room(name.to_owned(), Input::Flushed(Ok(())))),
            Output::WakeAt(at) => home.alarm = Some(at),
            Output::Forget => {
                home.store.rows.clear();
                home.store.followers.clear();
                home.store.members.clear();
                home.alarm = None;
            }
        }
    }
}
