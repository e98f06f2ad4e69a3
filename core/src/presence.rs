//! Who is there: the members of a `presence-` channel, and what a Room and a Hub tell each other about them.
//!
//! A member is a user, however many connections there are. Every join and every leave has a revision, in thousandths of a millisecond since 1970 and never
//! going back; so "what has changed since" is a question that a Room can answer for anyone at any time, and many changes are one answer. A leave has its
//! revision from the moment at which the last connection ended, but one that lies ahead by the grace: until then it can be taken back, and nobody was told.

use crate::limits;
use crate::position::Epoch;
use crate::refusal::{Code, Refusal};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;

/// Tells a channel's Room which members a Hub has: `POST`, body [`Report`], answer [`Changes`].
pub const REPORT_PATH: &str = "/report";
/// Reads a page of a channel's members: `POST`, body [`crate::room::MembersQuery`], answer [`crate::room::MembersPage`].
pub const MEMBERS_PATH: &str = "/members";

/// What a member shows the others: JSON, at most [`limits::MEMBER_DATA_BYTES`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberData(String);

impl MemberData {
    /// Checks JSON and size.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.len() > limits::MEMBER_DATA_BYTES {
            let message = format!("a member's data has at most {} bytes", limits::MEMBER_DATA_BYTES);
            return Err(Refusal::new(Code::TooLarge, message));
        }
        serde_json::from_str::<de::IgnoredAny>(text)
            .map_err(|error| Refusal::new(Code::InvalidField, format!("data: JSON is needed: {error}")))?;
        Ok(Self(text.to_owned()))
    }

    /// The JSON text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for MemberData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for MemberData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get()).map_err(de::Error::custom)
    }
}

/// What a member shows: what the token says of its user stands, else what the client says.
pub(crate) fn shown(info: Option<&MemberData>, data: Option<MemberData>) -> Result<Option<MemberData>, Refusal> {
    match (info, data) {
        (Some(_), Some(_)) => Err(Refusal::new(Code::InvalidField, "data: the token has `info`, and that is shown")),
        (info, data) => Ok(info.cloned().or(data)),
    }
}

/// What a user is told for whom a channel has no place.
pub(crate) fn full() -> Refusal {
    Refusal::new(Code::Overloaded, "this channel has as many members as it can list")
}

/// A member as the others see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    /// The user.
    pub user: String,
    /// What it shows: that of the connection that came first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<MemberData>,
}

/// A user who has come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Joined {
    /// The revision.
    pub at: u64,
    /// Who.
    pub member: Member,
}

/// A user who has gone. Whoever does not know the user ignores it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Left {
    /// The revision.
    pub at: u64,
    /// Who.
    pub user: String,
}

/// What has changed in a channel's membership. Who is at revision `h` takes of it what comes after `h`, and has `revision` then; what `left` says
/// is done before what `joined` says.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Changes {
    /// The channel's epoch, of which the revisions are: those of another say nothing to who has some of this one. `None`: the Room does not say it yet, and it is taken to be the right one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// The revision after which these are all the changes; who is before it lacks some. `None`: what has changed cannot be said any more, `list` and `count` stand
    /// for all that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Up to which revision.
    pub revision: u64,
    /// How many members there are at that revision.
    pub count: u64,
    /// Who has come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<Joined>,
    /// Who has gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Left>,
    /// The first [`limits::MEMBERS_LISTED`] of those who are there at that revision, by user; where it was asked for, and where `after` is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<Vec<Member>>,
    /// In the answer to a report: users whom it named and who were not taken, because the channel has [`limits::MEMBERS_MAX`] members. They are not there by the Hub's word, and the
    /// Hub ends what they have of the channel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
}

/// What a Hub says of its own members, and what it wants to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`crate::call::VERSION`].
    pub version: u32,
    /// The Hub's object name.
    pub hub: String,
    /// The Hub's count of its own decisions, as in [`crate::link::Follow::at`]: what was said of a user by a later report stands.
    pub at: u64,
    /// The revision that the Hub's sockets have; `None`: none of them has been told anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub have: Option<u64>,
    /// `joined` are all of the Hub's users: whoever else was said to be there vanished without a word.
    #[serde(default)]
    pub whole: bool,
    /// Users whose first connection of this Hub has come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<Member>,
    /// Users whose last connection of this Hub has gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// Whether [`Changes::list`] is wanted.
    #[serde(default)]
    pub list: bool,
}

impl Report {
    /// Checks what another object says.
    pub fn check(&self) -> Result<(), Refusal> {
        let users = self.joined.iter().map(|member| &member.user).chain(&self.left);
        let known = |user: &String| !user.is_empty() && user.chars().count() <= limits::USER_ID_MAX;
        if self.hub.is_empty() || self.hub.len() > limits::HUB_NAME_MAX || !users.into_iter().all(known) {
            return Err(Refusal::new(Code::InvalidField, "call: report"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Changes, Member, MemberData, Report};
    use crate::refusal::Code;

    #[test]
    fn data_is_json_of_at_most_a_kilobyte() {
        let quoted = |n: usize| format!("\"{}\"", "x".repeat(n));
        for good in ["{}", "null", "1.0e5", "{ \"a\" : 1 }", &quoted(1022)] {
            assert_eq!(MemberData::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(MemberData::parse(&quoted(1023)).unwrap_err().code, Code::TooLarge);
        for bad in ["", "{", "x", "{} {}"] {
            assert_eq!(MemberData::parse(bad).unwrap_err().code, Code::InvalidField, "{bad}");
        }
    }

    #[test]
    fn calls_read_back_as_they_were_and_later_fields_are_ignored() {
        let data = MemberData::parse("{ \"n\" :\t1.0e5 }").unwrap();
        let member = Member { user: "7".into(), data: Some(data) };
        let report = Report {
            version: 1,
            hub: "v1:1:weur:0".into(),
            at: 5,
            have: Some(4),
            whole: false,
            joined: vec![member],
            left: vec!["8".into()],
            list: true,
        };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        assert!(report.check().is_ok());
        let bare: Report = serde_json::from_str(r#"{"version":9,"hub":"v1:1:weur:0","at":1,"later":[]}"#).unwrap();
        assert!(bare.have.is_none() && bare.joined.is_empty() && bare.check().is_ok());
        for bad in [String::new(), "ä".repeat(129)] {
            let wrong = Report { left: vec![bad], ..bare.clone() };
            assert!(wrong.check().is_err());
        }
        assert!(serde_json::from_str::<Changes>(r#"{"revision":1,"count":0,"later":{}}"#).is_ok());
        let large =
            format!(r#"{{"version":1,"hub":"h","at":1,"joined":[{{"user":"a","data":"{}"}}]}}"#, "x".repeat(2000));
        assert!(serde_json::from_str::<Report>(&large).is_err());
    }
}
