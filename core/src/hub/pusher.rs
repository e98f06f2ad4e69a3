//! Sockets that speak Pusher's protocol: what they ask for, and who may.

use super::{Hub, HubSession, Output, Slot, Stage, Subscription};
use crate::call::Begin;
use crate::channel::ChannelName;
use crate::config::App;
use crate::frame::Frame;
use crate::limits;
use crate::message::{Message, Payload, check_size};
use crate::presence::MemberData;
use crate::pusher::ask::{Ask, parse};
use crate::pusher::auth::{ChannelData, UserData, check_channel, check_user};
use crate::pusher::words;
use crate::refusal::{CLOSE_TOO_SLOW, Code, Refusal};
use crate::room::Turn;
use crate::session::Format;
use crate::token::Grant;
use std::collections::BTreeSet;

impl Hub {
    /// A frame, of which it was not too many.
    pub(super) fn hear_pusher(&mut self, slot: Slot, frame: &Frame, turn: Turn, out: &mut Vec<Output>) {
        let ask = match frame {
            Frame::Text(text) => parse(text),
            Frame::Binary(_) => Err(Refusal::new(Code::InvalidJson, "binary messages are not part of this protocol")),
        };
        let done = match ask {
            Ok(Ask::Ping) => {
                Self::send(slot, Frame::Text(words::PONG.to_owned()), out);
                Ok(())
            }
            Ok(Ask::Pong) => {
                self.pong(slot, out);
                Ok(())
            }
            Ok(Ask::Subscribe { channel, auth, channel_data }) => {
                self.subscribe_pusher(slot, &channel, &auth, channel_data.as_deref(), out)
            }
            Ok(Ask::Unsubscribe(channel)) => {
                self.unsubscribe(slot, &channel, out);
                Ok(())
            }
            Ok(Ask::SignIn { auth, user_data }) => self.sign_in(slot, &auth, &user_data, out),
            Ok(Ask::Publish { channel, event, payload }) => {
                self.client_event(slot, &channel, event, payload, turn, out)
            }
            Err(refusal) => Err(refusal),
        };
        match done {
            // A client would wait for its channel and never ask again: it comes back in a second, and asks for everything.
            Err(refusal) if refusal.code == Code::Overloaded => {
                self.dismiss(slot, refusal.code.close_code(), &refusal, out);
            }
            Err(refusal) => self.object(slot, None, None, &refusal, out),
            Ok(()) => {}
        }
    }

    /// A frame that is too long to be looked at. In Pusher's protocol it is refused, and the socket stays.
    pub(super) fn hear_too_long(&mut self, slot: Slot, turn: Turn, out: &mut Vec<Output>) {
        let Some(session) = self.session(slot) else { return };
        if session.format != Format::Pusher {
            return self.dismiss_too_large(slot, limits::FRAME_BYTES_MAX, out);
        }
        let connection = session.connection.clone();
        if let Err(strikes) = self.frames.take(&connection, turn.now) {
            return self.too_often(slot, strikes, limits::HUB_FRAME_RATE, out);
        }
        self.object(slot, None, None, &crate::speech::too_large(limits::FRAME_BYTES_MAX), out);
    }

    /// The code that closes a reader who is too slow: all sockets of a Hub speak one dialect.
    pub(super) fn too_slow(&self) -> u16 {
        let any = self.sessions.iter().flatten().next();
        if any.is_some_and(|session| session.format == Format::Pusher) { words::COME_BACK } else { CLOSE_TOO_SLOW }
    }

    /// When a new connection has to have been authorised.
    pub(super) fn authorize_by(&self, format: Format) -> Option<u64> {
        let asked = format == Format::Pusher && self.app.authorize_within > 0;
        asked.then(|| self.now + self.app.authorize_within * 1000)
    }

    /// What a connection is told whose time is up.
    pub(super) fn out_of_time(&self, slot: Slot) -> Refusal {
        if self.session(slot).is_some_and(|session| session.format == Format::Pusher) {
            return Refusal::numbered(Code::Unauthorized, words::NOT_AUTHORIZED, "not authorised in time");
        }
        Refusal::new(Code::Expired, "the token has expired: come back with a new one")
    }

