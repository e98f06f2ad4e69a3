//! What the objects have in common: the clock, random bits, frames, and answers.

use dormouse_core::frame::{Frame, PING, PONG};
use dormouse_core::limits;
use dormouse_core::pusher::words;
use dormouse_core::refusal::{Code, Refusal};
use dormouse_core::room::Turn;
use dormouse_core::session::Format;
use js_sys::{Function, JsString, Uint8Array};
use std::rc::{Rc, Weak};
use wasm_bindgen::prelude::*;
use web_sys::js_sys;
use worker::worker_sys::{DurableObjectState, WebSocketRequestResponsePair};

use crate::script::{answered, heard, json};

/// Called with the body of a call and the way to answer it.
pub(crate) type Hear = Closure<dyn FnMut(String, Function)>;

/// What hears one kind of call, and answers it at once: one closure for an object's life.
pub(crate) fn hear<T: 'static>(object: &Weak<T>, decide: fn(&Rc<T>, &str) -> Result<String, Refusal>) -> Hear {
    let object = object.clone();
    Closure::new(move |call: String, answer: Function| {
        let Some(object) = object.upgrade() else { return };
        match decide(&object, &call) {
            Ok(text) => answered(&answer, 200, &text),
            Err(refusal) => answered_no(&answer, &refusal),
        }
    })
}

/// The same for a call that is answered later.
pub(crate) fn take<T: 'static>(object: &Weak<T>, take: fn(&Rc<T>, &str, Function)) -> Hear {
    let object = object.clone();
    Closure::new(move |call: String, answer: Function| {
        if let Some(object) = object.upgrade() {
            take(&object, &call, answer);
        }
    })
}

/// Answers a call with a refusal.
pub(crate) fn answered_no(answer: &Function, refusal: &Refusal) {
    answered(answer, refusal.code.status(), &refusal.body());
}

/// An object's calls by path, those that come often first.
pub(crate) struct Calls(pub(crate) Box<[(&'static str, Hear)]>);

impl Calls {
    /// The answer to a call.
    pub(crate) fn hear(&self, path: &str, request: &web_sys::Request) -> JsValue {
        match self.0.iter().find(|(known, _)| *known == path) {
            Some((_, hear)) => heard(request, hear.as_ref()).into(),
            None => refuse(&Refusal::new(Code::NotFound, "no such call")).into(),
        }
    }
}

/// The object is in the middle of another event, which cannot be.
pub(crate) fn busy() -> Refusal {
    Refusal::new(Code::Internal, "the object is busy")
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time in milliseconds")]
    let now = js_sys::Date::now() as u64;
    now
}

/// The circumstances of an event that happens now.
pub(crate) fn turn() -> Turn {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "48 bits")]
    let random = (js_sys::Math::random() * 281_474_976_710_656.0) as u64;
    Turn { now: now(), random }
}

/// 128 random bits, of which an UUID has 122.
pub(crate) fn random_id() -> String {
    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(js_namespace = crypto, js_name = randomUUID)]
        fn random_uuid() -> String;
    }
    random_uuid().replace('-', "")
}

/// A refusal as a response.
pub(crate) fn refuse(refusal: &Refusal) -> web_sys::Response {
    json(refusal.code.status(), &refusal.body())
}

/// Has the runtime answer pings without waking the object. Every time that a socket is accepted: it is cheap, and an object that was rebuilt does not know
/// whether it did. An object has one spelling, so one whose sockets speak Pusher's protocol has no others.
pub(crate) fn answer_pings(state: &DurableObjectState, format: Format) {
    let (ping, answer) = if format == Format::Pusher { (words::PING, words::PONG) } else { (PING, PONG) };
    if let Ok(pair) = WebSocketRequestResponsePair::new(ping, answer) {
        let _ = state.set_websocket_auto_response(&pair);
    }
}

/// A frame of the runtime as one of ours; `None` for one that is too long to be looked at ([`limits::FRAME_BYTES_MAX`]).
pub(crate) fn frame(message: &JsValue) -> Option<Frame> {
    // Before it is copied: a frame may have 32 MiB.
    if let Some(text) = message.dyn_ref::<JsString>() {
        let fits = text.length() as usize <= limits::FRAME_BYTES_MAX;
        return fits.then(|| Frame::Text(String::from(text)));
    }
    let bytes = Uint8Array::new(message);
    (bytes.length() as usize <= limits::FRAME_BYTES_MAX).then(|| Frame::Binary(bytes.to_vec()))
}
