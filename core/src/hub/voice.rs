//! Saying things to the sockets of a Hub, and ending them.

use super::{Hub, HubSession, Output, Slot, Stage};
use crate::call::Begin;
use crate::channel::ChannelName;
use crate::frame::many::{Tell, tell};
use crate::frame::{self, Frame, Gap, Say};
use crate::limits;
use crate::message::Message;
use crate::position::Position;
use crate::pusher::{self, words::close_code};
use crate::refusal::{CLOSE_FRAME_TOO_LARGE, Refusal};
use crate::session::Format;
use crate::speech;
use std::rc::Rc;

impl Hub {
    pub(super) fn send(slot: Slot, frame: Frame, out: &mut Vec<Output>) {
        out.push(Output::Send { slots: vec![slot], frames: Rc::new([frame]) });
    }

    /// Tells a connection of many channels something; the others have no words for it.
    pub(super) fn tell(&self, slot: Slot, what: &Tell<'_>, out: &mut Vec<Output>) {
        let format = self.session(slot).map(|session| session.format).filter(|format| format.is_many());
        if let Some(frame) = format.and_then(|format| words(format, what)) {
            Self::send(slot, frame, out);
        }
    }

    /// A subscription has been answered.
    pub(super) fn welcome(
        &mut self,
        slot: Slot,
        channel: &ChannelName,
        position: Position,
        resumed: Option<bool>,
        out: &mut Vec<Output>,
    ) {
        let Some(session) = self.session(slot) else { return };
        if session.format == Format::Pusher {
            if channel.online().is_some() {
                self.arrive(slot, channel);
            } else if !channel.has_members() {
                // In a presence channel it has been told already, with who is there.
                self.tell(slot, &Tell::Subscribed { channel, position, resumed }, out);
            }
            return;
        }
        if session.format.is_many() {
            // With its place: a stream that breaks before the first message comes back to here.
            let frame = tell(session.format, &Tell::Subscribed { channel, position, resumed });
            self.send_all(&[slot], session.format, channel, &[(position, frame)], out);
        } else {
            let welcome = Say::Welcome { connection: session.connection.clone(), position, resumed };
            if let Some(frame) = frame::say(channel, session.format, &welcome) {
                Self::send(slot, frame, out);
            }
        }
        self.arrive(slot, channel);
    }

    pub(super) fn tell_gap(
        &self,
        slots: &[Slot],
        format: Format,
        channel: &ChannelName,
        gap: Gap,
        out: &mut Vec<Output>,
    ) {
        let gap_frame = frame::say(channel, format, &Say::Gap(gap)).filter(|_| channel.online().is_none());
        if let Some(frame) = gap_frame {
            self.send_all(slots, format, channel, &[(gap.position, frame)], out);
        }
    }

    /// The same frames to all; but an event stream of many channels is told with each where it is in all of them.
    pub(super) fn send_all(
        &self,
        slots: &[Slot],
        format: Format,
        channel: &ChannelName,
        frames: &[(Position, Frame)],
        out: &mut Vec<Output>,
    ) {
        if frames.is_empty() || slots.is_empty() {
            return;
        }
        if format != Format::ManyStream {
            let frames = frames.iter().map(|(_, frame)| frame.clone()).collect();
            return out.push(Output::Send { slots: slots.to_vec(), frames });
        }
        for slot in slots {
            let frames = frames.iter().map(|(position, frame)| self.with_place(*slot, channel, *position, frame));
            out.push(Output::Send { slots: vec![*slot], frames: frames.collect() });
        }
    }

    /// The frames of messages for a format.
    pub(super) fn frames<'a>(
        channel: &ChannelName,
        format: Format,
        messages: impl Iterator<Item = (Position, &'a Message)>,
    ) -> Vec<(Position, Frame)> {
        messages.map(|(position, message)| (position, frame::message(channel, format, position, message))).collect()
    }

    /// `Last-Event-ID` of a stream of many channels: where it is in each.
    fn with_place(&self, slot: Slot, channel: &ChannelName, position: Position, frame: &Frame) -> Frame {
        let (Frame::Text(text), Some(session)) = (frame, self.session(slot)) else { return frame.clone() };
        let places: Vec<String> = session
            .subscriptions
            .iter()
            .filter_map(|subscription| {
                let at = if subscription.channel == *channel {
                    Some(position)
                } else {
                    self.place_of(&subscription.channel, subscription.stage)
                };
                at.map(|at| format!("{}={at}", subscription.channel))
            })
            .collect();
        Frame::Text(format!("id: {}\n{text}", places.join(",")))
    }

    fn place_of(&self, channel: &ChannelName, stage: Stage) -> Option<Position> {
        match stage {
            Stage::Joining(Some(Begin::After(position))) | Stage::Behind(position) => Some(position),
            Stage::Joining(_) | Stage::Listing(_) => None,
            Stage::Live(_) => self.channels.get(channel).and_then(|channel| channel.have),
        }
    }

    /// Something that a connection asked for cannot be done.
    pub(super) fn object(
        &self,
        slot: Slot,
        channel: Option<&ChannelName>,
        id: Option<&str>,
        refusal: &Refusal,
        out: &mut Vec<Output>,
    ) {
        let Some(session) = self.session(slot) else { return };
        match (session.format, channel) {
            (format, _) if format.is_many() => self.tell(slot, &Tell::Error { channel, id, refusal }, out),
            (Format::Json, Some(channel)) => {
                if let Some(frame) = frame::say(channel, Format::Json, &Say::Error(refusal.clone())) {
                    Self::send(slot, frame, out);
                }
            }
            _ => {}
        }
    }

