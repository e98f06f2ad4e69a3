//! A Hub with its sockets.

use super::network::{Answer, Body, Call, Caller, Party, Reply, hub_named, hub_of, room_of};
use super::pusher::begins;
use super::world::{HUBS, READERS, World};
use dormouse_core::call::VERSION;
use dormouse_core::channel::ChannelName;
use dormouse_core::close::Holder;
use dormouse_core::config::App;
use dormouse_core::directory::{HubCount, HubCounts, Report as Occupied};
use dormouse_core::frame::Frame;
use dormouse_core::hub::{Hub, HubConnect, HubSession, Input, Output, Slot};
use dormouse_core::link::{Delivery, Follow, Relay, decode_receipts};
use dormouse_core::position::Position;
use dormouse_core::presence::Report;
use dormouse_core::session::Format;
use dormouse_core::token::Grants;
use std::collections::{BTreeMap, VecDeque};

pub(super) struct HubSide {
    pub(super) hub: Hub,
    pub(super) life: u64,
    pub(super) alarm: Option<u64>,
    /// When it says how many sockets it has.
    pub(super) timers: Vec<u64>,
    pub(super) sockets: BTreeMap<String, Socket>,
    slots: BTreeMap<Slot, String>,
    /// The rows, and whether they are marked.
    rows: BTreeMap<ChannelName, bool>,
    tickets: BTreeMap<u64, Call>,
    /// It has lost its memory, and whether by a trap: the next event wakes it.
    asleep: Option<bool>,
}

pub(super) struct Socket {
    /// The client's number.
    pub(super) reader: usize,
    slot: Slot,
    pub(super) attachment: String,
    /// On its way to the reader, in order; and from it.
    pub(super) down: VecDeque<Frame>,
    pub(super) up: VecDeque<String>,
    /// For each answer to a subscription on its way, in Pusher's protocol: what was stored when it was sent.
    pub(super) began: VecDeque<Option<Position>>,
    /// The Hub has closed it: nothing is sent any more, and the client finds out.
    pub(super) closing: bool,
}

impl HubSide {
    pub(super) fn new(app: &App) -> Self {
        Self {
            hub: Hub::wake(app.clone()),
            life: 0,
            alarm: None,
            timers: Vec::new(),
            sockets: BTreeMap::new(),
            slots: BTreeMap::new(),
            rows: BTreeMap::new(),
            tickets: BTreeMap::new(),
            asleep: None,
        }
    }

    pub(super) fn kept(&self) -> Vec<(ChannelName, bool)> {
        self.rows.iter().map(|(channel, marked)| (channel.clone(), *marked)).collect()
    }

    /// Whether it has a call, and hands it on; or waits for a moment.
    pub(super) fn is_busy(&self) -> bool {
        !self.tickets.is_empty() || !self.timers.is_empty()
    }

    /// Whether it has that caller's call.
    pub(super) fn is_answering(&self, caller: Option<Caller>) -> bool {
        self.tickets.values().any(|call| call.caller == caller)
    }
}

impl World {
    /// Memory goes; sockets and attachments stay. In a trap, calls that are under way are lost as well.
    pub(super) fn hub_falls(&mut self, nth: usize, trapped: bool) {
        let side = &mut self.hubs[nth];
        side.life += 1;
        for Call { caller, body } in std::mem::take(&mut side.tickets).into_values() {
            // It had taken a relay, and falls before it answers.
            self.tally.broken_relays += 1;
            self.replies.extend(caller.map(|caller| Reply { caller, answer: body.lost(&self.names) }));
        }
        if super::shows() {
            println!("{} hub {nth} falls, trapped: {trapped}", self.now);
        }
        side.slots.clear();
        side.timers.clear();
        side.asleep = Some(trapped || side.asleep == Some(true));
    }

