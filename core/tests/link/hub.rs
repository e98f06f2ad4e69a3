//! A Hub with its sockets.

use super::network::{Answer, Body, Call, Caller, Party, Reply};
use super::world::World;
use dormouse_core::call::VERSION;
use dormouse_core::config::App;
use dormouse_core::frame::Frame;
use dormouse_core::hub::{Hub, HubConnect, HubSession, Input, Output, Slot};
use dormouse_core::link::Follow;
use dormouse_core::session::Format;
use std::collections::{BTreeMap, VecDeque};

pub(super) struct HubSide {
    pub(super) hub: Hub,
    pub(super) life: u64,
    pub(super) alarm: Option<u64>,
    pub(super) sockets: BTreeMap<String, Socket>,
    slots: BTreeMap<Slot, String>,
    tickets: BTreeMap<u64, Call>,
}

pub(super) struct Socket {
    pub(super) reader: usize,
    slot: Slot,
    pub(super) attachment: String,
    /// On its way to the reader, in order; and from it.
    pub(super) down: VecDeque<Frame>,
    pub(super) up: VecDeque<String>,
}

impl HubSide {
    pub(super) fn new(app: &App) -> Self {
        Self {
            hub: Hub::wake(app.clone()),
            life: 0,
            alarm: None,
            sockets: BTreeMap::new(),
            slots: BTreeMap::new(),
            tickets: BTreeMap::new(),
        }
    }
}

impl World {
    /// Memory goes; sockets and attachments stay.
    pub(super) fn hub_wakes(&mut self, nth: usize) -> Result<(), String> {
        let side = &mut self.hubs[nth];
        side.life += 1;
        side.tickets.clear();
        side.slots.clear();
        side.hub = Hub::wake(self.app.clone());
        side.hub.armed(side.alarm);
        for (connection, socket) in &mut side.sockets {
            let session = HubSession::decode(&socket.attachment).ok_or("an attachment of somebody else")?;
            socket.slot = side.hub.restore(session);
            side.slots.insert(socket.slot, connection.clone());
        }
        let mut out = Vec::new();
        let turn = self.turn();
        self.hubs[nth].hub.restored(turn, &mut out);
        self.hub_performs(nth, out, None)
    }

    pub(super) fn hub_crashes(&mut self, nth: usize) -> Result<(), String> {
        self.tally.crashes += 1;
        for socket in std::mem::take(&mut self.hubs[nth].sockets).into_values() {
            self.readers[socket.reader].at = None;
            self.readers[socket.reader].forgets();
        }
        self.hub_wakes(nth)
    }

    pub(super) fn connects(&mut self, reader: usize, nth: usize) -> Result<(), String> {
        self.connections += 1;
        let connection = format!("c{}", self.connections);
        let connect = HubConnect {
            version: VERSION,
            format: Format::Many,
            user: None,
            expires_at: None,
            grants: dormouse_core::token::Grants::default(),
            wants: Vec::new(),
        };
        self.drive_hub(nth, Input::Connect { connect, connection }, Some(reader))
    }

    /// A connection breaks: what was on the wire is lost.
    pub(super) fn breaks(&mut self, nth: usize, connection: &str) -> Result<(), String> {
        let Some(socket) = self.hubs[nth].sockets.remove(connection) else { return Ok(()) };
        self.readers[socket.reader].at = None;
        self.readers[socket.reader].forgets();
        self.hubs[nth].slots.remove(&socket.slot);
        self.drive_hub(nth, Input::Left { slot: socket.slot }, None)
    }

    pub(super) fn frame_goes_up(&mut self, nth: usize, connection: &str) -> Result<(), String> {
        let Some(socket) = self.hubs[nth].sockets.get_mut(connection) else { return Ok(()) };
        let Some(text) = socket.up.pop_front() else { return Ok(()) };
        let slot = socket.slot;
        self.drive_hub(nth, Input::Frame { slot, frame: Frame::Text(text) }, None)
    }

