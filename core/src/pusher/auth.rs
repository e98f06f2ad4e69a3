//! Signatures of Pusher's sockets: what an app signs for a client, and what is in it. HMAC-SHA256, in hexadecimal, behind the app's key and a colon.

use crate::channel::ChannelName;
use crate::config::App;
use crate::json::object;
use crate::limits;
use crate::presence::MemberData;
use crate::refusal::{Code, Refusal};
use crate::token::Grants;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// Who a client of a presence channel is, as its app has signed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelData {
    /// The user; a number is its decimal text.
    pub user: String,
    /// What it shows the others.
    pub info: Option<MemberData>,
}

/// Who a client is that signs in, as its app has signed it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserData {
    /// The user.
    pub user: String,
    /// What it shows in presence channels, unless it says otherwise there.
    pub info: Option<MemberData>,
    /// Users of whom it wants to know whether they are online; as many as there are.
    pub watchlist: Vec<String>,
    /// Channels that it may subscribe to without a signature for each.
    pub grants: Grants,
}

/// Checks `key:signature` for a channel. `channel_data` is signed wherever it is supplied, on private channels too. Refused with `unauthorized`.
pub fn check_channel(
    app: &App,
    socket_id: &str,
    channel: &ChannelName,
    channel_data: Option<&str>,
    auth: &str,
) -> Result<(), Refusal> {
    let data = channel_data.map(|data| format!(":{data}")).unwrap_or_default();
    check(app, auth, &format!("{socket_id}:{channel}{data}"))
}

/// Checks `key:signature` for signing in. Refused with `unauthorized`.
pub fn check_user(app: &App, socket_id: &str, user_data: &str, auth: &str) -> Result<(), Refusal> {
    check(app, auth, &format!("{socket_id}::user::{user_data}"))
}

fn check(app: &App, auth: &str, text: &str) -> Result<(), Refusal> {
    let (key, given) = auth.split_once(':').unwrap_or(("", auth));
    if key != app.key {
        return Err(Refusal::new(Code::Unauthorized, "Invalid key in subscription auth data: it is <key>:<signature>"));
    }
    if app.has_signed(text, given) {
        return Ok(());
    }
    // Pusher's own words, which its users look for.
    let message = format!("Invalid signature: Expected HMAC SHA256 hex digest of {text}, but got {given}");
    Err(Refusal::new(Code::Unauthorized, message))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Signed(i64),
    Unsigned(u64),
}

impl Id {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Signed(number) => number.to_string(),
            Self::Unsigned(number) => number.to_string(),
        }
    }
}

impl ChannelData {
    /// Reads `channel_data`. Refused with `invalid_field` and `too_large`.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct In<'a> {
            user_id: Id,
            #[serde(borrow, default)]
            user_info: Option<&'a RawValue>,
        }
        let data: In<'_> = object(text).map_err(|error| {
            let message = format!("channel_data is a JSON object with user_id, and user_info if there is any: {error}");
            Refusal::new(Code::InvalidField, message)
        })?;
        Ok(Self { user: check_id(data.user_id.text(), "user_id")?, info: info(data.user_info)? })
    }
}

impl UserData {
    /// Reads `user_data`. What else an app says of its users in it is theirs. Refused with `invalid_field` and `too_large`.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct In<'a> {
            id: String,
            #[serde(borrow, default)]
            user_info: Option<&'a RawValue>,
            #[serde(borrow, default)]
            watchlist: Option<&'a RawValue>,
            #[serde(borrow, default)]
            channels: Option<&'a RawValue>,
        }
        let data: In<'_> = object(text).map_err(|error| {
            Refusal::new(Code::InvalidField, format!("user_data is a JSON object with id, a string: {error}"))
        })?;
        let grants: Grants = read(data.channels);
        if grants.is_too_many() {
            let message = format!("user_data: channels has at most {} patterns", limits::TOKEN_PATTERNS_MAX);
            return Err(Refusal::new(Code::TooLarge, message));
        }
        Ok(Self {
            user: check_id(data.id, "id")?,
            info: info(data.user_info)?,
            watchlist: read(data.watchlist),
            grants,
        })
    }
}

