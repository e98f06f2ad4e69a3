//! Answers and refusals, as HTTP or as WebSocket.

use dormouse_core::frame::{self, SUBPROTOCOL};
use dormouse_core::head::Head;
use dormouse_core::limits;
use dormouse_core::pusher::words::close_code;
use dormouse_core::refusal::{Code, Refusal};
use dormouse_durable::json;
use worker::web_sys::Response;
use worker::{Result, WebSocketPair, console_error};

/// What the runtime would not do: our fault, logged.
pub(crate) fn failed(error: &worker::Error) -> Refusal {
    console_error!("worker: {error}");
    Refusal::new(Code::Internal, "something failed on our side; it has been logged")
}

/// A refusal as its client can read it: a browser cannot read a refused upgrade, so that is accepted, told, and closed.
pub(crate) fn refuse(head: &Head<'_>, refusal: &Refusal) -> Result<Response> {
    if head.method == "GET" && head.wants_websocket() {
        return close(head, refusal);
    }
    let response = json(refusal.code.status(), &refusal.body());
    let headers = response.headers();
    if let Some(allow) = refusal.allow {
        headers.set("allow", allow)?;
    }
    if refusal.code == Code::Unauthorized && head.query("auth_key").is_none() {
        headers.set("www-authenticate", "Basic realm=\"dormouse\"")?;
    }
    if matches!(refusal.code, Code::Overloaded | Code::Full) {
        headers.set("retry-after", &limits::RETRY_AFTER_S.to_string())?;
    }
    Ok(response)
}

/// A refusal as clients of Pusher's protocol read it: the socket is accepted, and closed with the code that says what they shall do.
pub(crate) fn close_pusher(refusal: &Refusal) -> Result<Response> {
    let pair = WebSocketPair::new()?;
    pair.server.accept()?;
    pair.server.close(Some(close_code(refusal)), Some(refusal.code.name()))?;
    worker::Response::from_websocket(pair.client).map(Response::from)
}

fn close(head: &Head<'_>, refusal: &Refusal) -> Result<Response> {
    let pair = WebSocketPair::new()?;
    pair.server.accept()?;
    // A raw socket gets payloads and nothing else: there the close code tells.
    if head.query("raw").as_deref() != Some("1") {
        pair.server.send_with_str(frame::refused(refusal))?;
    }
    pair.server.close(Some(refusal.code.close_code()), Some(refusal.code.name()))?;
    let offered = head.header("sec-websocket-protocol").unwrap_or_default();
    let ours = offered.split(',').any(|protocol| protocol.trim() == SUBPROTOCOL);
    let response = worker::Response::from_websocket(pair.client)?;
    if ours {
        // Without it a browser that offered one fails the handshake, and would not see the close.
        response.headers().set("sec-websocket-protocol", SUBPROTOCOL)?;
    }
    Ok(response.into())
}
