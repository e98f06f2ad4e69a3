//! Listing the channels that have connections, and closing connections: both are for the app's own servers.

use super::number;
use crate::call::VERSION;
use crate::channel::ChannelName;
use crate::config::{App, Config};
use crate::credentials::{Publisher, identify};
use crate::directory::{Count, Entry, HubCount, HubCounts, List, Listed, Strike};
use crate::head::Head;
use crate::limits;
use crate::refusal::{Code, Refusal};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use std::collections::BTreeMap;

/// The app whose server asks, by its credentials. `directory`: whether that app has to have one. `now_s` is in seconds.
pub fn operator<'a>(config: &'a Config, head: &Head<'_>, now_s: u64, directory: bool) -> Result<&'a App, Refusal> {
    let app = identify(config, head, now_s).and_then(|publisher: Publisher<'_>| publisher.prove(head, b""))?;
    if directory {
        has_directory(app)?;
    }
    Ok(app)
}

/// Refuses what an app without a directory cannot have.
pub fn has_directory(app: &App) -> Result<(), Refusal> {
    let none = || Refusal::new(Code::NotFound, "this app has no directory: see `directory` in docs/configuration.md");
    app.directory.then_some(()).ok_or_else(none)
}

/// A user's id as it is in a path: 1 to 128 characters, as in a token's `sub`.
pub fn user_id(segment: &str) -> Result<String, Refusal> {
    let id = percent_decode_str(segment).decode_utf8().ok().filter(|id| !id.is_empty());
    let id = id.filter(|id| id.chars().count() <= limits::USER_ID_MAX);
    let wrong = || Refusal::new(Code::InvalidField, format!("a user's id has 1 to {} characters", limits::USER_ID_MAX));
    id.map(std::borrow::Cow::into_owned).ok_or_else(wrong)
}

/// A listing that may be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing<'a> {
    /// The app's id.
    pub app: &'a str,
    /// What to ask its Directory.
    pub list: List,
}

/// Who lists channels, and which. `now_s` is in seconds.
pub fn listing<'a>(config: &'a Config, head: &Head<'_>, now_s: u64) -> Result<Listing<'a>, Refusal> {
    let app = operator(config, head, now_s, true)?;
    let most = limits::CHANNELS_PAGE_MAX;
    let limit = match head.query("limit") {
        None => most,
        Some(limit) => {
            number(&limit, 1, most).ok_or_else(|| Refusal::new(Code::InvalidField, format!("limit: 1 to {most}")))?
        }
    };
    let prefix = head.query("prefix").unwrap_or_default().into_owned();
    if !ChannelName::can_begin(&prefix) {
        return Err(Refusal::new(Code::InvalidField, "prefix: the beginning of a channel's name"));
    }
    let after = head.query("after").map(|after| ChannelName::parse(&after)).transpose()?;
    Ok(Listing { app: &app.id, list: List { version: VERSION, prefix, after, limit } })
}

/// A page of channels, while their Rooms and Hubs are asked for numbers: one request to the Directory, one to each Room, one to each Hub that follows any of them, and
/// one to the Directory if nobody is left in some.
#[derive(Debug)]
pub struct Tally {
    more: bool,
    channels: Vec<Tallied>,
}

#[derive(Debug)]
struct Tallied {
    entry: Entry,
    connections: u64,
    members: Option<u64>,
    /// Its Room has neither sockets nor followers.
    vacant: bool,
}

impl Tally {
    /// Of what the Directory listed, in order of name, and what the Room of each channel answered, in the same order; and what to ask each Hub, by its name: more than
    /// once where it is more than the Hub answers at once.
    #[must_use]
    pub fn new(listed: Listed, counts: Vec<Count>) -> (Self, Vec<(String, HubCount)>) {
        let mut hubs: BTreeMap<String, Vec<ChannelName>> = BTreeMap::new();
        let mut channels = Vec::new();
        for (entry, count) in listed.channels.into_iter().zip(counts) {
            let vacant = count.connections == 0 && count.hubs.is_empty();
            for hub in count.hubs {
                hubs.entry(hub).or_default().push(entry.channel.clone());
            }
            channels.push(Tallied { entry, connections: count.connections, members: count.members, vacant });
        }
        let most = usize::try_from(limits::CHANNELS_PAGE_MAX).unwrap_or(1);
        let mut asked = Vec::new();
        for (hub, channels) in hubs {
            let calls = channels.chunks(most);
            asked.extend(calls.map(|part| (hub.clone(), HubCount { version: VERSION, channels: part.to_vec() })));
        }
        (Self { more: listed.more, channels }, asked)
    }

    /// The channels that have connections, in order of name.
    pub(super) fn occupied(&self) -> impl Iterator<Item = (&ChannelName, (u64, Option<u64>))> {
        let occupied = self.channels.iter().filter(|tallied| tallied.connections > 0);
        occupied.map(|tallied| (&tallied.entry.channel, (tallied.connections, tallied.members)))
    }

    /// What is known of a channel: its connections, and the members of a presence channel.
    pub(super) fn numbers(&self, channel: &ChannelName) -> Option<(u64, Option<u64>)> {
        let at = self.channels.binary_search_by(|tallied| tallied.entry.channel.cmp(channel)).ok()?;
        self.channels.get(at).map(|tallied| (tallied.connections, tallied.members))
    }

