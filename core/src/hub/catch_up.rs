//! Bringing a subscription to where the Hub is: what it missed is asked of the Room, once for all who are at the same place.

use super::channel::Reader;
use super::{Hub, Output, Slot, Stage};
use crate::call::Begin;
use crate::channel::ChannelName;
use crate::frame::Frame;
use crate::frame::many::{Tell, tell};
use crate::limits;
use crate::link::Delivery;
use crate::message::Message;
use crate::position::Position;
use crate::pusher::words::cache_miss;
use crate::refusal::{Code, Refusal};
use crate::session::Format;
use std::collections::hash_map::Entry;

impl Hub {
    /// Asks the Room, unless the same is being asked already: after a deploy a thousand readers come back to the same place.
    pub(super) fn ask(&mut self, channel: &ChannelName, from: Begin, reader: Reader) {
        let Some(known) = self.channels.get_mut(channel) else { return };
        match known.asked.entry(from) {
            Entry::Occupied(mut readers) => {
                if !readers.get().contains(&reader) {
                    readers.get_mut().push(reader);
                }
            }
            Entry::Vacant(place) => {
                place.insert(vec![reader]);
                self.calls.add(Output::Missed { channel: channel.clone(), from });
            }
        }
    }

    /// A client asks for older messages of a channel that it has. Who asks for the same again before it came gets it once.
    pub(super) fn history(&mut self, slot: Slot, channel: &ChannelName, from: Begin, out: &mut Vec<Output>) {
        let Some(session) = self.session(slot) else { return };
        let has = session.subscription(channel).is_some();
        let no_channel = || Refusal::new(Code::InvalidField, "history is for channels that this connection has");
        if let Err(refusal) = has.then_some(()).ok_or_else(no_channel).and_then(|()| self.calls.check()) {
            return self.object(slot, Some(channel), None, &refusal, out);
        }
        let reader = Reader::History(slot, session.connection.clone());
        let under_way = self.channels.get(channel).map_or(0, |known| known.waits_for(&reader));
        if under_way >= limits::HISTORY_ASKED_MAX {
            let message = "as many pages of this channel's history as you may wait for are on their way";
            return self.object(slot, Some(channel), None, &Refusal::new(Code::RateLimited, message), out);
        }
        self.ask(channel, from, reader);
    }

    /// What the Room has from there on.
    pub(super) fn missed(
        &mut self,
        channel: &ChannelName,
        from: Begin,
        result: &Result<Delivery, Refusal>,
        out: &mut Vec<Output>,
    ) {
        if channel.is_pointer() {
            return self.pointed(channel, result, out);
        }
        if from == Begin::Last(0) {
            self.is_at(channel, result.as_ref().ok().map(|delivery| delivery.after), out);
        }
        let readers = self.channels.get_mut(channel).and_then(|known| known.asked.remove(&from)).unwrap_or_default();
        let mut batch = Batch { frames: Vec::new() };
        let mut pages: Vec<Slot> = Vec::new();
        for reader in readers {
            match (reader, result) {
                (Reader::Subscription(slot), Ok(delivery)) => {
                    self.caught_up(slot, channel, from, delivery, &mut batch, out);
                }
                (Reader::Subscription(slot), Err(refusal)) => self.fail(slot, channel, refusal, out),
                (Reader::History(slot, connection), result) if self.is(slot, &connection) => match result {
                    Ok(_) => pages.push(slot),
                    Err(refusal) => self.object(slot, Some(channel), None, refusal, out),
                },
                (Reader::History(..), _) => {}
            }
        }
        if let (Ok(delivery), false) = (result, pages.is_empty()) {
            out.push(Output::Send { slots: pages, frames: [page(channel, delivery)].into() });
        }
    }

