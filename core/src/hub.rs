//! The home of sockets that want many channels: what it decides on every event.
//!
//! The driver's contract is that of [`crate::room`]: one [`Input`] at a time, every [`Output`] in order, no waiting in between. A Hub is a function of its
//! sockets' attachments: after [`Hub::wake`] the driver gives every attachment to [`Hub::restore`], then calls [`Hub::restored`] once, and nobody can tell.

mod calls;
mod catch_up;
mod channel;
mod close;
mod deliver;
mod event;
mod occupancy;
mod presence;
mod publish;
mod pusher;
mod relay;
mod resume;
mod session;
mod subscribe;
mod tally;
mod voice;

pub use event::{HubConnect, Input, Output, Want};
pub use resume::Tab;
pub use session::{HubSession, Stage, Subscription};

use crate::channel::ChannelName;
use crate::config::App;
use crate::frame::Frame;
use crate::frame::many::{Ask, Tell};
use crate::limits;
use crate::occupancy::Reporter;
use crate::rate::Buckets;
use crate::refusal::{Code, Refusal};
use crate::resume::Held;
use crate::room::Turn;
use crate::session::Format;
use calls::Calls;
use channel::Channel;
use presence::Members;
use relay::Relays;
use resume::Tabs;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A socket while the Hub is awake: a small number, used again when the socket has gone. The driver keeps the socket of each.
pub type Slot = u32;

/// A Hub.
#[derive(Debug)]
pub struct Hub {
    app: App,
    /// By slot.
    sessions: Vec<Option<HubSession>>,
    free: Vec<Slot>,
    channels: HashMap<ChannelName, Channel>,
    /// Channels whose members are here, or may be thought to be here.
    presence: HashMap<ChannelName, Members>,
    /// Those of them in which something has happened in this event.
    unreported: BTreeSet<ChannelName>,
    calls: Calls,
    /// Channels whose Rooms have to hear how many sockets want them, and when the timers ring that wait for that: two at most, the later one first.
    untold: BTreeSet<ChannelName>,
    tally_timers: Vec<u64>,
    relays: Relays,
    /// How often connections may speak, and how often they may publish, by the rate that a rule allows.
    frames: Buckets,
    publishes: BTreeMap<u32, Buckets>,
    /// Bytes that any one socket may have been sent since the last look for slow ones.
    unlooked_bytes: usize,
    /// When the alarm will ring.
    armed: Option<u64>,
    /// When everything was last followed anew, and whose attachment says so.
    reviewed: Option<u64>,
    reviewer: Option<Slot>,
    /// When it is, and the last of its decisions to follow or not.
    now: u64,
    decided: u64,
    /// What the Directory was told.
    reporter: Reporter,
    tabs: Tabs,
}

impl Hub {
    /// A Hub that has just been woken, or made.
    #[must_use]
    pub fn wake(app: App) -> Self {
        Self {
            reporter: Reporter::new(app.directory),
            app,
            sessions: Vec::new(),
            free: Vec::new(),
            channels: HashMap::new(),
            presence: HashMap::new(),
            unreported: BTreeSet::new(),
            calls: Calls::default(),
            untold: BTreeSet::new(),
            tally_timers: Vec::new(),
            relays: Relays::default(),
            frames: Buckets::new(limits::HUB_FRAME_RATE),
            publishes: BTreeMap::new(),
            unlooked_bytes: 0,
            armed: None,
            reviewed: None,
            reviewer: None,
            now: 0,
            decided: 0,
            tabs: Tabs::default(),
        }
    }

    /// Learns when the object's alarm will ring: known a moment after waking, before the first event. But an object that is made anew after a trap is made inside an event:
    /// what that has set stands, if it is earlier.
    pub fn armed(&mut self, armed: Option<u64>) {
        self.armed = self.armed.into_iter().chain(armed).min();
    }

    /// Takes up a socket after waking.
    pub fn restore(&mut self, session: HubSession) -> Slot {
        let slot = self.place(session);
        let Some(session) = self.sessions.get(slot as usize).and_then(Option::as_ref) else { return slot };
        if session.reviewed > self.reviewed {
            (self.reviewed, self.reviewer) = (session.reviewed, Some(slot));
        }
        for subscription in &session.subscriptions {
            let Subscription { channel, stage, .. } = subscription;
            if channel.has_members() {
                presence::restore(&mut self.presence, slot, session, subscription);
            }
            let channel = self.channels.entry(channel.clone()).or_default();
            match *stage {
                Stage::Joining(_) | Stage::Listing(_) | Stage::Behind(_) => {
                    channel.waiting.push(slot);
                    channel.uncounted = true;
                }
                Stage::Live(position) => {
                    channel.live.push((slot, session.format));
                    // All are of one epoch: when it changes, every attachment is written.
                    if channel.have.is_none_or(|have| have.seq < position.seq) {
                        channel.have = Some(position);
                        let newest = channel.live.len() - 1;
                        channel.live.swap(0, newest);
                    }
                }
            }
        }
        self.tab_restored(slot);
        slot
    }

