//! Replaying to a connection that is behind, in batches, until it has caught up and is live.

use super::{Output, Room, Turn, refusal_of};
use crate::frame::{Frame, Gap, GapReason, Say};
use crate::limits;
use crate::message::Message;
use crate::position::{Epoch, Position};
use crate::session::{Format, Session};
use crate::store::{Store, StoreError};
use std::rc::Rc;

/// A batch as it was sent. After a deploy a thousand readers come back to about the same place.
#[derive(Debug)]
pub(super) struct Batch {
    format: Format,
    epoch: Epoch,
    /// The `seq` of the first message in it, and that after the last.
    first: u64,
    next: u64,
    /// The log's last `seq` when it was read.
    head: u64,
    frames: Rc<[Frame]>,
}

impl Batch {
    /// Whether it is what reading again would give: the same place, and either cut by its size or nothing has come since.
    fn is_for(&self, format: Format, first: u64, head: Position) -> bool {
        let whole = self.next <= self.head || self.head == head.seq;
        self.format == format && self.epoch == head.epoch && self.first == first && whole
    }
}

impl Room {
    /// The next batch. In the turn in which it reaches the log's end the connection becomes live, so there is neither a hole nor a
    /// repeat between the last replayed message and the first live one.
    pub(super) fn replay<S: Store>(&mut self, mut session: Session, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        let Some(next) = session.behind else { return };
        let read = self.next_batch(&session, next, turn, store);
        let (gap, (frames, next), head) = match read {
            // Not the epoch that it came in: the log was lost meanwhile, and with it what was to be replayed.
            Ok(read) if read.2.epoch == session.epoch => read,
            failed => {
                let refusal = refusal_of(failed.err().unwrap_or(StoreError::Failed));
                return self.dismiss(&session, refusal.code.close_code(), refusal, out);
            }
        };
        if let Some(gap) = gap {
            self.say(&session, &Say::Gap(gap), out);
        }
        if !frames.is_empty() {
            out.push(Output::SendAll { to: session.connection.clone(), frames });
        }
        session.behind = (next <= head.seq).then_some(next);
        out.push(Output::Remember(session));
    }

    /// What the retention overtook, the frames and where the batch after them begins, and the log's end.
    #[expect(clippy::type_complexity, reason = "one caller, which takes it apart at once")]
    fn next_batch<S: Store>(
        &mut self,
        session: &Session,
        next: u64,
        turn: Turn,
        store: &mut S,
    ) -> Result<(Option<Gap>, (Rc<[Frame]>, u64), Position), StoreError> {
        let log = self.log(turn, store)?;
        let (head, first) = (log.position(), log.first_available(turn.now).max(next));
        let at = |seq: u64| head.epoch.at(seq);
        let gap =
            (next < first).then(|| Gap { after: at(next - 1), position: at(first - 1), reason: GapReason::Expired });
        if let Some(batch) = self.batch.as_ref().filter(|batch| batch.is_for(session.format, first, head)) {
            return Ok((gap, (batch.frames.clone(), batch.next), head));
        }
        let read = self.log(turn, store)?.read(store, first, limits::REPLAY_BATCH_BYTES, u64::MAX)?;
        let next = read.last().map_or(first, |(seq, _, _)| seq + 1);
        let is_for = |message: &Message| !message.is_kept_from(&session.connection);
        let others = read.iter().filter(|(_, _, message)| is_for(message));
        let frames: Rc<[Frame]> =
            others.map(|(seq, _, message)| self.frame(session.format, at(*seq), message)).collect();
        if read.iter().any(|(_, _, message)| message.except.is_some()) {
            // Not the same for everybody.
            return Ok((gap, (frames, next), head));
        }
        let batch =
            Batch { format: session.format, epoch: head.epoch, first, next, head: head.seq, frames: frames.clone() };
        self.batch = Some(batch);
        Ok((gap, (frames, next), head))
    }
}