/// A field that an app may have had before it meant anything: what is of another shape says nothing.
fn read<T: Default + DeserializeOwned>(raw: Option<&RawValue>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

fn check_id(id: String, field: &str) -> Result<String, Refusal> {
    if id.is_empty() || id.chars().count() > limits::USER_ID_MAX {
        let message = format!("{field} has 1 to {} characters", limits::USER_ID_MAX);
        return Err(Refusal::new(Code::InvalidField, message));
    }
    Ok(id)
}

fn info(raw: Option<&RawValue>) -> Result<Option<MemberData>, Refusal> {
    raw.map(|raw| MemberData::parse(raw.get())).transpose()
}

#[cfg(test)]
mod tests {
    use super::{ChannelData, UserData, check_channel, check_user};
    use crate::channel::ChannelName;
    use crate::config::{App, Config};
    use crate::refusal::Code;
    use crate::token::Grant;

    const KEY: &str = "278d425bdf160c739803";
    const PRIVATE: &str = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4";
    const PRESENCE: &str = "afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c";
    const USER: &str = "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba";
    /// The page says "Mr. Channels", but its signature was made when it said this.
    const CHANNEL_DATA: &str = r#"{"user_id":10,"user_info":{"name":"Mr. Pusher"}}"#;

    fn app() -> App {
        let secrets = r#""another-secret-of-it","7ad3773142a6692b25b8""#;
        let config = Config::parse(&format!(r#"[{{"id":"3","key":"{KEY}","secrets":[{secrets}]}}]"#)).unwrap();
        config.app(None).unwrap().clone()
    }

    fn channel(socket_id: &str, channel: &str, data: Option<&str>, auth: &str) -> Result<(), String> {
        let channel = ChannelName::parse(channel).unwrap();
        check_channel(&app(), socket_id, &channel, data, auth).map_err(|refusal| refusal.message.into_owned())
    }

    /// The worked examples of Pusher's "Auth signatures".
    #[test]
    fn the_published_vectors_are_good() {
        assert_eq!(channel("1234.1234", "private-foobar", None, &format!("{KEY}:{PRIVATE}")), Ok(()));
        let auth = format!("{KEY}:{PRESENCE}");
        assert_eq!(channel("1234.1234", "presence-foobar", Some(CHANNEL_DATA), &auth), Ok(()));
        assert!(check_user(&app(), "1234.1234", r#"{"id":"12345"}"#, &format!("{KEY}:{USER}")).is_ok());
    }

    #[test]
    fn a_signature_is_for_one_socket_one_channel_and_one_text() {
        let auth = format!("{KEY}:{PRIVATE}");
        assert!(channel("1234.1235", "private-foobar", None, &auth).is_err());
        assert!(channel("1234.1234", "private-foobaz", None, &auth).is_err());
        // Data that was not signed is not let in beside a signature that is good without it.
        assert!(channel("1234.1234", "private-foobar", Some("{}"), &auth).is_err());
        assert!(channel("1234.1234", "private-foobar", Some(""), &auth).is_err());
        let presence = format!("{KEY}:{PRESENCE}");
        assert!(channel("1234.1234", "presence-foobar", None, &presence).is_err());
        assert!(channel("1234.1234", "presence-foobar", Some(&CHANNEL_DATA.replace("10", "11")), &presence).is_err());
        assert!(check_user(&app(), "1234.1234", r#"{"id":"12346"}"#, &format!("{KEY}:{USER}")).is_err());
        assert!(check_user(&app(), "1234.1235", r#"{"id":"12345"}"#, &format!("{KEY}:{USER}")).is_err());
        for auth in ["", ":", KEY, PRIVATE, &format!("{KEY}:"), &format!("x:{PRIVATE}"), &format!("{KEY}:{PRIVATE}0")] {
            assert!(channel("1234.1234", "private-foobar", None, auth).is_err(), "{auth}");
        }
        let error = channel("1234.1234", "private-x", None, &format!("{KEY}:ab")).unwrap_err();
        let expected = "Invalid signature: Expected HMAC SHA256 hex digest of 1234.1234:private-x, but got ab";
        assert_eq!(error, expected);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let auth = format!("{KEY}:{PRIVATE}");
        for at in 0..auth.len() {
            let mut bytes = auth.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(channel("1234.1234", "private-foobar", None, &changed).is_err(), "{changed}");
        }
    }

    #[test]
    fn channel_data_names_a_user() {
        let read = |text: &str| ChannelData::parse(text).map_err(|refusal| refusal.code);
        let data = read(CHANNEL_DATA).unwrap();
        assert_eq!((data.user.as_str(), data.info.unwrap().as_str()), ("10", r#"{"name":"Mr. Pusher"}"#));
        assert_eq!(read(r#"{"user_id":"a","later":1}"#).unwrap().user, "a");
        assert_eq!(read(r#"{"user_id":-1}"#).unwrap().user, "-1");
        assert_eq!(read(r#"{"user_id":18446744073709551615}"#).unwrap().user, "18446744073709551615");
        assert_eq!(read(r#"{"user_id":"a","user_info":null}"#).unwrap().info, None);
        let long = "x".repeat(1100);
        for (text, code) in [
            ("", Code::InvalidField),
            ("{}", Code::InvalidField),
            ("[]", Code::InvalidField),
            (r#"{"user_id":null}"#, Code::InvalidField),
            (r#"{"user_id":""}"#, Code::InvalidField),
            (r#"{"user_id":1.5}"#, Code::InvalidField),
            (r#"{"user_id":true}"#, Code::InvalidField),
            (r#"{"user_id":{}}"#, Code::InvalidField),
            (&format!(r#"{{"user_id":"{}"}}"#, &long[..129]), Code::InvalidField),
            (&format!(r#"{{"user_id":"a","user_info":"{long}"}}"#), Code::TooLarge),
        ] {
            assert_eq!(read(text), Err(code), "{text}");
        }
    }

    #[test]
    fn user_data_has_an_id_and_whatever_else() {
        let read = |text: &str| UserData::parse(text).map_err(|refusal| refusal.code);
        let bare = read(r#"{"id":"7","name":"x","channels":["a"],"watchlist":"all"}"#).unwrap();
        assert!(bare.user == "7" && bare.watchlist.is_empty() && bare.grants.is_empty() && bare.info.is_none());
        let full = r#"{"id":"7","user_info":{"a":1},"watchlist":["8","9"],"channels":{"private-*":["sub","pub"]}}"#;
        let full = read(full).unwrap();
        assert_eq!((full.watchlist, full.info.unwrap().as_str()), (vec!["8".into(), "9".into()], r#"{"a":1}"#));
        assert!(full.grants.allow(&ChannelName::parse("private-a").unwrap(), Grant::Pub));
        for text in ["", "{}", "[]", r#"{"id":7}"#, r#"{"id":""}"#, r#"{"id":null}"#] {
            assert_eq!(read(text), Err(Code::InvalidField), "{text}");
        }
        let many: Vec<String> = (0..101).map(|nth| format!(r#""private-{nth}":["sub"]"#)).collect();
        assert_eq!(read(&format!(r#"{{"id":"7","channels":{{{}}}}}"#, many.join(","))), Err(Code::TooLarge));
    }
}
