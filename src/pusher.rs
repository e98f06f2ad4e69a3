//! Pusher's HTTP API: authenticate, let the core judge, ask the objects, put the answer together.

use crate::channels::{count_in_all, strike, tally};
use crate::now_s;
use crate::publish::{body, call_all};
use dormouse_core::call::VERSION;
use dormouse_core::channel::ChannelName;
use dormouse_core::config::{App, Config};
use dormouse_core::directory::{CloseUser, Entry, Listed};
use dormouse_core::edge::has_directory;
use dormouse_core::edge::pusher::{Action, Call, caller, channel_query, channels_query, trigger, users_query};
use dormouse_core::head::Head;
use dormouse_core::limits;
use dormouse_core::refusal::Refusal;
use dormouse_core::room::MembersQuery;
use dormouse_durable::{DirectoryStub, RoomStub, json};
use worker::{Env, web_sys};

/// What each action costs stands at the function that performs it.
pub(crate) async fn answer(
    request: &web_sys::Request,
    env: &Env,
    config: &Config,
    call: &Call,
    head: &Head<'_>,
) -> Result<web_sys::Response, Refusal> {
    let publisher = caller(config, call, head, now_s())?;
    // Also where a body says nothing, the signature is over it: libraries post `{}`.
    let body = if call.action.method() == "POST" {
        body(request, head, limits::PUSHER_BODY_BYTES_MAX).await?
    } else {
        Vec::new()
    };
    let app = publisher.prove(head, &body)?;
    let answer = match &call.action {
        Action::Events | Action::BatchEvents => publish(env, app, call, &body).await?,
        Action::Channels => channels(env, app, head).await?,
        Action::Channel(name) => channel(env, app, name, head).await?,
        Action::Users(name) => users(env, app, name).await?,
        Action::Terminate(user) => terminate(env, app, user).await?,
    };
    Ok(json(200, &answer))
}

/// One request between objects per channel, as `POST /publish`. Where `info` is asked for, one more to each Room, and one to each Hub that follows any of them.
async fn publish(env: &Env, app: &App, call: &Call, body: &[u8]) -> Result<String, Refusal> {
    let trigger = trigger(app, call, body)?;
    let answers = call_all(env, &app.id, trigger.targets()).await;
    trigger.published(&answers)?;
    let (asked, connections) = trigger.asked();
    if asked.is_empty() {
        return Ok(trigger.body(None));
    }
    let channels = asked.into_iter().map(|channel| Entry { channel, at: 0 }).collect();
    let tally = tally(env, &app.id, Listed { channels, more: false }, connections).await;
    Ok(trigger.body(tally.ok().as_ref()))
}

/// A request to the Directory for every 1,000 channels, one to the Rooms of the first [`limits::CHANNELS_ASKED_MAX`], one to each Hub that follows any of those, and one to the
/// Directory if nobody is left in some.
async fn channels(env: &Env, app: &App, head: &Head<'_>) -> Result<String, Refusal> {
    let mut query = channels_query(app, head)?;
    let directory = DirectoryStub::new(env, &app.id)?;
    while let Some(list) = query.list() {
        query.add(directory.list(&list).await?)?;
    }
    let (listed, others) = query.split();
    let tally = tally(env, &app.id, listed, true).await?;
    strike(&directory, &tally).await;
    Ok(query.body(&tally, &others))
}

/// A request to the Room, and one to each Hub that follows it if that has to be known: where connections are counted, or where the Room has none of its own.
async fn channel(env: &Env, app: &App, channel: &ChannelName, head: &Head<'_>) -> Result<String, Refusal> {
    let query = channel_query(channel, head)?;
    let count = RoomStub::new(env, &app.id, channel)?.count(query.counting()).await?;
    let hubs = query.hubs(channel, &count);
    let counts = count_in_all(env, &hubs).await?;
    let elsewhere: u64 = counts.iter().flat_map(|(_, counts)| &counts.connections).sum();
    let connections = count.connections.saturating_add(elsewhere);
    Ok(query.body(count, connections))
}

/// A request to the Room for every 1,000 members.
async fn users(env: &Env, app: &App, channel: &ChannelName) -> Result<String, Refusal> {
    let mut users = users_query(channel)?;
    let room = RoomStub::new(env, &app.id, channel)?;
    loop {
        let query = MembersQuery { after: users.last().map(str::to_owned), limit: limits::MEMBERS_PAGE_MAX };
        if !users.add(&room.members(&query).await?)? {
            return Ok(users.body());
        }
    }
}

/// One request to the Directory, and the Directory's own to each Hub and to each Room that has sockets. What has not answered in time is called again by the Directory.
async fn terminate(env: &Env, app: &App, user: &str) -> Result<String, Refusal> {
    has_directory(app)?;
    let order = CloseUser { version: VERSION, user: user.to_owned() };
    DirectoryStub::new(env, &app.id)?.close_user(&order).await?;
    Ok("{}".to_owned())
}
