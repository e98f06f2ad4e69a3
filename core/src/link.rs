//! The link between a Room and the Hubs that follow it: what they say to each other, and how it is written. JSON, versioned, unknown fields ignored.
//!
//! A follower is a cursor into the channel's log. A [`Delivery`] says after which position its messages come, so the Hub sees by itself
//! whether it has them already, or lacks something before them; its [`Receipt`] says what it has, and the Room goes on from there. Neither side
//! writes anything for a message: the Hub's position lives in the attachment of one of its sockets, and a Room that was put to sleep takes its followers to be at the log's end until one of them says otherwise.

mod relay;

pub use relay::{RELAY_PATH, Receipts, Relay, decode_receipts, encode_receipts, encode_relay};

use crate::call::{VERSION, Wire, read_wire, write_wire};
use crate::channel::ChannelName;
use crate::frame::Gap;
use crate::message::{Message, NewMessage};
use crate::position::Position;
use crate::presence::Changes;
use crate::refusal::{Code, Refusal};
use crate::session::Format;
use serde::{Deserialize, Serialize};

/// The binding of the Hub class in `wrangler.toml`.
pub const HUB_BINDING: &str = "HUB";
/// Makes a Hub a follower of a room: `POST`, body [`Follow`], answer [`Followed`].
pub const FOLLOW_PATH: &str = "/follow";
/// Ends that: `POST`, body [`Follow`], answer `{}`.
pub const UNFOLLOW_PATH: &str = "/unfollow";
/// Reads what a socket of a Hub missed: `POST`, body [`Missed`], answer a [`Delivery`].
pub const MISSED_PATH: &str = "/missed";
/// Says how many sockets of a Hub want a channel whose rule has `subscription_count`: `POST`, body [`Follow`] with `count`, answer [`Tallied`].
pub const TALLY_PATH: &str = "/tally";
/// Brings a Hub messages: `POST`, body [`Delivery`], answer [`Receipt`].
pub const DELIVER_PATH: &str = "/deliver";

/// What stands before the region where a Hub's sockets speak Pusher's protocol.
pub(crate) const PUSHER_SERIES: &str = "pusher-";

/// Failures in a row after which the pause before the next try is as long as it gets: `DELIVERY_RETRY_MS` doubled so often is past `DELIVERY_RETRY_MAX_MS`. It stands for
/// failures before a sleep, which nobody counted.
pub(crate) const FAILED_OFTEN: u32 = 5;

/// The series in which Hubs of a region are numbered that hold sockets of a format. Those that speak Pusher's protocol have their own: the runtime answers one spelling of a
/// ping for each object.
#[must_use]
pub fn series(format: Format, region: &str) -> String {
    if format == Format::Pusher { format!("{PUSHER_SERIES}{region}") } else { region.to_owned() }
}

/// The name of a Hub: an app's id and a series have no colon.
#[must_use]
pub fn hub_name(app: &str, series: &str, nth: u32) -> String {
    format!("v1:{app}:{series}:{nth}")
}

/// Whether a Hub of that name holds sockets that speak Pusher's protocol.
#[must_use]
pub fn speaks_pusher(hub: &str) -> bool {
    hub.splitn(3, ':').nth(2).is_some_and(|place| place.starts_with(PUSHER_SERIES))
}

/// The app's id that a Hub's name says.
#[must_use]
pub fn parse_hub_name(name: &str) -> Option<&str> {
    let (app, place) = name.strip_prefix("v1:")?.split_once(':')?;
    let (_, nth) = place.split_once(':')?;
    nth.parse::<u32>().ok().map(|_| app)
}

/// A Hub that wants a channel's messages, or wants them no longer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Follow {
    /// [`VERSION`].
    pub version: u32,
    /// The Hub's object name.
    pub hub: String,
    /// The Hub's count of its own decisions, in thousandths of a millisecond since 1970 and never the same twice: a Room that remembers a later one ignores the earlier; one that slept asks the Hub before it ends anything.
    #[serde(default)]
    pub at: u64,
    /// How many of its sockets want the channel then; only where the rule has `subscription_count`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// How many sockets of a Hub want a channel, or how many subscribers it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tally {
    /// When it was so, by the count that who says it has of its decisions ([`Follow::at`]; in a delivery, 0 where a Room does not say it yet): an earlier one that comes later is not heard.
    pub at: u64,
    /// How many.
    pub count: u64,
}

/// What a Room answers to a Hub that has said how many sockets it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tallied {
    /// Whether the Hub follows: if not, it was not heard, and has to follow anew.
    pub known: bool,
}

/// From now on the Hub gets what comes after this position.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Followed {
    /// The channel's last position.
    pub position: Position,
}

/// Where a socket of a Hub begins, or goes on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Missed {
    /// [`VERSION`].
    pub version: u32,
    /// Where.
    pub from: crate::call::Begin,
}

/// Messages of a channel, in order and without a hole, each one `seq` after the one before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The channel.
    pub channel: ChannelName,
    /// The position before the first of them.
    pub after: Position,
    /// The messages; none when the Room only asks what the Hub has.
    pub messages: Vec<Message>,
    /// What cannot be had before `after` (its `position` is `after`).
    pub gap: Option<Gap>,
    /// Who came and went, in a presence channel.
    pub members: Option<Changes>,
    /// How many subscribers the channel has, wherever they are, for those who are to be told.
    pub count: Option<Tally>,
}

/// What a Hub answers to a [`Delivery`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// Whether any socket of the Hub wants the channel: if not, it follows no longer.
    pub wanted: bool,
    /// The last position that it has; before `after` when something is missing in between. `None`: it has not begun yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub have: Option<Position>,
    /// The revision of the members that its sockets have been told. `None`: none of them has been told anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<u64>,
    /// Whether the answer to a report of its own is on its way: that brings what `members` lacks.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub reporting: bool,
    /// How many of its sockets want the channel; only where the rule has `subscription_count`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tally: Option<Tally>,
}

