//! What a Hub is asked by listings and by whoever closes connections, and what it tells the Directory.

use super::Hall;
use crate::common::{busy, now};
use crate::sockets;
use crate::stub::{DirectoryStub, HubStub};
use dormouse_core::call::VERSION;
use dormouse_core::close::{Close, Holder};
use dormouse_core::directory::{HubCount, Report};
use dormouse_core::hub::Input;
use dormouse_core::link::decode;
use dormouse_core::occupancy::Occupancy;
use dormouse_core::refusal::Refusal;
use dormouse_core::resume::{ResumeId, TakeOver, TakenOver};
use std::rc::Rc;

impl Hall {
    /// Another Hub asks for a tab that was here. One row deleted.
    pub(super) fn resume(self: &Rc<Self>, call: &str) -> Result<String, Refusal> {
        let asked: TakeOver = decode(call)?;
        self.restore(None);
        let held = self.tabs.held(&asked.id);
        let held = self.decide(|rules, out| rules.hand_over(&asked, held, now(), out)).ok_or_else(busy)?;
        Ok(serde_json::to_string(&TakenOver { held }).unwrap_or_default())
    }

    /// One request to the Hub where a tab was.
    pub(super) fn fetch_tab(self: &Rc<Self>, hub: String, id: ResumeId, tag: String) {
        let asked = TakeOver { version: VERSION, id, tag };
        self.spawn(async move |hall| {
            let result = async { HubStub::named(&hall.env, hub)?.hand_over(&asked).await }.await;
            let TakeOver { id, tag, .. } = asked;
            hall.drive(Input::Fetched { id, tag, result });
        });
    }

    /// Connections shall go. Nothing written.
    pub(super) fn close(self: &Rc<Self>, call: &str) -> Result<String, Refusal> {
        let close: Close = decode(call)?;
        self.restore(None);
        // One that was closed before is not closed again.
        let is_open = |slot| self.places.socket(slot).is_some_and(|socket| sockets::is_open(&socket));
        let closed = self.decide(|rules, out| rules.close(&close, is_open, out));
        Ok(serde_json::to_string(&closed.ok_or_else(busy)?).unwrap_or_default())
    }

    /// How many connections want some channels? Nothing written.
    pub(super) fn count(self: &Rc<Self>, call: &str) -> Result<String, Refusal> {
        let asked: HubCount = decode(call)?;
        self.restore(None);
        let counts = self.decide(|rules, _| rules.count(&asked));
        Ok(serde_json::to_string(&counts.ok_or_else(busy)?).unwrap_or_default())
    }

    /// One request to the Directory, which nothing waits for.
    pub(super) fn register(self: &Rc<Self>, state: Occupancy, at: u64) {
        let report = Report { version: VERSION, of: Holder::Hub(self.name.clone()), state, at };
        self.spawn(async move |hall| {
            let answer = match DirectoryStub::new(&hall.env, &hall.app) {
                Ok(directory) => directory.report(&report).await.ok(),
                Err(_) => None,
            };
            hall.drive(Input::Registered { at, state, answer: answer.map(|reported| reported.at) });
        });
    }
}
