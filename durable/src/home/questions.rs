//! What a room is asked by listings and by whoever closes connections, and what it tells the Directory.

use super::Home;
use super::followers::busy;
use crate::common::{Hear, hear, turn};
use crate::script::heard;
use crate::sockets;
use crate::stub::DirectoryStub;
use dormouse_core::close::{Close, Whose};
use dormouse_core::directory::{Counting, Report};
use dormouse_core::link::decode;
use dormouse_core::refusal::Refusal;
use dormouse_core::room::Input;
use dormouse_core::session::Session;
use js_sys::Promise;
use std::rc::{Rc, Weak};
use wasm_bindgen_futures::spawn_local;
use web_sys::{WebSocket, js_sys};

/// What hears these calls: one closure each for an object's life.
pub(crate) struct Questions {
    close: Hear,
    count: Hear,
}

impl Questions {
    pub(crate) fn new(home: &Weak<Home>) -> Self {
        Self { close: hear(home, Home::close), count: hear(home, Home::count) }
    }
}

impl Home {
    /// Connections shall go: for those of a user, every attachment is read. Nothing written.
    pub(crate) fn closes(&self, request: &web_sys::Request) -> Promise {
        heard(request, self.questions.close.as_ref())
    }

    /// How many connections are there? Nothing written.
    pub(crate) fn counts(&self, request: &web_sys::Request) -> Promise {
        heard(request, self.questions.count.as_ref())
    }

    fn close(self: &Rc<Self>, call: &str) -> Result<String, Refusal> {
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

    fn count(self: &Rc<Self>, call: &str) -> Result<String, Refusal> {
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
