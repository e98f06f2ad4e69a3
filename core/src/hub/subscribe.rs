//! Who wants which channel: subscribing, catching up, leaving.

use super::channel::{Channel, Reader};
use super::{Hub, HubSession, Output, Slot, Stage, Subscription};
use crate::access::may_join;
use crate::call::Begin;
use crate::channel::ChannelName;
use crate::config::App;
use crate::frame::many::Tell;
use crate::limits;
use crate::position::Position;
use crate::refusal::{Code, Refusal};
use crate::room::Turn;
use crate::token::Token;

impl Hub {
    /// A client asks for a channel. Nothing is asked of the Room where the Hub follows it already and the client begins with what comes, or has everything.
    pub(super) fn subscribe(
        &mut self,
        slot: Slot,
        channel: &ChannelName,
        from: Option<Begin>,
        token: Option<&str>,
        turn: Turn,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let Some(session) = self.session(slot) else { return Ok(()) };
        if session.subscription(channel).is_some() {
            let message = "this connection has that channel already: unsubscribe first";
            return Err(Refusal::new(Code::InvalidField, message));
        }
        self.calls.check()?;
        let mut changed = session.clone();
        let (may_publish, expires_at) = admit(&self.app, session, channel, token, turn.now)?;
        changed.subscriptions.push(Subscription { channel: channel.clone(), may_publish, stage: Stage::Joining(from) });
        changed.expires_at = changed.expires_at.into_iter().chain(expires_at).min();
        changed.check_size()?;
        if let Some(session) = self.session_mut(slot) {
            *session = changed;
        }
        if let Some(at) = expires_at {
            self.wake_at(at, out);
        }
        self.join(slot, channel, out);
        // One that is live by now has been remembered so.
        if self.session(slot).and_then(|session| session.subscription(channel)).is_some_and(Subscription::is_waiting) {
            self.remember(slot, out);
        }
        Ok(())
    }

    /// A subscription that the session has already.
    pub(super) fn join(&mut self, slot: Slot, channel: &ChannelName, out: &mut Vec<Output>) {
        let known = self.channels.entry(channel.clone()).or_default();
        known.waiting.push(slot);
        known.deserted_at = None;
        self.advance(slot, channel, out);
    }

    pub(super) fn unsubscribe(&mut self, slot: Slot, channel: &ChannelName, out: &mut Vec<Output>) {
        let Some(session) = self.session_mut(slot) else { return };
        // Also for one that it does not have: the Hub may have ended it while this was on its way.
        if session.subscription(channel).is_some() {
            session.subscriptions.retain(|subscription| subscription.channel != *channel);
            self.remember(slot, out);
            self.take_out(slot, channel, out);
        }
        self.tell(slot, &Tell::Unsubscribed { channel, refusal: None }, out);
    }

    /// A socket is gone.
    pub(super) fn left(&mut self, slot: Slot, out: &mut Vec<Output>) {
        let Some(session) = self.sessions.get_mut(slot as usize).and_then(Option::take) else { return };
        self.free.push(slot);
        self.frames.remove(&session.connection);
        for buckets in self.publishes.values_mut() {
            buckets.remove(&session.connection);
        }
        for Subscription { channel, .. } in session.subscriptions {
            self.take_out(slot, &channel, out);
        }
    }

    /// Takes a socket out of a channel. Where its attachment said what the Hub has, another's does now.
    pub(super) fn take_out(&mut self, slot: Slot, channel: &ChannelName, out: &mut Vec<Output>) {
        let Some(known) = self.channels.get_mut(channel) else { return };
        if known.remove(slot)
            && let Some((next, have)) = known.live.first().map(|(next, _)| *next).zip(known.have)
            && self.set_stage(next, channel, Stage::Live(have))
        {
            self.remember(next, out);
        }
        self.desert(channel, out);
    }

    /// When the last one has left, the Room is told a little later: a page that is loaded again is back by then.
    fn desert(&mut self, channel: &ChannelName, out: &mut Vec<Output>) {
        let Some(known) = self.channels.get_mut(channel).filter(|known| !known.has_subscribers()) else { return };
        if known.have.is_none() && !known.is_waiting() {
            self.channels.remove(channel);
            return;
        }
        known.deserted_at = Some(self.now);
        self.wake_at(self.now + limits::UNFOLLOW_MS, out);
    }

    /// Ends following what nobody wants any more; when to look again.
    pub(super) fn drop_deserted(&mut self, turn: Turn, out: &mut Vec<Output>) -> Option<u64> {
        let due = |channel: &Channel| channel.deserted_at.map(|at| at + limits::UNFOLLOW_MS);
        let is_gone = |channel: &Channel| !channel.is_waiting() && due(channel).is_some_and(|due| due <= turn.now);
        let gone = self.channels.iter().filter(|(_, channel)| is_gone(channel));
        let mut gone: Vec<ChannelName> = gone.map(|(name, _)| name.clone()).collect();
        gone.sort_unstable();
        for channel in gone {
            self.channels.remove(&channel);
            let at = self.decide();
            out.push(Output::Unfollow { channel, at });
        }
        self.channels.values().filter_map(due).min()
    }

    /// Follows everything again, once a day: whatever went wrong with a Room's list of followers is right again then.
    pub(super) fn review(&mut self, out: &mut Vec<Output>) {
        let mut wanted: Vec<ChannelName> = self.channels.keys().cloned().collect();
        wanted.sort_unstable();
        for channel in wanted {
            self.follow(&channel);
        }
        self.calls.start(out);
    }

