//! Channel names, and what their prefixes mean.

use crate::limits;
use crate::refusal::{Code, Refusal};
use crate::resume::ResumeId;
use core::fmt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What the name of a user's channel begins with (Pusher's own name for it).
const USER_PREFIX: &str = "#server-to-user-";
/// What the name of a tab's pointer begins with ([`crate::resume`]): objects alone make and read such names.
const POINTER_PREFIX: &str = "#resume-";

/// What the names of the channels begin with in which users are online who have signed in: nobody can ask for one.
const ONLINE_PREFIX: &str = "#online-";

/// A channel's name: 1 to 164 characters of `A-Za-z0-9_-=@,.;` (Pusher's rule), or a user's channel, `#server-to-user-` and the user's id in the same
/// alphabet. Safe inside JSON and in an object's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChannelName(String);

impl ChannelName {
    /// Checks a name as it came in, already percent-decoded.
    pub fn parse(name: &str) -> Result<Self, Refusal> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-=@,.;".contains(&b);
        let own = name.strip_prefix(USER_PREFIX).unwrap_or(name);
        if own.is_empty() || name.len() > limits::CHANNEL_NAME_MAX || !own.bytes().all(allowed) {
            return Err(Refusal::new(
                Code::InvalidChannel,
                format!("a channel name is 1 to {} characters of A-Za-z0-9_-=@,.;", limits::CHANNEL_NAME_MAX),
            ));
        }
        Ok(Self(name.to_owned()))
    }

    /// The channel of a tab, in which the last message says which connection of it was the last one. From a hash of its id: names of objects are not secret.
    #[must_use]
    pub fn pointer(id: &ResumeId) -> Self {
        let hash = Sha256::digest(id.as_str());
        let hex = hash.iter().take(16).map(|byte| format!("{byte:02x}"));
        Self(hex.fold(POINTER_PREFIX.to_owned(), |name, byte| name + &byte))
    }

    /// Whether it is a tab's pointer: nobody joins it or publishes into it but Hubs.
    #[must_use]
    pub fn is_pointer(&self) -> bool {
        self.0.starts_with(POINTER_PREFIX)
    }

    /// A user's channel. Ids that are no channel names have none.
    pub fn of_user(id: &str) -> Result<Self, Refusal> {
        Self::parse(&format!("{USER_PREFIX}{id}")).map_err(|_| {
            Refusal::new(
                Code::InvalidChannel,
                "a user has a channel if the id is 1 to 128 characters of A-Za-z0-9_-=@,.;",
            )
        })
    }

    /// The hidden channel whose one member a user is while a connection has signed in as it. Ids that are no channel names have none.
    pub fn of_online(id: &str) -> Result<Self, Refusal> {
        Self::parse(id)?;
        Self::known(&format!("{ONLINE_PREFIX}{id}"))
    }

    /// Reads a name that comes from Dormouse itself: what [`ChannelName::parse`] takes, hidden channels, and tabs' pointers.
    pub fn known(name: &str) -> Result<Self, Refusal> {
        let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if let Some(hash) = name.strip_prefix(POINTER_PREFIX)
            && hash.len() == 32
            && hash.bytes().all(is_hex)
        {
            return Ok(Self(name.to_owned()));
        }
        let Some(id) = name.strip_prefix(ONLINE_PREFIX) else { return Self::parse(name) };
        Self::parse(id)?;
        if name.len() > limits::CHANNEL_NAME_MAX {
            return Err(Refusal::new(Code::InvalidChannel, "this user's id is too long for a channel"));
        }
        Ok(Self(name.to_owned()))
    }

    /// The user whose being online a hidden channel is. No message is ever in one, no list has it, and nobody outside hears of it.
    #[must_use]
    pub fn online(&self) -> Option<&str> {
        self.0.strip_prefix(ONLINE_PREFIX)
    }

    /// Whether nobody outside ever hears of it: the hidden channels of users who are online, and of tabs.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.online().is_some() || self.is_pointer()
    }

    /// Whether a channel's name can begin so: nothing, a name, or the beginning of a user's.
    #[must_use]
    pub fn can_begin(with: &str) -> bool {
        USER_PREFIX.starts_with(with) || Self::parse(with).is_ok()
    }

    /// The user whose channel it is: nobody else may join it, and no client may publish into it.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.0.strip_prefix(USER_PREFIX)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has members: `presence-…`, whose connections see each other, and hidden channels.
    #[must_use]
    pub fn has_members(&self) -> bool {
        self.0.starts_with("presence-") || self.online().is_some()
    }

    /// Whether whoever comes is told the last message: `cache-…`, behind any of the other prefixes.
    #[must_use]
    pub fn is_cache(&self) -> bool {
        let own = ["private-encrypted-", "private-", "presence-"].iter().find_map(|prefix| self.0.strip_prefix(prefix));
        own.unwrap_or(&self.0).starts_with("cache-")
    }

    /// Whether only its subscribers can read it: `private-encrypted-…`. Clients do not publish into it.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.0.starts_with("private-encrypted-")
    }

    /// Whether joining needs a token that names the channel: `private-…` and `presence-…`.
    #[must_use]
    pub fn needs_token(&self) -> bool {
        self.0.starts_with("private-") || self.0.starts_with("presence-")
    }
}

