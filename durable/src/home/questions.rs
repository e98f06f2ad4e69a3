//! What a room is asked by listings and by whoever closes connections, and what it tells the Directory.

use super::Home;
use crate::common::{busy, turn};
use crate::sockets;
use crate::stub::DirectoryStub;
use dormouse_core::close::{Close, Whose};
use dormouse_core::directory::{Counting, Report};
use dormouse_core::link::decode;
use dormouse_core::refusal::Refusal;
use dormouse_core::room::Input;
use dormouse_core::session::Session;
use std::rc::Rc;
use wasm_bindgen_futures::spawn_local;
use web_sys::WebSocket;

impl Home {
    /// Connections shall go: for those of a user, every attachment is read. Nothing written.
    pub(super) fn close(self: &Rc<Self>, call: &str) -> Result<String, Refusal> {
        let close: Close = decode(call)?;
        // One that was closed before is not closed again.
        let open: Vec<WebSocket> = match &close.whose {
            Whose::Connection(id) => sockets::find(&self.state, id).into_iter().filter(sockets::is_open).collect(),
            Whose::User(_) => sockets::open(&self.state),
        };
        let open: Vec<Session> = open.iter().filter_map(sockets::session).collect();
        let sockets = self.open();
        let closed = self.decide(|rules, store, out| rules.close(&close, &open, sockets, store, out));
        Ok(serde_json::to_string(&closed.unwrap_or_else(|| Err(busy()))?).unwrap_or_default())
    }

    /// How many connections are there? Nothing written.
    pub(super) fn count(self: &Rc<Self>, call: &str) -> Result<String, Refusal> {
        let (asked, sockets): (Counting, usize) = (decode(call)?, self.open());
        let count = self.decide(|rules, store, _| rules.count(asked, sockets, turn(), store));
        Ok(serde_json::to_string(&count.unwrap_or_else(|| Err(busy()))?).unwrap_or_default())
    }

    /// One request to the Directory, which nothing waits for.
    pub(super) fn register(self: &Rc<Self>, report: Report) {
        let home = self.clone();
        spawn_local(async move {
            let answer = match DirectoryStub::new(&home.env, &home.app) {
                Ok(directory) => directory.report(&report).await.ok(),
                Err(_) => None,
            };
            home.drive(Input::Registered {
                at: report.at,
                state: report.state,
                answer: answer.map(|reported| reported.at),
            });
        });
    }
}
