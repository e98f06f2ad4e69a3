//! Tokens: what a client may do, signed by its origin server (JWT, HS256, RFC 7519).

use crate::channel::ChannelName;
use crate::config::App;
use crate::limits;
use crate::presence::MemberData;
use crate::refusal::{Code, Refusal};
use jwt_compact::alg::{Hs256, Hs256Key};
use jwt_compact::{AlgorithmExt, UntrustedToken};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The claims of a token whose signature is good and whose time is now.
#[derive(Debug, Clone, Deserialize)]
pub struct Token {
    /// The user, where the token names one.
    #[serde(default)]
    pub sub: Option<String>,
    /// What it grants.
    #[serde(default, rename = "channels")]
    pub grants: Grants,
    // Not as its text: the claims are read into a tree first.
    #[serde(default)]
    info: Option<serde_json::Value>,
    #[serde(skip)]
    expires_at_s: u64,
}

/// Channel patterns and what they grant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grants(BTreeMap<String, Vec<Grant>>);

/// What a pattern grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grant {
    /// Joining the channel.
    Sub,
    /// Publishing over the socket.
    Pub,
    /// From a newer version.
    #[serde(other)]
    Other,
}

impl Token {
    /// Checks signature (with either of the app's secrets; HS256 whatever the header says), `exp` and `nbf`. `now_s` is in seconds.
    pub fn check(app: &App, token: &str, now_s: u64) -> Result<Self, Refusal> {
        if token.len() > limits::TOKEN_BYTES_MAX {
            return Err(Refusal::new(Code::TooLarge, format!("a token has at most {} bytes", limits::TOKEN_BYTES_MAX)));
        }
        let untrusted = UntrustedToken::new(token).map_err(|_| bad("the token is not a JWT signed with HS256"))?;
        let verified = app
            .secrets
            .iter()
            .find_map(|secret| Hs256.validator::<Self>(&Hs256Key::new(secret)).validate(&untrusted).ok())
            .ok_or_else(|| bad("the token's signature or claims are wrong"))?;
        let claims = verified.claims();
        let expires_at_s = claims.expiration.map(|time| u64::try_from(time.timestamp()).unwrap_or(0));
        let expires_at_s = expires_at_s.ok_or_else(|| bad("the token has no exp"))?;
        if expires_at_s <= now_s {
            return Err(Refusal::new(Code::Expired, "the token has expired: get a new one"));
        }
        let not_before_s = claims.not_before.map_or(0, |time| u64::try_from(time.timestamp()).unwrap_or(0));
        if not_before_s > now_s + limits::TOKEN_SKEW_S {
            return Err(Refusal::new(Code::Expired, "the token is not good yet (nbf)"));
        }
        let mut token = claims.custom.clone();
        token.expires_at_s = expires_at_s;
        if token.grants.is_too_many() {
            return Err(bad("the token has more than 100 channel patterns"));
        }
        if token.sub.as_ref().is_some_and(|sub| sub.is_empty() || sub.chars().count() > limits::USER_ID_MAX) {
            return Err(bad("sub has 1 to 128 characters"));
        }
        Ok(token)
    }

    /// What the user shows the other members of presence channels, where the token says it: a client cannot say otherwise then.
    pub fn info(&self) -> Result<Option<MemberData>, Refusal> {
        self.info.as_ref().map(|info| MemberData::parse(&info.to_string())).transpose()
    }

    /// `exp`, in milliseconds.
    #[must_use]
    pub fn expires_at_ms(&self) -> u64 {
        self.expires_at_s.saturating_mul(1000)
    }
}

impl Grants {
    /// Whether a pattern that matches the channel grants this.
    #[must_use]
    pub fn allow(&self, channel: &ChannelName, grant: Grant) -> bool {
        self.0.iter().any(|(pattern, grants)| grants.contains(&grant) && matches(pattern, channel.as_str()))
    }

    /// Whether they have more patterns than are tried ([`limits::TOKEN_PATTERNS_MAX`]).
    #[must_use]
    pub fn is_too_many(&self) -> bool {
        self.0.len() > limits::TOKEN_PATTERNS_MAX
    }