    /// All sockets have been taken up: what a crash of the isolate interrupted goes on. `lost` are the rows of [`Output::Keep`], and whether they are marked: where there was no
    /// socket to take up, or where this Hub stands for one whose calls were under way. After a plain sleep it is `None`, and nothing has to be read.
    pub fn restored(&mut self, lost: Option<Vec<(ChannelName, bool)>>, turn: Turn, out: &mut Vec<Output>) {
        self.now = turn.now;
        let begin = out.len();
        self.tabs_restored();
        let is_unfinished = |channel: &Channel| !channel.waiting.is_empty();
        let unfinished = self.channels.iter().filter(|(_, channel)| is_unfinished(channel));
        let mut unfinished: Vec<ChannelName> = unfinished.map(|(name, _)| name.clone()).collect();
        unfinished.sort_unstable();
        for channel in unfinished {
            self.advance_all(&channel, out);
        }
        if lost.is_some() {
            self.occupied_still(out);
            self.tally_anew();
        }
        self.members_restored(lost);
        self.report_all(out);
        self.look_after_tabs(begin, out);
        self.tally_all(out);
        self.look_for_slow(begin, out);
        self.calls.start(out);
    }

    /// Decides. Everything that shall be done is appended to `out`.
    pub fn handle(&mut self, input: Input, turn: Turn, out: &mut Vec<Output>) {
        self.now = turn.now;
        let begin = out.len();
        match input {
            Input::Connect { connect, connection, held } => self.connect(connect, connection, held, turn, out),
            Input::Frame { slot, frame } => self.hear(slot, frame, turn, out),
            Input::FrameTooLong { slot } => self.hear_too_long(slot, turn, out),
            Input::Left { slot } => {
                self.left(slot, out);
                self.look_if_deserted(out);
            }
            Input::Deliver { ticket, delivery } => {
                let receipt = self.deliver(&delivery, out);
                out.push(Output::Receipt { ticket, receipt });
            }
            Input::Relay { ticket, relay } => self.relay(ticket, relay, out),
            Input::Forwarded { ticket, hub, result } => self.forwarded(ticket, hub, result, out),
            Input::Followed { channel, at, result } => {
                self.calls.ended();
                self.followed(&channel, at, result, out);
            }
            Input::Missed { channel, from, result } => {
                self.calls.ended();
                self.missed(&channel, from, &result, out);
            }
            Input::Published { channel, result } => {
                self.calls.ended();
                self.published(&channel, &result, out);
            }
            Input::Reported { channel, at, result } => {
                self.calls.ended();
                self.reported(&channel, at, result, out);
            }
            Input::Tally => drop(self.tally_timers.pop()),
            Input::Tallied { channel, result } => {
                self.calls.ended();
                self.tallied(&channel, &result);
            }
            Input::Registered { at, state, answer } => self.registered((at, state), answer, out),
            Input::Fetched { id, tag, result } => {
                self.calls.ended();
                self.fetched(&id, &tag, result, out);
            }
            Input::Look { at } => self.look(at),
            Input::Swept => self.wake_at(turn.now + limits::RESUME_KEEP_MS, out),
            Input::Alarm { kept } => self.alarm(kept, turn, out),
        }
        self.report_all(out);
        self.look_after_tabs(begin, out);
        self.tally_all(out);
        self.look_for_slow(begin, out);
        self.calls.start(out);
        self.relays.start(out);
    }

    /// Whether there is room for one more beside so many sockets. Refused with `full` if not.
    pub fn check_room(&self, sockets: usize) -> Result<(), Refusal> {
        if sockets < self.app.hub_connections {
            return Ok(());
        }
        Err(Refusal::new(Code::Full, "this hub has as many connections as it can hold"))
    }

    fn connect(
        &mut self,
        connect: HubConnect,
        connection: String,
        held: Option<Held>,
        turn: Turn,
        out: &mut Vec<Output>,
    ) {
        let open = self.sessions.len() - self.free.len();
        if let Err(refusal) = self.check_room(open) {
            return out.push(Output::Refuse(refusal));
        }
        let mut session = HubSession {
            connection,
            format: connect.format,
            user: connect.user,
            authorize_by: self.authorize_by(connect.format),
            expires_at: connect.expires_at,
            grants: connect.grants,
            info: connect.info,
            reviewed: (open == 0).then_some(turn.now),
            tab: None,
            subscriptions: connect.wants.iter().map(Subscription::wanted).collect(),
        };
        if let Err(refusal) = session.check_size() {
            return out.push(Output::Refuse(refusal));
        }
        if let Some(id) = connect.resume {
            self.tab_comes(&mut session, id, held, out);
        }
        let slot = self.place(session.clone());
        self.tab_came(slot);
        let welcome = session.format.is_many().then(|| session.connection.clone());
        let ends_at = session.ends_at();
        out.push(Output::Accept { slot, session });
        if let Some(connection) = welcome {
            self.tell(slot, &Tell::Welcome { connection: &connection }, out);
        }
        if let Some(at) = ends_at {
            self.wake_at(at, out);
        }
        for want in connect.wants {
            self.join(slot, &want.channel, out);
        }
        if open == 0 {
            (self.reviewed, self.reviewer) = (Some(turn.now), Some(slot));
            self.occupied(out);
            self.wake_at(turn.now + limits::HUB_REVIEW_MS, out);
        }
    }

