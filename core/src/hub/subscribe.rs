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
use crate::presence::{self, MemberData};
use crate::refusal::{Code, Refusal};
use crate::room::Turn;
use crate::session::Format;
use crate::token::Token;

impl Hub {
    /// A client asks for a channel. Nothing is asked of the Room where the Hub follows it already and the client begins with what comes, or has everything.
    pub(super) fn subscribe(
        &mut self,
        slot: Slot,
        channel: &ChannelName,
        from: Option<Begin>,
        token: Option<&str>,
        data: Option<MemberData>,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let Some(session) = self.session(slot) else { return Ok(()) };
        if session.subscription(channel).is_some() {
            let message = "this connection has that channel already: unsubscribe first";
            return Err(Refusal::new(Code::InvalidField, message));
        }
        self.calls.check()?;
        let Admitted { may_publish, expires_at, user, info } = admit(&self.app, session, channel, token, self.now)?;
        let data = if channel.has_members() { presence::shown(info.as_ref(), data)? } else { None };
        let expires_at = session.expires_at.into_iter().chain(expires_at).min();
        let changed = HubSession { user, expires_at, ..session.clone() };
        let subscription = Subscription { may_publish, data, ..Subscription::new(channel.clone(), from) };
        self.take_in(slot, changed, subscription, out)
    }

