//! Closing connections from outside.

use super::{Output, Room, refusal_of};
use crate::close::{Close, Closed, farewell};
use crate::occupancy::Occupancy;
use crate::refusal::Refusal;
use crate::session::Session;
use crate::store::Store;

impl Room {
    /// Closes those of the connections that are meant: `open` are the attachments of sockets that nobody has closed yet (of one socket, if one is meant),
    /// `sockets` how many have not gone. Nothing written.
    pub fn close<S: Store>(
        &mut self,
        close: &Close,
        open: &[Session],
        sockets: usize,
        store: &mut S,
        out: &mut Vec<Output>,
    ) -> Result<Closed, Refusal> {
        let followed = !self.followers(store).map_err(refusal_of)?.by_hub.is_empty();
        let state = Occupancy::of(sockets > 0, followed);
        self.answered(state);
        let mut closed = 0;
        for session in open.iter().filter(|session| close.whose.is(&session.connection, session.user.as_deref())) {
            let refusal = farewell();
            self.dismiss(session, refusal.code.close_code(), refusal, out);
            closed += 1;
        }
        Ok(Closed { closed, state })
    }
}
