//! Replaying to a connection that is behind, in batches, until it has caught up and is live.

use super::{Output, Room, Turn, refusal_of};
use crate::frame::{Gap, GapReason, Say};
use crate::limits;
use crate::session::Session;
use crate::store::Store;

impl Room {
    /// The next batch. In the turn in which it reaches the log's end the connection becomes live, so there is neither a hole nor a
    /// repeat between the last replayed message and the first live one.
    pub(super) fn replay<S: Store>(&mut self, mut session: Session, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        let Some(mut next) = session.behind else { return };
        let read = self.log(turn, store).and_then(|log| {
            let first = log.first_available(turn.now);
            let overtaken = next < first;
            let gap = overtaken.then(|| Gap {
                after: log.epoch().at(next - 1),
                position: log.epoch().at(first - 1),
                reason: GapReason::Expired,
            });
            next = next.max(first);
            let batch = log.read(store, next, limits::REPLAY_BATCH_BYTES, u64::MAX)?;
            Ok((gap, batch, log.position()))
        });
        let (gap, batch, head) = match read {
            Ok(read) => read,
            Err(error) => {
                let refusal = refusal_of(error);
                return self.dismiss(&session, refusal.code.close_code(), refusal, out);
            }
        };
        if session.epoch != head.epoch {
            // The log was lost meanwhile, and with it what was to be replayed.
            let refusal = refusal_of(crate::store::StoreError::Failed);
            return self.dismiss(&session, refusal.code.close_code(), refusal, out);
        }
        if let Some(gap) = gap {
            self.say(&session, &Say::Gap(gap), out);
        }
        for (seq, _, message) in batch {
            let frame = self.frame(session.format, head.epoch.at(seq), &message);
            out.push(Output::Send { to: session.connection.clone(), frame });
            next = seq + 1;
        }
        session.behind = (next <= head.seq).then_some(next);
        out.push(Output::Remember(session));
    }
}
