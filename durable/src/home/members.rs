//! The members of a presence channel: what the room's own sockets are told of them, and who asks for them.

use super::Home;
use crate::common::{busy, turn};
use crate::sockets;
use dormouse_core::frame::Frame;
use dormouse_core::link;
use dormouse_core::presence::Report;
use dormouse_core::refusal::Refusal;
use dormouse_core::room::{Announcement, Input, MembersQuery};
use dormouse_core::session::Format;
use js_sys::Set;
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;
use web_sys::{WebSocket, js_sys};
use worker::{Delay, console_error};

impl Home {
    /// One value per frame and format for all of its sockets; one attachment is written, or those of the newcomers.
    pub(super) fn announce(&self, announcement: &Announcement) {
        let newcomers: Vec<WebSocket> =
            announcement.fresh.iter().filter_map(|connection| sockets::find(&self.state, connection)).collect();
        let fresh: Set = newcomers.iter().fold(Set::default(), |fresh, socket| fresh.add(socket));
        for format in Format::OF_ONE {
            let sockets = sockets::of_format(&self.state, format);
            let Ok(rules) = self.rules.try_borrow() else { return };
            if sockets.is_empty() {
                continue;
            }
            let (changes, members) = rules.announced(format, announcement);
            let values = |frames: &[Frame]| frames.iter().map(sockets::value).collect::<Vec<JsValue>>();
            let (changes, members) = (values(&changes), values(members.as_slice()));
            for socket in &sockets {
                let frames = if fresh.has(socket) { &members } else { &changes };
                for frame in frames {
                    sockets::send(socket, frame);
                }
            }
        }
        for socket in &newcomers {
            told(socket, announcement.revision);
        }
        if newcomers.is_empty() {
            self.told_one(announcement.revision);
        }
    }

    /// One remembers for all who have been told.
    pub(super) fn told(&self, of: &str, revision: u64) {
        if let Some(keeper) = self.socket(of) {
            told(&keeper, revision);
        }
    }

    /// All have been told: any one remembers.
    fn told_one(&self, revision: u64) {
        let known = |socket: &WebSocket| sockets::attachment(socket).is_some();
        if let Some(keeper) = sockets::all(&self.state).iter().find(|socket| known(socket)) {
            told(keeper, revision);
        }
    }

    /// The timer keeps the object awake for a moment; without it every one of many joins would be told to every socket by itself.
    pub(super) fn announce_in(self: &Rc<Self>, pause: u64) {
        let home = self.clone();
        spawn_local(async move {
            Delay::from(Duration::from_millis(pause)).await;
            home.drive(Input::Announce);
        });
    }

    /// A Hub says whom it has: one row for each who came or went.
    pub(super) fn report(self: &Rc<Self>, call: &str) -> Result<String, Refusal> {
        let report: Report = link::decode(call)?;
        self.check_hub(&report.hub)?;
        let changes = self.decide(|rules, store, out| rules.report(&report, turn(), store, out));
        Ok(serde_json::to_string(&changes.unwrap_or_else(|| Err(busy()))?).unwrap_or_default())
    }

    /// A page of the members: nothing is written, unless some of the room's own vanished.
    pub(super) fn members(self: &Rc<Self>, call: &str) -> Result<String, Refusal> {
        let query: MembersQuery = link::decode(call)?;
        let page = self.decide(|rules, store, _| rules.members_page(&query, turn(), store));
        Ok(serde_json::to_string(&page.unwrap_or_else(|| Err(busy()))?).unwrap_or_default())
    }
}

fn told(socket: &WebSocket, revision: u64) {
    let Some(mut session) = sockets::session(socket) else { return };
    session.told = Some(revision);
    if let Err(error) = sockets::remember(socket, &session) {
        console_error!("attachment: {error:?}");
    }
}
