//! The home of one channel: what it decides on every event.
//!
//! The driver's contract: give [`Room::handle`] one [`Input`] at a time, perform every [`Output`] in order, and only then
//! give the next; no waiting in between. A room is a function of attachments and storage: [`Room::wake`] may be called at any
//! moment in place of a room that was put to sleep, and nobody can tell.

mod commit;
mod history;
mod rate;
mod replay;

pub use history::{Page, PageQuery};

use crate::call::{Begin, Connect, Outcome};
use crate::channel::ChannelName;
use crate::config::Rule;
use crate::frame::{self, Frame, Say};
use crate::limits;
use crate::log::Log;
use crate::message::{Message, NewMessage, Payload, check_size};
use crate::position::Position;
use crate::refusal::{self, Code, Refusal};
use crate::session::{Format, Session};
use crate::store::{Store, StoreError};
use commit::{Asker, Pending};
use rate::Buckets;
use replay::Batch;
use std::rc::Rc;

/// The circumstances of one event.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Milliseconds since 1970.
    pub now: u64,
    /// 64 random bits; used when an epoch begins.
    pub random: u64,
}

/// What happens to a room.
#[derive(Debug)]
pub enum Input {
    /// The Worker let somebody in.
    Connect {
        /// Who, and where it begins.
        connect: Connect,
        /// A new random id for it.
        connection: String,
        /// Sockets that the object holds already.
        sockets: usize,
    },
    /// A socket sent a frame.
    Frame {
        /// Its attachment.
        session: Session,
        /// The frame.
        frame: Frame,
    },
    /// A socket sent a frame that is too long to be looked at ([`limits::FRAME_BYTES_MAX`]).
    FrameTooLong {
        /// Its attachment.
        session: Session,
    },
    /// The Worker publishes.
    Publish {
        /// Names the call in [`Output::Answer`].
        ticket: u64,
        /// The messages, in order.
        messages: Vec<NewMessage>,
    },
    /// The disk has, or could not have, what was written before the last [`Output::Flush`].
    Flushed(Result<(), StoreError>),
    /// A socket that is behind can take another batch.
    Replay {
        /// Its attachment.
        session: Session,
    },
    /// A socket is gone.
    Left {
        /// Its id.
        connection: String,
        /// Sockets that remain.
        sockets: usize,
    },
    /// The alarm rang.
    Alarm {
        /// The attachments of all sockets.
        sessions: Vec<Session>,
    },
}

/// What has to be done about it.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Accept the socket that is connecting, with this attachment. Always before anything is sent to it.
    Accept(Session),
    /// Do not accept it.
    Refuse(Refusal),
    /// Send a frame to one connection.
    Send {
        /// The connection's id.
        to: String,
        /// The frame.
        frame: Frame,
    },
    /// Send frames to one connection, in order. Readers who are at the same place share the frames.
    SendAll {
        /// The connection's id.
        to: String,
        /// The frames.
        frames: Rc<[Frame]>,
    },
    /// Send a message to every socket that is not behind. [`Room::frame`] builds its frame, once per format.
    Broadcast {
        /// The message's place.
        position: Position,
        /// The message.
        message: Message,
        /// The connection that shall not get it.
        except: Option<String>,
    },
    /// Replace a connection's attachment.
    Remember(Session),
    /// Give [`Input::Replay`] for every socket that is behind, as they can take it.
    Pump,
    /// Close the sockets that have more unsent bytes than that.
    CloseSlow {
        /// Bytes.
        unsent: u32,
    },
    /// Close a connection.
    Close {
        /// The connection's id.
        of: String,
        /// The close code.
        code: u16,
        /// The reason, a code's name.
        reason: &'static str,
    },
    /// Answer a publish call.
    Answer {
        /// The call.
        ticket: u64,
        /// What became of its messages.
        outcomes: Vec<Outcome>,
    },
    /// Give [`Input::Flushed`] once everything written so far is on the disk.
    Flush,
    /// Set the alarm, in milliseconds since 1970.
    WakeAt(u64),
    /// Delete all storage, the alarm too.
    Forget,
}

/// A channel's home.
#[derive(Debug)]
pub struct Room {
    channel: ChannelName,
    rule: Rule,
    /// Rebuilt from the store when it is first needed.
    log: Option<Log>,
    /// Whether a write is on its way to the disk. Publishes wait meanwhile, and share the next row.
    flushing: bool,
    /// Whether the last row had more than one publisher: the next publish is not likely to be alone either.
    hot: bool,
    pending: Vec<Pending>,
    pending_bytes: usize,
    buckets: Buckets,
    /// The batch that was replayed last: the next reader is often at the same place.
    batch: Option<Batch>,
    /// Bytes sent to each socket since the last look for slow ones.
    unlooked_bytes: usize,
    /// When the alarm will ring.
    armed: Option<u64>,
}

