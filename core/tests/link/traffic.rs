//! Calls and answers that arrive, or do not.

use super::network::{Answer, Body, Call, Party, Reply, hub_of, room_of};
use super::world::World;
use dormouse_core::close::Holder;
use dormouse_core::directory;
use dormouse_core::room::Input;

impl World {
    /// A call, or the answer to one, is lost; or a call is repeated, and comes again much later.
    pub(super) fn the_network_fails(&mut self) -> Result<(), String> {
        if self.calls.is_empty() {
            return Ok(());
        }
        let at = self.rng.usize(0..self.calls.len());
        if self.rng.u32(0..3) == 0 {
            self.tally.repeated_calls += 1;
            let mut copy = self.calls[at].clone();
            copy.caller = None;
            self.calls.push(copy);
            return Ok(());
        }
        self.tally.lost_calls += 1;
        let call = self.calls.swap_remove(at);
        if let Some(caller) = call.caller {
            let answer = call.body.lost(&self.names);
            self.replies.push(Reply { caller, answer });
        }
        // Or it did come through, and only its answer is lost.
        if self.rng.bool() { self.arrives(Call { caller: None, body: call.body }) } else { Ok(()) }
    }

    pub(super) fn something_arrives(&mut self) -> Result<(), String> {
        if !self.replies.is_empty() && (self.calls.is_empty() || self.rng.bool()) {
            let reply = self.replies.swap_remove(self.rng.usize(0..self.replies.len()));
            return self.comes_back(reply);
        }
        if self.calls.is_empty() {
            return Ok(());
        }
        let call = self.calls.swap_remove(self.rng.usize(0..self.calls.len()));
        self.arrives(call)
    }

    fn arrives(&mut self, call: Call) -> Result<(), String> {
        match call.body {
            Body::Deliver { hub, .. } | Body::Relay { hub, .. } | Body::Forward { hub, .. } => {
                self.hub_hears(hub, call)
            }
            Body::Follow { room, .. }
            | Body::Unfollow { room, .. }
            | Body::Missed { room, .. }
            | Body::Publish { room, .. }
            | Body::Tally { room, .. }
            | Body::Report { room, .. } => self.room_hears(room, &call),
            Body::Register { .. } | Body::Strike { .. } => self.directory_hears(call),
            Body::Close { holder: Holder::Channel(ref channel), .. } => {
                self.room_hears(room_of(channel.as_str()).ok_or("whose room?")?, &call)
            }
            Body::Close { holder: Holder::Hub(ref name), .. } => self.hub_closes(hub_of(name)?, &call),
        }
    }

    fn comes_back(&mut self, Reply { caller, answer }: Reply) -> Result<(), String> {
        match caller.party {
            Party::Room(nth) if self.rooms[nth].life == caller.life => match answer {
                Answer::Receipt { hub, ticket, result } => self.drive_room(nth, Input::Receipt { hub, ticket, result }),
                Answer::Relayed { hubs, ticket, result } => {
                    self.drive_room(nth, Input::Relayed { hubs, ticket, result })
                }
                Answer::Registered { at, state, answer } => {
                    self.drive_room(nth, Input::Registered { at, state, answer })
                }
                _ => Err("not for a room".into()),
            },
            Party::Hub(nth) if self.hubs[nth].life == caller.life => self.hub_learns(nth, answer),
            Party::Directory if self.directory.life == caller.life => match answer {
                Answer::Closed { call, result } => self.drive_directory(directory::Input::Called { call, result }),
                _ => Err("not for a directory".into()),
            },
            _ => Ok(()),
        }
    }
}
