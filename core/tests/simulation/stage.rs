//! What the runtime does for the room: the disk, the output gate, sleep and crashes.

use super::world::{Socket, World};
use dormouse_core::call::Outcome;
use dormouse_core::channel::ChannelName;
use dormouse_core::config::Rule;
use dormouse_core::message::{Message, Payload};
use dormouse_core::room::{Input, Output, Room, Turn};
use dormouse_core::session::{Format, Session};
use std::collections::VecDeque;

impl World {
    pub(super) fn flushed(&mut self) -> Result<(), String> {
        if !std::mem::take(&mut self.flushing) {
            return Ok(());
        }
        self.disk = self.store.rows.clone();
        self.tally.stored += self.ledger.flush()?;
        while let Some(output) = self.gate.pop_front() {
            self.release(output)?;
        }
        self.drive(Input::Flushed(Ok(())))
    }

    /// The runtime puts an object to sleep when nothing is under way: memory goes, sockets and attachments stay.
    pub(super) fn sleep(&mut self) {
        if !self.flushing && self.gate.is_empty() {
            self.tally.sleeps += 1;
            self.room = wake(&self.rule, self.alarm);
        }
    }

    /// Memory and sockets go, and what is not on the disk; or the disk too.
    pub(super) fn crash(&mut self, disk_too: bool) {
        self.tally.crashes += 1;
        self.tally.losses += u64::from(disk_too);
        if disk_too {
            self.disk.clear();
            self.alarm = None;
        }
        self.ledger.crash();
        self.store.rows = self.disk.clone();
        self.sockets.clear();
        self.gate.clear();
        self.tickets.clear();
        self.flushing = false;
        self.room = wake(&self.rule, self.alarm);
        for publisher in &mut self.publishers {
            publisher.waiting = false;
        }
    }

    /// One event for the room. When it might as well be asleep, one that was just woken has to say the same.
    pub(super) fn drive(&mut self, input: Input) -> Result<(), String> {
        let turn = Turn { now: self.now, random: self.rng.u64(..) };
        self.store.remembered =
            self.sockets.values().next().map(|socket| Session::decode(&socket.attachment).unwrap().epoch);
        // Publishes may wait for a flush, and they are in memory only.
        let may_sleep = !self.flushing && !matches!(input, Input::Flushed(_));
        let mut twin = (may_sleep && self.tally.steps.is_multiple_of(3))
            .then(|| (wake(&self.rule, self.alarm), self.store.clone()));
        let doubled = twin.is_some().then(|| double(&input));
        let mut outputs = Vec::new();
        self.room.handle(input, turn, &mut self.store, &mut outputs);
        if let Some((twin, store)) = &mut twin {
            let mut others = Vec::new();
            twin.handle(doubled.unwrap(), turn, store, &mut others);
            // A hot room waits a turn for company, which one that has just been woken does not; and how much was sent since the last
            // look for slow readers is not remembered in sleep.
            let is_no_look = |output: &&Output| !matches!(output, Output::CloseSlow { .. });
            let same = others.iter().filter(is_no_look).eq(outputs.iter().filter(is_no_look));
            if !same && outputs != [Output::Flush] {
                return Err(format!("woken: {:.800}\nawake: {:.800}", format!("{others:?}"), format!("{outputs:?}")));
            }
        }
        self.tally.failed_writes += u64::from(self.store.failing.is_some());
        outputs.into_iter().try_for_each(|output| self.perform(output))
    }

