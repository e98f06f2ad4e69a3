//! The calls between rooms and Hubs: performed at once, one after another. What is asked and what is answered go through what they are on the wire.

use crate::scenario::home::Asker;
use crate::scenario::objects::{Event, Objects};
use dormouse_core::call::{Outcome, Published, VERSION, decode_publish, encode_publish, parse_room_name, room_name};
use dormouse_core::channel::ChannelName;
use dormouse_core::hub::{Input, Output};
use dormouse_core::link::{Delivery, Follow, Missed, parse_hub_name};
use dormouse_core::presence::Report;
use dormouse_core::refusal::Refusal;
use dormouse_core::room;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A call or an answer, as the other side reads it.
fn sent<T: Serialize + DeserializeOwned>(what: &T) -> T {
    let text = serde_json::to_string(what).expect("calls are JSON");
    serde_json::from_str(&text).expect("it reads back")
}

impl Objects {
    /// A Hub's call arrives at the channel's room.
    pub(super) fn ask(&mut self, hub: String, call: Output) {
        let follow = |at| sent(&Follow { version: VERSION, hub: hub.clone(), at, count: None });
        let answer = match call {
            Output::Follow { channel, at, .. } => {
                let room = self.room_of(&hub, &channel);
                let result = self.decide(&room, |room, turn, store, out| room.follow(&follow(at), turn, store, out));
                Some(Input::Followed { channel, at, result: result.map(|followed| sent(&followed).position) })
            }
            Output::Unfollow { channel, at } => {
                let room = self.room_of(&hub, &channel);
                // Its outcome does not matter.
                let _ = self.decide(&room, |room, turn, store, out| room.unfollow(&follow(at), turn, store, out));
                None
            }
            Output::Missed { channel, from } => {
                let room = self.room_of(&hub, &channel);
                let missed = sent(&Missed { version: VERSION, from });
                let result = self.decide(&room, |room, turn, store, out| room.missed(&missed, turn, store, out));
                let result = result.and_then(|delivery| Delivery::decode(&delivery.encode()));
                Some(Input::Missed { channel, from, result })
            }
            Output::Publish { channel, messages } => {
                let room = self.room_of(&hub, &channel);
                let messages = decode_publish(&encode_publish(&messages)).expect("a Hub sends messages");
                let ticket = self.random();
                self.home(&room).askers.insert(ticket, Asker::Hub(hub));
                return self.drive_room(&room, room::Input::Publish { ticket, messages });
            }
            Output::Report { channel, report } => {
                let room = self.room_of(&hub, &channel);
                let (at, report) = (report.at, sent(&Report { hub: hub.clone(), ..report }));
                let result = self.decide(&room, |room, turn, store, out| room.report(&report, turn, store, out));
                Some(Input::Reported { channel, at, result: result.map(|changes| sent(&changes)) })
            }
            other => panic!("this is no call: {other:?}"),
        };
        self.queue.extend(answer.map(|input| Event::Hub(hub, input)));
    }

    /// The room that a call is for; it may have slept until now.
    fn room_of(&mut self, hub: &str, channel: &ChannelName) -> String {
        let room = room_name(parse_hub_name(hub).expect("a Hub's name"), channel);
        self.rest(&room);
        room
    }

    /// What became of what a Hub published.
    pub(super) fn room_has_published(&mut self, room: &str, hub: String, outcomes: Vec<Outcome>) {
        let (_, channel) = parse_room_name(room).expect("a room's name");
        let result = Ok(sent(&Published { outcomes }).outcomes);
        self.queue.push_back(Event::Hub(hub, Input::Published { channel, result }));
    }

    /// A room's delivery arrives at a Hub.
    pub(super) fn deliver(&mut self, room: &str, hub: String, ticket: u64, delivery: &str) {
        self.rest(&hub);
        let delivery = Delivery::decode(delivery).expect("a room sends deliveries");
        self.drive_hub(&hub, Input::Deliver { ticket, delivery });
        let receipt = self.halls.get_mut(&hub).and_then(|hall| hall.receipt.take());
        let gone = || Refusal::new(dormouse_core::refusal::Code::Internal, "there is no such hub");
        let result = receipt.map(|receipt| sent(&receipt)).ok_or_else(gone);
        self.queue.push_back(Event::Room(room.to_owned(), room::Input::Receipt { hub, ticket, result }));
    }
}
