//! A room and the Hubs that follow it: their calls, and the deliveries to them.

use super::Home;
use crate::common::{busy, turn};
use crate::stub::HubStub;
use dormouse_core::link::{self, Follow, Missed, parse_hub_name};
use dormouse_core::refusal::{Code, Refusal};
use dormouse_core::room::Input;
use std::rc::Rc;
use wasm_bindgen_futures::spawn_local;

impl Home {
    /// A Hub wants the channel, or says that it still does: one or two rows written.
    pub(super) fn follow(self: &Rc<Self>, call: &str) -> Result<String, Refusal> {
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

    /// It wants it no more: one row deleted.
    pub(super) fn unfollow(self: &Rc<Self>, call: &str) -> Result<String, Refusal> {
        let follow: Follow = link::decode(call)?;
        let unfollowed = self.decide(|rules, store, out| rules.unfollow(&follow, turn(), store, out));
        unfollowed.unwrap_or_else(|| Err(busy())).map(|()| "{}".to_owned())
    }

    /// How many sockets of it want it: nothing written.
    pub(super) fn tally(self: &Rc<Self>, call: &str) -> Result<String, Refusal> {
        let follow: Follow = link::decode(call)?;
        self.check_hub(&follow.hub)?;
        let tallied = self.decide(|rules, store, out| rules.tally(&follow, turn(), store, out));
        Ok(serde_json::to_string(&tallied.unwrap_or_else(|| Err(busy()))?).unwrap_or_default())
    }

    /// What a socket of it missed: nothing written.
    pub(super) fn missed(self: &Rc<Self>, call: &str) -> Result<String, Refusal> {
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
