//! Pusher's HTTP API: what is asked under `/apps/{id}/`, by whom, and how it is answered. What it publishes goes the way of `POST /publish`: the same Rooms, the same
//! positions. Refusals are plain text, because that is what Pusher's server libraries show (`docs/protocol.md`, "Pusher's HTTP API").

mod channels;
mod info;
mod trigger;

pub use channels::{ChannelQuery, ChannelsQuery, Users, channel_query, channels_query, users_query};
pub use info::Info;
pub use trigger::{Trigger, trigger};

use super::not_found;
use crate::channel::ChannelName;
use crate::config::Config;
use crate::credentials::{Publisher, UNKNOWN_KEY, identify};
use crate::edge::user_id;
use crate::head::Head;
use crate::refusal::{Code, Refusal};
use percent_encoding::percent_decode_str;

/// A request of Pusher's HTTP API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// The app's id in the path, as it came.
    pub app: String,
    /// What is asked.
    pub action: Action,
}

/// What a request of Pusher's HTTP API asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// `POST /apps/{id}/events`.
    Events,
    /// `POST /apps/{id}/batch_events`.
    BatchEvents,
    /// `GET /apps/{id}/channels`.
    Channels,
    /// `GET /apps/{id}/channels/{channel}`.
    Channel(ChannelName),
    /// `GET /apps/{id}/channels/{channel}/users`.
    Users(ChannelName),
    /// `POST /apps/{id}/users/{user}/terminate_connections`.
    Terminate(String),
}

impl Action {
    /// The method that it takes.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Events | Self::BatchEvents | Self::Terminate(_) => "POST",
            Self::Channels | Self::Channel(_) | Self::Users(_) => "GET",
        }
    }
}

/// Whether a path is one of Pusher's HTTP API, and its refusals therefore plain text.
#[must_use]
pub fn is_pushers(path: &str) -> bool {
    path.strip_prefix("/apps/").is_some_and(|rest| rest.contains('/'))
}

/// Whether what is asked can begin so, behind `/apps/{id}/`.
pub(super) fn is_word(first: &str) -> bool {
    matches!(first, "events" | "batch_events" | "channels" | "users")
}

/// Finds out what is asked by what stands behind `/apps/{id}/`.
pub(super) fn call(app: &str, rest: [Option<&str>; 4]) -> Result<Call, Refusal> {
    let action = match rest {
        [Some("events"), None, ..] => Action::Events,
        [Some("batch_events"), None, ..] => Action::BatchEvents,
        [Some("channels"), None, ..] => Action::Channels,
        [Some("channels"), Some(channel), None, _] => Action::Channel(super::decode(channel)?),
        [Some("channels"), Some(channel), Some("users"), None] => Action::Users(super::decode(channel)?),
        [Some("users"), Some(user), Some("terminate_connections"), None] => Action::Terminate(user_id(user)?),
        _ => return Err(not_found()),
    };
    Ok(Call { app: percent_decode_str(app).decode_utf8_lossy().into_owned(), action })
}

/// Who calls, as far as it can be judged without the body: by a signature, or by HTTP Basic, and for the app of the path. `now_s` is in seconds.
pub fn caller<'a>(config: &'a Config, call: &Call, head: &Head<'_>, now_s: u64) -> Result<Publisher<'a>, Refusal> {
    if config.app_by_id(&call.app).is_none() {
        return Err(Refusal::new(Code::NotFound, format!("Unknown app id {}", call.app)));
    }
    let publisher = identify(config, head, now_s)?;
    if publisher.app().id != call.app {
        return Err(Refusal::new(Code::Unauthorized, UNKNOWN_KEY));
    }
    Ok(publisher)
}

/// A refusal as Pusher writes it: a line of text, whatever it quotes.
#[must_use]
pub fn text(refusal: &Refusal) -> String {
    format!("{}\n", refusal.message.replace(char::is_control, " "))
}

fn field(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::InvalidField, message)
}

#[cfg(test)]
mod tests;
