//! The Worker: stateless, everywhere. It reads a request, lets the core judge it, and hands it to an object, or refuses it. Nothing is stored
//! here, and no object is touched for somebody who was not let in.

mod answer;
mod bridge;
mod channels;
mod connect;
mod hubs;
mod page;
mod publish;

/// The object classes that `wrangler.toml` names; they have to be exported by this crate.
pub use dormouse_durable::{Directory, Hub, Room};

use dormouse_core::channel::ChannelName;
use dormouse_core::config::Config;
use dormouse_core::edge::{self, Route};
use dormouse_core::head::{Head, split_url};
use dormouse_core::refusal::Refusal;
use dormouse_durable::{RoomStub, apps, json};
use worker::{Context, Env, Result, event, web_sys};

/// Panics are told in full; then the runtime's own hook starts recovery. There is no panic path from any input: this is for what nobody thought of.
#[event(start)]
fn start() {
    dormouse_durable::cheap_microtasks();
    let recover = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        console_error_panic_hook::hook(info);
        recover(info);
    }));
}

/// The runtime's own request and response: their wrappers parse the URL and copy the headers of everything that passes.
#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, _context: Context) -> Result<web_sys::Response> {
    let headers = request.headers();
    let header = |name: &str| headers.get(name).ok().flatten();
    let (method, url) = (request.method(), request.url());
    let (host, path, query) = split_url(&url);
    let head = Head { method: &method, path, query, header: &header };
    match serve(&request, &env, &head, host).await {
        Ok(response) => Ok(response),
        Err(refusal) => answer::refuse(&head, &refusal),
    }
}

async fn serve(
    request: &web_sys::Request,
    env: &Env,
    head: &Head<'_>,
    host: &str,
) -> Result<web_sys::Response, Refusal> {
    let route = edge::route(head)?;
    let config = || edge::configured(apps(env).as_ref(), host);
    match &route {
        Route::Page => page::page(request, env, head).await,
        Route::Up => config().map(|_| json(200, r#"{"status":"ok"}"#)),
        Route::Room(channel) => connect::connect(request, env, config()?, channel, head).await,
        Route::App(path) => connect::connect_app(request, env, config(), path, head).await,
        Route::Connect | Route::Events => connect::connect_many(request, env, config()?, &route, head).await,
        Route::Publish | Route::PublishRaw(_) => publish::publish(request, env, config()?, &route, head).await,
        Route::Channels => channels::list(env, config()?, head).await,
        Route::Connection(id) => channels::close_one(env, config()?, id, head).await,
        Route::UserConnections(user) => channels::close_user(env, config()?, user, head).await,
        Route::Messages(channel) => messages(env, config()?, channel, head).await,
        Route::Members(channel) => members(env, config()?, channel, head).await,
    }
}

/// One request to the object, nothing written.
async fn messages(
    env: &Env,
    config: &Config,
    channel: &ChannelName,
    head: &Head<'_>,
) -> Result<web_sys::Response, Refusal> {
    let (app, query) = edge::page(config, head, now_s())?;
    Ok(json(200, &RoomStub::new(env, app, channel)?.messages(query).await?))
}

/// One request to the object; nothing is written, unless members of its own vanished.
async fn members(
    env: &Env,
    config: &Config,
    channel: &ChannelName,
    head: &Head<'_>,
) -> Result<web_sys::Response, Refusal> {
    let admission = edge::admit_members(config, channel, head, now_s())?;
    let page = RoomStub::new(env, &admission.app, channel)?.members(&admission.query).await?;
    let response = json(200, &page);
    if let Some(origin) = admission.allow_origin {
        let headers = response.headers();
        let set = headers.set("access-control-allow-origin", &origin).and_then(|()| headers.set("vary", "origin"));
        set.map_err(|error| answer::failed(&error.into()))?;
    }
    Ok(response)
}

fn now_s() -> u64 {
    worker::Date::now().as_millis() / 1000
}