    /// Adds what a Hub answered.
    pub fn add(&mut self, asked: &HubCount, counts: &HubCounts) {
        for (channel, count) in asked.channels.iter().zip(&counts.connections) {
            // Both are in order of name.
            if let Ok(at) = self.channels.binary_search_by(|tallied| tallied.entry.channel.cmp(channel))
                && let Some(tallied) = self.channels.get_mut(at)
            {
                tallied.connections = tallied.connections.saturating_add(*count);
            }
        }
    }

    /// What to tell the Directory, if anything: a Room that has nobody has told it, or cannot any more. Where only a Hub holds on to a channel for a moment, the Room tells it.
    #[must_use]
    pub fn strike(&self) -> Option<Strike> {
        let vacant = self.channels.iter().filter(|tallied| tallied.vacant);
        let channels: Vec<Entry> = vacant.map(|tallied| tallied.entry.clone()).collect();
        (!channels.is_empty()).then_some(Strike { version: VERSION, channels })
    }

    /// The answer. `after` is the last that was listed, also if it is not in the answer.
    #[must_use]
    pub fn body(&self) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            channels: Vec<Channel<'a>>,
            more: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            after: Option<&'a ChannelName>,
        }
        #[derive(Serialize)]
        struct Channel<'a> {
            #[serde(rename = "channel")]
            name: &'a ChannelName,
            connections: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            members: Option<u64>,
        }
        let after = self.channels.last().filter(|_| self.more).map(|tallied| &tallied.entry.channel);
        let channels =
            self.occupied().map(|(name, (connections, members))| Channel { name, connections, members }).collect();
        let body = Body { channels, more: self.more, after };
        serde_json::to_string(&body).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Tally, listing};
    use crate::channel::ChannelName;
    use crate::config::Config;
    use crate::directory::{Count, Entry, HubCounts, Listed};
    use crate::head::Head;
    use crate::refusal::Code;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    fn config() -> Config {
        let apps = r#"[{"id":"1","key":"k","secrets":["secret-number-one-"]},
            {"id":"2","key":"off","secrets":["secret-number-two-"],"directory":false}]"#;
        Config::parse(apps).unwrap()
    }

    fn name(name: &str) -> ChannelName {
        ChannelName::parse(name).unwrap()
    }

    fn list(credentials: &str, query: &str) -> Result<(String, Option<String>, u64), Code> {
        let config = config();
        let header = |asked: &str| {
            (asked == "authorization" && !credentials.is_empty())
                .then(|| format!("Basic {}", STANDARD.encode(credentials)))
        };
        let head = Head { method: "GET", path: "/channels", query, header: &header };
        let listing = listing(&config, &head, 1000).map_err(|refusal| refusal.code)?;
        let after = listing.list.after.map(|after| after.to_string());
        Ok((listing.list.prefix, after, listing.list.limit))
    }

    #[test]
    fn only_the_app_lists_and_only_where_there_is_a_directory() {
        let good = "k:secret-number-one-";
        assert_eq!(list(good, ""), Ok((String::new(), None, 100)));
        let query = "prefix=%23server-to&after=%23server-to-user-7&limit=1";
        assert_eq!(list(good, query), Ok(("#server-to".into(), Some("#server-to-user-7".into()), 1)));
        assert_eq!(list("off:secret-number-two-", ""), Err(Code::NotFound));
        for credentials in ["", "k:", "k:secret-number-two-", "off:secret-number-one-", "nobody:x"] {
            assert_eq!(list(credentials, "limit=0"), Err(Code::Unauthorized), "{credentials}");
        }
        for query in
            ["limit=0", "limit=101", "limit=", "limit=x", "limit=-1", "prefix=a%20b", "prefix=%ff", "prefix=a:"]
        {
            assert_eq!(list(good, query), Err(Code::InvalidField), "{query}");
        }
        for query in ["after=", "after=a%20b", "after=a:b"] {
            assert_eq!(list(good, query), Err(Code::InvalidChannel), "{query}");
        }
    }

    #[test]
    fn sockets_are_counted_wherever_they_are() {
        let entry = |channel: &str| Entry { channel: name(channel), at: 7 };
        let listed = Listed { channels: ["a", "b", "c", "d"].map(entry).into(), more: true };
        let count = |connections, hubs: &[&str]| Count {
            connections,
            hubs: hubs.iter().map(ToString::to_string).collect(),
            members: None,
            newest: None,
        };
        let counts = vec![
            Count { members: Some(6), ..count(2, &["h", "i"]) },
            count(0, &["i"]),
            count(0, &[]),
            count(0, &["i"]),
        ];
        let (mut tally, hubs) = Tally::new(listed, counts);
        let asked: Vec<(&str, Vec<String>)> = hubs
            .iter()
            .map(|(hub, asked)| (hub.as_str(), asked.channels.iter().map(ToString::to_string).collect()))
            .collect();
        assert_eq!(asked, [("h", vec!["a".into()]), ("i", vec!["a".into(), "b".into(), "d".into()])]);
        tally.add(&hubs[0].1, &HubCounts { connections: vec![3] });
        tally.add(&hubs[1].1, &HubCounts { connections: vec![4, 5, 0, 9] });
        assert_eq!(
            tally.body(),
            r#"{"channels":[{"channel":"a","connections":9,"members":6},{"channel":"b","connections":5}],"more":true,"after":"d"}"#
        );
        // A Hub holds on to `d` for a moment: its Room will tell.
        assert_eq!(tally.strike().unwrap().channels, [entry("c")]);
        let (tally, hubs) = Tally::new(Listed { channels: Vec::new(), more: false }, Vec::new());
        assert_eq!((tally.body().as_str(), tally.strike(), hubs.len()), (r#"{"channels":[],"more":false}"#, None, 0));
    }
}
