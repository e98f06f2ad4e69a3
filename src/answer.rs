//! Answers and refusals, as HTTP or as WebSocket.

use dormouse_core::frame::{self, SUBPROTOCOL};
use dormouse_core::head::Head;
use dormouse_core::limits;
use dormouse_core::refusal::{Code, Refusal};
use worker::{Response, ResponseBuilder, Result, WebSocketPair, console_error};

/// A JSON answer.
pub(crate) fn json(status: u16, body: &str) -> Result<Response, Refusal> {
    build(Response::builder().with_status(status), body).map_err(|error| failed(&error))
}

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
    let mut builder = Response::builder().with_status(refusal.code.status());
    if let Some(allow) = refusal.allow {
        builder = builder.with_header("allow", allow)?;
    }
    if refusal.code == Code::Unauthorized && head.query("auth_key").is_none() {
        builder = builder.with_header("www-authenticate", "Basic realm=\"dormouse\"")?;
    }
    if refusal.code == Code::Overloaded {
        builder = builder.with_header("retry-after", &limits::RETRY_AFTER_S.to_string())?;
    }
    build(builder, &refusal.body())
}

fn build(builder: ResponseBuilder, body: &str) -> Result<Response> {
    // Not `ok`: that says text/plain, whatever the headers say.
    Ok(builder.with_header("content-type", "application/json")?.fixed(body.as_bytes().to_vec()))
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
    let response = Response::from_websocket(pair.client)?;
    if ours {
        // Without it a browser that offered one fails the handshake, and would not see the close.
        response.headers().set("sec-websocket-protocol", SUBPROTOCOL)?;
    }
    Ok(response)
}
