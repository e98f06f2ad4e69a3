//! A Hub with its sockets and its rows.

use super::world::{Answer, Body, Call, Party, World};
use dormouse_core::call::VERSION;
use dormouse_core::channel::ChannelName;
use dormouse_core::config::App;
use dormouse_core::connection::in_hub;
use dormouse_core::frame::Frame;
use dormouse_core::hub::{Hub, HubConnect, HubSession, Input, Output, Slot};
use dormouse_core::link::{Follow, Receipt, hub_name};
use dormouse_core::position::Position;
use dormouse_core::resume::{Held, Reached, ResumeId, TakeOver};
use dormouse_core::session::Format;
use dormouse_core::token::Grants;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Timers that may wait at one time: one for each ping and each row that was due next at some time of the last second.
const LOOKS_MAX: usize = 20;

pub(super) struct HubSide {
    hub: Hub,
    pub(super) alarm: Option<u64>,
    /// All timers: none of them is ever stopped.
    pub(super) looks: Vec<u64>,
    /// In memory: counts wakings, for calls.
    pub(super) memory: u64,
    pub(super) sockets: BTreeMap<u64, Socket>,
    asleep: bool,
    /// The rows: of tabs, with life and whether they are open; of channels, by life.
    tabs: BTreeMap<ResumeId, (u64, bool, Held)>,
    reached: BTreeMap<(ChannelName, u64), Reached>,
    life: u64,
}

pub(super) struct Socket {
    pub(super) tab: usize,
    slot: Slot,
    attachment: String,
    /// On its way to the tab, in order; and from it.
    pub(super) down: VecDeque<Down>,
    pub(super) up: VecDeque<String>,
    /// The tab has gone, and the Hub does not know.
    pub(super) dead: bool,
    /// Until when nothing gets through.
    pub(super) frozen: u64,
    /// The channels that have been answered.
    answered: BTreeSet<String>,
    /// How much of what was live had been sent at the last ping, by such channel, and in which of the Hub's wakings.
    noted: (u64, BTreeMap<String, u64>),
}

#[derive(Debug)]
pub(super) enum Down {
    Frame(String),
    Close(u16),
}

impl HubSide {
    pub(super) fn new(app: &App) -> Self {
        Self {
            hub: Hub::wake(app.clone()),
            alarm: None,
            looks: Vec::new(),
            memory: 0,
            sockets: BTreeMap::new(),
            asleep: false,
            tabs: BTreeMap::new(),
            reached: BTreeMap::new(),
            life: 1,
        }
    }

    /// What is known of a tab that has no connection here.
    fn held(&self, id: &ResumeId) -> Option<Held> {
        let (life, open, held) = self.tabs.get(id)?.clone();
        let reached = |channel: &ChannelName| self.reached.get(&(channel.clone(), life)).copied();
        Some(match life {
            _ if !open => held,
            _ if life < self.life => held.after_loss(reached),
            _ => held.after_silence(),
        })
    }
}

impl World {
    pub(super) fn hub_falls(&mut self, nth: usize) {
        self.show(|| format!("hub {nth} falls"));
        let side = &mut self.hubs[nth];
        side.memory += 1;
        side.looks.clear();
        side.asleep = true;
    }

    /// All sockets are lost: what was on its way may have come, but for the last of it.
    pub(super) fn hub_crashes(&mut self, nth: usize) -> Result<(), String> {
        self.tally.crashes += 1;
        let sockets: Vec<u64> = self.hubs[nth].sockets.keys().copied().collect();
        for socket in sockets {
            for _ in 0..self.rng.usize(0..6) {
                self.comes_down(nth, socket)?;
            }
            if let Some(Socket { tab, dead: false, .. }) = self.hubs[nth].sockets.remove(&socket) {
                self.tabs[tab].loses();
            }
        }
        self.hub_falls(nth);
        Ok(())
    }