    fn follow(&mut self, channel: &ChannelName) {
        let at = self.decide();
        let Some(known) = self.channels.get_mut(channel).filter(|known| known.following.is_none()) else { return };
        known.following = Some(at);
        self.calls.add(Output::Follow { channel: channel.clone(), at });
    }

    /// The Room has said where it is, or cannot be reached.
    pub(super) fn followed(
        &mut self,
        channel: &ChannelName,
        at: u64,
        result: Result<Position, Refusal>,
        out: &mut Vec<Output>,
    ) {
        // An answer to an earlier call says nothing about this one.
        let Some(known) = self.channels.get_mut(channel).filter(|known| known.following == Some(at)) else { return };
        known.following = None;
        let position = match result {
            Ok(position) => position,
            Err(refusal) => {
                let waiting = known.waiting.clone();
                for slot in waiting {
                    self.fail(slot, channel, &refusal, out);
                }
                return self.desert(channel, out);
            }
        };
        match known.have {
            // What was delivered meanwhile is newer than this answer.
            Some(have) if have.epoch == position.epoch && have.seq >= position.seq => {}
            None => known.have = Some(position),
            // The Room begins to deliver after its position: what is before it has to be asked for.
            Some(have) => {
                known.have = Some(position);
                self.set_back(channel, have, out);
            }
        }
        self.advance_all(channel, out);
    }

    /// All that were live have to be replayed to from there.
    pub(super) fn set_back(&mut self, channel: &ChannelName, have: Position, out: &mut Vec<Output>) {
        let Some(known) = self.channels.get_mut(channel) else { return };
        let slots: Vec<Slot> = core::mem::take(&mut known.live).into_iter().map(|(slot, _)| slot).collect();
        known.waiting.extend(&slots);
        for slot in slots {
            if self.set_stage(slot, channel, Stage::Behind(have)) {
                self.remember(slot, out);
            }
        }
    }

    pub(super) fn advance_all(&mut self, channel: &ChannelName, out: &mut Vec<Output>) {
        let waiting = self.channels.get(channel).map(|known| known.waiting.clone()).unwrap_or_default();
        for slot in waiting {
            self.advance(slot, channel, out);
        }
    }

    /// What comes next for a subscription that waits: an answer, or a question to the Room.
    pub(super) fn advance(&mut self, slot: Slot, channel: &ChannelName, out: &mut Vec<Output>) {
        let Some(have) = self.channels.get(channel).and_then(|known| known.have) else {
            return self.follow(channel);
        };
        let stage = self.session(slot).and_then(|session| session.subscription(channel)).map(|one| one.stage);
        match stage {
            Some(Stage::Joining(None)) => {
                self.go_live(slot, channel, have, out);
                self.welcome(slot, channel, have, None, out);
            }
            Some(Stage::Joining(Some(Begin::After(position)))) if position == have => {
                self.go_live(slot, channel, have, out);
                self.welcome(slot, channel, have, Some(true), out);
            }
            Some(Stage::Joining(Some(from))) => self.ask(channel, from, Reader::Subscription(slot)),
            Some(Stage::Behind(position)) if position == have => self.go_live(slot, channel, have, out),
            // It was somewhere that is ahead of this Hub: what it has already will come.
            Some(Stage::Behind(position)) if position.epoch == have.epoch && position.seq > have.seq => {}
            Some(Stage::Behind(position)) => self.ask(channel, Begin::After(position), Reader::Subscription(slot)),
            Some(Stage::Live(_)) | None => {}
        }
    }

    pub(super) fn go_live(&mut self, slot: Slot, channel: &ChannelName, have: Position, out: &mut Vec<Output>) {
        let Some(format) = self.session(slot).map(|session| session.format) else { return };
        if !self.set_stage(slot, channel, Stage::Live(have)) {
            return;
        }
        if let Some(known) = self.channels.get_mut(channel) {
            known.waiting.retain(|other| *other != slot);
            known.live.push((slot, format));
        }
        self.remember(slot, out);
    }

    /// The Room is of another epoch: everybody has to be told, by the Room's own words.
    pub(super) fn start_anew(&mut self, channel: &ChannelName, have: Position, out: &mut Vec<Output>) {
        self.set_back(channel, have, out);
        if let Some(known) = self.channels.get_mut(channel) {
            known.have = None;
        }
        self.follow(channel);
    }
}

impl Subscription {
    fn is_waiting(&self) -> bool {
        !matches!(self.stage, Stage::Live(_))
    }
}

impl HubSession {
    /// The channel of a connection that has one and no more.
    pub(super) fn only_channel(&self) -> Option<&ChannelName> {
        if self.format.is_many() { None } else { self.subscriptions.first().map(|subscription| &subscription.channel) }
    }
}

/// Whether a connection may have a channel: whether it may publish there, and until when.
fn admit(
    app: &App,
    session: &HubSession,
    channel: &ChannelName,
    token: Option<&str>,
    now: u64,
) -> Result<(bool, Option<u64>), Refusal> {
    let token = token.map(|token| Token::check(app, token, now / 1000)).transpose()?;
    let user = token.as_ref().and_then(|token| token.sub.as_deref());
    if let (Some(user), Some(other)) = (session.user.as_deref(), user)
        && user != other
    {
        return Err(Refusal::new(Code::Forbidden, "this token is another user's than the connection's"));
    }
    let came_with_token = session.user.is_some() || !session.grants.is_empty();
    let grants = token.as_ref().map(|token| &token.grants).or(came_with_token.then_some(&session.grants));
    let may_publish = may_join(app, channel, user.or(session.user.as_deref()), grants)?;
    Ok((may_publish, token.as_ref().map(Token::expires_at_ms)))
}
