//! The home of one channel: what it decides on every event.
//!
//! The driver's contract: give [`Room::handle`] one [`Input`] at a time, perform every [`Output`] in order, and only then
//! give the next; no waiting in between. A room is a function of attachments and storage: [`Room::wake`] may be called at any
//! moment in place of a room that was put to sleep, and nobody can tell.

mod close;
mod commit;
mod deliver;
mod event;
mod followers;
mod history;
mod members;
mod news;
mod occupancy;
mod outbox;
mod relay;
mod replay;
mod tail;
mod tally;

pub use event::{Input, Output, Turn};
pub use history::{Page, PageQuery};
pub use members::{Announcement, MembersPage, MembersQuery};
pub use relay::Tree;

use crate::call::{Begin, Connect};
use crate::channel::ChannelName;
use crate::config::Rule;
use crate::frame::{self, Frame, Say};
use crate::limits;
use crate::log::Log;
use crate::message::{Message, NewMessage};
use crate::occupancy::{Occupancy, Reporter};
use crate::position::Position;
use crate::rate::Buckets;
use crate::refusal::{self, Code, Refusal};
use crate::session::{Format, Session};
use crate::speech::{self, Fault};
use crate::store::{Store, StoreError};
use commit::{Asker, Pending};
use followers::Followers;
use members::Members;
use news::Outgoing;
use relay::Relays;
use replay::Batch;
use tally::Counting;

/// A channel's home.
#[derive(Debug)]
pub struct Room {
    channel: ChannelName,
    rule: Rule,
    /// Rebuilt from the store when it is first needed.
    log: Option<Log>,
    /// As well.
    followers: Option<Followers>,
    /// As well; in presence channels.
    members: Option<Members>,
    relays: Relays,
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
    /// What the Directory was told.
    reporter: Reporter,
    /// What webhooks are told.
    outgoing: Outgoing,
    /// What Hubs are told of the number of subscribers.
    counting: Counting,
}

impl Room {
    /// A room that has just been woken, or made. `armed` is when the object's alarm will ring.
    #[must_use]
    pub fn wake(channel: ChannelName, rule: Rule, armed: Option<u64>) -> Self {
        let (buckets, reporter) = (Buckets::new(rule.client_rate), Reporter::new(rule.directory));
        Self {
            channel,
            rule,
            log: None,
            followers: None,
            members: None,
            relays: Relays::default(),
            flushing: false,
            hot: false,
            pending: Vec::new(),
            pending_bytes: 0,
            buckets,
            batch: None,
            unlooked_bytes: 0,
            armed,
            reporter,
            outgoing: Outgoing::default(),
            counting: Counting::default(),
        }
    }

    /// Learns when the object's alarm will ring: known a moment after waking, before the first event. But an object that is made anew after a trap is made inside an event:
    /// what that has set stands, if it is earlier.
    pub fn armed(&mut self, armed: Option<u64>) {
        self.armed = self.armed.into_iter().chain(armed).min();
    }

    /// Decides. Everything that shall be done is appended to `out`.
    pub fn handle<S: Store>(&mut self, input: Input, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        let begin = out.len();
        match input {
            Input::Connect { connect, connection, sockets } => {
                match self.connect(connect, connection, sockets, turn, store, out) {
                    Ok(()) => self.has_own(sockets + 1),
                    Err(refusal) => out.push(Output::Refuse(refusal)),
                }
            }
            Input::Frame { session, frame } => self.hear(session, frame, turn, store, out),
            Input::FrameTooLong { session } => self.dismiss_too_large(&session, out),
            Input::Publish { ticket, messages } => self.publish(Asker::Call(ticket), messages, turn, store, out),
            Input::Flushed(result) => self.flushed(result, turn, store, out),
            Input::Replay { session } => self.replay(session, turn, store, out),
            Input::Left { session, sockets } => {
                self.has_own(sockets);
                self.left(&session, sockets, turn, store, out);
            }
            Input::Receipt { hub, ticket, result } => self.receipt(hub, ticket, &result, turn, store, out),
            Input::Announce => {
                self.counting.timer_rang();
                self.announce_now(turn, store, out);
            }
            Input::Relayed { hubs, ticket, result } => self.relayed(hubs, ticket, result, turn, store, out),
            Input::Counted { sockets } => self.occupied(sockets, turn, out),
            Input::Registered { at, state, answer } => self.registered((at, state), answer, turn, store, out),
            Input::Posted { url, ticket, taken } => self.posted((&url, ticket), taken, turn, store),
            Input::Alarm { sessions } => self.alarm(&sessions, turn, store, out),
        }
        self.tell_count(turn, store, out);
        self.tell_hooks(turn, store, out);
        self.look_for_slow(begin, out);
        self.forget_empty();
    }

