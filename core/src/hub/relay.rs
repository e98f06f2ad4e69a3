//! Handing a delivery on to other Hubs, for a Room that has more followers than it calls itself. What is kept lasts as long as the Room's call does, and nothing is kept of
//! the channel: the Room alone knows who has what. What is handed on is an ordinary delivery, so nobody hands it on a second time.

use super::{Hub, Output};
use crate::limits;
use crate::link::{Receipts, Relay, encode_receipts};
use crate::refusal::{Code, Refusal};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Deliveries that are being handed on.
#[derive(Debug, Default)]
pub(super) struct Relays {
    /// By the call's ticket.
    by_ticket: BTreeMap<u64, Handing>,
    /// Who is to be called, and for which of them. At most [`limits::RELAYS_MAX`] lists.
    waiting: VecDeque<(u64, String)>,
    under_way: usize,
}

#[derive(Debug)]
struct Handing {
    text: Rc<str>,
    /// Who has not been heard of.
    open: usize,
    receipts: Receipts,
}

impl Relays {
    /// Starts as many calls as may be.
    pub(super) fn start(&mut self, out: &mut Vec<Output>) {
        while self.under_way < limits::RELAY_CALLS_AT_ONCE {
            let Some((ticket, hub)) = self.waiting.pop_front() else { return };
            let Some(handing) = self.by_ticket.get(&ticket) else { continue };
            self.under_way += 1;
            out.push(Output::Forward { ticket, hub, delivery: handing.text.clone() });
        }
    }
}

impl Hub {
    /// Takes what a Room brings, its own sockets first, and hands it on to the others: one request to each. No row.
    pub(super) fn relay(&mut self, ticket: u64, relay: Relay, out: &mut Vec<Output>) {
        let Relay { hub, others, delivery, text } = relay;
        let receipt = self.deliver(&delivery, out);
        let mut receipts = vec![(hub, Ok(serde_json::to_string(&receipt).unwrap_or_default()))];
        let full = self.relays.by_ticket.len() >= limits::RELAYS_MAX;
        if full {
            let refusal = Refusal::new(Code::Overloaded, "this hub has too much to hand on");
            receipts.extend(others.iter().map(|other| (other.clone(), Err(refusal.clone()))));
        }
        if full || others.is_empty() {
            return out.push(Output::Relayed { ticket, answer: encode_receipts(&receipts) });
        }
        self.relays.by_ticket.insert(ticket, Handing { text, open: others.len(), receipts });
        self.relays.waiting.extend(others.into_iter().map(|other| (ticket, other)));
    }

    /// What became of one of the others. The last one answers the Room.
    pub(super) fn forwarded(
        &mut self,
        ticket: u64,
        hub: String,
        result: Result<String, Refusal>,
        out: &mut Vec<Output>,
    ) {
        self.relays.under_way = self.relays.under_way.saturating_sub(1);
        let Some(handing) = self.relays.by_ticket.get_mut(&ticket) else { return };
        handing.receipts.push((hub, result));
        handing.open = handing.open.saturating_sub(1);
        if handing.open == 0 {
            out.push(Output::Relayed { ticket, answer: encode_receipts(&handing.receipts) });
            self.relays.by_ticket.remove(&ticket);
        }
    }
}

#[cfg(test)]
mod tests;
