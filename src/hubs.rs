//! Finding a Hub that has room, near the client.

use dormouse_core::edge::{Hubs, region};
use dormouse_core::hub::HubConnect;
use dormouse_core::limits;
use dormouse_core::refusal::{Code, Refusal};
use dormouse_durable::HubStub;
use std::cell::RefCell;
use worker::worker_sys::ext::RequestExt;
use worker::{Date, Env, Response, web_sys};

thread_local! {
    /// What this isolate has found out. It may be wrong, and then costs a request.
    static HUBS: RefCell<Hubs> = const { RefCell::new(Hubs::new()) };
}

/// Brings a client into a Hub: one request to each that is tried.
pub(crate) async fn connect(
    env: &Env,
    request: &web_sys::Request,
    app: &str,
    connect: &HubConnect,
) -> Result<Response, Refusal> {
    let region = region_of(request);
    let mut nth = HUBS.with_borrow(|hubs| hubs.first(app, region, now()));
    for _ in 0..limits::HUBS_TRIED_MAX {
        match HubStub::new(env, app, region, nth)?.connect(connect, region).await {
            Err(refusal) if refusal.code == Code::Full => {
                nth = HUBS.with_borrow_mut(|hubs| hubs.full(app, region, nth, now()));
            }
            answer => return answer,
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
