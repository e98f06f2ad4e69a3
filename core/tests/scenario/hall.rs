//! A Hub with its sockets: performs what it says as `durable` does.

use crate::scenario::objects::{Event, Item, Objects, item};
use dormouse_core::channel::ChannelName;
use dormouse_core::config::App;
use dormouse_core::frame::Frame;
use dormouse_core::hub::{Hub, HubSession, Input, Output, Slot};
use dormouse_core::limits;
use dormouse_core::link::Receipt;
use dormouse_core::refusal::Refusal;
use dormouse_core::room::Turn;
use std::collections::BTreeMap;

pub(super) struct Hall {
    pub(super) app: App,
    pub(super) hub: Hub,
    pub(super) alarm: Option<u64>,
    sockets: Vec<Socket>,
    pub(super) arriving: Option<String>,
    pub(super) refused: Option<Refusal>,
    /// The rows of channels that have had members here, and whether they are marked.
    rows: BTreeMap<ChannelName, bool>,
    /// What it answers to the delivery that it has just got.
    pub(super) receipt: Option<Receipt>,
}

struct Socket {
    client: String,
    slot: Slot,
    /// A session, encoded.
    attachment: String,
    open: bool,
}

impl Hall {
    pub(super) fn new(app: &App) -> Self {
        let hub = Hub::wake(app.clone());
        let (alarm, arriving, refused, receipt) = (None, None, None, None);
        let rows = BTreeMap::new();
        Self { app: app.clone(), hub, alarm, sockets: Vec::new(), arriving, refused, rows, receipt }
    }

    pub(super) fn kept(&self) -> Vec<(ChannelName, bool)> {
        self.rows.iter().map(|(channel, marked)| (channel.clone(), *marked)).collect()
    }

    /// Memory goes; sockets and attachments stay. What it says then has to be performed.
    pub(super) fn wake(&mut self, turn: Turn) -> Vec<Output> {
        self.hub = Hub::wake(self.app.clone());
        self.hub.armed(self.alarm);
        for socket in &mut self.sockets {
            let session = HubSession::decode(&socket.attachment).expect("attachments are sessions");
            socket.slot = self.hub.restore(session);
        }
        let mut out = Vec::new();
        let lost = self.sockets.is_empty().then(|| self.kept());
        self.hub.restored(lost, turn, &mut out);
        out
    }

    /// What it means that a client sent a frame, or with `None` that it closed.
    pub(super) fn heard(&mut self, client: &str, frame: Option<Frame>) -> Option<Input> {
        let is_it = |socket: &&mut Socket| socket.client == client && (socket.open || frame.is_none());
        let socket = self.sockets.iter_mut().find(is_it)?;
        let slot = socket.slot;
        socket.open = frame.is_some();
        Some(match frame {
            Some(frame) if super::objects::length(&frame) > limits::FRAME_BYTES_MAX => Input::FrameTooLong { slot },
            Some(frame) => Input::Frame { slot, frame },
            None => Input::Left { slot },
        })
    }

    /// The driver forgets a slot after its socket's end.
    pub(super) fn forget(&mut self, slot: Slot) {
        self.sockets.retain(|socket| socket.slot != slot);
    }

    fn socket(&mut self, slot: Slot) -> Option<&mut Socket> {
        self.sockets.iter_mut().find(|socket| socket.slot == slot)
    }
}

impl Socket {
    fn is_stream(&self) -> bool {
        HubSession::decode(&self.attachment).is_some_and(|session| session.format.is_stream())
    }

    fn item(&self, frame: &Frame) -> Option<(String, Item)> {
        let session = HubSession::decode(&self.attachment).filter(|_| self.open)?;
        Some((self.client.clone(), item(session.format, frame.clone())))
    }
}

impl Objects {
    pub(super) fn hub_performs(&mut self, name: &str, output: Output) {
        let Some(hall) = self.halls.get_mut(name) else { return };
        match output {
            Output::Accept { slot, session } => {
                let client = hall.arriving.take().expect("only who is connecting is accepted");
                hall.sockets.push(Socket { client, slot, attachment: session.encode(), open: true });
            }
            Output::Refuse(refusal) => hall.refused = Some(refusal),
            Output::Send { slots, frames } => {
                let sockets = slots.iter().filter_map(|slot| hall.sockets.iter().find(|socket| socket.slot == *slot));
                let items = sockets.flat_map(|socket| frames.iter().filter_map(|frame| socket.item(frame)));
                self.delivered.extend(items);
            }
            Output::Remember { slot, session } => {
                if let Some(socket) = hall.socket(slot) {
                    socket.attachment = session.encode();
                }
            }
            Output::Tally { .. } | Output::TallyIn(_) => panic!("no rule asks for it"),
            Output::Forward { .. } | Output::Relayed { .. } => panic!("nothing is handed on here"),
            // Nobody is slow here.
            Output::CloseSlow { .. } => {}
            Output::Close { slot, code, .. } => {
                let Some(socket) = hall.socket(slot).filter(|socket| socket.open) else { return };
                socket.open = false;
                let code = (!socket.is_stream()).then_some(code);
                self.delivered.push((socket.client.clone(), Item::Closed(code)));
                let (object, client) = (name.to_owned(), socket.client.clone());
                self.queue.push_back(Event::Heard { object, client, frame: None });
            }
            Output::Receipt { receipt, .. } => hall.receipt = Some(receipt),
            Output::WakeAt(at) => hall.alarm = Some(at),
            // A Directory that always answers.
            Output::Register { state, at, .. } => {
                let answer = Input::Registered { at, state, answer: Some(at) };
                self.queue.push_back(Event::Hub(name.to_owned(), answer));
            }
            Output::Keep { channel } => drop(hall.rows.entry(channel).or_insert(false)),
            Output::Doubt { channel } => drop(hall.rows.insert(channel, true)),
            Output::Trust { channel } => drop(hall.rows.entry(channel).and_modify(|marked| *marked = false)),
            Output::Drop { channel } => hall.rows.retain(|other, marked| *other != channel || *marked),
            Output::Hold { .. }
            | Output::LetGo { .. }
            | Output::Fetch { .. }
            | Output::Reached { .. }
            | Output::Bound { .. }
            | Output::LookAt(_) => {
                panic!("nobody resumes here")
            }
            // Everything else is a call to a room.
            call @ (Output::Follow { .. }
            | Output::Unfollow { .. }
            | Output::Missed { .. }
            | Output::Publish { .. }
            | Output::Report { .. }) => {
                self.queue.push_back(Event::Ask { hub: name.to_owned(), call });
            }
        }
    }
}
