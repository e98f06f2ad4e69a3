//! Connecting: a socket goes to its room; an event stream is bridged to a socket of the room, so that the room can sleep.

use crate::answer::failed;
use crate::bridge::Bridge;
use crate::now_s;
use dormouse_core::channel::ChannelName;
use dormouse_core::config::Config;
use dormouse_core::edge::admit;
use dormouse_core::frame::SUBPROTOCOL;
use dormouse_core::head::Head;
use dormouse_core::refusal::Refusal;
use dormouse_durable::RoomStub;
use worker::{Env, Response, Result, web_sys};

/// One request to the object.
pub(crate) async fn connect(
    env: &Env,
    config: &Config,
    channel: &ChannelName,
    head: &Head<'_>,
) -> Result<web_sys::Response, Refusal> {
    let admission = admit(config, channel, head, now_s())?;
    let response = RoomStub::named(env, admission.object)?.connect(&admission.connect).await?;
    let answer = if admission.connect.format.is_stream() {
        stream(response, admission.allow_origin.as_deref())
    } else {
        socket(response, admission.subprotocol)
    };
    answer.map(web_sys::Response::from).map_err(|error| failed(&error))
}

fn socket(response: Response, subprotocol: bool) -> Result<Response> {
    if !subprotocol {
        return Ok(response);
    }
    let socket = response.websocket().ok_or("the room gave no socket")?;
    let response = Response::from_websocket(socket)?;
    response.headers().set("sec-websocket-protocol", SUBPROTOCOL)?;
    Ok(response)
}

fn stream(response: Response, allow_origin: Option<&str>) -> Result<Response> {
    let socket = response.websocket().ok_or("the room gave no socket")?;
    let mut builder = Response::builder()
        .with_header("content-type", "text/event-stream")?
        .with_header("cache-control", "no-store")?
        // nginx and its like would hold the events back.
        .with_header("x-accel-buffering", "no")?;
    if let Some(origin) = allow_origin {
        builder = builder.with_header("access-control-allow-origin", origin)?.with_header("vary", "origin")?;
    }
    builder.from_stream(Bridge::new(socket)?)
}