    /// A subscription ends: for a connection of one channel that is the end of it.
    pub(super) fn fail(&mut self, slot: Slot, channel: &ChannelName, refusal: &Refusal, out: &mut Vec<Output>) {
        let Some(session) = self.session_mut(slot) else { return };
        // Pusher's protocol has no words for it, and its clients ask for all of their channels again when they come back, and sign in again: that makes a watchlist be
        // watched anew, too.
        if !session.format.is_many() || session.format == Format::Pusher {
            return self.dismiss(slot, refusal.code.close_code(), refusal, out);
        }
        let joining = session.subscription(channel).is_some_and(|one| matches!(one.stage, Stage::Joining(_)));
        self.lose(slot, channel, out);
        if joining {
            return self.object(slot, Some(channel), None, refusal, out);
        }
        self.tell(slot, &Tell::Unsubscribed { channel, refusal: Some(refusal) }, out);
    }

    /// There is no place for the connection's user in a channel. In Pusher's protocol too only the subscription ends, where it has not been answered: nothing changes by coming back.
    pub(super) fn refuse(&mut self, slot: Slot, channel: &ChannelName, refusal: &Refusal, out: &mut Vec<Output>) {
        let session = self.session(slot).filter(|session| session.format == Format::Pusher);
        let stage = session.and_then(|session| session.subscription(channel)).map(|one| one.stage);
        if !matches!(stage, Some(Stage::Joining(_) | Stage::Listing(_))) {
            return self.fail(slot, channel, refusal, out);
        }
        self.lose(slot, channel, out);
        self.tab_changed(slot);
        Self::send(slot, pusher::words::not_subscribed(channel, refusal), out);
    }

    /// A connection has a channel no longer.
    pub(super) fn lose(&mut self, slot: Slot, channel: &ChannelName, out: &mut Vec<Output>) {
        let Some(session) = self.session_mut(slot) else { return };
        let user = session.member(channel).map(str::to_owned);
        session.subscriptions.retain(|subscription| subscription.channel != *channel);
        self.remember(slot, out);
        self.depart(slot, user.as_deref(), channel, out);
        self.take_out(slot, channel, out);
    }

    pub(super) fn dismiss_too_large(&self, slot: Slot, most: usize, out: &mut Vec<Output>) {
        self.dismiss(slot, CLOSE_FRAME_TOO_LARGE, &speech::too_large(most), out);
    }

    /// What came was not looked at, because so much came before. The first in a row is answered: a word to each would be a flood of our own.
    pub(super) fn too_often(&self, slot: Slot, strikes: u32, most: u32, out: &mut Vec<Output>) {
        let refusal = speech::too_often(most);
        if strikes > limits::RATE_STRIKES_MAX {
            return self.dismiss(slot, refusal.code.close_code(), &refusal, out);
        }
        if strikes == 1 {
            let channel = self.session(slot).and_then(HubSession::only_channel).cloned();
            self.object(slot, channel.as_ref(), None, &refusal, out);
        }
    }

    /// Has those closed who do not take what they are sent, whatever it is, once for every [`limits::UNSENT_LOOK_BYTES`] that one of them may have got.
    pub(super) fn look_for_slow(&mut self, begin: usize, out: &mut Vec<Output>) {
        self.unlooked_bytes += most_sent(out.get(begin..).unwrap_or_default(), self.sessions.len());
        if self.unlooked_bytes >= limits::UNSENT_LOOK_BYTES {
            self.unlooked_bytes = 0;
            out.push(Output::CloseSlow { unsent: limits::UNSENT_BYTES_MAX, code: self.too_slow() });
        }
    }

    /// The last words and the close.
    pub(super) fn dismiss(&self, slot: Slot, code: u16, refusal: &Refusal, out: &mut Vec<Output>) {
        let Some(session) = self.session(slot) else { return };
        let code = if session.format == Format::Pusher { close_code(refusal) } else { code };
        let frame = match session.only_channel() {
            Some(channel) => frame::say(channel, session.format, &Say::Farewell(refusal.clone())),
            None => words(session.format, &Tell::Farewell(refusal)),
        };
        if let Some(frame) = frame {
            Self::send(slot, frame, out);
        }
        out.push(Output::Close { slot, code, reason: refusal.code.name() });
    }
}

/// The most that one of so many sockets is sent, with what frames cost beside their bytes. What goes to many counts once.
fn most_sent(outputs: &[Output], sockets: usize) -> usize {
    let mut sends = outputs.iter().filter_map(|output| match output {
        Output::Send { slots, frames } => {
            let bytes = frames.iter().map(|frame| frame.size() + limits::FRAME_COST_BYTES);
            Some((slots, bytes.sum::<usize>()))
        }
        _ => None,
    });
    let Some(first) = sends.next() else { return 0 };
    let Some(second) = sends.next() else { return first.1 };
    let mut sent = vec![0_usize; sockets];
    for (slots, bytes) in [first, second].into_iter().chain(sends) {
        for slot in slots {
            if let Some(sum) = sent.get_mut(*slot as usize) {
                *sum += bytes;
            }
        }
    }
    sent.into_iter().max().unwrap_or_default()
}

/// What a connection of many channels is told; `None` where its dialect has no words for it.
fn words(format: Format, what: &Tell<'_>) -> Option<Frame> {
    if format == Format::Pusher { pusher::words::tell(what) } else { Some(tell(format, what)) }
}