impl Receipt {
    /// Nobody wants the channel.
    pub const UNWANTED: Self = Self { wanted: false, have: None, members: None, reporting: false, tally: None };
}

impl Delivery {
    /// The position of the last message, or `after`.
    #[must_use]
    pub fn position(&self) -> Position {
        self.after.epoch.at(self.after.seq + self.messages.len() as u64)
    }

    /// The messages with their places.
    pub fn placed(&self) -> impl Iterator<Item = (Position, &Message)> {
        (self.after.seq + 1..).map(|seq| self.after.epoch.at(seq)).zip(&self.messages)
    }

    /// The text of it.
    #[must_use]
    pub fn encode(&self) -> String {
        let messages: Vec<String> = self.messages.iter().map(|message| write_wire(message, None, None)).collect();
        let gap = self.gap.as_ref().and_then(|gap| serde_json::to_string(gap).ok());
        let gap = gap.map_or_else(String::new, |gap| format!(",\"gap\":{gap}"));
        let members = self.members.as_ref().and_then(|members| serde_json::to_string(members).ok());
        let members = members.map_or_else(String::new, |members| format!(",\"members\":{members}"));
        let count = self.count.map_or_else(String::new, |of| format!(",\"count\":{},\"counted\":{}", of.count, of.at));
        let (channel, after, messages) = (&self.channel, self.after, messages.join(","));
        format!(
            "{{\"version\":{VERSION},\"channel\":\"{channel}\",\"after\":\"{after}\"{gap}{members}{count},\"messages\":[{messages}]}}"
        )
    }

    /// Reads it. Also what another object sends is checked.
    pub fn decode(text: &str) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct In<'a> {
            channel: std::borrow::Cow<'a, str>,
            after: Position,
            #[serde(default)]
            gap: Option<Gap>,
            #[serde(default)]
            members: Option<Changes>,
            #[serde(default)]
            count: Option<u64>,
            #[serde(default)]
            counted: u64,
            #[serde(borrow)]
            messages: Vec<Wire<'a>>,
        }
        let read: In<'_> =
            serde_json::from_str(text).map_err(|error| Refusal::new(Code::InvalidJson, format!("call: {error}")))?;
        let messages: Result<Vec<NewMessage>, Refusal> = read.messages.into_iter().map(read_wire).collect();
        Ok(Self {
            channel: ChannelName::known(&read.channel)?,
            after: read.after,
            messages: messages?.into_iter().map(|new| new.message).collect(),
            gap: read.gap,
            members: read.members,
            count: read.count.map(|count| Tally { at: read.counted, count }),
        })
    }
}

/// Reads the body of a call between objects.
pub fn decode<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(|error| Refusal::new(Code::InvalidJson, format!("call: {error}")))
}

#[cfg(test)]
mod tests {
    use super::{Delivery, Receipt, Tally, decode, hub_name, parse_hub_name};
    use crate::channel::ChannelName;
    use crate::frame::{Gap, GapReason};
    use crate::message::{Message, Payload};
    use crate::position::Epoch;
    use crate::presence::Changes;

    #[test]
    fn a_hub_is_named_after_app_region_and_number() {
        assert_eq!(parse_hub_name(&hub_name("1", "weur", 12)), Some("1"));
        for name in ["", "v1:", "v1:1", "v1:1:weur", "v2:1:weur:0", "v1:1:weur:x", "v1:1:weur:0:0"] {
            assert_eq!(parse_hub_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_delivery_reads_back_as_it_was() {
        let at = |seq| Epoch::new(7).at(seq);
        let mut delivery = Delivery {
            channel: ChannelName::parse("a;b@c").unwrap(),
            after: at(41),
            messages: vec![
                Message::new(Some("e\"".into()), Payload::Json("{ \"a\" :\t1.0e5 }".into()), Some("ä".into())),
                Message::new(None, Payload::Text("a\u{2028}\"\n".into()), None),
                Message::new(None, Payload::Binary((0..=255).collect()), None),
            ],
            gap: Some(Gap { after: at(7), position: at(41), reason: GapReason::Expired }),
            members: Some(Changes { after: Some(3), revision: 4, ..Changes::default() }),
            count: Some(Tally { at: 5, count: 12 }),
        };
        // Whom it is kept from, and who it is from.
        let kept = &mut delivery.messages[1];
        (kept.except, kept.user) = (Some("18.7\"".into()), Some("ü\"".into()));
        assert_eq!(Delivery::decode(&delivery.encode()).unwrap(), delivery);
        assert_eq!(delivery.position(), at(44));
        assert_eq!(delivery.placed().map(|(position, _)| position.seq).collect::<Vec<_>>(), [42, 43, 44]);
        let later = r#"{"version":9,"channel":"a","after":"000000000007:1","messages":[],"later":{}}"#;
        assert_eq!(Delivery::decode(later).unwrap().messages, []);
        let earlier = r#"{"version":1,"channel":"a","after":"000000000007:1","count":3,"messages":[]}"#;
        assert_eq!(Delivery::decode(earlier).unwrap().count, Some(Tally { at: 0, count: 3 }));
        for bad in ["", "{}", r#"{"channel":"a b","after":"000000000007:1","messages":[]}"#] {
            assert!(Delivery::decode(bad).is_err(), "{bad}");
        }
        assert!(decode::<Receipt>(r#"{"wanted":false,"later":1}"#).is_ok_and(|receipt| receipt.have.is_none()));
    }
}