    /// Before any event.
    fn wakes(&mut self, nth: usize) -> Result<(), String> {
        let side = &mut self.hubs[nth];
        let Some(trapped) = side.asleep.take() else { return Ok(()) };
        side.hub = Hub::wake(self.app.clone());
        side.hub.armed(side.alarm);
        for (connection, socket) in &mut side.sockets {
            let session = HubSession::decode(&socket.attachment).ok_or("an attachment of somebody else")?;
            socket.slot = side.hub.restore(session);
            side.slots.insert(socket.slot, connection.clone());
        }
        let lost = (trapped || side.sockets.is_empty()).then(|| side.kept());
        let mut out = Vec::new();
        let turn = self.turn();
        self.hubs[nth].hub.restored(lost, turn, &mut out);
        self.hub_performs(nth, out, None)
    }

    /// Memory goes while calls are under way, and sockets stay. Those who wait for an answer make themselves heard.
    pub(super) fn hub_traps(&mut self, nth: usize) -> Result<(), String> {
        self.tally.traps += 1;
        self.hub_is_unheard(nth);
        self.hub_falls(nth, true);
        self.wakes(nth)
    }

    pub(super) fn hub_crashes(&mut self, nth: usize) {
        self.tally.crashes += 1;
        for socket in std::mem::take(&mut self.hubs[nth].sockets).into_values() {
            self.is_cut_off(socket.reader);
        }
        self.hub_falls(nth, false);
        self.hub_is_unheard(nth);
    }

    pub(super) fn connects(&mut self, reader: usize, nth: usize) -> Result<(), String> {
        self.wakes(nth)?;
        self.connections += 1;
        // Who speaks Pusher's protocol says with each channel who it is.
        let is_pusher = reader >= READERS;
        let connection = if is_pusher { format!("1.{}", self.connections) } else { format!("c{}", self.connections) };
        let connect = HubConnect {
            version: VERSION,
            format: if is_pusher { Format::Pusher } else { Format::Many },
            user: (self.has_members && !is_pusher).then(|| Self::user(reader)),
            expires_at: None,
            grants: if is_pusher { Grants::default() } else { self.grants.clone() },
            info: None,
            resume: None,
            wants: Vec::new(),
        };
        self.drive_hub(nth, Input::Connect { connect, connection, held: None }, Some(reader))
    }

    /// A connection breaks: what was on the wire is lost.
    pub(super) fn breaks(&mut self, nth: usize, connection: &str) -> Result<(), String> {
        self.wakes(nth)?;
        let Some(socket) = self.hubs[nth].sockets.remove(connection) else { return Ok(()) };
        self.is_cut_off(socket.reader);
        self.hubs[nth].slots.remove(&socket.slot);
        self.drive_hub(nth, Input::Left { slot: socket.slot }, None)
    }

    pub(super) fn frame_goes_up(&mut self, nth: usize, connection: &str) -> Result<(), String> {
        self.wakes(nth)?;
        let Some(socket) = self.hubs[nth].sockets.get_mut(connection) else { return Ok(()) };
        let Some(text) = socket.up.pop_front() else { return Ok(()) };
        let slot = socket.slot;
        self.drive_hub(nth, Input::Frame { slot, frame: Frame::Text(text) }, None)
    }

    /// The Directory wants a user's connections to go.
    pub(super) fn hub_closes(&mut self, nth: usize, call: &Call) -> Result<(), String> {
        self.wakes(nth)?;
        let Body::Close { close, call: number, .. } = &call.body else { return Err("not to close".into()) };
        let mut out = Vec::new();
        let closed = self.hubs[nth].hub.close(close, |_| true, &mut out);
        let answer = Answer::Closed { call: *number, result: Ok(closed) };
        self.hub_performs(nth, out, None)?;
        self.replies.extend(call.caller.map(|caller| Reply { caller, answer }));
        Ok(())
    }

    /// What a list asks.
    pub(super) fn hub_counts(&mut self, nth: usize, asked: &HubCount) -> Result<HubCounts, String> {
        self.wakes(nth)?;
        Ok(self.hubs[nth].hub.count(asked))
    }