    /// A client asks for a channel. One request where the Hub does not follow it yet, one for the last message of a cache channel, one for the list of a presence channel.
    fn subscribe_pusher(
        &mut self,
        slot: Slot,
        channel: &ChannelName,
        auth: &str,
        channel_data: Option<&str>,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let Some(session) = self.session(slot) else { return Ok(()) };
        if session.subscription(channel).is_some() {
            return Err(Refusal::new(Code::InvalidField, format!("Existing subscription to channel {channel}")));
        }
        self.calls.check()?;
        let Admitted { may_publish, user, data } = admit(&self.app, session, channel, auth, channel_data)?;
        let authorize_by = session.authorize_by.filter(|_| !channel.needs_token());
        let changed = HubSession { authorize_by, ..session.clone() };
        let from = channel.is_cache().then_some(Begin::Last(1));
        let subscription = Subscription { may_publish, user, data, ..Subscription::new(channel.clone(), from) };
        self.take_in(slot, changed, subscription, out)
    }

    /// A client says who it is. It may do so again, but not be somebody else. No request, unless the app has watchlists.
    fn sign_in(&mut self, slot: Slot, auth: &str, user_data: &str, out: &mut Vec<Output>) -> Result<(), Refusal> {
        let Some(session) = self.session(slot) else { return Ok(()) };
        check_user(&self.app, &session.connection, user_data, auth)?;
        let UserData { user, info, grants, watchlist } = UserData::parse(user_data)?;
        let is_new = session.user.is_none();
        if session.user.as_ref().is_some_and(|other| *other != user) {
            return Err(Refusal::new(Code::Forbidden, "Connection already signed in with a different user id"));
        }
        let changed = HubSession { user: Some(user.clone()), info, grants, authorize_by: None, ..session.clone() };
        changed.check_size()?;
        if let Some(session) = self.session_mut(slot) {
            *session = changed;
        }
        self.remember(slot, out);
        Self::send(slot, words::signed_in(user_data), out);
        if is_new && self.app.watchlist { self.watch(slot, user, &watchlist, out) } else { Ok(()) }
    }

    /// A user is online from now on, and is told who of its watchlist is. Two requests where nobody of this Hub is that user or watches it yet, else one; and as for a
    /// presence channel its rows. A watchlist that is too long is refused as a whole, and the user is online all the same.
    fn watch(&mut self, slot: Slot, user: String, watchlist: &[String], out: &mut Vec<Output>) -> Result<(), Refusal> {
        self.calls.check()?;
        let others = watched(&user, watchlist);
        let hidden = |channel: ChannelName, user: Option<String>| Subscription::hidden(channel, user);
        // Who has an id that is no channel's name is never online.
        let own = ChannelName::of_online(&user).ok().map(|channel| hidden(channel, Some(user)));
        let added = others.and_then(|others| {
            let others = others.into_iter().map(|channel| hidden(channel, None));
            self.add_hidden(slot, own.iter().cloned().chain(others).collect(), out)
        });
        if added.is_err() {
            self.add_hidden(slot, own.into_iter().collect(), out)?;
        }
        added
    }

    fn add_hidden(&mut self, slot: Slot, hidden: Vec<Subscription>, out: &mut Vec<Output>) -> Result<(), Refusal> {
        let Some(session) = self.session_mut(slot) else { return Ok(()) };
        let known = session.subscriptions.len();
        let channels: Vec<ChannelName> = hidden.iter().map(|subscription| subscription.channel.clone()).collect();
        session.subscriptions.extend(hidden);
        if let Err(refusal) = session.check_size() {
            session.subscriptions.truncate(known);
            return Err(refusal);
        }
        for channel in channels {
            self.join(slot, &channel, out);
        }
        self.remember(slot, out);
        Ok(())
    }

    /// A client's event for the others. No row here; a request to the Room, shared by what comes meanwhile.
    fn client_event(
        &mut self,
        slot: Slot,
        channel: &ChannelName,
        event: String,
        payload: Payload,
        turn: Turn,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let Some(session) = self.session(slot) else { return Ok(()) };
        let connection = session.connection.clone();
        let may_publish = session.subscription(channel).map(|subscription| subscription.may_publish);
        let rule = self.app.rule(channel);
        check_event(channel, may_publish)?;
        check_size(&payload, rule.message_bytes)?;
        if self.rate(rule.client_rate).take(&connection, turn.now).is_err() {
            let message = format!("Client event rejected due to rate limit: {} per second", rule.client_rate);
            return Err(Refusal::numbered(Code::RateLimited, words::TOO_MANY_EVENTS, message));
        }
        let message = Message { except: Some(connection), ..Message::new(Some(event), payload, None) };
        self.send_on(slot, channel, message, out);
        Ok(())
    }

