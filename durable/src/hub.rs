//! The Hub: the Durable Object that holds sockets of many channels, as the runtime sees it.

use crate::common::{frame, refuse};
use crate::hall::Hall;
use crate::sockets;
use dormouse_core::call::{CONNECT_PATH, LOOK_PATH};
use dormouse_core::head::split_url;
use dormouse_core::hub::{Input, Slot};
use dormouse_core::refusal::{Code, Refusal, close_reply};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::WebSocket;
use worker::worker_sys::DurableObjectState;
use worker::{Env, Request, State};

/// The Durable Object class, exported by hand for the same reasons as the Room (`docs/decisions/0006-the-room-is-exported-by-hand.md`): each message of
/// a channel is a call to each Hub that follows it.
#[wasm_bindgen]
pub struct Hub {
    hall: Option<Rc<Hall>>,
}

#[wasm_bindgen]
impl Hub {
    /// The runtime makes or wakes the object.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(state: DurableObjectState, env: &Env) -> Self {
        let waits = State::from(JsValue::from(&state).unchecked_into::<DurableObjectState>());
        let hall = Hall::new(state, env);
        if let Some(hall) = &hall {
            let waking = hall.clone();
            // Events wait for this.
            drop(waits.block_concurrency_while(async move {
                waking.learn_alarm().await;
                Ok(())
            }));
        }
        Self { hall }
    }

    /// A call from the Worker, a Room, or the Directory.
    pub fn fetch(&self, request: web_sys::Request) -> Result<JsValue, JsValue> {
        match &self.hall {
            None => Ok(refuse(&Refusal::new(Code::Internal, "this object has no name that means a hub")).into()),
            Some(hall) => Ok(match split_url(&request.url()).1 {
                CONNECT_PATH => hall.connect(&Request::from(request))?.into(),
                LOOK_PATH => hall.look().into(),
                path => hall.calls.hear(path, &request),
            }),
        }
    }

    /// The alarm rang.
    pub fn alarm(&self) {
        if let Some(hall) = &self.hall {
            hall.rang();
        }
    }

    /// A frame came. The runtime's handler; synchronous on purpose.
    #[wasm_bindgen(js_name = webSocketMessage)]
    pub fn on_message(&self, socket: &WebSocket, message: &JsValue) {
        // Who was closed and does not answer that can go on speaking: it is heard no more, whatever its attachment grants.
        if !sockets::is_open(socket) {
            return;
        }
        let Some((hall, slot)) = self.known(socket) else {
            return self.hall.iter().for_each(|hall| hall.close_broken(socket));
        };
        hall.drive(match frame(message) {
            Some(frame) => Input::Frame { slot, frame },
            None => Input::FrameTooLong { slot },
        });
    }

    /// A socket was closed. The runtime's handler.
    #[wasm_bindgen(js_name = webSocketClose)]
    pub fn on_close(&self, socket: &WebSocket, code: u16, reason: &str, _clean: bool) {
        // A hibernatable socket is answered by us or not at all: without this the client waits 10 s for 1006.
        sockets::close(socket, close_reply(code), reason);
        self.on_end(socket);
    }

    /// A socket broke. The runtime's handler.
    #[wasm_bindgen(js_name = webSocketError)]
    pub fn on_error(&self, socket: &WebSocket, _error: &JsValue) {
        self.on_end(socket);
    }

    fn on_end(&self, socket: &WebSocket) {
        if let Some((hall, slot)) = self.known(socket) {
            hall.left(socket, slot);
        }
    }

    fn known(&self, socket: &WebSocket) -> Option<(&Rc<Hall>, Slot)> {
        let hall = self.hall.as_ref()?;
        Some((hall, hall.slot(socket)?))
    }
}