    /// A delivery arrives, for the Hub alone or for others too.
    pub(super) fn hub_hears(&mut self, nth: usize, call: Call) -> Result<(), String> {
        self.wakes(nth)?;
        let ticket = self.tally.steps;
        let refused = |refusal: dormouse_core::refusal::Refusal| refusal.to_string();
        let input = match &call.body {
            Body::Deliver { delivery, .. } => Input::Deliver { ticket, delivery: delivery.clone() },
            Body::Forward { text, .. } => Input::Deliver { ticket, delivery: Delivery::decode(text).map_err(refused)? },
            Body::Relay { text, .. } => {
                Input::Relay { ticket, relay: Relay::decode(text, &hub_named(nth)).map_err(refused)? }
            }
            _ => return Err("not for a hub".into()),
        };
        self.hubs[nth].tickets.insert(ticket, call);
        self.drive_hub(nth, input, None)
    }

    /// A Hub answers a Room, or a Hub that has handed something on to it.
    fn hub_answers(&mut self, nth: usize, ticket: u64, text: String) -> Result<(), String> {
        let Some(Call { caller, body }) = self.hubs[nth].tickets.remove(&ticket) else { return Ok(()) };
        // As it is on the wire.
        let answer = match body {
            Body::Deliver { name, ticket, .. } => {
                let result = Ok(serde_json::from_str(&text).map_err(|error| error.to_string())?);
                Answer::Receipt { hub: name, ticket, result }
            }
            Body::Forward { name, ticket, .. } => Answer::Forwarded { hub: name, ticket, result: Ok(text) },
            Body::Relay { hubs, ticket, .. } => Answer::Relayed { hubs, ticket, result: decode_receipts(&text) },
            _ => return Err("not what a hub answers".into()),
        };
        self.replies.extend(caller.map(|caller| Reply { caller, answer }));
        Ok(())
    }

    pub(super) fn hub_learns(&mut self, nth: usize, answer: Answer) -> Result<(), String> {
        let input = match answer {
            Answer::Followed { channel, at, result } => Input::Followed { channel, at, result },
            Answer::Missed { channel, from, result } => Input::Missed { channel, from, result },
            Answer::Published { channel, result } => Input::Published { channel, result },
            Answer::Reported { channel, at, result } => Input::Reported { channel, at, result },
            Answer::Tallied { channel, result } => Input::Tallied { channel, result },
            Answer::Unfollowed => return Ok(()),
            Answer::Forwarded { hub, ticket, result } => Input::Forwarded { ticket, hub, result },
            Answer::Registered { at, state, answer } => Input::Registered { at, state, answer },
            Answer::Receipt { .. } | Answer::Relayed { .. } | Answer::Struck | Answer::Closed { .. } => {
                return Err("not for a hub".into());
            }
        };
        self.drive_hub(nth, input, None)
    }

    pub(super) fn drive_hub(&mut self, nth: usize, input: Input, arriving: Option<usize>) -> Result<(), String> {
        self.wakes(nth)?;
        let turn = self.turn();
        if super::shows() {
            println!("{} hub {nth} {input:?}", self.now);
        }
        let mut out = Vec::new();
        self.hubs[nth].hub.handle(input, turn, &mut out);
        self.hub_performs(nth, out, arriving)
    }

