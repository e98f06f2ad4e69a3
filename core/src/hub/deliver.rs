//! What Rooms bring.

use super::channel::Channel;
use super::{Hub, Output, Slot, Stage};
use crate::channel::ChannelName;
use crate::frame::Gap;
use crate::link::{Delivery, Receipt};
use crate::message::Message;
use crate::position::Position;

impl Hub {
    /// Takes what comes, and says what the Hub has then. No request, no row; one attachment is written, whatever the number of sockets, and one for members.
    pub(super) fn deliver(&mut self, delivery: &Delivery, out: &mut Vec<Output>) -> Receipt {
        // First: who publishes has come before that.
        let has_members = delivery.channel.has_members();
        let (members, reporting) = if has_members { self.members_came(delivery, out) } else { (None, false) };
        let receipt = Receipt { members, reporting, ..self.messages_came(delivery, out) };
        if let Some(count) = delivery.count {
            self.tell_count(&delivery.channel, count, out);
        }
        Receipt { tally: if receipt.wanted { self.tally(&delivery.channel) } else { None }, ..receipt }
    }

    /// Takes messages, and drops what is known.
    fn messages_came(&mut self, delivery: &Delivery, out: &mut Vec<Output>) -> Receipt {
        let channel = &delivery.channel;
        self.ask_for_bound(delivery);
        let Some(known) = self.channels.get_mut(channel) else { return Receipt::UNWANTED };
        let have = match known.have {
            // The answer to the call that follows is still on its way. This delivery does not stand for it: the call may fail yet.
            None => return Receipt { wanted: true, have: None, members: None, reporting: false, tally: None },
            Some(have) if have.epoch != delivery.after.epoch => {
                self.start_anew(channel, have, out);
                return Receipt { wanted: true, have: None, members: None, reporting: false, tally: None };
            }
            Some(have) if have.seq < delivery.after.seq => {
                let Some(gap) = delivery.gap else {
                    return Receipt { wanted: true, have: Some(have), members: None, reporting: false, tally: None };
                };
                let gap = Gap { after: have, position: delivery.after, reason: gap.reason };
                self.tell_tabs(channel, out);
                let audience = self.channels.get(channel).map(Channel::audience).unwrap_or_default();
                for (format, slots) in audience {
                    self.tell_gap(&slots, format, channel, gap, out);
                }
                delivery.after
            }
            Some(have) => have,
        };
        let new: Vec<(Position, &Message)> =
            delivery.placed().filter(|(position, _)| position.seq > have.seq).collect();
        if !new.is_empty() {
            self.tell_tabs(channel, out);
        }
        self.broadcast(channel, &new, out);
        let end = new.last().map_or(have, |(position, _)| *position);
        self.has(channel, end, out);
        Receipt { wanted: true, have: Some(end), members: None, reporting: false, tally: None }
    }

    /// One frame for each message and format, for all who are live.
    fn broadcast(&mut self, channel: &ChannelName, messages: &[(Position, &Message)], out: &mut Vec<Output>) {
        let Some(known) = self.channels.get(channel) else { return };
        // Who is left out, and of which message: hardly ever anybody, and then one of this Hub's.
        let left_out = |(nth, (_, message)): (usize, &(Position, &Message))| {
            let except = message.except.as_deref()?;
            let is = |slot: &Slot| self.session(*slot).is_some_and(|session| session.is_called(except));
            Some((nth, known.live.iter().map(|(slot, _)| *slot).find(is)?))
        };
        let left_out: Vec<(usize, Slot)> = messages.iter().enumerate().filter_map(left_out).collect();
        for (format, slots) in known.audience() {
            let frames = Self::frames(channel, format, messages.iter().copied());
            let mut begin = 0;
            for (nth, slot) in left_out.iter().filter(|(_, slot)| slots.contains(slot)) {
                let (before, one) = (frames.get(begin..*nth), frames.get(*nth..=*nth));
                self.send_all(&slots, format, channel, before.unwrap_or_default(), out);
                let others: Vec<Slot> = slots.iter().copied().filter(|other| other != slot).collect();
                self.send_all(&others, format, channel, one.unwrap_or_default(), out);
                begin = nth + 1;
            }
            self.send_all(&slots, format, channel, frames.get(begin..).unwrap_or_default(), out);
        }
    }

    /// The Hub has everything up to there. One socket's attachment keeps it, and who waited for it goes on.
    fn has(&mut self, channel: &ChannelName, end: Position, out: &mut Vec<Output>) {
        let Some(known) = self.channels.get_mut(channel) else { return };
        if known.have == Some(end) && known.waiting.is_empty() {
            return;
        }
        known.have = Some(end);
        if let Some((keeper, _)) = known.live.first().copied()
            && self.set_stage(keeper, channel, Stage::Live(end))
        {
            self.remember(keeper, out);
        }
        self.advance_all(channel, out);
    }
}