    /// Has those closed who do not take what they are sent, once for every [`limits::UNSENT_LOOK_BYTES`]. What goes to all counts once; a replay has a pace of its own.
    fn look_for_slow(&mut self, begin: usize, out: &mut Vec<Output>) {
        let said = out.iter().skip(begin).map(|output| match output {
            Output::Send { frame, .. } => frame.size() + limits::FRAME_COST_BYTES,
            Output::Broadcast { message, .. } => message.payload.len() + limits::FRAME_COST_BYTES,
            Output::Announce(announcement) => announcement.bytes() + limits::FRAME_COST_BYTES,
            _ => 0,
        });
        self.unlooked_bytes += said.sum::<usize>();
        if self.unlooked_bytes >= limits::UNSENT_LOOK_BYTES {
            self.unlooked_bytes = 0;
            out.push(Output::CloseSlow { unsent: limits::UNSENT_BYTES_MAX });
        }
    }

    /// A log that has stored nothing is what the connected sessions and the followers' rows remember, and nothing else: an epoch that only memory knew would be
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
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        if sockets >= self.rule.connections {
            return Err(Refusal::new(Code::Full, "this channel has as many connections as it can hold"));
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
            data: connect.data,
            told: None,
        };
        self.enter(&session, turn, store, out)?;
        out.push(Output::Accept(session.clone()));
        let welcome = Say::Welcome {
            connection,
            position: resumed.map_or(position, |(after, _)| after),
            resumed: resumed.map(|(_, complete)| complete),
        };
        self.say(&session, &welcome, out);
        if let Some(gap) = gap {
            self.say(&session, &Say::Gap(gap), out);
        }
        // Nothing is kept from a connection that was not there when it was published.
        for (seq, _, message) in missed {
            let frame = self.frame(session.format, head.epoch.at(seq), &message);
            out.push(Output::Send { to: session.connection.clone(), frame });
        }
        if let Some(expires_at) = session.expires_at {
            self.wake_at(expires_at, out);
        }
        if !at_once {
            self.wake_at(turn.now + limits::REPLAY_LEASE_MS, out);
            out.push(Output::Pump);
        }
        self.announce(turn, store, out);
        if sockets == 0 {
            self.occupied(1, turn, out);
        }
        self.inhabited(turn, store, out);
        Ok(())
    }

    fn hear<S: Store>(&mut self, session: Session, frame: Frame, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        if session.format.is_stream() {
            return;
        }
        if let Err(strikes) = self.buckets.take(&session.connection, turn.now) {
            let refusal = speech::too_often(self.rule.client_rate);
            if strikes > limits::RATE_STRIKES_MAX {
                return self.dismiss(&session, refusal.code.close_code(), refusal, out);
            }
            // A word to each would be a flood of our own.
            if strikes == 1 {
                self.say(&session, &Say::Error(refusal), out);
            }
            return;
        }
        match speech::read(session.format, &self.rule, session.may_publish, frame) {
            Ok(mut message) => {
                let id = message.id.as_ref().map(|id| id.id.clone());
                message.user.clone_from(&session.user);
                let new = NewMessage { message, from: Some(session.connection.clone()), if_position: None };
                let asker = Asker::Client { session, id };
                self.publish(asker, vec![new], turn, store, out);
            }
            Err(Fault::TooLong) => self.dismiss_too_large(&session, out),
            Err(Fault::Refused(refusal)) if session.format.is_raw() => {
                self.dismiss(&session, refusal.code.close_code(), refusal, out);
            }
            Err(Fault::Refused(refusal)) => self.say(&session, &Say::Error(refusal), out),
        }
    }

    fn left<S: Store>(&mut self, session: &Session, sockets: usize, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        self.buckets.remove(&session.connection);
        self.exit(session, turn, store, out);
        if sockets > 0 {
            return;
        }
        self.deserted(turn, out);
        self.emptied(limits::REPORT_PAUSE_MS, turn, out);
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
        // A store that cannot be read now is looked at again when the room is next used.
        let kept = self.log(turn, store).map(|log| log.forgettable_at());
        let spent = kept.is_ok_and(|at| at.is_none_or(|at| at <= turn.now));
        let inhabited = self.look_at_members(turn, store, &mut due, out);
        let followed = self.look_after(spent && !inhabited, turn, store, &mut due, out);
        let state = Occupancy::of(!sessions.is_empty(), followed);
        if followed {
            self.doubt_count();
        } else {
            // Nothing is to be told any more when it is forgotten.
            self.counting.hurry();
            self.tell_count(turn, store, out);
        }
        self.look_around(state, turn, &mut due, out);
        self.look_after_hooks(state, turn, store, &mut due, out);
        let is_over = remaining == 0 && !followed && !inhabited && !self.flushing && !self.has_news(turn, store);
        match kept.unwrap_or_default() {
            Some(at) if at > turn.now => due.push(at),
            _ if spent && is_over => {
                due.extend(self.forget(kept.is_ok_and(|at| at.is_some()), turn, out));
            }
            // There are listeners, and their positions are of this epoch: the log's end stays as long as they do.
            Some(_) => due.push(turn.now + limits::IDLE_LOOK_MS),
            None if followed => due.push(turn.now + limits::IDLE_LOOK_MS),
            None => {}
        }
        if let Some(at) = due.into_iter().min() {
            // Whatever the reason, an object is woken once a second at most.
            self.wake_at(at.max(turn.now + 1000), out);
        }
    }

    fn dismiss_too_large(&self, session: &Session, out: &mut Vec<Output>) {
        let refusal = speech::too_large(self.rule.message_bytes);
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