    fn hub_performs(&mut self, nth: usize, outputs: Vec<Output>, arriving: Option<usize>) -> Result<(), String> {
        for output in outputs {
            if super::shows() {
                println!("    hub {nth}: {output:?}");
            }
            let side = &mut self.hubs[nth];
            match output {
                Output::Accept { slot, session } => {
                    let reader = arriving.ok_or("nobody is arriving")?;
                    let connection = session.connection.clone();
                    let attachment = session.encode();
                    let (down, up, began) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
                    let socket = Socket { reader, slot, attachment, down, up, began, closing: false };
                    side.sockets.insert(connection.clone(), socket);
                    side.slots.insert(slot, connection.clone());
                    self.is_connected(reader, nth, connection);
                }
                Output::Refuse(_) => self.tally.full += 1,
                Output::Send { slots, frames } => {
                    let began: Vec<_> = frames.iter().filter_map(begins).map(|room| self.ledgers[room].end()).collect();
                    for slot in slots {
                        let connection = side.slots.get(&slot).ok_or(format!("nobody is in slot {slot}"))?;
                        let socket = side.sockets.get_mut(connection).unwrap();
                        if !socket.closing {
                            socket.down.extend(frames.iter().cloned());
                            socket.began.extend(&began);
                        }
                    }
                }
                Output::Remember { slot, session } => {
                    let connection = side.slots.get(&slot).ok_or(format!("nobody is in slot {slot}"))?;
                    side.sockets.get_mut(connection).unwrap().attachment = session.encode();
                }
                Output::Receipt { ticket, receipt } => {
                    self.hub_answers(nth, ticket, serde_json::to_string(&receipt).unwrap())?;
                }
                Output::Relayed { ticket, answer } => self.hub_answers(nth, ticket, answer)?,
                Output::WakeAt(at) => side.alarm = Some(at),
                Output::Keep { channel } => {
                    side.rows.entry(channel).or_insert(false);
                }
                Output::Doubt { channel } => {
                    side.rows.insert(channel, true);
                }
                Output::Trust { channel } => {
                    side.rows.entry(channel).and_modify(|marked| *marked = false);
                }
                Output::Drop { channel } => {
                    if side.rows.get(&channel) == Some(&false) {
                        side.rows.remove(&channel);
                    }
                }
                Output::CloseSlow { .. } => {}
                Output::Register { state, at } => {
                    let of = Holder::Hub(hub_named(nth));
                    let report = Occupied { version: VERSION, of, state, at };
                    let caller = Some(Caller { party: Party::Hub(nth), life: side.life });
                    self.calls.push(Call { caller, body: Body::Register { report } });
                }
                Output::Close { slot, code: 4100, .. } if nth >= HUBS => {
                    self.tally.closes += 1;
                    let connection = side.slots.get(&slot).ok_or(format!("nobody is in slot {slot}"))?;
                    side.sockets.get_mut(connection).unwrap().closing = true;
                }
                Output::Close { .. } => return Err("nobody is to be closed".into()),
                Output::TallyIn(pause) => side.timers.push(self.now + pause),
                call => self.hub_calls(nth, call)?,
            }
        }
        Ok(())
    }

    fn hub_calls(&mut self, nth: usize, call: Output) -> Result<(), String> {
        self.tally.calls += 1;
        let room = |channel: &ChannelName| room_of(channel.as_str()).unwrap();
        let side = &mut self.hubs[nth];
        let follow = |at, count| Follow { version: VERSION, hub: hub_named(nth), at, count };
        let body = match call {
            Output::Follow { channel, at, count } => Body::Follow { room: room(&channel), follow: follow(at, count) },
            Output::Unfollow { channel, at } => Body::Unfollow { room: room(&channel), follow: follow(at, None) },
            Output::Tally { channel, tally } => {
                self.tally.tallies += 1;
                Body::Tally { room: room(&channel), follow: follow(tally.at, Some(tally.count)) }
            }
            Output::Missed { channel, from } => Body::Missed { room: room(&channel), from },
            Output::Publish { channel, messages } => Body::Publish { room: room(&channel), messages },
            Output::Report { channel, report } => {
                self.tally.reports += 1;
                self.tally.whole_reports += u64::from(report.whole);
                let report = Report { hub: hub_named(nth), ..report };
                Body::Report { room: room(&channel), report }
            }
            Output::Forward { ticket, hub: name, delivery } => {
                self.tally.forwards += 1;
                Body::Forward { hub: hub_of(&name)?, name, ticket, text: delivery.to_string() }
            }
            other => return Err(format!("unexpected {other:?}")),
        };
        let caller = Some(Caller { party: Party::Hub(nth), life: side.life });
        self.calls.push(Call { caller, body });
        Ok(())
    }
}