    fn hear(&mut self, slot: Slot, frame: Frame, turn: Turn, out: &mut Vec<Output>) {
        let Some(session) = self.session(slot) else { return };
        let (format, connection) = (session.format, session.connection.clone());
        if format.is_stream() {
            return;
        }
        if !format.is_many() {
            return self.hear_of_one(slot, frame, turn, out);
        }
        if let Err(strikes) = self.frames.take(&connection, turn.now) {
            return self.too_often(slot, strikes, limits::HUB_FRAME_RATE, out);
        }
        if format == Format::Pusher {
            return self.hear_pusher(slot, &frame, turn, out);
        }
        let ask = match frame {
            Frame::Text(text) => crate::frame::many::parse(&text),
            Frame::Binary(_) => Err(crate::speech::no_binary()),
        };
        match ask {
            Ok(Ask::Subscribe { channel, from, token, data }) => {
                if let Err(refusal) = self.subscribe(slot, &channel, from, token.as_deref(), data, out) {
                    self.object(slot, Some(&channel), None, &refusal, out);
                }
            }
            Ok(Ask::Unsubscribe(channel)) => self.unsubscribe(slot, &channel, out),
            Ok(Ask::Publish { channel, message }) => self.publish(slot, &channel, message, turn, out),
            Ok(Ask::History { channel, from }) => self.history(slot, &channel, from, out),
            Err(refusal) => self.object(slot, None, None, &refusal, out),
        }
    }

    fn alarm(&mut self, kept: Vec<(ChannelName, bool)>, turn: Turn, out: &mut Vec<Output>) {
        self.armed = None;
        let mut due: Vec<u64> = Vec::new();
        for slot in 0..Slot::try_from(self.sessions.len()).unwrap_or(Slot::MAX) {
            match self.session(slot).and_then(HubSession::ends_at) {
                Some(at) if at <= turn.now => {
                    let refusal = self.out_of_time(slot);
                    self.dismiss(slot, refusal.code.close_code(), &refusal, out);
                }
                at => due.extend(at),
            }
        }
        due.extend(self.drop_deserted(turn, out));
        due.extend(self.look_after_members(kept));
        due.extend(self.review(out));
        self.look_around(&mut due, out);
        if let Some(at) = due.into_iter().min() {
            // Whatever the reason, an object is woken once a second at most.
            self.wake_at(at.max(turn.now + 1000), out);
        }
    }

    /// A number for a decision to follow, or to follow no longer: later ones have greater ones, also after a sleep.
    fn decide(&mut self) -> u64 {
        self.decided = (self.decided + 1).max(self.now.saturating_mul(1000));
        self.decided
    }

    /// Puts a session into a slot.
    fn place(&mut self, session: HubSession) -> Slot {
        let Some(slot) = self.free.pop() else {
            self.sessions.push(Some(session));
            return Slot::try_from(self.sessions.len() - 1).unwrap_or(Slot::MAX);
        };
        if let Some(place) = self.sessions.get_mut(slot as usize) {
            *place = Some(session);
        }
        slot
    }

    fn session(&self, slot: Slot) -> Option<&HubSession> {
        self.sessions.get(slot as usize).and_then(Option::as_ref)
    }

    fn session_mut(&mut self, slot: Slot) -> Option<&mut HubSession> {
        self.sessions.get_mut(slot as usize).and_then(Option::as_mut)
    }

    /// Whether the slot is still that connection's.
    fn is(&self, slot: Slot, connection: &str) -> bool {
        self.session(slot).is_some_and(|session| session.connection == connection)
    }

    /// Sets how far a subscription is, in memory; whether it is there.
    fn set_stage(&mut self, slot: Slot, channel: &ChannelName, stage: Stage) -> bool {
        let subscription = self.session_mut(slot).and_then(|session| session.subscription_mut(channel));
        match subscription {
            Some(subscription) => {
                subscription.stage = stage;
                true
            }
            None => false,
        }
    }

    fn remember(&self, slot: Slot, out: &mut Vec<Output>) {
        if let Some(session) = self.session(slot) {
            out.push(Output::Remember { slot, session: session.clone() });
        }
    }

    /// Sets the alarm, unless it rings earlier anyway: one row written.
    fn wake_at(&mut self, at: u64, out: &mut Vec<Output>) {
        if self.armed.is_none_or(|armed| at < armed) {
            self.armed = Some(at);
            out.push(Output::WakeAt(at));
        }
    }
}

#[cfg(test)]
mod tests;