impl TryFrom<String> for ChannelName {
    type Error = Refusal;

    fn try_from(name: String) -> Result<Self, Refusal> {
        Self::known(&name)
    }
}

impl From<ChannelName> for String {
    fn from(name: ChannelName) -> Self {
        name.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::ChannelName;

    #[test]
    fn every_beginning_of_a_name_is_one() {
        for name in ["private-x=@,.;_-A9", "#server-to-user-7"] {
            for end in 0..=name.len() {
                assert!(ChannelName::can_begin(&name[..end]), "{}", &name[..end]);
            }
        }
        for with in [" ", "a b", "a:", "#x", "a#", "ä", "%", &"x".repeat(165)] {
            assert!(!ChannelName::can_begin(with), "{with}");
        }
    }

    #[test]
    fn nobody_outside_can_name_a_hidden_channel() {
        let hidden = ChannelName::of_online("7").unwrap();
        assert_eq!((hidden.as_str(), hidden.online(), hidden.user()), ("#online-7", Some("7"), None));
        assert!(ChannelName::parse("#online-7").is_err() && ChannelName::known("#online-7").is_ok());
        assert!(hidden.has_members() && !hidden.needs_token() && !hidden.is_cache());
        assert_eq!(ChannelName::known("lobby").unwrap().online(), None);
        for id in ["", "a b", "#online-7", "#server-to-user-", &"x".repeat(157)] {
            assert!(ChannelName::of_online(id).is_err(), "{id}");
        }
        for name in ["#online-", "#online-a b", "#online", "#x"] {
            assert!(ChannelName::known(name).is_err(), "{name}");
        }
    }

    #[test]
    fn every_kind_of_channel_may_keep_its_last_message() {
        for prefix in ["", "private-", "presence-", "private-encrypted-"] {
            let is_cache = |rest: &str| ChannelName::parse(&format!("{prefix}{rest}")).unwrap().is_cache();
            assert!(is_cache("cache-a") && is_cache("cache-") && !is_cache("a-cache-") && !is_cache("cache"));
        }
        assert!(!ChannelName::parse("#server-to-user-cache-a").unwrap().is_cache());
        assert!(!ChannelName::parse("encrypted-cache-a").unwrap().is_cache());
    }

    #[test]
    fn keeps_to_the_alphabet_and_the_length() {
        for name in ["a", "private-x", "A-Za-z0-9_-=@,.;", &"x".repeat(164)] {
            assert!(ChannelName::parse(name).is_ok(), "{name}");
        }
        assert_eq!(ChannelName::of_user("7").unwrap().as_str(), "#server-to-user-7");
        assert_eq!(ChannelName::of_user("7").unwrap().user(), Some("7"));
        assert_eq!(ChannelName::parse("private-7").unwrap().user(), None);
        for id in ["", "#", "a b", "ä", "#server-to-user-7", &"x".repeat(149)] {
            assert!(ChannelName::of_user(id).is_err(), "{id}");
        }
        for name in [
            "#server-to-user-",
            "#Server-to-user-7",
            "x#server-to-user-7",
            "#server-to-user-7#",
            "",
            " ",
            "a b",
            "a/b",
            "a#b",
            "#user",
            "#resume-",
            "#resume-0123456789abcdef0123456789abcdef",
            "ä",
            "a\0",
            "a\"",
            "a:b",
            &"x".repeat(165),
        ] {
            assert!(ChannelName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn nobody_outside_can_name_a_tabs_pointer() {
        let id = crate::resume::ResumeId::parse("0b6f0f5e-3a54-4a3c-9d3b-6b1f4f9d2a10").unwrap();
        let pointer = ChannelName::pointer(&id);
        assert!(pointer.is_pointer() && !pointer.as_str().contains("0b6f"), "{pointer}");
        assert_eq!(ChannelName::known(pointer.as_str()).unwrap(), pointer);
        assert!(ChannelName::parse(pointer.as_str()).is_err());
        for name in ["#resume-", "#resume-x", "#resume-0123456789abcdef0123456789abcdeF"] {
            assert!(ChannelName::known(name).is_err(), "{name}");
        }
    }
}
