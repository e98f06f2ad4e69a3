//! What a Hub remembers of a connection, in the socket's attachment.

use super::resume::Tab;
use crate::call::Begin;
use crate::channel::ChannelName;
use crate::limits;
use crate::position::Position;
use crate::presence::{Member, MemberData};
use crate::refusal::{Code, Refusal};
use crate::session::Format;
use crate::token::Grants;
use serde::{Deserialize, Serialize};

/// A connection of a Hub. As JSON with short names, at most [`limits::ATTACHMENT_BYTES`]; fields of a newer version are ignored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HubSession {
    /// The connection's id ([`crate::connection`]), given at accept.
    #[serde(rename = "c")]
    pub connection: String,
    /// How it is spoken to.
    #[serde(rename = "f")]
    pub format: Format,
    /// The token's user, or who signed in.
    #[serde(rename = "u", skip_serializing_if = "Option::is_none", default)]
    pub user: Option<String>,
    /// When it has to have been authorised, in milliseconds, where it has not been.
    #[serde(rename = "w", skip_serializing_if = "Option::is_none", default)]
    pub authorize_by: Option<u64>,
    /// When its token expires, in milliseconds.
    #[serde(rename = "x", skip_serializing_if = "Option::is_none", default)]
    pub expires_at: Option<u64>,
    /// What its token grants, or what it signed in with.
    #[serde(rename = "g", skip_serializing_if = "Grants::is_empty", default)]
    pub grants: Grants,
    /// What its token says that the user shows in presence channels.
    #[serde(rename = "i", skip_serializing_if = "Option::is_none", default)]
    pub info: Option<MemberData>,
    /// When the Hub last followed everything anew, in milliseconds: of one of its sockets.
    #[serde(rename = "r", skip_serializing_if = "Option::is_none", default)]
    pub reviewed: Option<u64>,
    /// What is remembered of it as a tab that resumes.
    #[serde(rename = "z", skip_serializing_if = "Option::is_none", default)]
    pub tab: Option<Tab>,
    /// The channels that it wants, in the order in which it asked.
    #[serde(rename = "s", skip_serializing_if = "Vec::is_empty", default)]
    pub subscriptions: Vec<Subscription>,
}

/// A channel that a connection wants.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Subscription {
    /// The channel.
    #[serde(rename = "c")]
    pub channel: ChannelName,
    /// Whether the connection may publish into it.
    #[serde(rename = "p", skip_serializing_if = "core::ops::Not::not", default)]
    pub may_publish: bool,
    /// How far it is.
    #[serde(rename = "a")]
    pub stage: Stage,
    /// In a presence channel: who it is there, where that need not be the connection's user.
    #[serde(rename = "u", skip_serializing_if = "Option::is_none", default)]
    pub user: Option<String>,
    /// In a presence channel: what its user shows, if this is the connection that came first.
    #[serde(rename = "d", skip_serializing_if = "Option::is_none", default)]
    pub data: Option<MemberData>,
    /// In a presence channel: a revision of the members that the connection has been told; of one of the channel's sockets, the last that all of them have been told. `None`:
    /// it has not been told who is there.
    #[serde(rename = "t", skip_serializing_if = "Option::is_none", default)]
    pub told: Option<u64>,
    /// Of the same one of the channel's sockets: whether they have to be told anew who is there, because of whom they do not know somebody has left.
    #[serde(rename = "o", skip_serializing_if = "core::ops::Not::not", default)]
    pub drifted: bool,
    /// Of a tab: it has everything up to here; `None` until it has been answered.
    #[serde(rename = "k", skip_serializing_if = "Option::is_none", default)]
    pub acked: Option<Position>,
    /// Of a tab: [`crate::resume::Claim::follows`].
    #[serde(rename = "f", skip_serializing_if = "core::ops::Not::not", default)]
    pub follows: bool,
}

/// How far a subscription is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Stage {
    /// It has not been answered: it waits for the channel's home, or for the first batch of what it missed.
    #[serde(rename = "j")]
    Joining(Option<Begin>),
    /// It has not been answered: it is a member already, and waits for the list of the others.
    #[serde(rename = "m")]
    Listing(Option<Begin>),
    /// It is replayed to, and has everything up to this position.
    #[serde(rename = "b")]
    Behind(Position),
    /// It gets what comes. The position is one that the Hub has had; of one of the channel's sockets, its last (that is how the Hub knows it after a sleep).
    #[serde(rename = "l")]
    Live(Position),
}

impl Subscription {
    /// One that waits for its answer, and may not publish.
    pub(super) fn new(channel: ChannelName, from: Option<Begin>) -> Self {
        Self {
            channel,
            may_publish: false,
            stage: Stage::Joining(from),
            user: None,
            data: None,
            told: None,
            drifted: false,
            acked: None,
            follows: false,
        }
    }

    /// To a hidden channel: with a user, who is online by it; without, to watch.
    pub(super) fn hidden(channel: ChannelName, user: Option<String>) -> Self {
        Self { user, ..Self::new(channel, None) }
    }

    pub(super) fn wanted(want: &super::Want) -> Self {
        let (may_publish, data) = (want.may_publish, want.data.clone());
        Self { may_publish, data, ..Self::new(want.channel.clone(), want.from) }
    }

    /// Characters that it will have more when it is live, however far its channel comes, and has been told who is there.
    fn to_come(&self) -> usize {
        let stage = serde_json::to_string(&self.stage).unwrap_or_default().len();
        let told = if self.channel.has_members() && self.told.is_none() {
            r#","t":1763760000000000,"o":true"#.len()
        } else {
            0
        };
        r#"{"l":"9f2c41d07ab3:9007199254740991"}"#.len().saturating_sub(stage) + told
    }

