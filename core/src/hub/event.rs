//! What happens to a Hub, and what it answers.

use super::{HubSession, Slot};
use crate::call::{Begin, Outcome};
use crate::channel::ChannelName;
use crate::frame::Frame;
use crate::link::{Delivery, Receipt, Relay, Tally};
use crate::message::NewMessage;
use crate::occupancy::Occupancy;
use crate::position::Position;
use crate::presence::{Changes, MemberData, Report};
use crate::refusal::Refusal;
use crate::resume::{Held, ResumeId};
use crate::session::Format;
use crate::token::Grants;
use serde::{Deserialize, Serialize};
use std::rc::Rc;

/// A client whom the Worker has let in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HubConnect {
    /// [`crate::call::VERSION`].
    pub version: u32,
    /// How it is spoken to.
    pub format: Format,
    /// The token's user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// When the token expires, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// What the token grants.
    #[serde(default, skip_serializing_if = "Grants::is_empty")]
    pub grants: Grants,
    /// What the token says that the user shows in presence channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<MemberData>,
    /// As which tab it resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<ResumeId>,
    /// What it wants from the beginning. For the formats of one channel exactly that channel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wants: Vec<Want>,
}

/// A channel that somebody who was let in may have.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Want {
    /// The channel.
    pub channel: ChannelName,
    /// Where it begins; `None`: with what comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Begin>,
    /// Whether it may publish.
    #[serde(default)]
    pub may_publish: bool,
    /// What it shows the other members of a presence channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<MemberData>,
}

/// What happens to a Hub.
#[derive(Debug)]
pub enum Input {
    /// The Worker let somebody in.
    Connect {
        /// Who, and what it wants.
        connect: HubConnect,
        /// A new id for it ([`crate::connection`]).
        connection: String,
        /// Where it is a tab that resumes: what its row says, if there is one ([`Held::after_loss`], [`Held::after_silence`]).
        held: Option<Held>,
    },
    /// A socket sent a frame.
    Frame {
        /// The socket.
        slot: Slot,
        /// The frame.
        frame: Frame,
    },
    /// A socket sent a frame that is too long to be looked at ([`crate::limits::FRAME_BYTES_MAX`]).
    FrameTooLong {
        /// The socket.
        slot: Slot,
    },
    /// A socket is gone; the driver forgets its slot after this event.
    Left {
        /// The socket.
        slot: Slot,
    },
    /// A Room brings messages.
    Deliver {
        /// Names the call in [`Output::Receipt`].
        ticket: u64,
        /// The messages.
        delivery: Delivery,
    },
    /// A Room brings messages, for this Hub and for others.
    Relay {
        /// Names the call in [`Output::Relayed`].
        ticket: u64,
        /// The messages, and the others.
        relay: Relay,
    },
    /// What became of [`Output::Forward`].
    Forwarded {
        /// The Room's call.
        ticket: u64,
        /// The other Hub.
        hub: String,
        /// Its receipt as text, or why there is none.
        result: Result<String, Refusal>,
    },
    /// What became of [`Output::Follow`].
    Followed {
        /// The channel.
        channel: ChannelName,
        /// The call.
        at: u64,
        /// The channel's last position.
        result: Result<Position, Refusal>,
    },
    /// What became of [`Output::Missed`].
    Missed {
        /// The channel.
        channel: ChannelName,
        /// What was asked for.
        from: Begin,
        /// What there is.
        result: Result<Delivery, Refusal>,
    },
    /// What became of [`Output::Publish`].
    Published {
        /// The channel.
        channel: ChannelName,
        /// An outcome for each message, or why there is none.
        result: Result<Vec<Outcome>, Refusal>,
    },
    /// What became of [`Output::Report`].
    Reported {
        /// The channel.
        channel: ChannelName,
        /// The report's `at`.
        at: u64,
        /// What there is to tell its members.
        result: Result<Changes, Refusal>,
    },
    /// The time of [`Output::TallyIn`] is over.
    Tally,
    /// What became of [`Output::Tally`].
    Tallied {
        /// The channel.
        channel: ChannelName,
        /// Whether the Room knows that the Hub follows.
        result: Result<bool, Refusal>,
    },
    /// What became of [`Output::Register`].
    Registered {
        /// The report.
        at: u64,
        /// What it said.
        state: Occupancy,
        /// [`crate::directory::Reported::at`], or nothing where there was no answer.
        answer: Option<u64>,
    },
    /// What became of [`Output::Fetch`].
    Fetched {
        /// The tab.
        id: ResumeId,
        /// [`Output::Fetch::tag`].
        tag: String,
        /// What the other Hub knew of it, or why that is not known.
        result: Result<Option<Held>, Refusal>,
    },
    /// The time of [`Output::LookAt`] has come.
    Look {
        /// Which of them.
        at: u64,
    },
    /// The driver has deleted what it kept of tabs for long enough, and there is something left.
    Swept,
    /// The alarm rang.
    Alarm {
        /// The rows of [`Output::Keep`], and whether they are marked.
        kept: Vec<(ChannelName, bool)>,
    },
}

