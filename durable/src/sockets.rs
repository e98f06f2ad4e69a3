//! The object's sockets: accepting, finding, sending, closing. The runtime's list is the truth; nothing of it is kept here.

use dormouse_core::frame::Frame;
use dormouse_core::session::{Format, Session};
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use web_sys::{WebSocket, js_sys};
use worker::worker_sys::{DurableObjectState, ext::WebSocketExt};

/// The tag of sockets that were replayed to when they came: after waking, those to look at first.
const REPLAYED: &str = "replayed";

#[wasm_bindgen]
extern "C" {
    type Socket;
    /// Takes a value that is JavaScript's already, so that one string serves every socket.
    #[wasm_bindgen(method, catch)]
    fn send(this: &Socket, data: &JsValue) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    fn close(this: &Socket, code: u16, reason: &str) -> Result<(), JsValue>;
}

/// A tag says what a socket of a Room is: it is fixed when it is accepted. A Hub knows its sockets' formats by slot.
fn format_tag(format: Format) -> &'static str {
    match format {
        Format::Json => "json",
        Format::Raw => "raw",
        Format::Stream => "stream",
        Format::RawStream => "raw-stream",
        Format::Many | Format::ManyStream | Format::Pusher => "many",
    }
}

fn connection_tag(connection: &str) -> String {
    format!("c:{connection}")
}

/// Accepts a socket so that the object may sleep while it stays open.
pub(crate) fn accept(state: &DurableObjectState, socket: &WebSocket, session: &Session) -> Result<(), JsValue> {
    let mut tags = vec![format_tag(session.format).into(), connection_tag(&session.connection).into()];
    if session.behind.is_some() {
        tags.push(REPLAYED.into());
    }
    state.accept_websocket_with_tags(socket, tags)?;
    remember(socket, session)
}

/// Accepts a socket of a Hub, in the same way. Its connection is all that a tag says of it.
pub(crate) fn accept_as(
    state: &DurableObjectState,
    socket: &WebSocket,
    connection: &str,
    text: &str,
) -> Result<(), JsValue> {
    state.accept_websocket_with_tags(socket, vec![connection_tag(connection).into()])?;
    attach(socket, text)
}

/// Replaces a socket's attachment.
pub(crate) fn remember(socket: &WebSocket, session: &Session) -> Result<(), JsValue> {
    attach(socket, &session.encode())
}

/// Replaces a socket's attachment by a text.
pub(crate) fn attach(socket: &WebSocket, text: &str) -> Result<(), JsValue> {
    socket.serialize_attachment(JsValue::from_str(text))
}

/// Reads a socket's attachment, a text.
pub(crate) fn attachment(socket: &WebSocket) -> Option<String> {
    socket.deserialize_attachment().ok()?.as_string()
}

/// Empties a socket's attachment: it is gone, and needs no second farewell.
pub(crate) fn forget(socket: &WebSocket) {
    let _ = socket.serialize_attachment(JsValue::NULL);
}

/// Reads a socket's attachment.
pub(crate) fn session(socket: &WebSocket) -> Option<Session> {
    Session::decode(&attachment(socket)?)
}

/// The socket of a connection.
pub(crate) fn find(state: &DurableObjectState, connection: &str) -> Option<WebSocket> {
    state.get_websockets_with_tag(&connection_tag(connection)).ok()?.into_iter().next()
}

/// The sockets that are spoken to in a format.
pub(crate) fn of_format(state: &DurableObjectState, format: Format) -> Vec<WebSocket> {
    state.get_websockets_with_tag(format_tag(format)).unwrap_or_default()
}

/// The sockets that were replayed to when they came.
pub(crate) fn replayed(state: &DurableObjectState) -> Vec<WebSocket> {
    state.get_websockets_with_tag(REPLAYED).unwrap_or_default()
}

/// All sockets, those too that are closing: each will have its own end.
pub(crate) fn all(state: &DurableObjectState) -> Vec<WebSocket> {
    state.get_websockets().unwrap_or_default()
}

/// All sockets that are open.
pub(crate) fn open(state: &DurableObjectState) -> Vec<WebSocket> {
    let mut sockets = state.get_websockets().unwrap_or_default();
    sockets.retain(is_open);
    sockets
}

/// Whether nobody has closed it.
pub(crate) fn is_open(socket: &WebSocket) -> bool {
    socket.ready_state() == WebSocket::OPEN
}

/// A frame as the value that `send` takes.
pub(crate) fn value(frame: &Frame) -> JsValue {
    match frame {
        Frame::Text(text) => JsValue::from_str(text),
        Frame::Binary(bytes) => Uint8Array::from(bytes.as_slice()).into(),
    }
}

/// Sends. A socket that is closing takes nothing any more, and its close will be told.
pub(crate) fn send(socket: &WebSocket, value: &JsValue) {
    let _ = socket.unchecked_ref::<Socket>().send(value);
}

/// Closes; one that is closed already stays so.
pub(crate) fn close(socket: &WebSocket, code: u16, reason: &str) {
    let _ = socket.unchecked_ref::<Socket>().close(code, reason);
}
