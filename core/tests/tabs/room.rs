//! A Room whose disk is never late: the link has its own weather.

use super::world::{Answer, Body, Call, Party, World};
use dormouse_core::call::VERSION;
use dormouse_core::channel::ChannelName;
use dormouse_core::config::{History, Rule};
use dormouse_core::link::{Delivery, Missed};
use dormouse_core::message::{Message, NewMessage, Payload};
use dormouse_core::room::{Input, Output, Room};
use dormouse_core::store::MemoryStore;

pub(super) struct RoomSide {
    pub(super) name: ChannelName,
    room: Room,
    rule: Rule,
    store: MemoryStore,
    pub(super) alarm: Option<u64>,
    pub(super) life: u64,
    pub(super) head: u64,
}

impl RoomSide {
    pub(super) fn new(name: ChannelName, history: History) -> Self {
        let rule = Rule { history, ..Rule::default() };
        let room = Room::wake(name.clone(), rule.clone(), None);
        Self { name, room, rule, store: MemoryStore::default(), alarm: None, life: 0, head: 0 }
    }
}

impl World {
    /// Memory goes, and with it who waited.
    pub(super) fn room_falls(&mut self, nth: usize) {
        let side = &mut self.rooms[nth];
        side.life += 1;
        side.room = Room::wake(side.name.clone(), side.rule.clone(), side.alarm);
    }

    /// One message, or many.
    pub(super) fn publishes_some(&mut self, nth: usize) -> Result<(), String> {
        let is_flood = self.floods && self.rng.u32(0..20) == 0;
        let count = if is_flood { self.rng.usize(20..300) } else { 1 };
        (0..count).try_for_each(|_| self.publishes(nth))
    }

    pub(super) fn publishes(&mut self, nth: usize) -> Result<(), String> {
        self.tally.published += 1;
        let seq = self.rooms[nth].head + 1;
        self.rooms[nth].head = seq;
        let message = Message::new(Some("tick".into()), Payload::Json(seq.to_string()), None);
        let messages = vec![NewMessage::from(message)];
        self.drive_room(nth, Input::Publish { ticket: seq, messages })
    }

    pub(super) fn drive_room(&mut self, nth: usize, input: Input) -> Result<(), String> {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let turn = self.turn();
            self.show(|| format!("room {nth} {input:?}"));
            let mut out = Vec::new();
            let side = &mut self.rooms[nth];
            side.room.handle(input, turn, &mut side.store, &mut out);
            if self.room_performs(nth, out)? {
                next = Some(Input::Flushed(Ok(())));
            }
        }
        Ok(())
    }

    /// Whether it asks to be told that the disk has everything.
    fn room_performs(&mut self, nth: usize, outputs: Vec<Output>) -> Result<bool, String> {
        let mut flushes = false;
        for output in outputs {
            let side = &mut self.rooms[nth];
            match output {
                Output::Flush => flushes = true,
                Output::WakeAt(at) => side.alarm = Some(at),
                Output::Forget => side.store = MemoryStore::default(),
                Output::Deliver { hub, ticket, delivery } => {
                    let caller = Some((Party::Room(nth), side.life));
                    let delivery = Delivery::decode(&delivery).map_err(|refusal| refusal.to_string())?;
                    self.calls.push(Call { caller, body: Body::Deliver { hub, ticket, delivery } });
                }
                Output::Answer { .. }
                | Output::Broadcast { .. }
                | Output::CloseSlow { .. }
                | Output::Pump
                | Output::Count
                | Output::Register(_) => {}
                other => return Err(format!("unexpected {other:?}")),
            }
        }
        Ok(flushes)
    }

    pub(super) fn room_hears(&mut self, nth: usize, body: &Body) -> Result<Answer, String> {
        let turn = self.turn();
        self.show(|| format!("room {nth} {body:?}"));
        let mut out = Vec::new();
        let side = &mut self.rooms[nth];
        let channel = side.name.clone();
        let answer = match body {
            Body::Follow { follow, .. } => {
                let result = side.room.follow(follow, turn, &mut side.store, &mut out);
                Answer::Followed { channel, at: follow.at, result: result.map(|followed| followed.position) }
            }
            Body::Unfollow { follow, .. } => {
                let _ = side.room.unfollow(follow, turn, &mut side.store, &mut out);
                Answer::Nothing
            }
            Body::Missed { from, .. } => {
                let result =
                    side.room.missed(&Missed { version: VERSION, from: *from }, turn, &mut side.store, &mut out);
                Answer::Missed { channel, from: *from, result }
            }
            Body::Deliver { .. } | Body::Publish { .. } | Body::TakeOver { .. } => return Err("not for a room".into()),
        };
        self.room_performs(nth, out)?;
        Ok(answer)
    }
}