/// What has to be done about it.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Accept the socket that is connecting, in this slot, with this attachment. Always before anything is sent to it.
    Accept {
        /// Its slot.
        slot: Slot,
        /// Its attachment.
        session: HubSession,
    },
    /// Do not accept it.
    Refuse(Refusal),
    /// Send frames to sockets, in order: the same values to all of them.
    Send {
        /// The sockets.
        slots: Vec<Slot>,
        /// The frames.
        frames: Rc<[Frame]>,
    },
    /// Replace a socket's attachment.
    Remember {
        /// The socket.
        slot: Slot,
        /// Its attachment.
        session: HubSession,
    },
    /// Close the sockets that have more unsent bytes than that.
    CloseSlow {
        /// Bytes.
        unsent: u32,
        /// The close code.
        code: u16,
    },
    /// Close a socket. Its [`Input::Left`] comes later, or not at all.
    Close {
        /// The socket.
        slot: Slot,
        /// The close code.
        code: u16,
        /// The reason, a code's name.
        reason: &'static str,
    },
    /// Answer a Room.
    Receipt {
        /// The call.
        ticket: u64,
        /// What the Hub has.
        receipt: Receipt,
    },
    /// Bring another Hub what a Room has brought: one request, and [`Input::Forwarded`].
    Forward {
        /// The Room's call.
        ticket: u64,
        /// The other Hub's object name.
        hub: String,
        /// The body: the delivery as it came.
        delivery: Rc<str>,
    },
    /// Answer a Room for this Hub and the others.
    Relayed {
        /// The call.
        ticket: u64,
        /// The body.
        answer: String,
    },
    /// Follow a channel's Room: one request, and [`Input::Followed`].
    Follow {
        /// The channel.
        channel: ChannelName,
        /// [`crate::link::Follow::at`].
        at: u64,
        /// [`crate::link::Follow::count`].
        count: Option<u64>,
    },
    /// Say how many sockets want a channel: one request to its Room, and [`Input::Tallied`].
    Tally {
        /// The channel.
        channel: ChannelName,
        /// How many.
        tally: Tally,
    },
    /// Give [`Input::Tally`] after so many milliseconds.
    TallyIn(u64),
    /// Follow it no longer: one request, whose outcome does not matter.
    Unfollow {
        /// The channel.
        channel: ChannelName,
        /// [`crate::link::Follow::at`].
        at: u64,
    },
    /// Ask a channel's Room for what a socket missed: one request, and [`Input::Missed`].
    Missed {
        /// The channel.
        channel: ChannelName,
        /// From where on.
        from: Begin,
    },
    /// Publish into a channel: one request, and [`Input::Published`].
    Publish {
        /// The channel.
        channel: ChannelName,
        /// The messages, in order.
        messages: Vec<NewMessage>,
    },
    /// Tell a channel's Room which members are here: one request, and [`Input::Reported`].
    Report {
        /// The channel.
        channel: ChannelName,
        /// Everything but the Hub's name, which the driver knows.
        report: Report,
    },
    /// The Room may soon believe that members of that channel are here: one row written, unless it is there.
    Keep {
        /// The channel.
        channel: ChannelName,
    },
    /// What the Room believes is not known: the channel's row is marked. One row written.
    Doubt {
        /// The channel.
        channel: ChannelName,
    },
    /// The Room has been told everything: the mark is taken away. One row written, unless there is none.
    Trust {
        /// The channel.
        channel: ChannelName,
    },
    /// The Room knows that nobody is here: the row is deleted, unless it is marked. One row written.
    Drop {
        /// The channel.
        channel: ChannelName,
    },
    /// Tell the Directory: one request, and [`Input::Registered`].
    Register {
        /// What the Hub has.
        state: Occupancy,
        /// [`crate::directory::Report::at`].
        at: u64,
    },
    /// Keep what is known of a tab: one row written.
    Hold {
        /// The tab.
        id: ResumeId,
        /// What is known.
        held: Held,
        /// Whether it has a connection here: then it is kept for as long as that lasts.
        open: bool,
    },
    /// Forget what is known of a tab: it is another Hub's now. One row deleted.
    LetGo {
        /// The tab.
        id: ResumeId,
    },
    /// Ask another Hub for a tab: one request, and [`Input::Fetched`].
    Fetch {
        /// The other Hub's object name.
        hub: String,
        /// The tab.
        id: ResumeId,
        /// [`crate::resume::TakeOver::tag`].
        tag: String,
    },
    /// All tabs that follow have everything up to there, in this life of the Hub: one row written.
    Reached {
        /// The channel.
        channel: ChannelName,
        /// [`crate::resume::Reached::acked`].
        acked: Position,
    },
    /// Nothing beyond that was sent in the Hub's lives before this one: one row written for each that has one and says nothing of that.
    Bound {
        /// The channel.
        channel: ChannelName,
        /// [`crate::resume::Reached::bound`].
        position: Position,
    },
    /// Come back with [`Input::Look`] at that time, in milliseconds since 1970, if the object is awake then. One that comes a little early is taken for it.
    LookAt(u64),
    /// Set the alarm, in milliseconds since 1970.
    WakeAt(u64),
}
