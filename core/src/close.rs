//! Closing connections from outside: what the objects that have them are told, and which objects there are. JSON, versioned, unknown fields ignored.

use crate::channel::ChannelName;
use crate::occupancy::Occupancy;
use crate::refusal::{Code, Refusal};
use serde::{Deserialize, Serialize};

/// Closes connections of a Room or of a Hub: `POST`, body [`Close`], answer [`Closed`].
pub const CLOSE_PATH: &str = "/close";

/// An object that has connections.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holder {
    /// The Room of a channel.
    Channel(ChannelName),
    /// A Hub, by its object's name.
    Hub(String),
}

/// The order to close connections.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Close {
    /// [`crate::call::VERSION`].
    pub version: u32,
    /// Which.
    pub whose: Whose,
}

/// Which connections to close.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whose {
    /// The one with this id.
    Connection(String),
    /// Those of this user: whose token said so, when they connected or with a `subscribe`, or who signed in.
    User(String),
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Closed {
    /// Connections that were told to go; none for those that were told before.
    pub closed: usize,
    /// What the object has, connections included that have not gone yet: the Directory may think that it is more.
    #[serde(default)]
    pub state: Occupancy,
}

impl Whose {
    /// Whether a connection is meant.
    #[must_use]
    pub fn is(&self, connection: &str, user: Option<&str>) -> bool {
        match self {
            Self::Connection(id) => id == connection,
            Self::User(id) => user == Some(id),
        }
    }
}

/// What a connection is told that is closed from outside.
pub(crate) fn farewell() -> Refusal {
    Refusal::new(Code::Forbidden, "closed by the app")
}

#[cfg(test)]
mod tests {
    use super::{Close, Closed, Whose};
    use crate::occupancy::Occupancy;

    #[test]
    fn calls_of_another_version_are_read() {
        for whose in [Whose::Connection("c".into()), Whose::User("ä\"".into())] {
            let close = Close { version: 1, whose };
            let text = serde_json::to_string(&close).unwrap();
            assert_eq!(serde_json::from_str::<Close>(&text.replacen('{', r#"{"later":[],"#, 1)).unwrap(), close);
        }
        // Who does not say what it has is not taken to have nothing.
        let closed: Closed = serde_json::from_str(r#"{"closed":2,"later":{}}"#).unwrap();
        assert_eq!(closed, Closed { closed: 2, state: Occupancy::Held });
        assert!(serde_json::from_str::<Close>(r#"{"version":1,"whose":{}}"#).is_err());
    }

    #[test]
    fn nobody_is_meant_who_has_no_user() {
        let user = Whose::User(String::new());
        assert!(!user.is("c", None) && user.is("c", Some("")));
        assert!(Whose::Connection("c".into()).is("c", Some("u")) && !Whose::Connection("u".into()).is("c", Some("u")));
    }
}
