//! Webhooks: what an app's own servers are told of its channels, as Pusher tells it. Which events there are and how they are written, who wants which, where
//! they may go, and the signature. When they are sent is for the Room's outbox to say.

mod address;

use crate::channel::ChannelName;
use crate::config::App;
use crate::frame::quoted;
use crate::limits;
use crate::message::Message;
use crate::pusher;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// The header that names a request: the same when it is tried again, and never another's.
pub const ID_HEADER: &str = "x-dormouse-id";
/// The header with the app's key.
pub const KEY_HEADER: &str = "x-pusher-key";
/// The header with the signature: HMAC-SHA256 of the body with the app's first secret, hexadecimal.
pub const SIGNATURE_HEADER: &str = "x-pusher-signature";

/// What happens to a channel, by Pusher's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It has its first connection.
    ChannelOccupied,
    /// It has lost its last one, and none has come back.
    ChannelVacated,
    /// A user has come to a presence channel.
    MemberAdded,
    /// A user has left it.
    MemberRemoved,
    /// A client has published.
    ClientEvent,
    /// Somebody has subscribed to a cache channel that has no message.
    CacheMiss,
    /// The number of its subscribers has changed.
    SubscriptionCount,
}

/// A webhook, as it is configured.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where it goes. https, and on the public internet; in development also on this machine.
    pub url: String,
    /// What it wants; empty: everything.
    #[serde(default)]
    pub events: Vec<Kind>,
    /// The beginning of the names of the channels that it is for.
    #[serde(default)]
    pub prefix: String,
    /// Their end.
    #[serde(default)]
    pub suffix: String,
    /// Whether a request may have several events.
    #[serde(default)]
    pub batch: bool,
}

impl Webhook {
    /// What is wrong with it: the field, and why. Never quotes the URL.
    pub(crate) fn check(&self, development: bool) -> Result<(), (&'static str, &'static str)> {
        address::check(&self.url, development).map_err(|problem| ("url", problem))?;
        if !self.prefix.is_empty() && !ChannelName::can_begin(&self.prefix) {
            return Err(("prefix", "the beginning of a channel name, or empty for every channel"));
        }
        if !self.suffix.is_empty() && ChannelName::parse(&self.suffix).is_err() {
            return Err(("suffix", "the end of a channel name, or empty for every channel"));
        }
        Ok(())
    }

    fn is_for(&self, channel: &ChannelName) -> bool {
        channel.as_str().starts_with(&self.prefix) && channel.as_str().ends_with(&self.suffix)
    }

    /// Whether it wants such events.
    #[must_use]
    pub fn wants(&self, kind: Kind) -> bool {
        self.events.is_empty() || self.events.contains(&kind)
    }
}

/// The webhooks of one channel, and what they are signed with.
#[derive(Clone, Default)]
pub struct Hooks {
    key: String,
    secret: String,
    pub(crate) targets: Vec<Webhook>,
}

impl core::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Hooks").field("targets", &self.targets).finish_non_exhaustive()
    }
}

impl Hooks {
    /// Those of an app that are for this channel.
    #[must_use]
    pub fn of(app: &App, channel: &ChannelName) -> Self {
        let is_for = |hook: &&Webhook| hook.is_for(channel) && !channel.is_hidden();
        let targets: Vec<Webhook> = app.webhooks.iter().filter(is_for).cloned().collect();
        let secret = app.secrets.first().cloned().unwrap_or_default();
        Self { key: app.key.clone(), secret, targets }
    }

    /// Whether there is none: then nothing at all is done for them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Whether anybody wants such events.
    #[must_use]
    pub fn want(&self, kind: Kind) -> bool {
        self.targets.iter().any(|target| target.wants(kind))
    }

    /// A request: events as they are written, with the time of the first of them in milliseconds.
    #[must_use]
    pub(crate) fn post(&self, url: &str, id: String, time_ms: u64, events: &[&str], ticket: u64) -> Post {
        let body = format!("{{\"time_ms\":{time_ms},\"events\":[{}]}}", events.join(","));
        let (url, key, signature) = (url.to_owned(), self.key.clone(), sign(&self.secret, &body));
        Post { url, id, key, signature, body, ticket }
    }
}

/// A request to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Post {
    /// Where to.
    pub url: String,
    /// [`ID_HEADER`].
    pub id: String,
    /// [`KEY_HEADER`].
    pub key: String,
    /// [`SIGNATURE_HEADER`].
    pub signature: String,
    /// The body, JSON.
    pub body: String,
    /// Names the request in [`crate::room::Input::Posted`].
    pub ticket: u64,
}

fn sign(secret: &str, body: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    // A key of any length is good.
    mac.map(|mac| hex::encode(mac.chain_update(body).finalize().into_bytes())).unwrap_or_default()
}

/// An event as it is written; a channel's name needs no escaping.
pub(crate) fn channel_event(kind: Kind, channel: &ChannelName) -> String {
    format!("{{\"name\":{},\"channel\":\"{channel}\"}}", name(kind))
}

/// An event of a user of a presence channel.
pub(crate) fn member_event(kind: Kind, channel: &ChannelName, user: &str) -> String {
    format!("{{\"name\":{},\"channel\":\"{channel}\",\"user_id\":{}}}", name(kind), quoted(user))
}

/// So many subscribers there are.
pub(crate) fn count_event(channel: &ChannelName, count: u64) -> String {
    let name = name(Kind::SubscriptionCount);
    format!("{{\"name\":{name},\"channel\":\"{channel}\",\"subscription_count\":{count}}}")
}

/// What a client has published, with its connection's id as `socket_id`; its user in presence channels.
pub(crate) fn client_event(channel: &ChannelName, message: &Message, from: &str) -> String {
    let data = quoted(&pusher::data(&message.payload));
    let event = quoted(message.event.as_deref().unwrap_or(pusher::words::NAMELESS));
    let user = message.user.as_deref().filter(|_| channel.has_members());
    let user = user.map_or_else(String::new, |user| format!(",\"user_id\":{}", quoted(user)));
    let (name, from) = (name(Kind::ClientEvent), quoted(from));
    format!(
        "{{\"name\":{name},\"channel\":\"{channel}\",\"event\":{event},\"data\":{data},\"socket_id\":{from}{user}}}"
    )
}

/// So many events were dropped before this one: the origin was away for too long.
pub(crate) fn lost_event(channel: &ChannelName, count: u64) -> String {
    format!("{{\"name\":\"dormouse_lost\",\"channel\":\"{channel}\",\"count\":{count}}}")
}

fn name(kind: Kind) -> String {
    serde_json::to_string(&kind).unwrap_or_default()
}

/// Checks an app's webhooks; the place and the problem of the first that is wrong.
pub(crate) fn check(webhooks: &[Webhook], development: bool) -> Result<(), (String, String)> {
    if webhooks.len() > limits::WEBHOOKS_MAX {
        return Err(("webhooks".to_owned(), format!("at most {}", limits::WEBHOOKS_MAX)));
    }
    for (nth, hook) in webhooks.iter().enumerate() {
        let wrong = |(field, problem): (&str, &str)| (format!("webhooks[{nth}].{field}"), problem.to_owned());
        hook.check(development).map_err(wrong)?;
        // What waits for a webhook is kept by its URL.
        if let Some(twin) = webhooks.iter().take(nth).position(|other| other.url == hook.url) {
            return Err((format!("webhooks[{nth}].url"), format!("is that of webhooks[{twin}]")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
