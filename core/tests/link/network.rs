//! What is on its way between objects.

use super::world::HUBS;
use dormouse_core::call::{Begin, Outcome};
use dormouse_core::channel::ChannelName;
use dormouse_core::close::{Close, Closed, Holder};
use dormouse_core::directory::{Report as Occupied, Strike};
use dormouse_core::link::{Delivery, Follow, Receipt, Receipts, hub_name, series};
use dormouse_core::message::NewMessage;
use dormouse_core::occupancy::Occupancy;
use dormouse_core::position::Position;
use dormouse_core::presence::{Changes, Report};
use dormouse_core::refusal::{Code, Refusal};
use dormouse_core::session::Format;

/// A request between objects.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// Who waits for the answer; `None` for one that was repeated by the network.
    pub(super) caller: Option<Caller>,
    pub(super) body: Body,
}

/// An object as it was when it called: one that has lost its memory since waits no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Caller {
    pub(super) party: Party,
    pub(super) life: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Party {
    Room(usize),
    Hub(usize),
    Directory,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Follow {
        room: usize,
        follow: Follow,
    },
    Unfollow {
        room: usize,
        follow: Follow,
    },
    Missed {
        room: usize,
        from: Begin,
    },
    Publish {
        room: usize,
        messages: Vec<NewMessage>,
    },
    Report {
        room: usize,
        report: Report,
    },
    Tally {
        room: usize,
        follow: Follow,
    },
    Deliver {
        hub: usize,
        name: String,
        ticket: u64,
        delivery: Delivery,
    },
    /// The text of the call, for the first of `hubs`.
    Relay {
        hub: usize,
        hubs: Vec<String>,
        ticket: u64,
        text: String,
    },
    /// From a Hub to another.
    Forward {
        hub: usize,
        name: String,
        ticket: u64,
        text: String,
    },
    /// To the Directory.
    Register {
        report: Occupied,
    },
    Strike {
        strike: Strike,
    },
    /// From the Directory.
    Close {
        holder: Holder,
        close: Close,
        call: u64,
    },
}

/// An answer on its way back.
pub(super) struct Reply {
    pub(super) caller: Caller,
    pub(super) answer: Answer,
}

#[derive(Debug)]
pub(super) enum Answer {
    Followed { channel: ChannelName, at: u64, result: Result<Position, Refusal> },
    Unfollowed,
    Missed { channel: ChannelName, from: Begin, result: Result<Delivery, Refusal> },
    Published { channel: ChannelName, result: Result<Vec<Outcome>, Refusal> },
    Reported { channel: ChannelName, at: u64, result: Result<Changes, Refusal> },
    Tallied { channel: ChannelName, result: Result<bool, Refusal> },
    Receipt { hub: String, ticket: u64, result: Result<Receipt, Refusal> },
    Relayed { hubs: Vec<String>, ticket: u64, result: Result<Receipts, Refusal> },
    Forwarded { hub: String, ticket: u64, result: Result<String, Refusal> },
    Registered { at: u64, state: Occupancy, answer: Option<u64> },
    Struck,
    Closed { call: u64, result: Result<Closed, Refusal> },
}

fn lost() -> Refusal {
    Refusal::new(Code::Overloaded, "lost")
}

impl Answer {
    /// What the caller learns when the object falls before its answer is out.
    pub(super) fn lost(self) -> Self {
        match self {
            Self::Followed { channel, at, .. } => Self::Followed { channel, at, result: Err(lost()) },
            Self::Unfollowed => Self::Unfollowed,
            Self::Missed { channel, from, .. } => Self::Missed { channel, from, result: Err(lost()) },
            Self::Published { channel, .. } => Self::Published { channel, result: Err(lost()) },
            Self::Reported { channel, at, .. } => Self::Reported { channel, at, result: Err(lost()) },
            Self::Tallied { channel, .. } => Self::Tallied { channel, result: Err(lost()) },
            Self::Receipt { hub, ticket, .. } => Self::Receipt { hub, ticket, result: Err(lost()) },
            Self::Relayed { hubs, ticket, .. } => Self::Relayed { hubs, ticket, result: Err(lost()) },
            Self::Forwarded { hub, ticket, .. } => Self::Forwarded { hub, ticket, result: Err(lost()) },
            Self::Registered { at, state, .. } => Self::Registered { at, state, answer: None },
            Self::Struck => Self::Struck,
            Self::Closed { call, .. } => Self::Closed { call, result: Err(lost()) },
        }
    }
}

impl Body {
    /// The answer of a call that never came through, or whose answer never did.
    pub(super) fn lost(&self, names: &[ChannelName]) -> Answer {
        let channel = |room: usize| names[room].clone();
        match self {
            Self::Follow { room, follow } => {
                Answer::Followed { channel: channel(*room), at: follow.at, result: Err(lost()) }
            }
            Self::Unfollow { .. } => Answer::Unfollowed,
            Self::Missed { room, from } => Answer::Missed { channel: channel(*room), from: *from, result: Err(lost()) },
            Self::Publish { room, .. } => Answer::Published { channel: channel(*room), result: Err(lost()) },
            Self::Report { room, report } => {
                Answer::Reported { channel: channel(*room), at: report.at, result: Err(lost()) }
            }
            Self::Tally { room, .. } => Answer::Tallied { channel: channel(*room), result: Err(lost()) },
            Self::Deliver { name, ticket, .. } => {
                Answer::Receipt { hub: name.clone(), ticket: *ticket, result: Err(lost()) }
            }
            Self::Relay { hubs, ticket, .. } => {
                Answer::Relayed { hubs: hubs.clone(), ticket: *ticket, result: Err(lost()) }
            }
            Self::Forward { name, ticket, .. } => {
                Answer::Forwarded { hub: name.clone(), ticket: *ticket, result: Err(lost()) }
            }
            Self::Register { report } => Answer::Registered { at: report.at, state: report.state, answer: None },
            Self::Strike { .. } => Answer::Struck,
            Self::Close { call, .. } => Answer::Closed { call: *call, result: Err(lost()) },
        }
    }
}

/// The name of a hub: those whose sockets speak Pusher's protocol are of a series of their own, and come after the others here.
pub(super) fn hub_named(nth: usize) -> String {
    let format = if nth < HUBS { Format::Many } else { Format::Pusher };
    hub_name("1", &series(format, "weur"), u32::try_from(nth).unwrap())
}

/// Whose name that is.
pub(super) fn hub_of(name: &str) -> Result<usize, String> {
    name.rsplit(':').next().and_then(|nth| nth.parse().ok()).ok_or("whose hub?".into())
}

/// The channel of a room.
pub(super) fn channel(kind: &str, room: usize) -> ChannelName {
    ChannelName::parse(&format!("{kind}-{room}")).unwrap()
}

/// The room of a channel.
pub(super) fn room_of(name: &str) -> Option<usize> {
    name.rsplit('-').next()?.parse().ok()
}