    fn wakes(&mut self, nth: usize) -> Result<(), String> {
        let app = self.app.clone();
        let side = &mut self.hubs[nth];
        if !std::mem::take(&mut side.asleep) {
            return Ok(());
        }
        side.hub = Hub::wake(app);
        side.hub.armed(side.alarm);
        for socket in side.sockets.values_mut() {
            socket.slot = side.hub.restore(HubSession::decode(&socket.attachment).ok_or("no attachment")?);
        }
        let is_open = |(life, open, _): &(u64, bool, Held)| *open && *life == side.life;
        if side.sockets.is_empty() && side.tabs.values().any(is_open) {
            side.life += 1;
        }
        let now = side.life;
        let mourned = side.reached.iter().filter(|((_, life), reached)| *life < now && reached.bound.is_none());
        side.hub.mourn(mourned.map(|((channel, _), _)| channel.clone()));
        let lost = side.sockets.is_empty().then(Vec::new);
        let turn = self.turn();
        let mut out = Vec::new();
        self.hubs[nth].hub.restored(lost, turn, &mut out);
        self.hub_performs(nth, out, None)
    }

    pub(super) fn connects(&mut self, tab: usize, nth: usize) -> Result<(), String> {
        self.wakes(nth)?;
        self.tally.connections += 1;
        let id = ResumeId::parse(&format!("tab-number-{tab:0>8}")).unwrap();
        let held = self.hubs[nth].held(&id);
        let connect = HubConnect {
            version: VERSION,
            format: Format::Pusher,
            user: None,
            expires_at: None,
            grants: Grants::default(),
            info: None,
            resume: Some(id),
            wants: Vec::new(),
        };
        let connection =
            in_hub(Format::Pusher, &format!("{:032x}", u128::from(self.tally.connections) << 64), &name_of(nth));
        self.drive_hub(nth, Input::Connect { connect, connection, held }, Some(tab))
    }

    /// The Hub learns that a socket has gone.
    pub(super) fn notices(&mut self, nth: usize, socket: u64) -> Result<(), String> {
        self.wakes(nth)?;
        let Some(socket) = self.hubs[nth].sockets.remove(&socket) else { return Ok(()) };
        self.drive_hub(nth, Input::Left { slot: socket.slot }, None)
    }

    pub(super) fn goes_up(&mut self, nth: usize, socket_number: u64) -> Result<(), String> {
        self.wakes(nth)?;
        let Some(socket) = self.hubs[nth].sockets.get_mut(&socket_number) else { return Ok(()) };
        let (slot, tab, (noted_in, noted)) = (socket.slot, socket.tab, socket.noted.clone());
        let Some(text) = socket.up.pop_front() else { return Ok(()) };
        // An answer to a ping before a sleep says nothing.
        if text.contains("pusher:pong")
            && noted_in == self.hubs[nth].memory
            && self.tabs[tab].at == Some((nth, socket_number))
        {
            for (name, view) in &mut self.tabs[tab].channels {
                view.acked = view.acked.max(noted.get(name).copied().unwrap_or_default());
            }
        }
        self.drive_hub(nth, Input::Frame { slot, frame: Frame::Text(text) }, None)
    }

    pub(super) fn drive_hub(&mut self, nth: usize, input: Input, arriving: Option<usize>) -> Result<(), String> {
        self.wakes(nth)?;
        let turn = self.turn();
        self.show(|| format!("hub {nth} {input:?}"));
        let mut out = Vec::new();
        self.hubs[nth].hub.handle(input, turn, &mut out);
        self.hub_performs(nth, out, arriving)
    }

    pub(super) fn hub_delivers(&mut self, nth: usize, call: Call) -> Result<Answer, String> {
        let Body::Deliver { hub, ticket, delivery } = call.body else { return Err("not for a hub".into()) };
        self.receipt = None;
        self.is_live = true;
        self.drive_hub(nth, Input::Deliver { ticket, delivery }, None)?;
        self.is_live = false;
        Ok(Answer::Receipt { hub, ticket, result: self.receipt.take().ok_or("no receipt".into()) })
    }

