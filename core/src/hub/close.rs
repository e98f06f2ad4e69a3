//! Closing connections from outside.

use super::{Hub, HubSession, Output, Slot};
use crate::close::{Close, Closed, farewell};
use crate::occupancy::Occupancy;

impl Hub {
    /// Closes those of the connections that are meant; the driver knows which sockets nobody has closed yet. Nothing written.
    pub fn close(&mut self, close: &Close, is_open: impl Fn(Slot) -> bool, out: &mut Vec<Output>) -> Closed {
        let state = self.state();
        if state == Occupancy::Vacant {
            // The Directory may strike it out, now that it hears this.
            self.reporter.doubt();
        }
        let is_meant = |session: &HubSession| close.whose.is(&session.connection, session.user.as_deref());
        let sessions = (0..).zip(&self.sessions).filter(|(_, session)| session.as_ref().is_some_and(is_meant));
        let slots: Vec<Slot> = sessions.map(|(slot, _)| slot).filter(|slot| is_open(*slot)).collect();
        let refusal = farewell();
        for slot in &slots {
            self.dismiss(*slot, refusal.code.close_code(), &refusal, out);
        }
        Closed { closed: slots.len(), state }
    }
}

#[cfg(test)]
mod tests;