    /// Whether they grant nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

fn bad(message: &'static str) -> Refusal {
    Refusal::new(Code::Unauthorized, message)
}

#[cfg(test)]
mod tests {
    use super::{Grant, Token};
    use crate::channel::ChannelName;
    use crate::config::Config;
    use crate::refusal::Code;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    use hmac::{Hmac, Mac};
    use sha2::Sha256;

    fn sign(header: &str, claims: &str, secret: &str) -> String {
        let text = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
        let mac =
            Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(&text).finalize().into_bytes();
        format!("{text}.{}", BASE64.encode(mac))
    }

    fn check(token: &str) -> Result<Token, Code> {
        let config =
            Config::parse(r#"[{"id":"1","key":"k","secrets":["secret-number-one-","secret-number-two-"]}]"#).unwrap();
        Token::check(config.app(None).unwrap(), token, 1000).map_err(|refusal| refusal.code)
    }

    const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
    const CLAIMS: &str =
        r#"{"sub":"u","exp":1001,"channels":{"private-a":["sub"],"private-b*":["sub","pub","later"]}}"#;

    #[test]
    fn either_secret_is_good_and_patterns_grant() {
        for secret in ["secret-number-one-", "secret-number-two-"] {
            let token = check(&sign(HEADER, CLAIMS, secret)).unwrap();
            let grants = |name: &str, grant| token.grants.allow(&ChannelName::parse(name).unwrap(), grant);
            assert!(
                grants("private-a", Grant::Sub)
                    && !grants("private-a", Grant::Pub)
                    && !grants("private-aa", Grant::Sub)
            );
            assert!(
                grants("private-b", Grant::Sub)
                    && grants("private-bcd", Grant::Pub)
                    && !grants("private-c", Grant::Sub)
            );
            assert_eq!(token.expires_at_ms(), 1_001_000);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let good = sign(HEADER, CLAIMS, "secret-number-one-");
        let none = format!("{}.{}.", BASE64.encode(r#"{"alg":"none"}"#), BASE64.encode(CLAIMS));
        let refused = [
            (String::new(), Code::Unauthorized),
            (none, Code::Unauthorized),
            (sign(HEADER, CLAIMS, "another-secret-----"), Code::Unauthorized),
            (sign(HEADER, CLAIMS, ""), Code::Unauthorized),
            (sign(r#"{"alg":"HS512"}"#, CLAIMS, "secret-number-one-"), Code::Unauthorized),
            (sign(r#"{"alg":"RS256"}"#, CLAIMS, "secret-number-one-"), Code::Unauthorized),
            (sign(HEADER, r#"{"sub":"u"}"#, "secret-number-one-"), Code::Unauthorized),
            (sign(HEADER, r#"{"exp":1000}"#, "secret-number-one-"), Code::Expired),
            (sign(HEADER, r#"{"exp":-5}"#, "secret-number-one-"), Code::Expired),
            (sign(HEADER, r#"{"exp":2000,"nbf":1061}"#, "secret-number-one-"), Code::Expired),
            (sign(HEADER, r#"{"exp":"soon"}"#, "secret-number-one-"), Code::Unauthorized),
            (sign(HEADER, r#"{"exp":2000,"channels":["a"]}"#, "secret-number-one-"), Code::Unauthorized),
            (sign(HEADER, r#"{"exp":2000,"sub":""}"#, "secret-number-one-"), Code::Unauthorized),
            (sign(HEADER, "[]", "secret-number-one-"), Code::Unauthorized),
            (good.trim_end_matches(char::is_alphanumeric).to_owned(), Code::Unauthorized),
            ("a.b.c".to_owned(), Code::Unauthorized),
            ("x".repeat(9000), Code::TooLarge),
        ];
        for (token, code) in refused {
            assert_eq!(check(&token).err(), Some(code), "{token}");
        }
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            // The last character of a base64 block has bits that mean nothing.
            if at + 1 != good.len() {
                assert!(check(&changed).is_err(), "{changed}");
            }
        }
    }
}
