//! A room and the Hubs that follow it: their calls, and the deliveries to them.

use super::Home;
use crate::common::{Hear, hear, turn};
use crate::script::heard;
use crate::stub::HubStub;
use dormouse_core::call::MESSAGES_PATH;
use dormouse_core::link::{self, FOLLOW_PATH, Follow, Missed, TALLY_PATH, UNFOLLOW_PATH, parse_hub_name};
use dormouse_core::presence::{MEMBERS_PATH, REPORT_PATH};
use dormouse_core::refusal::{Code, Refusal};
use dormouse_core::room::Input;
use js_sys::Promise;
use std::rc::{Rc, Weak};
use wasm_bindgen_futures::spawn_local;
use web_sys::js_sys;

/// What hears the calls of Hubs: one closure each for an object's life.
pub(crate) struct Calls {
    follow: Hear,
    unfollow: Hear,
    tally: Hear,
    missed: Hear,
    report: Hear,
    members: Hear,
    messages: Hear,
}

impl Calls {
    pub(crate) fn new(home: &Weak<Home>) -> Self {
        Self {
            follow: hear(home, Home::follow),
            unfollow: hear(home, Home::unfollow),
            tally: hear(home, Home::tally),
            missed: hear(home, Home::missed),
            report: hear(home, Home::report),
            members: hear(home, Home::members),
            messages: hear(home, Home::messages),
        }
    }
}

impl Home {
    /// A call that is a question, of a Hub or the Worker. One or two rows written for a Hub that follows or ends it, one for each member who comes or goes, none for what is read.
    pub(crate) fn asked(&self, path: &str, request: &web_sys::Request) -> Promise {
        let hear = match path {
            FOLLOW_PATH => &self.calls.follow,
            UNFOLLOW_PATH => &self.calls.unfollow,
            TALLY_PATH => &self.calls.tally,
            REPORT_PATH => &self.calls.report,
            MEMBERS_PATH => &self.calls.members,
            MESSAGES_PATH => &self.calls.messages,
            _ => &self.calls.missed,
        };
        heard(request, hear.as_ref())
    }

    fn follow(self: &Rc<Self>, call: &str) -> Result<String, Refusal> {
        let follow: Follow = link::decode(call)?;
        self.check_hub(&follow.hub)?;
        let followed = self.decide(|rules, store, out| rules.follow(&follow, turn(), store, out));
        Ok(serde_json::to_string(&followed.unwrap_or_else(|| Err(busy()))?).unwrap_or_default())
    }

    pub(super) fn check_hub(&self, hub: &str) -> Result<(), Refusal> {
        if parse_hub_name(hub) == Some(&self.app) {
            return Ok(());
        }
        Err(Refusal::new(Code::InvalidField, "call: hub"))
    }

    fn unfollow(self: &Rc<Self>, call: &str) -> Result<String, Refusal> {
        let follow: Follow = link::decode(call)?;
        let unfollowed = self.decide(|rules, store, out| rules.unfollow(&follow, turn(), store, out));
        unfollowed.unwrap_or_else(|| Err(busy())).map(|()| "{}".to_owned())
    }

    fn tally(self: &Rc<Self>, call: &str) -> Result<String, Refusal> {
        let follow: Follow = link::decode(call)?;
        self.check_hub(&follow.hub)?;
        let tallied = self.decide(|rules, store, out| rules.tally(&follow, turn(), store, out));
        Ok(serde_json::to_string(&tallied.unwrap_or_else(|| Err(busy()))?).unwrap_or_default())
    }

    fn missed(self: &Rc<Self>, call: &str) -> Result<String, Refusal> {
        let missed: Missed = link::decode(call)?;
        let delivery = self.decide(|rules, store, out| rules.missed(&missed, turn(), store, out));
        delivery.unwrap_or_else(|| Err(busy())).map(|delivery| delivery.encode())
    }

    /// One request to the Hub. The runtime holds it back until what was written before is on the disk.
    pub(super) fn deliver(self: &Rc<Self>, hub: String, ticket: u64, delivery: Rc<str>) {
        let home = self.clone();
        spawn_local(async move {
            let result = match HubStub::named(&home.env, hub.clone()) {
                Ok(stub) => stub.deliver(&delivery).await,
                Err(refusal) => Err(refusal),
            };
            home.drive(Input::Receipt { hub, ticket, result });
        });
    }

    /// One request to the first of these Hubs, which makes one to each of the others.
    pub(super) fn relay(self: &Rc<Self>, hubs: Vec<String>, ticket: u64, delivery: Rc<str>) {
        let home = self.clone();
        spawn_local(async move {
            let result = match hubs.split_first() {
                Some((first, others)) => match HubStub::named(&home.env, first.clone()) {
                    Ok(stub) => stub.relay(others, &delivery).await,
                    Err(refusal) => Err(refusal),
                },
                None => Ok(Vec::new()),
            };
            home.drive(Input::Relayed { hubs, ticket, result });
        });
    }
}

pub(super) fn busy() -> Refusal {
    Refusal::new(Code::Internal, "the room is busy")
}
