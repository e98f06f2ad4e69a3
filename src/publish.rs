//! Publishing: authenticate, read, hand to the rooms, put the answers together.

use crate::answer::failed;
use crate::now_s;
use dormouse_core::call::Outcome;
use dormouse_core::config::Config;
use dormouse_core::credentials::identify;
use dormouse_core::edge::{Route, Target, order};
use dormouse_core::head::Head;
use dormouse_core::limits;
use dormouse_core::refusal::{Code, Refusal};
use dormouse_durable::{RoomStub, json};
use futures::StreamExt;
use futures::stream::iter;
use wasm_bindgen_futures::JsFuture;
use worker::js_sys::Uint8Array;
use worker::{Env, Request, web_sys};

/// One request between objects per channel.
pub(crate) async fn publish(
    request: &web_sys::Request,
    env: &Env,
    config: &Config,
    route: &Route,
    head: &Head<'_>,
) -> Result<web_sys::Response, Refusal> {
    let publisher = identify(config, head, now_s())?;
    let body = body(request, head, limits::PUBLISH_BODY_BYTES_MAX).await?;
    let app = publisher.prove(head, &body)?;
    let order = order(app, route, head, body)?;
    let answers = call_all(env, &app.id, order.targets()).await;
    let reply = order.reply(&answers);
    let response = json(reply.status, &reply.body);
    if let Some(seconds) = reply.retry_after_s {
        response.headers().set("retry-after", &seconds.to_string()).map_err(|error| failed(&error.into()))?;
    }
    Ok(response)
}

pub(crate) async fn call_all(env: &Env, app: &str, mut targets: Vec<Target>) -> Vec<(Target, Vec<Outcome>)> {
    match (targets.pop(), targets.is_empty()) {
        // The usual one, without the machinery for many.
        (Some(only), true) => vec![call(env, app, only).await],
        (last, _) => {
            let calls = targets.into_iter().chain(last).map(|target| call(env, app, target));
            iter(calls).buffered(limits::CALLS_AT_ONCE).collect().await
        }
    }
}

/// A call that fails as a whole fails for each of its messages.
async fn call(env: &Env, app: &str, target: Target) -> (Target, Vec<Outcome>) {
    let outcomes = match RoomStub::new(env, app, &target.channel) {
        Ok(room) => room.publish(&target.messages).await,
        Err(refusal) => Err(refusal),
    };
    let outcomes = outcomes.unwrap_or_else(|error| vec![Outcome::Refused { error }; target.messages.len()]);
    (target, outcomes)
}

/// The body, at most so many bytes: by its length where that is given, else by counting while it comes.
pub(crate) async fn body(request: &web_sys::Request, head: &Head<'_>, most: usize) -> Result<Vec<u8>, Refusal> {
    let encoding = head.header("content-encoding").unwrap_or_default();
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
        return Err(Refusal::new(Code::UnsupportedEncoding, "send the body as it is, without Content-Encoding"));
    }
    let too_large = || Refusal::new(Code::TooLarge, format!("a publish has at most {most} bytes"));
    let length = head.header("content-length").and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    if length.is_some() {
        let whole = JsFuture::from(request.array_buffer().map_err(broken)?).await.map_err(broken)?;
        return Ok(Uint8Array::new(&whole).to_vec());
    }
    let copy = request.clone().map_err(broken)?;
    let Ok(mut stream) = Request::from(copy).stream() else { return Ok(Vec::new()) };
    let mut body = Vec::new();
    while let Some(chunk) = stream.next().await {
        body.extend(chunk.map_err(broken)?);
        if body.len() > most {
            return Err(too_large());
        }
    }
    Ok(body)
}

/// The client went away in the middle.
fn broken<E>(_error: E) -> Refusal {
    Refusal::new(Code::InvalidJson, "the body ended before its end")
}