impl Room {
    /// A room that has just been woken, or made. `armed` is when the object's alarm will ring.
    #[must_use]
    pub fn wake(channel: ChannelName, rule: Rule, armed: Option<u64>) -> Self {
        let buckets = Buckets::new(rule.client_rate);
        Self {
            channel,
            rule,
            log: None,
            flushing: false,
            hot: false,
            pending: Vec::new(),
            pending_bytes: 0,
            buckets,
            batch: None,
            unlooked_bytes: 0,
            armed,
        }
    }

    /// Learns when the object's alarm will ring: known a moment after waking, before the first event.
    pub fn armed(&mut self, armed: Option<u64>) {
        self.armed = armed;
    }

    /// Decides. Everything that shall be done is appended to `out`.
    pub fn handle<S: Store>(&mut self, input: Input, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        match input {
            Input::Connect { connect, connection, sockets } => {
                match self.connect(connect, connection, sockets, turn, store) {
                    Ok(mut outputs) => out.append(&mut outputs),
                    Err(refusal) => out.push(Output::Refuse(refusal)),
                }
            }
            Input::Frame { session, frame } => self.hear(session, frame, turn, store, out),
            Input::FrameTooLong { session } => self.dismiss_too_large(&session, out),
            Input::Publish { ticket, messages } => self.publish(Asker::Call(ticket), messages, turn, store, out),
            Input::Flushed(result) => self.flushed(result, turn, store, out),
            Input::Replay { session } => self.replay(session, turn, store, out),
            Input::Left { connection, sockets } => self.left(&connection, sockets, turn, store, out),
            Input::Alarm { sessions } => self.alarm(&sessions, turn, store, out),
        }
        self.forget_empty();
    }

    /// A log that has stored nothing is what the connected sessions remember, and nothing else: an epoch that only memory knew would be
    /// gone after a sleep.
    fn forget_empty(&mut self) {
        if self.log.as_ref().is_some_and(|log| log.forgettable_at().is_none()) {
            self.log = None;
        }
    }

    /// The frame of a message for all connections of a format.
    #[must_use]
    pub fn frame(&self, format: Format, position: Position, message: &Message) -> Frame {
        frame::message(&self.channel, format, position, message)
    }

    fn connect<S: Store>(
        &mut self,
        connect: Connect,
        connection: String,
        sockets: usize,
        turn: Turn,
        store: &mut S,
    ) -> Result<Vec<Output>, Refusal> {
        if sockets >= limits::SOCKETS_MAX {
            return Err(Refusal::new(Code::Overloaded, "this channel has as many connections as it can hold"));
        }
        let log = self.log(turn, store).map_err(refusal_of)?;
        let head = log.position();
        let (position, resumed, gap) = match connect.from {
            None => (head, None, None),
            Some(Begin::Last(n)) => (log.newest(n.min(limits::LAST_MAX), turn.now), None, None),
            Some(Begin::After(after)) => {
                let start = log.resume(after, turn.now);
                (start.position, Some((after, start.gap.is_none())), start.gap)
            }
        };
        let next = position.seq + 1;
        let at_once = next > head.seq || log.bytes_from(next) <= limits::REPLAY_INLINE_BYTES;
        let missed =
            if at_once { log.read(store, next, usize::MAX, u64::MAX).map_err(refusal_of)? } else { Vec::new() };
        let session = Session {
            connection: connection.clone(),
            format: connect.format,
            user: connect.user,
            expires_at: connect.expires_at,
            may_publish: connect.may_publish,
            epoch: head.epoch,
            behind: (!at_once).then_some(next),
        };
        let mut out = vec![Output::Accept(session.clone())];
        let welcome = Say::Welcome {
            connection,
            position: resumed.map_or(position, |(after, _)| after),
            resumed: resumed.map(|(_, complete)| complete),
        };
        self.say(&session, &welcome, &mut out);
        if let Some(gap) = gap {
            self.say(&session, &Say::Gap(gap), &mut out);
        }
        for (seq, _, message) in missed {
            let frame = self.frame(session.format, head.epoch.at(seq), &message);
            out.push(Output::Send { to: session.connection.clone(), frame });
        }
        if let Some(expires_at) = session.expires_at {
            self.wake_at(expires_at, &mut out);
        }
        if !at_once {
            self.wake_at(turn.now + limits::REPLAY_LEASE_MS, &mut out);
            out.push(Output::Pump);
        }
        Ok(out)
    }

    fn hear<S: Store>(&mut self, session: Session, frame: Frame, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        if session.format.is_stream() {
            return;
        }
        if let Err(strikes) = self.buckets.take(&session.connection, turn.now) {
            let most = self.rule.client_rate;
            let refusal =
                Refusal::new(Code::RateLimited, format!("{most} frames per second; this one was not looked at"));
            if strikes > limits::RATE_STRIKES_MAX {
                return self.dismiss(&session, refusal.code.close_code(), refusal, out);
            }
            // A raw socket has no words for it, and a word to each would be a flood of our own.
            return self.say(&session, &Say::Error(refusal), out);
        }
        let length = match &frame {
            Frame::Text(text) => text.len(),
            Frame::Binary(bytes) => bytes.len(),
        };
        let envelope = if session.format.is_raw() { 0 } else { limits::FRAME_ENVELOPE_BYTES };
        if length > self.rule.message_bytes + envelope {
            return self.dismiss_too_large(&session, out);
        }
        match self.read(&session, frame) {
            Ok(message) => {
                let id = message.id.as_ref().map(|id| id.id.clone());
                let asker = Asker::Client { session, id };
                let new = NewMessage { message, except: None, if_position: None };
                self.publish(asker, vec![new], turn, store, out);
            }
            Err(refusal) if session.format.is_raw() => self.dismiss(&session, refusal.code.close_code(), refusal, out),
            Err(refusal) => self.say(&session, &Say::Error(refusal), out),
        }
    }

