//! The attributes of channels that Pusher's HTTP API tells.

use super::field;
use crate::channel::ChannelName;
use crate::directory::Newest;
use crate::refusal::Refusal;
use serde::Serialize;

/// Which attributes are asked for: the parameter `info`, names with commas between.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Info {
    /// `user_count`: members, of presence channels.
    pub user_count: bool,
    /// `subscription_count`: connections.
    pub subscription_count: bool,
    /// `cache`: the last message, of cache channels.
    pub cache: bool,
}

impl Info {
    /// Reads the parameter; names that are none are handed back, the first of them.
    fn read(text: &str) -> (Self, Option<&str>) {
        let (mut info, mut unknown) = (Self::default(), None);
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "user_count" => info.user_count = true,
                "subscription_count" => info.subscription_count = true,
                "cache" => info.cache = true,
                other => unknown = unknown.or(Some(other)),
            }
        }
        (info, unknown)
    }

    /// What a query asks for: nothing else than what there is.
    pub(super) fn of_query(text: Option<&str>) -> Result<Self, Refusal> {
        match Self::read(text.unwrap_or_default()) {
            (info, None) => Ok(info),
            (_, Some(name)) => Err(field(format!("info: there is no attribute {name}"))),
        }
    }

    /// What is asked for when something is published: what does not apply is left out, whatever it is.
    pub(super) fn of_event(text: &str, channel: &ChannelName) -> Self {
        let (info, _) = Self::read(text);
        Self { user_count: info.user_count && channel.has_members(), cache: false, ..info }
    }

    /// Whether any attribute is asked for.
    pub(super) fn any(self) -> bool {
        self.user_count || self.subscription_count || self.cache
    }
}

/// What a channel has, as it is answered: what was asked for, and nothing else.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize)]
pub(super) struct Attributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) occupied: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subscription_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache: Option<Cache>,
}

/// What a cache channel has: its last message, or `null`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Cache {
    Hit(Newest),
    Miss,
}

impl Attributes {
    /// Of connections and members.
    pub(super) fn new(info: Info, (connections, members): (u64, Option<u64>)) -> Self {
        Self {
            user_count: members.filter(|_| info.user_count),
            subscription_count: info.subscription_count.then_some(connections),
            ..Self::default()
        }
    }
}