    /// A connection as it is from now on, with one more channel.
    pub(super) fn take_in(
        &mut self,
        slot: Slot,
        mut changed: HubSession,
        mut subscription: Subscription,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let channel = &subscription.channel.clone();
        if let Stage::Joining(from) = subscription.stage {
            // While it is being found out what the tab has, it waits.
            let (from, acked) = if changed.is_settling() { (from, None) } else { changed.claim(channel, from) };
            (subscription.stage, subscription.acked) = (Stage::Joining(from), acked);
        }
        changed.subscriptions.push(subscription);
        changed.check_size()?;
        let ends_at = changed.ends_at();
        if let Some(session) = self.session_mut(slot) {
            *session = changed;
        }
        if let Some(at) = ends_at {
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
        known.counted = None;
        self.doubt_tally(channel);
        self.advance(slot, channel, out);
    }

    pub(super) fn unsubscribe(&mut self, slot: Slot, channel: &ChannelName, out: &mut Vec<Output>) {
        let Some(session) = self.session(slot) else { return };
        // Also for one that it does not have: the Hub may have ended it while this was on its way.
        if session.subscription(channel).is_some() {
            self.lose(slot, channel, out);
            self.tab_changed(slot);
        }
        self.tell(slot, &Tell::Unsubscribed { channel, refusal: None }, out);
    }

    /// A socket is gone.
    pub(super) fn left(&mut self, slot: Slot, out: &mut Vec<Output>) {
        self.tab_left(slot, out);
        let Some(session) = self.sessions.get_mut(slot as usize).and_then(Option::take) else { return };
        self.free.push(slot);
        self.frames.remove(&session.connection);
        for buckets in self.publishes.values_mut() {
            buckets.remove(&session.connection);
        }
        for subscription in &session.subscriptions {
            let channel = &subscription.channel;
            self.depart(slot, session.member_by(subscription), channel, out);
            self.take_out(slot, channel, out);
        }
        if self.reviewer == Some(slot) {
            self.hand_on_review(out);
        }
    }

    /// Takes a socket out of a channel. Where its attachment said what the Hub has, another's does now.
    pub(super) fn take_out(&mut self, slot: Slot, channel: &ChannelName, out: &mut Vec<Output>) {
        self.give_place_up(slot, channel, out);
        self.doubt_tally(channel);
        self.desert(channel, out);
    }

    pub(super) fn give_place_up(&mut self, slot: Slot, channel: &ChannelName, out: &mut Vec<Output>) {
        let Some(known) = self.channels.get_mut(channel) else { return };
        if known.remove(slot)
            && let Some((next, have)) = known.live.first().map(|(next, _)| *next).zip(known.have)
            && self.set_stage(next, channel, Stage::Live(have))
        {
            self.remember(next, out);
        }
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

    /// Ends following what nobody wants any more; when to look again. What waits for an answer is looked at when that has come.
    pub(super) fn drop_deserted(&mut self, turn: Turn, out: &mut Vec<Output>) -> Option<u64> {
        let due = |channel: &Channel| {
            let deserted_at = channel.deserted_at.filter(|_| !channel.is_waiting());
            deserted_at.map(|at| at + limits::UNFOLLOW_MS)
        };
        let is_gone = |channel: &Channel| due(channel).is_some_and(|due| due <= turn.now);
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

    /// An answer has come for a channel that nobody wants any more: the alarm may have rung meanwhile. One row for the alarm, unless it is set.
    pub(super) fn look_after_answer(&mut self, channel: &ChannelName, out: &mut Vec<Output>) {
        let Some(known) = self.channels.get(channel).filter(|known| !known.is_waiting()) else { return };
        if let Some(at) = known.deserted_at {
            self.wake_at((at + limits::UNFOLLOW_MS).max(self.now), out);
        }
    }

    /// Follows everything again, once a day: whatever went wrong with a Room's list of followers is right again then, and with its members. When the next time is.
    pub(super) fn review(&mut self, out: &mut Vec<Output>) -> Option<u64> {
        if self.sessions.len() == self.free.len() {
            return None;
        }
        let due = self.reviewed.map(|at| at + limits::HUB_REVIEW_MS).filter(|due| *due > self.now);
        if due.is_none() {
            self.reviewed = Some(self.now);
            self.hand_on_review(out);
            self.follow_all(out);
        }
        due.or(Some(self.now + limits::HUB_REVIEW_MS))
    }

    /// One socket's attachment says when that was.
    fn hand_on_review(&mut self, out: &mut Vec<Output>) {
        let is_there = |slot: &Slot| self.session(*slot).is_some();
        let slots = 0..Slot::try_from(self.sessions.len()).unwrap_or(Slot::MAX);
        self.reviewer = self.reviewer.into_iter().chain(slots).find(is_there);
        let reviewed = self.reviewed;
        if let Some((slot, session)) = self.reviewer.and_then(|slot| Some((slot, self.session_mut(slot)?))) {
            session.reviewed = reviewed;
            self.remember(slot, out);
        }
    }

    fn follow_all(&mut self, out: &mut Vec<Output>) {
        let mut wanted: Vec<ChannelName> = self.channels.keys().cloned().collect();
        wanted.sort_unstable();
        for channel in wanted {
            self.follow(&channel);
            self.doubt_members(&channel);
        }
        self.calls.start(out);
    }

    pub(super) fn follow(&mut self, channel: &ChannelName) {
        let at = self.decide();
        let Some(known) = self.channels.get_mut(channel).filter(|known| known.following.is_none()) else { return };
        known.following = Some(at);
        let count = self.app.counts(channel).then(|| known.subscribers());
        // What it says, nobody else has to.
        self.untold.remove(channel);
        self.calls.add(Output::Follow { channel: channel.clone(), at, count });
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
        if self.presence.contains_key(channel) {
            self.unreported.insert(channel.clone());
        }
        let position = match result {
            Ok(position) => position,
            Err(refusal) => {
                let waiting = known.waiting.clone();
                self.doubt_tally(channel);
                for slot in waiting {
                    self.fail(slot, channel, &refusal, out);
                }
                return self.desert(channel, out);
            }
        };
        self.is_at(channel, Some(position), out);
        let Some(known) = self.channels.get_mut(channel) else { return };
        match known.have {
            // What was delivered meanwhile is newer than this answer.
            Some(have) if have.epoch == position.epoch && have.seq >= position.seq => {}
            None => {
                known.have = Some(position);
                self.forget_told(channel, out);
            }
            // The Room begins to deliver after its position: what is before it has to be asked for.
            Some(have) => {
                known.have = Some(position);
                if have.epoch != position.epoch {
                    self.doubt_members(channel);
                    self.forget_told(channel, out);
                }
                self.set_back(channel, have, out);
            }
        }
        self.advance_all(channel, out);
        self.look_after_answer(channel, out);
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
        if self.session(slot).is_some_and(HubSession::has_to_wait) {
            return;
        }
        let one = self.session(slot).and_then(|session| session.subscription(channel));
        let (stage, awaits_pong) = (one.map(|one| one.stage), one.is_some_and(Subscription::awaits_pong));
        match stage {
            Some(Stage::Joining(from)) if self.lists_first(slot, channel) => self.list_first(slot, channel, from, out),
            Some(Stage::Joining(None)) => self.begin_live(slot, channel, have, None, out),
            Some(Stage::Joining(Some(Begin::After(position)))) if position == have => {
                self.begin_live(slot, channel, have, Some(true), out);
            }
            Some(Stage::Joining(Some(from))) => self.ask(channel, from, Reader::Subscription(slot)),
            Some(Stage::Behind(position)) if position == have => self.go_live(slot, channel, have, out),
            // It was somewhere that is ahead of this Hub: what it has already will come.
            Some(Stage::Behind(position)) if position.epoch == have.epoch && position.seq > have.seq => {}
            Some(Stage::Behind(_)) if awaits_pong => self.hurry_tab(slot),
            Some(Stage::Behind(position)) => self.ask(channel, Begin::After(position), Reader::Subscription(slot)),
            Some(Stage::Live(_) | Stage::Listing(_)) | None => {}
        }
    }

    fn begin_live(
        &mut self,
        slot: Slot,
        channel: &ChannelName,
        have: Position,
        resumed: Option<bool>,
        out: &mut Vec<Output>,
    ) {
        let gap = self.begins(slot, channel, have, None);
        self.go_live(slot, channel, have, out);
        self.welcome(slot, channel, have, resumed, out);
        if let Some((gap, format)) = gap.zip(self.session(slot).map(|session| session.format)) {
            self.tell_gap(&[slot], format, channel, gap, out);
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
        if format == Format::Pusher {
            self.counts_again(channel);
        }
        self.tell_tab(slot);
        self.remember(slot, out);
    }

    /// The Room is of another epoch: everybody has to be told, by the Room's own words.
    pub(super) fn start_anew(&mut self, channel: &ChannelName, have: Position, out: &mut Vec<Output>) {
        self.doubt_members(channel);
        self.forget_told(channel, out);
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

/// How a connection may have a channel.
struct Admitted {
    may_publish: bool,
    /// When the subscription's token expires.
    expires_at: Option<u64>,
    /// Whose the connection is from now on.
    user: Option<String>,
    /// What the user shows in presence channels: of the subscription's token, or of the connection's.
    info: Option<MemberData>,
}

/// Whether a connection may have a channel.
fn admit(
    app: &App,
    session: &HubSession,
    channel: &ChannelName,
    token: Option<&str>,
    now: u64,
) -> Result<Admitted, Refusal> {
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
    let own = token.as_ref().filter(|_| channel.has_members()).map_or(Ok(None), Token::info)?;
    Ok(Admitted {
        may_publish,
        expires_at: token.as_ref().map(Token::expires_at_ms),
        user: user.or(session.user.as_deref()).map(str::to_owned),
        info: own.or_else(|| session.info.clone()),
    })
}
