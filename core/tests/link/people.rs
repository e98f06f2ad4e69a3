//! What readers do.

use super::reader::State;
use super::world::{HUBS, READERS, ROOMS, World};

impl World {
    pub(super) fn somebody(&mut self, hub: usize) -> Option<String> {
        let names: Vec<String> = self.hubs[hub].sockets.keys().cloned().collect();
        self.rng.choice(&names).cloned()
    }

    pub(super) fn a_frame_goes_up(&mut self, hub: usize) -> Result<(), String> {
        match self.somebody(hub) {
            Some(connection) => self.frame_goes_up(hub, &connection),
            None => Ok(()),
        }
    }

    pub(super) fn a_frame_arrives(&mut self) -> Result<(), String> {
        let hub = self.rng.usize(0..HUBS);
        let Some(connection) = self.somebody(hub) else { return Ok(()) };
        for _ in 0..self.rng.usize(1..8) {
            let Some(socket) = self.hubs[hub].sockets.get_mut(&connection) else { break };
            let Some(frame) = socket.down.pop_front() else { break };
            let reader = socket.reader;
            self.readers[reader]
                .hears(&frame, &self.ledgers, &mut self.tally)
                .map_err(|error| format!("reader {reader}: {error}"))?;
        }
        Ok(())
    }

    /// Connects, subscribes, leaves, publishes.
    pub(super) fn a_reader_acts(&mut self) -> Result<(), String> {
        let who = self.rng.usize(0..READERS);
        let Some((hub, connection)) = self.readers[who].at.clone() else {
            if !self.wants[who].contains(&true) {
                return Ok(());
            }
            let hub = self.rng.usize(0..HUBS);
            return self.connects(who, hub);
        };
        if !self.wants[who].contains(&true) {
            return self.breaks(hub, &connection);
        }
        let room = self.rng.usize(0..ROOMS);
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
            _ => return Ok(()),
        };
        if let Some(socket) = self.hubs[hub].sockets.get_mut(&connection) {
            if super::shows() {
                println!("{connection} -> {frame}");
            }
            socket.up.push_back(frame);
        }
        Ok(())
    }
}
