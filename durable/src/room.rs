//! The Room: the Durable Object that is home to one channel, as the runtime sees it.

use crate::common::{frame, refuse};
use crate::home::{Home, nameless};
use crate::sockets;
use dormouse_core::call::{CONNECT_PATH, PUBLISH_PATH};
use dormouse_core::head::split_url;
use dormouse_core::refusal::{Code, close_reply};
use dormouse_core::room::Input;
use dormouse_core::session::Session;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::WebSocket;
use worker::worker_sys::DurableObjectState;
use worker::{Env, Request, State};

/// The Durable Object class, exported by hand (`docs/decisions/0006-the-room-is-exported-by-hand.md`): what the runtime calls is synchronous, which costs
/// no promise and no copy of a frame, and a trap in it is an exception and not a promise that never settles. Publishers and Hubs whose answers were still to come never get
/// one: who called gives up by itself ([`dormouse_core::limits::CALL_MS`]).
#[wasm_bindgen]
pub struct Room {
    home: Option<Rc<Home>>,
}

#[wasm_bindgen]
impl Room {
    /// The runtime makes or wakes the object.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(state: DurableObjectState, env: &Env) -> Self {
        let waits = State::from(JsValue::from(&state).unchecked_into::<DurableObjectState>());
        let home = Home::new(state, env);
        if let Some(home) = &home {
            let waking = home.clone();
            // Events wait for this.
            drop(waits.block_concurrency_while(async move {
                waking.learn_alarm().await;
                Ok(())
            }));
        }
        Self { home }
    }

    /// A call from the Worker, a Hub, or the Directory.
    pub fn fetch(&self, request: web_sys::Request) -> Result<JsValue, JsValue> {
        match &self.home {
            None => Ok(refuse(&nameless()).into()),
            // The one that comes often: no URL is parsed for it.
            Some(home) if request.url().ends_with(PUBLISH_PATH) => Ok(home.calls.hear(PUBLISH_PATH, &request)),
            // Not by the `url` crate: its tables are a seventh of the whole Worker.
            Some(home) => Ok(match split_url(&request.url()).1 {
                CONNECT_PATH => home.connect(&Request::from(request))?.into(),
                path => home.calls.hear(path, &request),
            }),
        }
    }

    /// The alarm rang.
    pub fn alarm(&self) {
        if let Some(home) = &self.home {
            home.rang();
        }
    }

    /// A frame came. The runtime's handler; synchronous on purpose.
    #[wasm_bindgen(js_name = webSocketMessage)]
    pub fn on_message(&self, socket: WebSocket, message: &JsValue) {
        // Who was closed and does not answer that can go on speaking: it is heard no more, whatever its attachment grants.
        if !sockets::is_open(&socket) {
            return;
        }
        let Some((home, session)) = self.known(&socket) else { return };
        home.speaks(&session, socket);
        home.drive(match frame(message) {
            Some(frame) => Input::Frame { session, frame },
            None => Input::FrameTooLong { session },
        });
    }

    /// A socket was closed. The runtime's handler.
    #[wasm_bindgen(js_name = webSocketClose)]
    pub fn on_close(&self, socket: &WebSocket, code: u16, reason: &str, _clean: bool) {
        // A hibernatable socket is answered by us or not at all: without this the client waits 10 s for 1006.
        sockets::close(socket, close_reply(code), reason);
        if let Some(home) = &self.home {
            home.left(socket);
        }
    }

    /// A socket broke. The runtime's handler.
    #[wasm_bindgen(js_name = webSocketError)]
    pub fn on_error(&self, socket: &WebSocket, _error: &JsValue) {
        if let Some(home) = &self.home {
            home.left(socket);
        }
    }

    fn known(&self, socket: &WebSocket) -> Option<(&Rc<Home>, Session)> {
        let known = self.home.as_ref().zip(sockets::session(socket));
        if known.is_none() {
            sockets::close(socket, Code::Internal.close_code(), Code::Internal.name());
        }
        known
    }
}