    fn read(&self, session: &Session, frame: Frame) -> Result<Message, Refusal> {
        let message = match frame {
            Frame::Text(text) if session.format.is_raw() => Message::new(None, Payload::Text(text), None),
            Frame::Binary(bytes) if session.format.is_raw() => Message::new(None, Payload::Binary(bytes), None),
            Frame::Text(text) => frame::parse(&text)?,
            Frame::Binary(_) => {
                return Err(Refusal::new(Code::InvalidJson, "binary frames are for raw sockets: connect with raw=1"));
            }
        };
        if !session.may_publish {
            return Err(Refusal::new(
                Code::Forbidden,
                "this connection may not publish: neither the channel's rule nor its token allows it",
            ));
        }
        check_size(&message.payload, self.rule.message_bytes)?;
        Ok(message)
    }

    fn left<S: Store>(&mut self, connection: &str, sockets: usize, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        self.buckets.remove(connection);
        if sockets > 0 {
            return;
        }
        // A store that cannot be read now is looked at again when the room is next used.
        if let Some(at) = self.log(turn, store).ok().and_then(|log| log.forgettable_at()) {
            self.wake_at(at.max(turn.now), out);
        }
    }

    fn alarm<S: Store>(&mut self, sessions: &[Session], turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        self.armed = None;
        let mut remaining = 0;
        // What the alarm has to be set for next.
        let mut due: Vec<u64> = Vec::new();
        for session in sessions {
            match session.expires_at {
                Some(at) if at <= turn.now => {
                    let refusal = Refusal::new(Code::Expired, "the token has expired: come back with a new one");
                    self.dismiss(session, refusal.code.close_code(), refusal, out);
                    continue;
                }
                expires_at => due.extend(expires_at),
            }
            remaining += 1;
        }
        if sessions.iter().any(|session| session.behind.is_some()) {
            due.push(turn.now + limits::REPLAY_LEASE_MS);
            out.push(Output::Pump);
        }
        match self.log(turn, store).ok().and_then(|log| log.forgettable_at()) {
            Some(at) if at > turn.now => due.push(at),
            Some(_) if remaining == 0 && !self.flushing => {
                self.log = None;
                out.push(Output::Forget);
            }
            // There are listeners, and their positions are of this epoch: the log's end stays as long as they do.
            Some(_) => due.push(turn.now + limits::IDLE_LOOK_MS),
            None => {}
        }
        if let Some(at) = due.into_iter().min() {
            // Whatever the reason, an object is woken once a second at most.
            self.wake_at(at.max(turn.now + 1000), out);
        }
    }

    fn dismiss_too_large(&self, session: &Session, out: &mut Vec<Output>) {
        let most = self.rule.message_bytes;
        let refusal = Refusal::new(Code::TooLarge, format!("a message has at most {most} bytes"));
        self.dismiss(session, refusal::CLOSE_FRAME_TOO_LARGE, refusal, out);
    }

    /// The last words and the close.
    fn dismiss(&self, session: &Session, code: u16, refusal: Refusal, out: &mut Vec<Output>) {
        let reason = refusal.code.name();
        self.say(session, &Say::Farewell(refusal), out);
        out.push(Output::Close { of: session.connection.clone(), code, reason });
    }

    fn say(&self, session: &Session, words: &Say, out: &mut Vec<Output>) {
        if let Some(frame) = frame::say(&self.channel, session.format, words) {
            out.push(Output::Send { to: session.connection.clone(), frame });
        }
    }

    fn log<S: Store>(&mut self, turn: Turn, store: &mut S) -> Result<&mut Log, StoreError> {
        let log = match self.log.take() {
            Some(log) => log,
            None => Log::load(store, self.rule.history, turn.now, turn.random)?,
        };
        Ok(self.log.insert(log))
    }

    /// Sets the alarm, unless it rings earlier anyway: one row written.
    fn wake_at(&mut self, at: u64, out: &mut Vec<Output>) {
        if self.armed.is_none_or(|armed| at < armed) {
            self.armed = Some(at);
            out.push(Output::WakeAt(at));
        }
    }
}

/// What a publisher or reader is told when the store fails.
fn refusal_of(error: StoreError) -> Refusal {
    match error {
        StoreError::Full => Refusal::new(Code::StorageFull, "there is no room to store the message: nothing was sent"),
        StoreError::Failed => Refusal::new(Code::Internal, "the channel's storage failed: try again"),
    }
}

#[cfg(test)]
mod tests;
