//! The Room: the Durable Object that is home to one channel, as the runtime sees it.

use crate::home::{Home, nameless, refuse};
use crate::sockets;
use dormouse_core::call::{CONNECT_PATH, MESSAGES_PATH, PUBLISH_PATH};
use dormouse_core::frame::Frame;
use dormouse_core::limits;
use dormouse_core::refusal::{Code, Refusal, close_reply};
use dormouse_core::room::Input;
use dormouse_core::session::Session;
use js_sys::{JsString, Uint8Array};
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_sys::{WebSocket, js_sys};
use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

/// The Durable Object class. `alarm` exports the constructor, `fetch` and `alarm`; the socket handlers below are exported by hand, because
/// synchronous ones cost no promise and no copy of the frame, and a trap in one is an exception and not a promise that never settles.
#[durable_object(alarm)]
pub struct Room {
    home: Option<Rc<Home>>,
}

impl DurableObject for Room {
    fn new(state: State, env: Env) -> Self {
        let home = Home::new(JsValue::from(state.as_raw()).unchecked_into(), &env);
        if let Some(home) = &home {
            let waking = home.clone();
            // Events wait for this.
            drop(state.block_concurrency_while(async move {
                waking.learn_alarm().await;
                Ok(())
            }));
        }
        Self { home }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        let Some(home) = &self.home else { return refuse(&nameless()) };
        match request.path().as_str() {
            CONNECT_PATH => home.connect(&request),
            PUBLISH_PATH => home.publish(request).await,
            MESSAGES_PATH => home.messages(&request),
            _ => refuse(&Refusal::new(Code::NotFound, "no such call")),
        }
    }

    async fn alarm(&self) -> Result<Response> {
        if let Some(home) = &self.home {
            home.rang();
        }
        Response::empty()
    }
}

#[wasm_bindgen]
impl Room {
    /// A frame came. The runtime's handler; synchronous on purpose.
    #[wasm_bindgen(js_name = webSocketMessage)]
    pub fn on_message(&self, socket: WebSocket, message: &JsValue) {
        let Some((home, session)) = self.known(&socket) else { return };
        home.speaks(&session, socket);
        // Before it is copied: a frame may have 32 MiB.
        let length = match message.dyn_ref::<JsString>() {
            Some(text) => text.length(),
            None => Uint8Array::new(message).length(),
        };
        if length as usize > limits::FRAME_BYTES_MAX {
            return home.drive(Input::FrameTooLong { session });
        }
        let frame = match message.as_string() {
            Some(text) => Frame::Text(text),
            None => Frame::Binary(Uint8Array::new(message).to_vec()),
        };
        home.drive(Input::Frame { session, frame });
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
