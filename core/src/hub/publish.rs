//! What clients publish: in order, one call to a channel's Room at a time, and what comes meanwhile in the next.

use super::channel::Publish;
use super::{Hub, Output, Slot};
use crate::call::Outcome;
use crate::channel::ChannelName;
use crate::frame::many::Tell;
use crate::frame::{self, Frame, Say};
use crate::limits;
use crate::message::{Message, NewMessage};
use crate::rate::Buckets;
use crate::refusal::{Code, Refusal};
use crate::room::Turn;
use crate::speech::{self, Fault};

impl Hub {
    /// A frame of a connection that has one channel: what it publishes.
    pub(super) fn hear_of_one(&mut self, slot: Slot, frame: Frame, turn: Turn, out: &mut Vec<Output>) {
        let Some(session) = self.session(slot) else { return };
        let (format, connection) = (session.format, session.connection.clone());
        let Some(subscription) = session.subscriptions.first() else { return };
        let (channel, may_publish) = (subscription.channel.clone(), subscription.may_publish);
        let rule = self.app.rule(&channel);
        if let Err(strikes) = self.rate(rule.client_rate).take(&connection, turn.now) {
            return self.too_often(slot, strikes, rule.client_rate, out);
        }
        match speech::read(format, &rule, may_publish, frame) {
            Ok(message) => self.send_on(slot, &channel, message, out),
            Err(Fault::TooLong) => self.dismiss_too_large(slot, rule.message_bytes, out),
            Err(Fault::Refused(refusal)) if format.is_raw() => {
                self.dismiss(slot, refusal.code.close_code(), &refusal, out);
            }
            Err(Fault::Refused(refusal)) => self.object(slot, Some(&channel), None, &refusal, out),
        }
    }

    /// A client of many channels publishes into one that it has.
    pub(super) fn publish(
        &mut self,
        slot: Slot,
        channel: &ChannelName,
        message: Message,
        turn: Turn,
        out: &mut Vec<Output>,
    ) {
        let Some(session) = self.session(slot) else { return };
        let connection = session.connection.clone();
        let may_publish = session.subscription(channel).map(|subscription| subscription.may_publish);
        let rule = self.app.rule(channel);
        let id = message.id.as_ref().map(|id| id.id.clone());
        let checked = match may_publish {
            None => Err(Refusal::new(
                Code::Forbidden,
                "subscribe first: publishing is for channels that this connection has",
            )),
            Some(may_publish) => speech::check_publish(&rule, may_publish, &message),
        };
        if let Err(refusal) = checked {
            return self.object(slot, Some(channel), id.as_deref(), &refusal, out);
        }
        if let Err(strikes) = self.rate(rule.client_rate).take(&connection, turn.now) {
            let refusal = speech::published_too_often(rule.client_rate);
            if strikes > limits::RATE_STRIKES_MAX {
                return self.dismiss(slot, refusal.code.close_code(), &refusal, out);
            }
            return self.object(slot, Some(channel), id.as_deref(), &refusal, out);
        }
        self.send_on(slot, channel, message, out);
    }

    pub(super) fn rate(&mut self, per_second: u32) -> &mut Buckets {
        self.publishes.entry(per_second).or_insert_with(|| Buckets::new(per_second))
    }

    pub(super) fn send_on(&mut self, slot: Slot, channel: &ChannelName, mut message: Message, out: &mut Vec<Output>) {
        let Some(session) = self.session(slot) else { return };
        let connection = session.connection.clone();
        message.user = session.member(channel).map(str::to_owned);
        let Some(known) = self.channels.get_mut(channel) else { return };
        let bytes = message.bytes();
        if known.outbox.len() >= limits::HUB_PENDING_MAX || known.outbox_bytes + bytes > limits::HUB_PENDING_BYTES {
            let refusal = Refusal::new(Code::Overloaded, "too many publishes are waiting: try again in a second");
            let id = message.id.as_ref().map(|id| id.id.clone());
            return self.object(slot, Some(channel), id.as_deref(), &refusal, out);
        }
        known.outbox_bytes += bytes;
        known.outbox.push_back(Publish { slot, connection, message });
        self.publish_next(channel);
    }

    fn publish_next(&mut self, channel: &ChannelName) {
        let Some(known) = self.channels.get_mut(channel) else { return };
        if known.publishing > 0 || known.outbox.is_empty() {
            return;
        }
        known.publishing = known.outbox.len();
        let new = |publish: &Publish| {
            let from = Some(publish.connection.clone());
            NewMessage { message: publish.message.clone(), from, if_position: None }
        };
        let messages = known.outbox.iter().map(new).collect();
        self.calls.add(Output::Publish { channel: channel.clone(), messages });
    }

    /// What became of what was on its way.
    pub(super) fn published(
        &mut self,
        channel: &ChannelName,
        result: &Result<Vec<Outcome>, Refusal>,
        out: &mut Vec<Output>,
    ) {
        if channel.is_pointer() {
            return self.pointer_moved(channel, result, out);
        }
        let Some(known) = self.channels.get_mut(channel) else { return };
        let count = core::mem::take(&mut known.publishing).min(known.outbox.len());
        let sent: Vec<Publish> = known.outbox.drain(..count).collect();
        known.outbox_bytes = known.outbox.iter().map(|publish| publish.message.bytes()).sum();
        let mut outcomes = result.as_ref().map(|outcomes| outcomes.iter()).ok();
        for publish in sent {
            let outcome = outcomes.as_mut().and_then(Iterator::next);
            if self.is(publish.slot, &publish.connection) {
                self.answer(channel, &publish, outcome, result.as_ref().err(), out);
            }
        }
        self.publish_next(channel);
        self.look_after_answer(channel, out);
    }

    fn answer(
        &self,
        channel: &ChannelName,
        publish: &Publish,
        outcome: Option<&Outcome>,
        refusal: Option<&Refusal>,
        out: &mut Vec<Output>,
    ) {
        let id = publish.message.id.as_ref().map(|id| id.id.as_str());
        match (outcome, refusal) {
            (Some(Outcome::Stored { position, duplicate }), _) => {
                let (position, duplicate) = (*position, *duplicate);
                let Some(session) = self.session(publish.slot) else { return };
                if session.format.is_many() {
                    return self.tell(publish.slot, &Tell::Ack { channel, id, position, duplicate }, out);
                }
                let ack = Say::Ack { id: id.map(str::to_owned), position, duplicate };
                if let Some(frame) = frame::say(channel, session.format, &ack) {
                    Self::send(publish.slot, frame, out);
                }
            }
            (Some(Outcome::Refused { error }), _) | (None, Some(error)) => {
                self.object(publish.slot, Some(channel), id, error, out);
            }
            (None, None) => {
                let refusal =
                    Refusal::new(Code::Internal, "the channel did not say what became of it: repeat it with its id");
                self.object(publish.slot, Some(channel), id, &refusal, out);
            }
        }
    }
}
