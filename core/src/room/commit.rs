//! Publishing: numbering, storing and announcing messages, one row for all that came while the row before was being written.

use super::{Output, Room, Turn, refusal_of};
use crate::call::Outcome;
use crate::frame::Say;
use crate::limits;
use crate::log::Seen;
use crate::message::{Message, MessageId, NewMessage, check_size};
use crate::refusal::{Code, Refusal};
use crate::session::Session;
use crate::store::{Store, StoreError};
use std::collections::HashMap;

/// Who waits for the outcome.
#[derive(Debug)]
pub(super) enum Asker {
    /// A call from the Worker.
    Call(u64),
    /// A client, by a frame.
    Client { session: Session, id: Option<String> },
}

/// A publish that waits for its row.
#[derive(Debug)]
pub(super) struct Pending {
    asker: Asker,
    messages: Vec<NewMessage>,
}

/// Messages on their way into one row.
#[derive(Default)]
struct Chunk {
    messages: Vec<Message>,
    /// For each: the client's connection, if a client publishes it.
    from: Vec<Option<String>>,
    /// For each: which outcome it is.
    places: Vec<usize>,
    bytes: usize,
    ids: HashMap<String, usize>,
    /// Outcomes that are a repetition of a message in this chunk.
    repetitions: Vec<(usize, usize)>,
}

impl Room {
    /// Takes a publish. In a calm channel it is written at once. While a row is on its way to the disk it waits for the next one; and in
    /// a hot channel the first to come waits for an empty flush, a turn or two, for the others that are about to come.
    pub(super) fn publish<S: Store>(
        &mut self,
        asker: Asker,
        messages: Vec<NewMessage>,
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        if !self.flushing && !self.hot {
            return self.commit(vec![Pending { asker, messages }], turn, store, out);
        }
        let bytes: usize = messages.iter().map(|new| new.message.bytes()).sum();
        if self.pending.len() >= limits::PENDING_MAX || self.pending_bytes + bytes > limits::PENDING_BYTES_MAX {
            let refusal = Refusal::new(Code::Overloaded, "too many publishes are waiting: try again in a second");
            let outcomes = messages.iter().map(|_| Outcome::Refused { error: refusal.clone() }).collect();
            return self.answer(asker, outcomes, out);
        }
        self.pending_bytes += bytes;
        self.pending.push(Pending { asker, messages });
        self.flush(out);
    }

    fn flush(&mut self, out: &mut Vec<Output>) {
        if !self.flushing {
            self.flushing = true;
            out.push(Output::Flush);
        }
    }

    /// What was written is on the disk, or lost: the next row may go.
    pub(super) fn flushed<S: Store>(
        &mut self,
        result: Result<(), StoreError>,
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        self.flushing = false;
        if result.is_err() {
            // What the index says may not be there: it is read again.
            self.log = None;
            self.followers = None;
            self.members = None;
            self.outgoing.outbox = None;
        }
        let waiting = core::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        if !waiting.is_empty() {
            self.commit(waiting, turn, store, out);
        }
    }

    fn commit<S: Store>(&mut self, waiting: Vec<Pending>, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        self.hot = waiting.len() > 1;
        let mut outcomes: Vec<Option<Outcome>> = Vec::new();
        let mut askers = Vec::with_capacity(waiting.len());
        let mut chunk = Chunk::default();
        for Pending { asker, messages } in waiting {
            askers.push((asker, messages.len()));
            for new in messages {
                let nth = outcomes.len();
                let outcome = self.place(nth, new, &mut chunk, turn, store);
                outcomes.push(outcome);
                if chunk.bytes >= limits::SEGMENT_BYTES_MAX {
                    self.write(core::mem::take(&mut chunk), &mut outcomes, turn, store, out);
                }
            }
        }
        self.write(chunk, &mut outcomes, turn, store, out);
        let mut outcomes = outcomes.into_iter().map(|outcome| {
            // `write` settles all of them; this is what a reader of the code would have to take on trust otherwise.
            outcome.unwrap_or_else(|| Outcome::Refused { error: refusal_of(StoreError::Failed) })
        });
        for (asker, count) in askers {
            self.answer(asker, outcomes.by_ref().take(count).collect(), out);
        }
    }