    /// A delivery arrives.
    pub(super) fn hub_hears(&mut self, nth: usize, call: Call) -> Result<(), String> {
        let Body::Deliver { delivery, .. } = &call.body else { return Err("not for a hub".into()) };
        let ticket = self.tally.steps;
        let delivery = delivery.clone();
        self.hubs[nth].tickets.insert(ticket, call);
        self.drive_hub(nth, Input::Deliver { ticket, delivery }, None)
    }

    pub(super) fn hub_learns(&mut self, nth: usize, answer: Answer) -> Result<(), String> {
        let input = match answer {
            Answer::Followed { channel, at, result } => Input::Followed { channel, at, result },
            Answer::Missed { channel, from, result } => Input::Missed { channel, from, result },
            Answer::Published { channel, result } => Input::Published { channel, result },
            Answer::Unfollowed => return Ok(()),
            Answer::Receipt { .. } => return Err("a receipt for a hub".into()),
        };
        self.drive_hub(nth, input, None)
    }

    pub(super) fn drive_hub(&mut self, nth: usize, input: Input, arriving: Option<usize>) -> Result<(), String> {
        let turn = self.turn();
        let mut out = Vec::new();
        self.hubs[nth].hub.handle(input, turn, &mut out);
        self.hub_performs(nth, out, arriving)
    }

    fn hub_performs(&mut self, nth: usize, outputs: Vec<Output>, arriving: Option<usize>) -> Result<(), String> {
        for output in outputs {
            let side = &mut self.hubs[nth];
            match output {
                Output::Accept { slot, session } => {
                    let reader = arriving.ok_or("nobody is arriving")?;
                    let connection = session.connection.clone();
                    let attachment = session.encode();
                    let (down, up) = (VecDeque::new(), VecDeque::new());
                    side.sockets.insert(connection.clone(), Socket { reader, slot, attachment, down, up });
                    side.slots.insert(slot, connection.clone());
                    self.readers[reader].connects(nth, connection);
                }
                Output::Refuse(_) => self.tally.full += 1,
                Output::Send { slots, frames } => {
                    for slot in slots {
                        let connection = side.slots.get(&slot).ok_or(format!("nobody is in slot {slot}"))?;
                        side.sockets.get_mut(connection).unwrap().down.extend(frames.iter().cloned());
                    }
                }
                Output::Remember { slot, session } => {
                    let connection = side.slots.get(&slot).ok_or(format!("nobody is in slot {slot}"))?;
                    side.sockets.get_mut(connection).unwrap().attachment = session.encode();
                }
                Output::Receipt { ticket, receipt } => {
                    if let Some(call) = side.tickets.remove(&ticket)
                        && let (Some(caller), Body::Deliver { name, ticket, .. }) = (call.caller, call.body)
                    {
                        let answer = Answer::Receipt { hub: name, ticket, result: Ok(receipt) };
                        self.replies.push(Reply { caller, answer });
                    }
                }
                Output::WakeAt(at) => side.alarm = Some(at),
                // There is no Directory here.
                Output::CloseSlow { .. } | Output::Register { .. } => {}
                Output::Close { .. } => return Err("nobody is to be closed".into()),
                call => self.hub_calls(nth, call)?,
            }
        }
        Ok(())
    }

    fn hub_calls(&mut self, nth: usize, call: Output) -> Result<(), String> {
        self.tally.calls += 1;
        let room = |channel: &dormouse_core::channel::ChannelName| {
            channel.as_str().strip_prefix("channel-").and_then(|nth| nth.parse::<usize>().ok()).unwrap()
        };
        let side = &mut self.hubs[nth];
        let follow = |at| Follow { version: VERSION, hub: format!("v1:1:weur:{nth}"), at };
        let body = match call {
            Output::Follow { channel, at } => Body::Follow { room: room(&channel), follow: follow(at) },
            Output::Unfollow { channel, at } => Body::Unfollow { room: room(&channel), follow: follow(at) },
            Output::Missed { channel, from } => Body::Missed { room: room(&channel), from },
            Output::Publish { channel, messages } => Body::Publish { room: room(&channel), messages },
            other => return Err(format!("unexpected {other:?}")),
        };
        let caller = Some(Caller { party: Party::Hub(nth), life: side.life });
        self.calls.push(Call { caller, body });
        Ok(())
    }
}