    /// Characters that it will have more when a tab has acknowledged it.
    fn to_acknowledge(&self) -> usize {
        let acked = self.acked.map_or(0, |acked| format!(r#","k":"{acked}""#).len());
        r#","k":"9f2c41d07ab3:9007199254740991","f":true"#.len().saturating_sub(acked)
    }
}

impl HubSession {
    /// Whether it fits its attachment.
    pub(super) fn check_size(&self) -> Result<(), Refusal> {
        let asked_for = self.subscriptions.iter().filter(|subscription| subscription.channel.online().is_none());
        if asked_for.count() > limits::SUBSCRIPTIONS_MAX {
            let message = format!("a connection has at most {} channels", limits::SUBSCRIPTIONS_MAX);
            return Err(Refusal::new(Code::TooLarge, message));
        }
        let mut to_come: usize = self.subscriptions.iter().map(Subscription::to_come).sum();
        if self.tab.is_some() {
            to_come += r#","p":true,"y":true"#.len()
                + self.subscriptions.iter().map(Subscription::to_acknowledge).sum::<usize>();
        }
        if attached(&self.encode(), to_come) > limits::ATTACHMENT_BYTES {
            let message = "what this connection asks for does not fit into what can be remembered of it: fewer channels, shorter names, less data, or a token with fewer patterns";
            return Err(Refusal::new(Code::TooLarge, message));
        }
        Ok(())
    }

    /// The attachment's text.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads an attachment; `None` if it is not one of ours.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The subscription to a channel.
    #[must_use]
    pub fn subscription(&self, channel: &ChannelName) -> Option<&Subscription> {
        self.subscriptions.iter().find(|subscription| subscription.channel == *channel)
    }

    /// Who it is in a channel; nobody, where it only watches.
    #[must_use]
    pub fn member(&self, channel: &ChannelName) -> Option<&str> {
        self.subscription(channel).and_then(|subscription| self.member_by(subscription))
    }

    /// Who it is by a subscription.
    pub(super) fn member_by<'a>(&'a self, subscription: &'a Subscription) -> Option<&'a str> {
        let user = self.user.as_deref().filter(|_| subscription.channel.online().is_none());
        subscription.user.as_deref().or(user)
    }

    /// How the others see it in a presence channel, where nobody of its user came before.
    pub(super) fn shown_in(&self, channel: &ChannelName) -> Option<Member> {
        let data = self.subscription(channel)?.data.clone();
        Some(Member { user: self.member(channel)?.to_owned(), data })
    }

    /// When it has to go unless something happens, in milliseconds.
    #[must_use]
    pub(super) fn ends_at(&self) -> Option<u64> {
        self.expires_at.into_iter().chain(self.authorize_by).min()
    }

    pub(super) fn subscription_mut(&mut self, channel: &ChannelName) -> Option<&mut Subscription> {
        self.subscriptions.iter_mut().find(|subscription| subscription.channel == *channel)
    }
}

/// Bytes of a text in an attachment, when `more` plain characters have come to it: the runtime keeps it in two bytes for each character, unless all of them are Latin-1.
fn attached(text: &str, more: usize) -> usize {
    if text.chars().all(|c| c <= '\u{ff}') { text.len() + more } else { 2 * (text.encode_utf16().count() + more) }
}

#[cfg(test)]
mod tests {
    use super::{HubSession, Stage, Subscription};
    use crate::channel::ChannelName;
    use crate::hub::Want;
    use crate::limits;
    use crate::position::Epoch;
    use crate::presence::MemberData;
    use crate::session::Format;
    use crate::token::Grants;

    /// A connection of so many presence channels, as many as fit.
    fn fullest(data: &str) -> HubSession {
        let mut session = HubSession {
            connection: "5c0e".repeat(8),
            format: Format::Many,
            user: Some("7".into()),
            authorize_by: None,
            expires_at: None,
            grants: Grants::default(),
            info: None,
            reviewed: None,
            tab: None,
            subscriptions: Vec::new(),
        };
        loop {
            let channel = ChannelName::parse(&format!("presence-{}", session.subscriptions.len())).unwrap();
            let data = Some(MemberData::parse(data).unwrap());
            let next = Subscription::wanted(&Want { channel, from: None, may_publish: true, data });
            session.subscriptions.push(next);
            if session.check_size().is_err() {
                session.subscriptions.pop();
                return session;
            }
        }
    }

    #[test]
    fn what_fits_fits_for_as_long_as_it_lives() {
        for (data, least) in [(r#""x""#, 90), (r#""\u00e4""#, 90), ("\"ä\"", 90), ("\"→\"", 60), ("\"🐭\"", 60)] {
            let mut session = fullest(data);
            assert!(session.subscriptions.len() >= least, "{data}: {}", session.subscriptions.len());
            for subscription in &mut session.subscriptions {
                subscription.stage = Stage::Live(Epoch::new(0xfff_ffff_ffff).at(9_007_199_254_740_991));
                (subscription.told, subscription.drifted) = (Some(9_999_999_999_999_999), true);
            }
            let text = session.encode();
            let units = text.encode_utf16();
            let bytes = if units.clone().all(|unit| unit < 256) { units.count() } else { 2 * units.count() };
            assert!(bytes <= limits::ATTACHMENT_BYTES, "{data}: {bytes}");
        }
    }
}