    fn perform(&mut self, output: Output) -> Result<(), String> {
        if let Output::Broadcast { position, message, .. } = &output {
            let id = message.id.as_ref().map(|id| id.id.clone());
            self.ledger.write(*position, body(message), id);
        }
        match output {
            Output::Flush => self.flushing = true,
            Output::Accept(session) => {
                let socket = Socket {
                    reader: self.arriving.take().unwrap(),
                    attachment: session.encode(),
                    wire: VecDeque::new(),
                };
                self.sockets.insert(session.connection, socket);
            }
            Output::Remember(session) => {
                if let Some(socket) = self.sockets.get_mut(&session.connection) {
                    socket.attachment = session.encode();
                }
            }
            Output::WakeAt(at) => self.alarm = Some(at),
            Output::Forget => {
                self.store.rows.clear();
                self.store.followers.clear();
                self.disk.clear();
                self.alarm = None;
            }
            Output::Broadcast { position, message } => {
                // Who gets it is settled now, however long the gate holds it.
                let live = |socket: &Socket| Session::decode(&socket.attachment).unwrap().behind.is_none();
                let to: Vec<String> =
                    self.sockets.iter().filter(|(_, socket)| live(socket)).map(|(name, _)| name.clone()).collect();
                let frame = self.room.frame(Format::Json, position, &message);
                for to in to {
                    self.gate_or_release(Output::Send { to, frame: frame.clone() })?;
                }
            }
            Output::SendAll { to, frames } => {
                for frame in frames.iter() {
                    self.gate_or_release(Output::Send { to: to.clone(), frame: frame.clone() })?;
                }
            }
            Output::Announce(_) | Output::AnnounceIn(_) | Output::Told { .. } => {
                return Err("a channel without members".into());
            }
            // Nobody follows here, and there are no Directory and no webhooks.
            Output::Deliver { .. }
            | Output::Relay { .. }
            | Output::Register(_)
            | Output::Post(_)
            | Output::Count
            | Output::Pump
            | Output::CloseSlow { .. }
            | Output::Refuse(_) => {}
            output @ (Output::Send { .. } | Output::Answer { .. } | Output::Close { .. }) => {
                self.gate_or_release(output)?;
            }
        }
        Ok(())
    }

    fn gate_or_release(&mut self, output: Output) -> Result<(), String> {
        // The write precedes its `Flush` among the outputs, so the ledger tells as well.
        if self.flushing || self.ledger.has_unflushed() {
            self.gate.push_back(output);
            return Ok(());
        }
        self.release(output)
    }

    fn release(&mut self, output: Output) -> Result<(), String> {
        match output {
            Output::Send { to, frame } => {
                if let Some(socket) = self.sockets.get_mut(&to) {
                    socket.wire.push_back(frame);
                }
            }
            Output::Close { of, .. } => drop(self.sockets.remove(&of)),
            Output::Answer { ticket, outcomes } => {
                let Some((publisher, nth)) = self.tickets.remove(&ticket) else { return Ok(()) };
                for outcome in &outcomes {
                    self.acknowledged(publisher, nth, outcome)?;
                }
                self.answers.push((publisher, nth, outcomes));
            }
            other => return Err(format!("through the gate: {other:?}")),
        }
        Ok(())
    }

    fn acknowledged(&mut self, publisher: usize, nth: u64, outcome: &Outcome) -> Result<(), String> {
        let Outcome::Stored { position, duplicate } = outcome else { return Ok(()) };
        self.tally.acknowledged += 1;
        self.tally.duplicates += u64::from(*duplicate);
        self.ledger.expect(*position, &format!("{publisher}/{nth}")).map_err(|error| format!("acknowledged: {error}"))
    }
}

pub(super) fn wake(rule: &Rule, armed: Option<u64>) -> Room {
    Room::wake(ChannelName::parse("weather").unwrap(), rule.clone(), armed)
}

fn body(message: &Message) -> String {
    match &message.payload {
        Payload::Json(text) => text.trim_matches(['"', ' ']).to_owned(),
        other => panic!("{other:?}"),
    }
}

fn double(input: &Input) -> Input {
    match input {
        Input::Connect { connect, connection, sockets } => {
            Input::Connect { connect: connect.clone(), connection: connection.clone(), sockets: *sockets }
        }
        Input::Publish { ticket, messages } => Input::Publish { ticket: *ticket, messages: messages.clone() },
        Input::Replay { session } => Input::Replay { session: session.clone() },
        Input::Left { session, sockets } => Input::Left { session: session.clone(), sockets: *sockets },
        Input::Alarm { sessions } => Input::Alarm { sessions: sessions.clone() },
        Input::Flushed(result) => Input::Flushed(*result),
        other => panic!("{other:?}"),
    }
}
