//! Channel names, and what their prefixes mean.

use crate::limits;
use crate::refusal::{Code, Refusal};
use core::fmt;
use serde::{Deserialize, Serialize};

/// A channel's name: 1 to 164 characters of `A-Za-z0-9_-=@,.;` (Pusher's rule). Safe inside JSON and in an object's name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChannelName(String);

impl ChannelName {
    /// Checks a name as it came in, already percent-decoded.
    pub fn parse(name: &str) -> Result<Self, Refusal> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-=@,.;".contains(&b);
        if name.is_empty() || name.len() > limits::CHANNEL_NAME_MAX || !name.bytes().all(allowed) {
            return Err(Refusal::new(
                Code::InvalidChannel,
                format!("a channel name is 1 to {} characters of A-Za-z0-9_-=@,.;", limits::CHANNEL_NAME_MAX),
            ));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
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
        Self::parse(&name)
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
    fn keeps_to_the_alphabet_and_the_length() {
        for name in ["a", "private-x", "A-Za-z0-9_-=@,.;", &"x".repeat(164)] {
            assert!(ChannelName::parse(name).is_ok(), "{name}");
        }
        for name in ["", " ", "a b", "a/b", "a#b", "#user", "ä", "a\0", "a\"", "a:b", &"x".repeat(165)] {
            assert!(ChannelName::parse(name).is_err(), "{name}");
        }
    }
}
