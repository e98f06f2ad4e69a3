//! What readers do.

use super::pusher::{self, Known, begins};
use super::reader::State;
use super::world::{HUBS, READERS, ROOMS, World};

impl World {
    /// Whether a client has a channel.
    pub(super) fn has(&self, who: usize, nth: usize) -> bool {
        match who.checked_sub(READERS) {
            Some(pusher) => self.pushers[pusher].has(nth),
            None => self.readers[who].has(nth),
        }
    }

    /// Where a client is connected, and as whom.
    pub(super) fn place(&self, who: usize) -> Option<&(usize, String)> {
        match who.checked_sub(READERS) {
            Some(pusher) => self.pushers[pusher].at.as_ref(),
            None => self.readers[who].at.as_ref(),
        }
    }

    pub(super) fn is_connected(&mut self, who: usize, hub: usize, connection: String) {
        match who.checked_sub(READERS) {
            Some(pusher) => self.pushers[pusher].connects(hub, connection),
            None => self.readers[who].connects(hub, connection),
        }
    }

    pub(super) fn is_cut_off(&mut self, who: usize) {
        if let Some(pusher) = who.checked_sub(READERS) {
            self.pushers[pusher] = pusher::Reader::default();
            return;
        }
        self.readers[who].at = None;
        self.readers[who].forgets();
    }

    pub(super) fn somebody(&mut self, hub: usize) -> Option<String> {
        self.rng.choice(self.hubs[hub].sockets.keys()).cloned()
    }

    pub(super) fn a_frame_goes_up(&mut self, hub: usize) -> Result<(), String> {
        match self.somebody(hub) {
            Some(connection) => self.frame_goes_up(hub, &connection),
            None => Ok(()),
        }
    }

    pub(super) fn a_frame_arrives(&mut self) -> Result<(), String> {
        let hub = self.rng.usize(0..self.hubs.len());
        let Some(connection) = self.somebody(hub) else { return Ok(()) };
        for _ in 0..self.rng.usize(1..8) {
            let Some(socket) = self.hubs[hub].sockets.get_mut(&connection) else { break };
            let Some(frame) = socket.down.pop_front() else {
                if socket.closing {
                    return self.breaks(hub, &connection);
                }
                break;
            };
            let who = socket.reader;
            let Some(pusher) = who.checked_sub(READERS) else {
                self.readers[who]
                    .hears(&frame, &self.ledgers, &mut self.tally)
                    .map_err(|error| format!("reader {who}: {error}"))?;
                continue;
            };
            let room = begins(&frame);
            let since = room.and_then(|_| socket.began.pop_front()).flatten();
            let known = Known { ledgers: &self.ledgers, since, rooms: &self.rooms };
            self.pushers[pusher]
                .hears(&frame, &known, &mut self.tally)
                .map_err(|error| format!("pusher {pusher}: {error}"))?;
        }
        Ok(())
    }

    /// Connects, subscribes, leaves, publishes.
    pub(super) fn a_reader_acts(&mut self) -> Result<(), String> {
        let who = self.rng.usize(0..self.wants.len());
        let Some((hub, connection)) = self.place(who).cloned() else {
            if !self.wants[who].contains(&true) {
                return Ok(());
            }
            let hubs = if who < READERS { 0..HUBS } else { HUBS..self.hubs.len() };
            let hub = self.rng.usize(hubs);
            return self.connects(who, hub);
        };
        if !self.wants[who].contains(&true) {
            return self.breaks(hub, &connection);
        }
        let room = self.rng.usize(0..ROOMS);
        let frames = match who.checked_sub(READERS) {
            Some(pusher) => self.a_pusher_says(pusher, room),
            None => self.a_reader_says(who, room).into_iter().collect(),
        };
        if let Some(socket) = self.hubs[hub].sockets.get_mut(&connection) {
            if super::shows() {
                println!("{connection} -> {}", frames.join(" "));
            }
            socket.up.extend(frames);
        }
        Ok(())
    }

    fn a_reader_says(&mut self, who: usize, room: usize) -> Option<String> {
        let (name, wants) = (self.names[room].clone(), self.wants[who][room]);
        let state = self.readers[who].channels.get(&room).map(|channel| channel.state).unwrap_or_default();
        let frame = match state {
            State::Without if wants => {
                self.readers[who].subscribes(room, &name, self.tally.steps % 4, self.tally.steps)
            }
            State::Has if !wants => self.readers[who].unsubscribes(room, &name),
            State::Has if self.stormy && self.rng.u32(0..8) == 0 => self.readers[who].unsubscribes(room, &name),
            State::Has if self.stormy && self.rng.u32(0..3) == 0 => {
                self.published += 1;
                let body = format!("m{}", self.published);
                format!(r#"{{"type":"publish","channel":"{name}","data":"{body}","id":"{body}"}}"#)
            }
            _ => return None,
        };
        Some(frame)
    }

    /// It may leave before it is answered, and come back before it knows that it has left.
    fn a_pusher_says(&mut self, nth: usize, room: usize) -> Vec<String> {
        let (name, wants) = (self.names[room].clone(), self.wants[READERS + nth][room]);
        let (user, steps) = (Self::user(READERS + nth), self.tally.steps);
        let chance = |rng: &mut fastrand::Rng, of: u32| rng.u32(0..of) == 0;
        let (stormy, rng, pusher) = (self.stormy, &mut self.rng, &mut self.pushers[nth]);
        match pusher.channels[room].state {
            pusher::State::Without if wants => pusher.subscribes(room, &name, user, steps),
            pusher::State::Leaving if wants && stormy && chance(rng, 4) => pusher.subscribes(room, &name, user, steps),
            pusher::State::Has | pusher::State::Asked if !wants => pusher.unsubscribes(room, &name),
            pusher::State::Has if stormy && chance(rng, 8) => pusher.unsubscribes(room, &name),
            pusher::State::Asked if stormy && chance(rng, 16) => pusher.unsubscribes(room, &name),
            pusher::State::Has if stormy && name.has_members() && chance(rng, 3) => {
                self.published += 1;
                pusher.publishes(&name, &format!("m{}", self.published))
            }
            _ => Vec::new(),
        }
    }
}
