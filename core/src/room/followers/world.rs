//! A room with its followers, for tests.

use crate::call::{Begin, VERSION};
use crate::channel::ChannelName;
use crate::config::{History, Rule};
use crate::frame::GapReason;
use crate::link::{Delivery, Follow, Missed, Receipt};
use crate::message::{Message, Payload};
use crate::position::{Epoch, Position};
use crate::refusal::{Code, Refusal};
use crate::room::{Input, Output, Room, Turn};
use crate::store::MemoryStore;
use std::rc::Rc;

pub(in crate::room) fn at(seq: u64) -> Position {
    Epoch::new(7).at(seq)
}

/// A room, its store and its clock.
pub(in crate::room) struct World {
    pub(in crate::room) room: Room,
    pub(in crate::room) store: MemoryStore,
    pub(in crate::room) rule: Rule,
    pub(in crate::room) now: u64,
    /// New in every turn, but for the first, whose epoch is known.
    pub(in crate::room) random: u64,
}

impl World {
    pub(in crate::room) fn new(history: History) -> Self {
        let rule = Rule { history, ..Rule::default() };
        Self { room: wake(&rule), store: MemoryStore::default(), rule, now: 1_000_000, random: 7 }
    }

    /// With these followers, whom the alarm was set for already.
    pub(in crate::room) fn followed_by(history: History, hubs: &[&str]) -> Self {
        let mut world = Self::new(history);
        for hub in hubs {
            assert_eq!(world.follow(hub), Ok(at(0)));
        }
        world
    }

    pub(in crate::room) fn turn(&mut self) -> Turn {
        let turn = Turn { now: self.now, random: self.random };
        self.random += 1;
        turn
    }

    pub(in crate::room) fn sleep(&mut self) {
        self.room = wake(&self.rule);
    }

    pub(in crate::room) fn handle(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        let turn = self.turn();
        self.room.handle(input, turn, &mut self.store, &mut out);
        out
    }

    pub(in crate::room) fn follow(&mut self, hub: &str) -> Result<Position, Code> {
        let at = self.random;
        self.follow_at(hub, at)
    }

    pub(in crate::room) fn follow_at(&mut self, hub: &str, at: u64) -> Result<Position, Code> {
        let (turn, follow) = (self.turn(), Follow { version: VERSION, hub: hub.to_owned(), at, count: None });
        let followed = self.room.follow(&follow, turn, &mut self.store, &mut Vec::new());
        followed.map(|followed| followed.position).map_err(|refusal| refusal.code)
    }

    pub(in crate::room) fn unfollow(&mut self, hub: &str) -> Vec<Output> {
        let at = self.random;
        self.unfollow_at(hub, at)
    }

    pub(in crate::room) fn unfollow_at(&mut self, hub: &str, at: u64) -> Vec<Output> {
        let (turn, mut out) = (self.turn(), Vec::new());
        let follow = Follow { version: VERSION, hub: hub.to_owned(), at, count: None };
        self.room.unfollow(&follow, turn, &mut self.store, &mut out).unwrap();
        out
    }

    pub(in crate::room) fn missed(&mut self, from: Begin) -> Delivery {
        let turn = self.turn();
        self.room.missed(&Missed { version: VERSION, from }, turn, &mut self.store, &mut Vec::new()).unwrap()
    }

    /// Publishes, and the disk has it.
    pub(in crate::room) fn publish(&mut self, bodies: &[&str]) -> Vec<Brought> {
        let message = |body: &&str| Message::new(None, Payload::Text((*body).to_owned()), None).into();
        let messages = bodies.iter().map(message).collect();
        let outputs = self.handle(Input::Publish { ticket: 0, messages });
        self.handle(Input::Flushed(Ok(())));
        brought(outputs)
    }

    pub(in crate::room) fn receipt(&mut self, to: &Brought, result: Result<Receipt, Refusal>) -> Vec<Output> {
        self.handle(Input::Receipt { hub: to.hub.clone(), ticket: to.ticket, result })
    }

    pub(in crate::room) fn has(&mut self, to: &Brought, seq: u64) -> Vec<Output> {
        self.receipt(
            to,
            Ok(Receipt { wanted: true, have: Some(at(seq)), members: None, reporting: false, tally: None }),
        )
    }

    pub(in crate::room) fn alarm(&mut self) -> Vec<Output> {
        self.handle(Input::Alarm { sessions: Vec::new() })
    }
}

pub(in crate::room) fn wake(rule: &Rule) -> Room {
    Room::wake(ChannelName::parse("lobby").unwrap(), rule.clone(), None)
}

/// A delivery.
#[derive(Debug)]
pub(in crate::room) struct Brought {
    pub(in crate::room) hub: String,
    pub(in crate::room) ticket: u64,
    pub(in crate::room) text: Rc<str>,
    pub(in crate::room) delivery: Delivery,
}

impl Brought {
    /// After what, the bodies, and the gap.
    pub(in crate::room) fn is(&self) -> (Position, Vec<&str>, Option<(Position, GapReason)>) {
        let body = |message: &'_ Message| match &message.payload {
            Payload::Text(text) => text.len(),
            _ => 0,
        };
        assert!(self.delivery.messages.iter().all(|message| body(message) > 0));
        let bodies = self.delivery.messages.iter().map(|message| match &message.payload {
            Payload::Text(text) => text.as_str(),
            _ => "",
        });
        (self.delivery.after, bodies.collect(), self.delivery.gap.map(|gap| (gap.after, gap.reason)))
    }
}

pub(in crate::room) fn brought(outputs: Vec<Output>) -> Vec<Brought> {
    let deliveries = outputs.into_iter().filter_map(|output| match output {
        Output::Deliver { hub, ticket, delivery } => {
            Some(Brought { hub, ticket, delivery: Delivery::decode(&delivery).unwrap(), text: delivery })
        }
        _ => None,
    });
    deliveries.collect()
}

pub(in crate::room) fn alarms(outputs: &[Output], now: u64) -> Vec<u64> {
    let alarm = |output: &Output| if let Output::WakeAt(at) = output { Some(at - now) } else { None };
    outputs.iter().filter_map(alarm).collect()
}

pub(in crate::room) fn failed() -> Result<Receipt, Refusal> {
    Err(Refusal::new(Code::Overloaded, "no"))
}
