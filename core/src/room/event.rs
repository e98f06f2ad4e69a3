//! What happens to a room, and what it says has to be done about it.

use super::members::Announcement;
use crate::call::{Connect, Outcome};
use crate::directory::Report;
use crate::frame::Frame;
use crate::link::{Receipt, Receipts};
use crate::message::{Message, NewMessage};
use crate::occupancy::Occupancy;
use crate::position::Position;
use crate::refusal::Refusal;
use crate::session::Session;
use crate::store::StoreError;
use crate::webhook::Post;
use std::rc::Rc;

/// The circumstances of one event.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Milliseconds since 1970.
    pub now: u64,
    /// 64 random bits; used when an epoch begins.
    pub random: u64,
}

/// What happens to a room.
#[derive(Debug)]
pub enum Input {
    /// The Worker let somebody in.
    Connect {
        /// Who, and where it begins.
        connect: Connect,
        /// A new id for it ([`crate::connection`]).
        connection: String,
        /// Sockets that the object holds already.
        sockets: usize,
    },
    /// A socket sent a frame.
    Frame {
        /// Its attachment.
        session: Session,
        /// The frame.
        frame: Frame,
    },
    /// A socket sent a frame that is too long to be looked at ([`crate::limits::FRAME_BYTES_MAX`]).
    FrameTooLong {
        /// Its attachment.
        session: Session,
    },
    /// The Worker publishes.
    Publish {
        /// Names the call in [`Output::Answer`].
        ticket: u64,
        /// The messages, in order.
        messages: Vec<NewMessage>,
    },
    /// The disk has, or could not have, what was written before the last [`Output::Flush`].
    Flushed(Result<(), StoreError>),
    /// A socket that is behind can take another batch.
    Replay {
        /// Its attachment.
        session: Session,
    },
    /// A socket is gone.
    Left {
        /// What its attachment was.
        session: Session,
        /// Sockets that remain.
        sockets: usize,
    },
    /// What became of an [`Output::Deliver`].
    Receipt {
        /// The Hub.
        hub: String,
        /// The delivery.
        ticket: u64,
        /// The Hub's answer, or why there is none.
        result: Result<Receipt, Refusal>,
    },
    /// The time of [`Output::AnnounceIn`] is over.
    Announce,
    /// What became of an [`Output::Relay`].
    Relayed {
        /// The Hubs, as they were there.
        hubs: Vec<String>,
        /// The delivery.
        ticket: u64,
        /// What the Hub that was called answers for each of them, or why it does not.
        result: Result<Receipts, Refusal>,
    },
    /// What was asked with [`Output::Count`].
    Counted {
        /// Sockets that the object holds.
        sockets: usize,
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
    /// What became of an [`Output::Post`].
    Posted {
        /// Where it went.
        url: String,
        /// [`Post::ticket`].
        ticket: u64,
        /// Whether it was answered with 2xx, in time.
        taken: bool,
    },
    /// The alarm rang.
    Alarm {
        /// The attachments of all sockets.
        sessions: Vec<Session>,
    },
}

/// What has to be done about it.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Accept the socket that is connecting, with this attachment. Always before anything is sent to it.
    Accept(Session),
    /// Do not accept it.
    Refuse(Refusal),
    /// Send a frame to one connection.
    Send {
        /// The connection's id.
        to: String,
        /// The frame.
        frame: Frame,
    },
    /// Send frames to one connection, in order. Readers who are at the same place share the frames.
    SendAll {
        /// The connection's id.
        to: String,
        /// The frames.
        frames: Rc<[Frame]>,
    },
    /// Send a message to every socket that is not behind. [`super::Room::frame`] builds its frame, once per format.
    Broadcast {
        /// The message's place.
        position: Position,
        /// The message. Who it is kept from does not get it.
        message: Message,
    },
    /// Replace a connection's attachment.
    Remember(Session),
    /// Give [`Input::Replay`] for every socket that is behind, as they can take it.
    Pump,
    /// Close the sockets that have more unsent bytes than that.
    CloseSlow {
        /// Bytes.
        unsent: u32,
    },
    /// Close a connection.
    Close {
        /// The connection's id.
        of: String,
        /// The close code.
        code: u16,
        /// The reason, a code's name.
        reason: &'static str,
    },
    /// Answer a publish call.
    Answer {
        /// The call.
        ticket: u64,
        /// What became of its messages.
        outcomes: Vec<Outcome>,
    },
    /// Bring messages to a Hub that follows: one request, and [`Input::Receipt`].
    Deliver {
        /// The Hub's object name.
        hub: String,
        /// Names the delivery in [`Input::Receipt`].
        ticket: u64,
        /// The body: a [`crate::link::Delivery`] as text. Hubs that are at the same place share it.
        delivery: Rc<str>,
    },
    /// Tell the members of a presence channel what has changed: [`super::Room::announced`] builds the frames, once per format. The attachments of `fresh` remember the
    /// revision, or if there is none of them, that of any one.
    Announce(Announcement),
    /// Give [`Input::Announce`] after so many milliseconds.
    AnnounceIn(u64),
    /// Have a connection's attachment remember that all who have been told of the members have been up to this revision.
    Told {
        /// The connection's id: one of those.
        of: String,
        /// The revision.
        revision: u64,
    },
    /// Bring messages to the first of these Hubs, which hands them on to the others: one request, and [`Input::Relayed`].
    Relay {
        /// The Hubs' object names: two at least.
        hubs: Vec<String>,
        /// Names the delivery in [`Input::Relayed`].
        ticket: u64,
        /// As in [`Output::Deliver`].
        delivery: Rc<str>,
    },
    /// Give [`Input::Flushed`] once everything written so far is on the disk.
    Flush,
    /// Give [`Input::Counted`]: nobody else knows how many sockets there are.
    Count,
    /// Tell the Directory: one request, and [`Input::Registered`].
    Register(Report),
    /// Make a request to a webhook, which nothing waits for, and give [`Input::Posted`] within [`crate::limits::WEBHOOK_MS`]. Redirects are not followed.
    Post(Post),
    /// Set the alarm, in milliseconds since 1970.
    WakeAt(u64),
    /// Delete all storage, the alarm too.
    Forget,
}