    pub(super) fn hub_hands_over(&mut self, nth: usize, asked: &TakeOver) -> Result<Answer, String> {
        self.wakes(nth)?;
        self.show(|| format!("hub {nth} {asked:?}"));
        let (now, mut out) = (self.now, Vec::new());
        let side = &mut self.hubs[nth];
        let held = side.held(&asked.id);
        let held = side.hub.hand_over(asked, held, now, &mut out);
        self.hub_performs(nth, out, None)?;
        Ok(Answer::TakenOver { asked: asked.clone(), result: Ok(held) })
    }

    fn hub_performs(&mut self, nth: usize, outputs: Vec<Output>, arriving: Option<usize>) -> Result<(), String> {
        for output in outputs {
            self.show(|| format!("    hub {nth}: {output:?}"));
            let side = &mut self.hubs[nth];
            match output {
                Output::Accept { slot, session } => {
                    let tab = arriving.ok_or("nobody is arriving")?;
                    let (down, up) = (VecDeque::new(), VecDeque::new());
                    let attachment = session.encode();
                    self.sockets += 1;
                    let socket = Socket {
                        tab,
                        slot,
                        attachment,
                        down,
                        up,
                        dead: false,
                        frozen: 0,
                        answered: BTreeSet::new(),
                        noted: (0, BTreeMap::new()),
                    };
                    side.sockets.insert(self.sockets, socket);
                    self.tabs[tab].at = Some((nth, self.sockets));
                }
                Output::Send { slots, frames } => {
                    for frame in frames.iter() {
                        let Frame::Text(text) = frame else { return Err("binary".into()) };
                        self.hub_sends(nth, &slots, text)?;
                    }
                }
                Output::Remember { slot, session } => {
                    let socket = side.sockets.values_mut().find(|socket| socket.slot == slot).ok_or("whose slot?")?;
                    let stalled = session.tab.as_ref().is_some_and(|tab| tab.stalled);
                    let was = socket.attachment.contains(r#""y":true"#);
                    self.tally.stalls += u64::from(stalled && !was);
                    socket.attachment = session.encode();
                }
                Output::Close { slot, code, .. } => {
                    if let Some(socket) = side.sockets.values_mut().find(|socket| socket.slot == slot) {
                        socket.down.push_back(Down::Close(code));
                    }
                }
                Output::Hold { id, held, open } => {
                    self.tally.rows += 1;
                    // As it is on the disk.
                    side.tabs.insert(id, (side.life, open, Held::decode(&held.encode())));
                }
                Output::Reached { channel, acked } => {
                    self.tally.rows += 1;
                    let place = side.reached.entry((channel, side.life)).or_insert(Reached { acked, bound: None });
                    place.acked = acked;
                }
                Output::LetGo { id } => drop(side.tabs.remove(&id)),
                Output::Bound { channel, position } => side.bound(&channel, position),
                Output::LookAt(at) => {
                    side.looks.push(at);
                    if side.looks.len() > LOOKS_MAX {
                        return Err(format!("{} timers", side.looks.len()));
                    }
                }
                Output::WakeAt(at) => side.alarm = Some(at),
                Output::Receipt { receipt, .. } => self.receipt = Some(receipt),
                Output::CloseSlow { .. } | Output::Register { .. } => {}
                call => self.hub_calls(nth, call)?,
            }
        }
        Ok(())
    }

    fn hub_sends(&mut self, nth: usize, slots: &[Slot], text: &str) -> Result<(), String> {
        let frame: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
        let event = frame["event"].as_str().unwrap_or_default();
        let (name, is_ping) = (frame["channel"].as_str().unwrap_or_default(), event == "pusher:ping");
        self.tally.pings += u64::from(is_ping);
        let side = &mut self.hubs[nth];
        for socket in side.sockets.values_mut().filter(|socket| slots.contains(&socket.slot)) {
            socket.down.push_back(Down::Frame(text.to_owned()));
            let channels = &mut self.tabs[socket.tab].channels;
            if is_ping {
                let noted = channels.iter().filter(|(name, _)| socket.answered.contains(*name));
                socket.noted = (side.memory, noted.map(|(name, view)| (name.clone(), view.live)).collect());
            } else if let Some(view) = channels.get_mut(name) {
                if event == "pusher_internal:subscription_succeeded" {
                    socket.answered.insert(name.to_owned());
                }
                view.is_sent(event, frame["data"].as_str().unwrap_or_default(), self.is_live, &mut self.tally)?;
            }
        }
        Ok(())
    }

    fn hub_calls(&mut self, nth: usize, call: Output) -> Result<(), String> {
        let hub = name_of(nth);
        let follow = |at, count| Follow { version: VERSION, hub, at, count };
        let body = match call {
            Output::Follow { channel, at, count } => Body::Follow { channel, follow: follow(at, count) },
            Output::Unfollow { channel, at } => Body::Unfollow { channel, follow: follow(at, None) },
            Output::Missed { channel, from } => Body::Missed { channel, from },
            Output::Publish { channel, messages } if channel.is_pointer() => {
                Body::Publish { channel, message: messages.into_iter().next().ok_or("nothing")? }
            }
            Output::Fetch { hub, id, tag } => {
                self.tally.fetched += 1;
                Body::TakeOver { hub, asked: TakeOver { version: VERSION, id, tag } }
            }
            other => return Err(format!("unexpected {other:?}")),
        };
        let caller = Some((Party::Hub(nth), self.hubs[nth].memory));
        self.calls.push(Call { caller, body });
        Ok(())
    }

    /// A frame arrives at its tab, which answers.
    pub(super) fn comes_down(&mut self, nth: usize, number: u64) -> Result<(), String> {
        let Some(socket) = self.hubs[nth].sockets.get_mut(&number) else { return Ok(()) };
        if socket.dead || socket.frozen > self.now {
            return Ok(());
        }
        let tab = socket.tab;
        let Some(down) = socket.down.pop_front() else { return Ok(()) };
        self.show(|| format!("tab {tab} <- {down:?}"));
        match down {
            Down::Frame(text) => {
                let heads: BTreeMap<String, u64> =
                    self.rooms.iter().map(|room| (room.name.to_string(), room.head)).collect();
                let head = |name: &str| heads.get(name).copied().unwrap_or_default();
                let said = self.tabs[tab].hears(&text, head, self.mild, &mut self.tally);
                let said = said.map_err(|error| format!("tab {tab}: {error}"))?;
                if let Some(socket) = self.hubs[nth].sockets.get_mut(&number) {
                    socket.up.extend(said);
                }
            }
            Down::Close(code) if code < 4100 => return Err(format!("tab {tab} is closed with {code}")),
            Down::Close(_) => self.gives_up(nth, number),
        }
        Ok(())
    }

    /// A tab has lost its connection, or takes it for lost.
    pub(super) fn gives_up(&mut self, nth: usize, number: u64) {
        let Some(socket) = self.hubs[nth].sockets.get_mut(&number) else { return };
        if !std::mem::replace(&mut socket.dead, true) {
            socket.down.clear();
            let kept = self.rng.usize(0..=socket.up.len());
            socket.up.truncate(kept);
            let tab = socket.tab;
            self.tabs[tab].loses();
        }
    }
}

impl HubSide {
    fn bound(&mut self, channel: &ChannelName, position: Position) {
        let earlier = self.reached.iter_mut().filter(|((other, life), _)| other == channel && *life < self.life);
        for (_, reached) in earlier {
            reached.bound = reached.bound.or(Some(position));
        }
    }
}

fn name_of(nth: usize) -> String {
    hub_name("1", "weur", u32::try_from(nth).unwrap())
}

pub(super) type Said = Option<Receipt>;