    /// One more batch for a subscription, or a window of it for a tab's. It goes no further than the Hub is: what is beyond will be delivered to all, this one included.
    fn caught_up(
        &mut self,
        slot: Slot,
        channel: &ChannelName,
        from: Begin,
        delivery: &Delivery,
        batch: &mut Batch,
        out: &mut Vec<Output>,
    ) {
        let Some(have) = self.channels.get(channel).and_then(|known| known.have) else { return };
        let Some(session) = self.session(slot) else { return };
        let (format, one) = (session.format, session.subscription(channel));
        let (stage, is_claimed) = (one.map(|one| one.stage), one.is_some_and(|one| one.acked.is_some()));
        if self.has_to_wait(slot, out) {
            return;
        }
        let joining = match stage {
            Some(Stage::Joining(Some(begin))) if begin == from => true,
            Some(Stage::Behind(position)) if Begin::After(position) == from => false,
            _ => return,
        };
        if delivery.after.epoch != have.epoch {
            // The log was lost, and this Hub has not heard of it yet.
            return self.start_anew(channel, have, out);
        }
        // A first connection may begin where the Hub is not yet: then it begins where the Hub is.
        let start = match from {
            Begin::Last(_) if delivery.after.seq > have.seq && !is_claimed => have,
            _ => delivery.after,
        };
        let gap = if joining { self.begins(slot, channel, start, delivery.gap) } else { delivery.gap };
        if joining {
            let (position, resumed) = match from {
                Begin::After(position) => (position, Some(delivery.gap.is_none())),
                Begin::Last(_) => (start, None),
            };
            self.welcome(slot, channel, position, resumed, out);
        }
        if let Some(gap) = gap {
            self.tell_gap(&[slot], format, channel, gap, out);
        }
        let mut missed: Vec<(Position, &Message)> =
            delivery.placed().take_while(|(position, _)| position.seq <= have.seq).collect();
        let is_stuck = missed.is_empty() && Begin::After(start) == from;
        missed.truncate(self.fit_window(slot, channel, start, &missed));
        let end = missed.last().map_or(start, |(position, _)| *position);
        let kept_from = |except: &str| self.session(slot).is_some_and(|one| one.is_called(except));
        let is_kept = |message: &Message| message.except.as_deref().is_some_and(kept_from);
        if missed.iter().any(|(_, message)| is_kept(message)) {
            let heard = missed.into_iter().filter(|(_, message)| !is_kept(message));
            let frames = Self::frames(channel, format, heard);
            self.send_all(&[slot], format, channel, &frames, out);
        } else {
            self.send_all(&[slot], format, channel, batch.of(channel, format, &missed), out);
        }
        self.tell_tab(slot);
        if joining
            && format == Format::Pusher
            && matches!(from, Begin::Last(_))
            && !is_claimed
            && delivery.messages.is_empty()
        {
            Self::send(slot, cache_miss(channel), out);
        }
        self.goes_on(slot, channel, is_stuck, end, have, out);
    }

    fn goes_on(
        &mut self,
        slot: Slot,
        channel: &ChannelName,
        is_stuck: bool,
        end: Position,
        have: Position,
        out: &mut Vec<Output>,
    ) {
        if end == have {
            return self.go_live(slot, channel, have, out);
        }
        if end.seq < have.seq && is_stuck {
            let refusal = Refusal::new(Code::Internal, "the channel could not say what was missed: come back");
            return self.fail(slot, channel, &refusal, out);
        }
        self.set_stage(slot, channel, Stage::Behind(end));
        self.remember(slot, out);
        self.advance(slot, channel, out);
    }
}

/// The page of history that everybody gets who asked for it: only connections of many channels of the `plain` dialect can.
fn page(channel: &ChannelName, delivery: &Delivery) -> Frame {
    let frames = Hub::frames(channel, Format::Many, delivery.placed());
    let messages: Vec<Frame> = frames.into_iter().map(|(_, frame)| frame).collect();
    tell(Format::Many, &Tell::History { channel, position: delivery.position(), messages: &messages })
}

/// The frames of one batch, made once for each format, and for each number of them: to a tab there go fewer at a time.
struct Batch {
    frames: Vec<(Format, Vec<(Position, Frame)>)>,
}

impl Batch {
    fn of(&mut self, channel: &ChannelName, format: Format, missed: &[(Position, &Message)]) -> &[(Position, Frame)] {
        let is_it = |(other, frames): &(Format, Vec<_>)| *other == format && frames.len() == missed.len();
        let at = self.frames.iter().position(is_it).unwrap_or_else(|| {
            self.frames.push((format, Hub::frames(channel, format, missed.iter().copied())));
            self.frames.len() - 1
        });
        self.frames.get(at).map(|(_, frames)| frames.as_slice()).unwrap_or_default()
    }
}
