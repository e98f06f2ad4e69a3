//! Connecting: a socket goes to its room, or to a Hub; an event stream is bridged to a socket of theirs, so that they can sleep.

use crate::answer::{close_pusher, failed};
use crate::bridge::Bridge;
use crate::hubs;
use crate::now_s;
use dormouse_core::channel::ChannelName;
use dormouse_core::config::Config;
use dormouse_core::edge::{AppPath, ManyAdmission, Route, admit, admit_app, admit_many};
use dormouse_core::frame::SUBPROTOCOL;
use dormouse_core::head::Head;
use dormouse_core::refusal::{Code, Refusal};
use dormouse_durable::RoomStub;
use worker::{Env, Response, Result, web_sys};

/// One channel. One request to the object; when that is full, one to a Hub, too, and for the next seconds to the Hub only.
pub(crate) async fn connect(
    request: &web_sys::Request,
    env: &Env,
    config: &Config,
    channel: &ChannelName,
    head: &Head<'_>,
) -> Result<web_sys::Response, Refusal> {
    let admission = admit(config, channel, head, now_s())?;
    if hubs::is_room_full(&admission.object) {
        return enter_hub(request, env, &admission.into_many()).await;
    }
    let room = RoomStub::named(env, admission.object.clone())?;
    match room.connect(&admission.connect).await {
        Err(refusal) if refusal.code == Code::Full => {
            hubs::room_is_full(&admission.object);
            enter_hub(request, env, &admission.into_many()).await
        }
        response => answer(
            response?,
            admission.connect.format.is_stream(),
            admission.subprotocol,
            admission.allow_origin.as_deref(),
        ),
    }
}

/// Many channels. One request to each Hub that is tried; the Hub's own to rooms are made after that.
pub(crate) async fn connect_many(
    request: &web_sys::Request,
    env: &Env,
    config: &Config,
    route: &Route,
    head: &Head<'_>,
) -> Result<web_sys::Response, Refusal> {
    enter_hub(request, env, &admit_many(config, route, head, now_s())?).await
}

/// Pusher's protocol. As above; who may not in is told by the code of a close.
pub(crate) async fn connect_app(
    request: &web_sys::Request,
    env: &Env,
    config: Result<&Config, Refusal>,
    path: &AppPath,
    head: &Head<'_>,
) -> Result<web_sys::Response, Refusal> {
    let entered = async { enter_hub(request, env, &admit_app(config?, path, head)?).await };
    match entered.await {
        Err(refusal) if head.wants_websocket() => close_pusher(&refusal).map_err(|error| failed(&error)),
        answer => answer,
    }
}

async fn enter_hub(
    request: &web_sys::Request,
    env: &Env,
    admission: &ManyAdmission,
) -> Result<web_sys::Response, Refusal> {
    let response = hubs::connect(env, request, &admission.app, &admission.connect).await?;
    let stream = admission.connect.format.is_stream();
    answer(response, stream, admission.subprotocol, admission.allow_origin.as_deref())
}

fn answer(
    response: Response,
    stream: bool,
    subprotocol: bool,
    allow_origin: Option<&str>,
) -> Result<web_sys::Response, Refusal> {
    let answer = if stream { bridge(response, allow_origin) } else { socket(response, subprotocol) };
    answer.map(web_sys::Response::from).map_err(|error| failed(&error))
}

fn socket(response: Response, subprotocol: bool) -> Result<Response> {
    if !subprotocol {
        return Ok(response);
    }
    let socket = response.websocket().ok_or("the object gave no socket")?;
    let response = Response::from_websocket(socket)?;
    response.headers().set("sec-websocket-protocol", SUBPROTOCOL)?;
    Ok(response)
}

fn bridge(response: Response, allow_origin: Option<&str>) -> Result<Response> {
    let socket = response.websocket().ok_or("the object gave no socket")?;
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
