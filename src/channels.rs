//! What an app's own servers ask about its channels and connections: which channels have connections, and closing some.

use crate::now_s;
use dormouse_core::call::VERSION;
use dormouse_core::close::{Close, Whose};
use dormouse_core::config::Config;
use dormouse_core::connection::ConnectionId;
use dormouse_core::directory::{CloseUser, Count, Counting, Entry, HubCount, HubCounts, Listed};
use dormouse_core::edge::{Tally, listing, operator};
use dormouse_core::head::Head;
use dormouse_core::limits;
use dormouse_core::refusal::{Code, Refusal};
use dormouse_durable::{DirectoryStub, HubStub, RoomStub, close, json};
use futures::StreamExt;
use futures::stream::iter;
use worker::{Env, web_sys};

/// A page of channels. One request to the Directory, one to each Room on the page, one to each Hub that follows any of them, and one to the Directory if there are
/// channels on it that nobody has any more: those are struck out, a row each.
pub(crate) async fn list(env: &Env, config: &Config, head: &Head<'_>) -> Result<web_sys::Response, Refusal> {
    let listing = listing(config, head, now_s())?;
    let directory = DirectoryStub::new(env, listing.app)?;
    let listed = directory.list(&listing.list).await?;
    let tally = tally(env, listing.app, listed, true).await?;
    strike(&directory, &tally).await;
    Ok(json(200, &tally.body()))
}

/// What channels have: one request to the Room of each, and, if connections are to be counted, one or more to each Hub that follows any of them: one for every 100 of them.
pub(crate) async fn tally(env: &Env, app: &str, listed: Listed, connections: bool) -> Result<Tally, Refusal> {
    let calls = listed.channels.iter().map(|entry| count(env, app, entry));
    let counts: Vec<Result<Count, Refusal>> = iter(calls).buffered(limits::CALLS_AT_ONCE).collect().await;
    let counts = counts.into_iter().collect::<Result<Vec<Count>, Refusal>>()?;
    let (mut tally, hubs) = Tally::new(listed, counts);
    if connections {
        for (asked, answer) in count_in_all(env, &hubs).await? {
            tally.add(asked, &answer);
        }
    }
    Ok(tally)
}

/// What Hubs have: one request for each entry.
pub(crate) async fn count_in_all<'a>(
    env: &Env,
    hubs: &'a [(String, HubCount)],
) -> Result<Vec<(&'a HubCount, HubCounts)>, Refusal> {
    if hubs.len() > limits::HUBS_ASKED_MAX {
        return Err(Refusal::new(Code::Overloaded, "the connections are on more objects than can be asked at once"));
    }
    let calls = hubs.iter().map(async |(hub, asked)| Ok((asked, count_in(env, hub, asked).await?)));
    let answers: Vec<Result<_, Refusal>> = iter(calls).buffered(limits::CALLS_AT_ONCE).collect().await;
    answers.into_iter().collect()
}

/// Tells the Directory which channels turned out to have nobody: one request, if there are any. What stays is found by the next listing.
pub(crate) async fn strike(directory: &DirectoryStub, tally: &Tally) {
    if let Some(strike) = tally.strike() {
        let _ = directory.strike(&strike).await;
    }
}

async fn count(env: &Env, app: &str, entry: &Entry) -> Result<Count, Refusal> {
    RoomStub::new(env, app, &entry.channel)?.count(Counting::default()).await
}

async fn count_in(env: &Env, hub: &str, asked: &HubCount) -> Result<HubCounts, Refusal> {
    HubStub::named(env, hub.to_owned())?.count(asked).await
}

/// Closes one connection: one request to the object that its id names.
pub(crate) async fn close_one(
    env: &Env,
    config: &Config,
    id: &ConnectionId,
    head: &Head<'_>,
) -> Result<web_sys::Response, Refusal> {
    let app = operator(config, head, now_s(), false)?;
    let order = Close { version: VERSION, whose: Whose::Connection(id.as_str().to_owned()) };
    let closed = close(env, &app.id, &id.holder(&app.id), &order).await?.closed;
    Ok(json(200, &format!("{{\"closed\":{closed}}}")))
}

/// Closes a user's connections: one request to the Directory, and the Directory's own to each Hub and to each Room that has sockets.
pub(crate) async fn close_user(
    env: &Env,
    config: &Config,
    user: &str,
    head: &Head<'_>,
) -> Result<web_sys::Response, Refusal> {
    let app = operator(config, head, now_s(), true)?;
    let order = CloseUser { version: VERSION, user: user.to_owned() };
    let closed = DirectoryStub::new(env, &app.id)?.close_user(&order).await?;
    Ok(json(200, &format!("{{\"closed\":{},\"done\":{}}}", closed.closed, closed.done)))
}
