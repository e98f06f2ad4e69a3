//! `channels`, `channels/{channel}` and `channels/{channel}/users`.

use super::field;
use super::info::{Attributes, Cache, Info};
use crate::call::VERSION;
use crate::channel::ChannelName;
use crate::config::App;
use crate::directory::{Count, Counting, HubCount, List, Listed};
use crate::edge::channels::{Tally, has_directory};
use crate::head::Head;
use crate::limits;
use crate::refusal::Refusal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A listing of channels, and what has been listed so far.
#[derive(Debug)]
pub struct ChannelsQuery {
    prefix: String,
    info: Info,
    listed: Listed,
}

/// Which channels are listed, and what of them.
pub fn channels_query(app: &App, head: &Head<'_>) -> Result<ChannelsQuery, Refusal> {
    has_directory(app)?;
    let prefix = head.query("filter_by_prefix").unwrap_or_default().into_owned();
    if !ChannelName::can_begin(&prefix) {
        return Err(field("filter_by_prefix: the beginning of a channel's name"));
    }
    let info = Info::of_query(head.query("info").as_deref())?;
    if info.user_count && !prefix.starts_with("presence-") {
        // Pusher's own text, spelled as tests of its libraries expect it.
        let message = "user_count may only be requested for presence channels - please supply filter_by_prefix begining with presence-";
        return Err(field(message));
    }
    if info.cache {
        return Err(field("cache may only be requested for a single channel"));
    }
    Ok(ChannelsQuery { prefix, info, listed: Listed { channels: Vec::new(), more: true } })
}

impl ChannelsQuery {
    /// What to ask the Directory next: one request. `None` when everything is known.
    #[must_use]
    pub fn list(&self) -> Option<List> {
        let after = self.listed.channels.last().map(|entry| entry.channel.clone());
        let list = List { version: VERSION, prefix: self.prefix.clone(), after, limit: limits::CHANNELS_NAMED_MAX };
        self.listed.more.then_some(list)
    }

    /// Takes what the Directory answered, or refuses what is past the bounds.
    pub fn add(&mut self, mut listed: Listed) -> Result<(), Refusal> {
        // An answer without channels is the end, whatever it says.
        self.listed.more = listed.more && !listed.channels.is_empty();
        self.listed.channels.append(&mut listed.channels);
        let most = if self.info.any() { limits::CHANNELS_ASKED_MAX } else { limits::CHANNELS_LISTED_MAX };
        if self.listed.channels.len() > most || (self.listed.more && self.listed.channels.len() == most) {
            let with = if self.info.any() { " with info" } else { "" };
            let message = format!(
                "more than {most} channels cannot be listed at once{with}: filter_by_prefix, or GET /channels with its pages"
            );
            return Err(field(message));
        }
        Ok(())
    }

    /// Those whose Rooms are asked, one request each, and the names of the others: they are listed as the Directory has them.
    #[must_use]
    pub fn split(&self) -> (Listed, Vec<ChannelName>) {
        let (asked, others) = self.listed.channels.split_at(self.listed.channels.len().min(limits::CHANNELS_ASKED_MAX));
        let others = others.iter().map(|entry| entry.channel.clone()).collect();
        (Listed { channels: asked.to_vec(), more: false }, others)
    }

    /// The answer: whoever has connections.
    #[must_use]
    pub fn body(&self, tally: &Tally, others: &[ChannelName]) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            channels: BTreeMap<&'a str, Attributes>,
        }
        let occupied = tally.occupied().map(|(name, numbers)| (name.as_str(), Attributes::new(self.info, numbers)));
        let others = others.iter().map(|name| (name.as_str(), Attributes::default()));
        serde_json::to_string(&Body { channels: occupied.chain(others).collect() }).unwrap_or_default()
    }
}

/// What is asked of one channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChannelQuery {
    info: Info,
}

/// What is asked of one channel: an attribute that it does not have is refused.
pub fn channel_query(channel: &ChannelName, head: &Head<'_>) -> Result<ChannelQuery, Refusal> {
    let info = Info::of_query(head.query("info").as_deref())?;
    if info.user_count && !channel.has_members() {
        return Err(field("Cannot retrieve the user count unless the channel is a presence channel"));
    }
    if info.cache && !channel.is_cache() {
        return Err(field("Cannot retrieve the cache unless the channel is a cache channel"));
    }
    Ok(ChannelQuery { info })
}

impl ChannelQuery {
    /// What to ask the Room: one request.
    #[must_use]
    pub fn counting(&self) -> Counting {
        Counting { newest: self.info.cache }
    }

    /// The Hubs that have to be asked as well, one request each: none where it is known without them that somebody is there, and nobody asks how many.
    #[must_use]
    pub fn hubs(&self, channel: &ChannelName, count: &Count) -> Vec<(String, HubCount)> {
        if count.connections > 0 && !self.info.subscription_count {
            return Vec::new();
        }
        let asked = || HubCount { version: VERSION, channels: vec![channel.clone()] };
        count.hubs.iter().map(|hub| (hub.clone(), asked())).collect()
    }

    /// The answer. `connections` are all of them.
    #[must_use]
    pub fn body(&self, count: Count, connections: u64) -> String {
        let attributes = Attributes {
            occupied: Some(connections > 0),
            cache: self.info.cache.then(|| count.newest.map_or(Cache::Miss, Cache::Hit)),
            ..Attributes::new(self.info, (connections, count.members))
        };
        serde_json::to_string(&attributes).unwrap_or_default()
    }
}

/// The users of a presence channel, page by page.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Users {
    ids: Vec<String>,
}

/// Whether a channel has users at all.
pub fn users_query(channel: &ChannelName) -> Result<Users, Refusal> {
    if !channel.has_members() {
        return Err(field("Users can only be retrieved for presence channels"));
    }
    Ok(Users::default())
}

impl Users {
    /// The last one that is known: the next page goes on there.
    #[must_use]
    pub fn last(&self) -> Option<&str> {
        self.ids.last().map(String::as_str)
    }

    /// Takes a page as the Room wrote it, and says whether there is another.
    pub fn add(&mut self, page: &str) -> Result<bool, Refusal> {
        #[derive(Deserialize)]
        struct Page {
            members: Vec<Member>,
            #[serde(default)]
            more: bool,
        }
        #[derive(Deserialize)]
        struct Member {
            user: String,
        }
        let page: Page = crate::link::decode(page)?;
        let more = page.more && !page.members.is_empty() && self.ids.len() < limits::MEMBERS_MAX;
        self.ids.extend(page.members.into_iter().map(|member| member.user));
        Ok(more)
    }

    /// The answer.
    #[must_use]
    pub fn body(&self) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            users: Vec<User<'a>>,
        }
        #[derive(Serialize)]
        struct User<'a> {
            id: &'a str,
        }
        serde_json::to_string(&Body { users: self.ids.iter().map(|id| User { id }).collect() }).unwrap_or_default()
    }
}
