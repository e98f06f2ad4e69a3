//! Finding a Hub that has room, near the client.

use dormouse_core::edge::{Hubs, Search, Try, region};
use dormouse_core::hub::HubConnect;
use dormouse_core::link::series;
use dormouse_core::refusal::{Code, Refusal};
use dormouse_durable::HubStub;
use std::cell::RefCell;
use worker::worker_sys::ext::RequestExt;
use worker::{Date, Env, Response, web_sys};

thread_local! {
    /// What this isolate has found out. It may be wrong, and then costs a request.
    static HUBS: RefCell<Hubs> = const { RefCell::new(Hubs::new()) };
}

/// Brings a client into a Hub: one request to each that is tried, and that is one of them unless some have become full.
pub(crate) async fn connect(
    env: &Env,
    request: &web_sys::Request,
    app: &str,
    connect: &HubConnect,
) -> Result<Response, Refusal> {
    let region = region_of(request);
    let series = &series(connect.format, region);
    let mut search = Search::new(HUBS.with_borrow(|hubs| hubs.first(app, series, now())));
    while let Some(next) = search.step() {
        let (nth, answer) = match next {
            Try::Connect(nth) => (nth, HubStub::new(env, app, series, nth)?.connect(connect, region).await.map(Some)),
            Try::Look(nth) => (nth, HubStub::new(env, app, series, nth)?.look(region).await.map(|()| None)),
        };
        match answer {
            Err(refusal) if refusal.code == Code::Full => {
                let next = HUBS.with_borrow_mut(|hubs| hubs.full(app, series, nth, now()));
                search.full(nth, next);
            }
            Ok(Some(response)) => return Ok(response),
            Err(refusal) if next == Try::Connect(nth) => return Err(refusal),
            // Also one that could not say, such as a Hub from before a deploy.
            Ok(None) | Err(_) => search.free(nth),
        }
    }
    Err(Refusal::new(Code::Full, "every hub that was tried is full: try again"))
}

/// Whether a room was full a moment ago.
pub(crate) fn is_room_full(object: &str) -> bool {
    HUBS.with_borrow(|hubs| hubs.is_room_full(object, now()))
}

/// That room was full.
pub(crate) fn room_is_full(object: &str) {
    HUBS.with_borrow_mut(|hubs| hubs.room_is_full(object.to_owned(), now()));
}

/// What the runtime knows of where the client is; nothing, in a runtime of one's own.
fn region_of(request: &web_sys::Request) -> &'static str {
    let Some(cf) = request.cf() else { return region(None, None) };
    let (continent, longitude) = (cf.continent().ok().flatten(), cf.longitude().ok().flatten());
    region(continent.as_deref(), longitude.as_deref())
}

fn now() -> u64 {
    Date::now().as_millis()
}