    /// Whether a subscription is answered with the list of members: in Pusher's presence channels.
    pub(super) fn lists_first(&self, slot: Slot, channel: &ChannelName) -> bool {
        let lists = channel.has_members() && channel.online().is_none();
        let session = self.session(slot).filter(|session| session.format == Format::Pusher && lists);
        session.and_then(|session| session.subscription(channel)).is_some_and(|one| one.told.is_none())
    }

    /// It is a member from now on, and hears nothing before the list.
    pub(super) fn list_first(&mut self, slot: Slot, channel: &ChannelName, from: Option<Begin>, out: &mut Vec<Output>) {
        self.set_stage(slot, channel, Stage::Listing(from));
        self.remember(slot, out);
        self.arrive(slot, channel);
    }

    /// It has been told who is there: now the channel begins.
    pub(super) fn listed(&mut self, slot: Slot, channel: &ChannelName, out: &mut Vec<Output>) {
        let stage = self.session(slot).and_then(|session| session.subscription(channel)).map(|one| one.stage);
        if let Some(Stage::Listing(from)) = stage {
            self.set_stage(slot, channel, Stage::Joining(from));
            self.remember(slot, out);
            self.advance(slot, channel, out);
        }
    }
}

/// The hidden channels of a watchlist, without the user's own.
fn watched(user: &str, watchlist: &[String]) -> Result<BTreeSet<ChannelName>, Refusal> {
    if watchlist.len() > limits::WATCHLIST_MAX {
        let message = format!("The watchlist has more than {} users: nobody is watched", limits::WATCHLIST_MAX);
        return Err(Refusal::numbered(Code::TooLarge, words::WATCHLIST_TOO_LONG, message));
    }
    let others = watchlist.iter().filter(|other| *other != user);
    Ok(others.filter_map(|id| ChannelName::of_online(id).ok()).collect())
}

/// How a connection may have a channel.
struct Admitted {
    may_publish: bool,
    /// Who it is there.
    user: Option<String>,
    data: Option<MemberData>,
}

/// Whether a connection may have a channel: a signature says so, or what it signed in with.
fn admit(
    app: &App,
    session: &HubSession,
    channel: &ChannelName,
    auth: &str,
    channel_data: Option<&str>,
) -> Result<Admitted, Refusal> {
    let nobody = Admitted { may_publish: false, user: None, data: None };
    if let Some(owner) = channel.user() {
        if session.user.as_deref() != Some(owner) {
            return Err(Refusal::new(Code::Forbidden, format!("{channel} is for that user alone: sign in first")));
        }
        return Ok(nobody);
    }
    if !channel.needs_token() {
        return Ok(nobody);
    }
    let by_grant = auth.is_empty() && channel_data.is_none() && session.grants.allow(channel, Grant::Sub);
    if !by_grant {
        check_channel(app, &session.connection, channel, channel_data, auth)?;
    }
    let granted = !by_grant || session.grants.allow(channel, Grant::Pub);
    let may_publish = app.rule(channel).publish && granted && !channel.is_encrypted();
    if !channel.has_members() {
        return Ok(Admitted { may_publish, ..nobody });
    }
    let data = channel_data.map(ChannelData::parse).transpose()?;
    let (user, data) = match (data, &session.user) {
        (Some(data), _) => (data.user, data.info),
        (None, Some(user)) => (user.clone(), session.info.clone()),
        (None, None) => {
            let message = "a presence channel needs channel_data with a user_id, or a connection that has signed in";
            return Err(Refusal::new(Code::InvalidField, message));
        }
    };
    Ok(Admitted { may_publish, user: Some(user), data })
}

/// Whether a client may publish into a channel. `may_publish`: what its subscription says, if it has one.
fn check_event(channel: &ChannelName, may_publish: Option<bool>) -> Result<(), Refusal> {
    let message = match may_publish {
        Some(true) => return Ok(()),
        _ if !channel.needs_token() || channel.is_encrypted() => {
            "Client event rejected - only supported on private and presence channels".to_owned()
        }
        Some(false) => {
            format!("Client event rejected - the rule of {channel} does not have `publish`, or it was not granted")
        }
        None => {
            format!("Client event rejected - you can only trigger events on channels you have subscribed to: {channel}")
        }
    };
    Err(Refusal::new(Code::Forbidden, message))
}

#[cfg(test)]
mod tests;
