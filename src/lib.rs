//! The Worker: stateless, everywhere. It reads a request, lets the core judge it, and hands it to an object, or refuses it. Nothing is stored
//! here, and no object is touched for somebody who was not let in.

mod answer;
mod bridge;
mod connect;
mod page;
mod publish;

/// The object class that `wrangler.toml` names; it has to be exported by this crate.
pub use dormouse_durable::Room;

use dormouse_core::channel::ChannelName;
use dormouse_core::config::Config;
use dormouse_core::edge::{self, Route};
use dormouse_core::head::Head;
use dormouse_core::refusal::Refusal;
use dormouse_durable::{RoomStub, apps};
use worker::{Context, Env, Method, Request, Response, Result, event};

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

#[event(fetch)]
async fn fetch(mut request: Request, env: Env, _context: Context) -> Result<Response> {
    let url = request.url()?;
    let headers = request.headers().clone();
    let header = |name: &str| headers.get(name).ok().flatten();
    let method = request.method();
    let head = Head {
        // A HEAD is answered as a GET; the runtime leaves the body out.
        method: if method == Method::Head { "GET" } else { method.as_ref() },
        path: url.path(),
        query: url.query().unwrap_or_default(),
        header: &header,
    };
    match serve(&mut request, &env, &head, url.host_str().unwrap_or_default()).await {
        Ok(response) => Ok(response),
        Err(refusal) => answer::refuse(&head, &refusal),
    }
}

async fn serve(request: &mut Request, env: &Env, head: &Head<'_>, host: &str) -> Result<Response, Refusal> {
    let route = edge::route(head)?;
    let config = || edge::configured(apps(env).as_ref(), host);
    match &route {
        Route::Page => page::page(request, env, head).await,
        Route::Up => config().and_then(|_| answer::json(200, r#"{"status":"ok"}"#)),
        Route::Room(channel) => connect::connect(env, config()?, channel, head).await,
        Route::Publish | Route::PublishRaw(_) => publish::publish(request, env, config()?, &route, head).await,
        Route::Messages(channel) => messages(env, config()?, channel, head).await,
    }
}

/// One request to the object, nothing written.
async fn messages(env: &Env, config: &Config, channel: &ChannelName, head: &Head<'_>) -> Result<Response, Refusal> {
    let (app, query) = edge::page(config, head, now_s())?;
    RoomStub::new(env, app, channel)?.messages(query).await
}

fn now_s() -> u64 {
    worker::Date::now().as_millis() / 1000
}