    /// Puts a message into the chunk, or says at once what becomes of it.
    fn place<S: Store>(
        &mut self,
        nth: usize,
        new: NewMessage,
        chunk: &mut Chunk,
        turn: Turn,
        store: &mut S,
    ) -> Option<Outcome> {
        let refused = |error: Refusal| Some(Outcome::Refused { error });
        if let Err(error) = check_size(&new.message.payload, self.rule.message_bytes) {
            return refused(error);
        }
        let log = match self.log(turn, store) {
            Ok(log) => log,
            Err(error) => return refused(refusal_of(error)),
        };
        if let Some(id) = &new.message.id {
            if let Some(&twin) = chunk.ids.get(&id.id) {
                if chunk.id(twin) == Some(id) {
                    chunk.repetitions.push((nth, twin));
                    return None;
                }
                return refused(conflict());
            }
            match log.seen(store, id) {
                Ok(Seen::Never) => {}
                Ok(Seen::At(position)) => return Some(Outcome::Stored { position, duplicate: true }),
                Ok(Seen::Otherwise) => return refused(conflict()),
                Err(error) => return refused(refusal_of(error)),
            }
        }
        let last = log.epoch().at(log.position().seq + chunk.messages.len() as u64);
        if new.if_position.is_some_and(|expected| expected != last) {
            let mut error = Refusal::new(Code::PositionChanged, "if_position is not the channel's last position");
            error.position = Some(last);
            return refused(error);
        }
        chunk.push(nth, new);
        None
    }

    /// Writes a chunk as one row, settles its outcomes and announces its messages. One row written; a second one when the alarm has to be set.
    fn write<S: Store>(
        &mut self,
        chunk: Chunk,
        outcomes: &mut [Option<Outcome>],
        turn: Turn,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        if chunk.messages.is_empty() {
            return;
        }
        let mut settle = |nth: usize, outcome: Outcome| {
            if let Some(place) = outcomes.get_mut(nth) {
                *place = Some(outcome);
            }
        };
        let written = self.log(turn, store).and_then(|log| {
            let before = log.position();
            log.append(store, &chunk.messages, turn.now)?;
            Ok((before, log.forgettable_at()))
        });
        let (before, forgettable_at) = match written {
            Ok(written) => written,
            Err(error) => {
                let all = chunk.places.iter().copied().chain(chunk.repetitions.iter().map(|(nth, _)| *nth));
                all.for_each(|nth| settle(nth, Outcome::Refused { error: refusal_of(error) }));
                return;
            }
        };
        self.keep_for_followers(before, &chunk.messages, store);
        self.published(&chunk.messages, &chunk.from);
        let place = |at: usize| before.epoch.at(before.seq + 1 + at as u64);
        for (nth, twin) in &chunk.repetitions {
            settle(*nth, Outcome::Stored { position: place(*twin), duplicate: true });
        }
        for (at, (message, nth)) in chunk.messages.into_iter().zip(chunk.places).enumerate() {
            settle(nth, Outcome::Stored { position: place(at), duplicate: false });
            out.push(Output::Broadcast { position: place(at), message });
        }
        self.deliver_all(turn, store, out);
        if let Some(at) = forgettable_at {
            self.wake_at(at, out);
        }
        self.flush(out);
    }

    fn answer(&mut self, asker: Asker, outcomes: Vec<Outcome>, out: &mut Vec<Output>) {
        let (session, id) = match asker {
            Asker::Call(ticket) => return out.push(Output::Answer { ticket, outcomes }),
            Asker::Client { session, id } => (session, id),
        };
        for outcome in outcomes {
            let words = match outcome {
                Outcome::Stored { position, duplicate } => Say::Ack { id: id.clone(), position, duplicate },
                Outcome::Refused { error } => Say::Error(error),
            };
            self.say(&session, &words, out);
        }
    }
}

impl Chunk {
    fn push(&mut self, nth: usize, new: NewMessage) {
        if let Some(id) = &new.message.id {
            self.ids.insert(id.id.clone(), self.messages.len());
        }
        self.bytes += new.message.bytes();
        self.messages.push(new.message);
        self.from.push(new.from);
        self.places.push(nth);
    }

    fn id(&self, at: usize) -> Option<&MessageId> {
        self.messages.get(at)?.id.as_ref()
    }
}

fn conflict() -> Refusal {
    Refusal::new(
        Code::IdConflict,
        "this id was used for another message: a retry has to be the same message, a new one needs a new id",
    )
}
