//! Who publishes: HTTP Basic, or a request signed as Pusher's HTTP API has it.

use crate::config::{App, Config};
use crate::frame::quoted;
use crate::head::Head;
use crate::limits;
use crate::refusal::{Code, Refusal};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use md5::Md5;
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use subtle::ConstantTimeEq;

/// What Pusher says of a key that is nobody's, or another app's.
pub(crate) const UNKNOWN_KEY: &str = "Unknown auth_key";

impl App {
    /// Whether a text has been signed with one of the app's secrets: HMAC-SHA256, in hexadecimal. The comparison takes the same time wherever the first difference is.
    pub(crate) fn has_signed(&self, text: &str, signature: &str) -> bool {
        let signature = hex::decode(signature).unwrap_or_default();
        self.secrets.iter().any(|secret| {
            Hmac::<Sha256>::new_from_slice(secret.as_bytes())
                .is_ok_and(|mac| mac.chain_update(text).verify_slice(&signature).is_ok())
        })
    }
}

/// Credentials as far as they can be judged without the body.
#[derive(Debug)]
pub enum Publisher<'a> {
    /// The app, by its secret.
    Basic(&'a App),
    /// The app that the signature has to prove; [`Publisher::prove`] wants the body.
    Signed(&'a App),
}

/// Finds the app that a request names, and refuses what can be refused before its body is read. `now_s` is in seconds.
pub fn identify<'a>(config: &'a Config, head: &Head<'_>, now_s: u64) -> Result<Publisher<'a>, Refusal> {
    if let Some(header) = head.header("authorization") {
        return basic(config, &header).map(Publisher::Basic).ok_or_else(|| unauthorized("wrong key or secret"));
    }
    let Some(key) = head.query("auth_key") else {
        let message = "give the app's key and secret by HTTP Basic, or sign the request";
        return Err(unauthorized(message));
    };
    if head.query("auth_version").as_deref() != Some("1.0") {
        return Err(unauthorized("auth_version has to be 1.0"));
    }
    let time: u64 = head
        .query("auth_timestamp")
        .and_then(|time| time.parse().ok())
        .ok_or_else(|| unauthorized("auth_timestamp has to be seconds since 1970"))?;
    if time.abs_diff(now_s) > limits::SIGNATURE_WINDOW_S {
        let (given, now, window) = (iso_8601(time), iso_8601(now_s), limits::SIGNATURE_WINDOW_S);
        let message =
            format!("Timestamp expired: Given timestamp ({given}) not within {window}s of server time ({now})");
        return Err(Refusal::new(Code::Expired, message));
    }
    config.app(Some(&key)).map(Publisher::Signed).ok_or_else(|| unauthorized(UNKNOWN_KEY))
}

impl<'a> Publisher<'a> {
    /// The app that is named; of one who signs it is not proved yet.
    #[must_use]
    pub fn app(&self) -> &'a App {
        let (Self::Basic(app) | Self::Signed(app)) = self;
        app
    }

    /// The app, once the body fits the signature.
    pub fn prove(self, head: &Head<'_>, body: &[u8]) -> Result<&'a App, Refusal> {
        let app = match self {
            Self::Basic(app) => return Ok(app),
            Self::Signed(app) => app,
        };
        let body_md5 = head.query("body_md5");
        if !body.is_empty() || body_md5.is_some() {
            let given = body_md5.unwrap_or_default();
            if !bool::from(given.as_bytes().ct_eq(hex::encode(Md5::digest(body)).as_bytes())) {
                return Err(unauthorized("body_md5 is not the MD5 of the body"));
            }
        }
        let given = head.query("auth_signature").unwrap_or_default();
        let parameters = parameters_to_sign(head);
        let text = |path: &str| format!("{}\n{path}\n{parameters}", head.method);
        let is_good = |path: &str| app.has_signed(&text(path), &given);
        if is_good(head.path) || unescaped(head.path).is_some_and(|path| is_good(&path)) {
            return Ok(app);
        }
        let text = quoted(&text(head.path));
        let message = format!(
            "Invalid signature: you should have sent HmacSHA256Hex({text}, your_secret_key), but you sent {}",
            quoted(&given)
        );
        Err(unauthorized(message))
    }
}

/// The path as a library signs it that does not escape what it puts there, and leaves that to its HTTP client (Pusher's for Node, with a user's id). `None` if that is
/// the path itself, or could be that of something else: then a signature for the one must not be good for the other.
fn unescaped(path: &str) -> Option<String> {
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    let slashes = |text: &str| text.bytes().filter(|b| *b == b'/').count();
    let is_plain = decoded != path && !decoded.contains('%') && slashes(&decoded) == slashes(path);
    is_plain.then(|| decoded.into_owned())
}

/// `name=value&…`: names in lower case and sorted, values unescaped, without the signature. After method and path, with line breaks between, it is what is signed
/// (Pusher's REST documentation, "Authentication").
fn parameters_to_sign(head: &Head<'_>) -> String {
    let mut parameters: Vec<(String, String)> = head
        .query_pairs()
        .map(|(name, value)| (name.to_lowercase(), value.into_owned()))
        .filter(|(name, _)| name != "auth_signature")
        .collect();
    parameters.sort();
    let parameters: Vec<String> = parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    parameters.join("&")
}

/// Seconds since 1970 as people read them: `2013-09-29T08:46:33Z`.
fn iso_8601(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March have their odd day at the end; 400 of them have 146,097 days. Day 0 is the 1st of March of year 0.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn basic<'a>(config: &'a Config, header: &str) -> Option<&'a App> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (key, given) = decoded.split_once(':')?;
    let app = config.app(Some(key))?;
    // Digests have one length, so that the comparison does not tell the secret's.
    let given = Sha256::digest(given);
    app.secrets.iter().any(|secret| bool::from(Sha256::digest(secret).ct_eq(&given))).then_some(app)
}

fn unauthorized(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Code::Unauthorized, message)
}

#[cfg(test)]
mod tests {
    use super::{Engine, Publisher, STANDARD, identify};
    use crate::config::Config;
    use crate::head::Head;
    use crate::refusal::Code;

    /// The worked example of Pusher's REST documentation.
    const BODY: &str = r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
    const QUERY: &str = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f";
    const SIGNATURE: &str = "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";

    fn config() -> Config {
        let secrets = r#""another-secret-of-it","7ad3773142a6692b25b8""#;
        Config::parse(&format!(r#"[{{"id":"3","key":"278d425bdf160c739803","secrets":[{secrets}]}}]"#)).unwrap()
    }

    fn signed(query: &str, body: &str, now_s: u64) -> Result<String, Code> {
        let config = config();
        let none = |_: &str| None;
        let head = Head { method: "POST", path: "/apps/3/events", query, header: &none };
        identify(&config, &head, now_s)
            .and_then(|publisher| publisher.prove(&head, body.as_bytes()))
            .map(|app| app.id.clone())
            .map_err(|refusal| refusal.code)
    }

    #[test]
    fn the_published_vector_is_good() {
        assert_eq!(signed(&format!("{QUERY}&auth_signature={SIGNATURE}"), BODY, 1_353_088_179), Ok("3".into()));
    }

    #[test]
    fn a_path_may_be_signed_unescaped_and_never_that_of_something_else() {
        let unescaped = |path: &str| super::unescaped(path);
        assert_eq!(unescaped("/apps/1/users/a%20%C3%A4/x").as_deref(), Some("/apps/1/users/a ä/x"));
        for path in ["/apps/1/users/a/x", "/apps/1/users/a%2Fb/x", "/apps/1/users/%2541/x", "/apps/1/users/%ff/x"] {
            assert_eq!(unescaped(path), None, "{path}");
        }
    }

    #[test]
    fn times_are_written_as_people_read_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_380_444_393, "2013-09-29T08:46:33Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(super::iso_8601(seconds), text);
        }
        assert!(super::iso_8601(u64::MAX).ends_with('Z'));
    }

    #[test]
    fn who_signs_otherwise_is_told_what_to_sign() {
        let query = format!("{QUERY}&auth_signature=00");
        let config = config();
        let none = |_: &str| None;
        let head = Head { method: "POST", path: "/apps/3/events", query: &query, header: &none };
        let publisher = identify(&config, &head, 1_353_088_179).unwrap();
        assert_eq!(
            publisher.prove(&head, BODY.as_bytes()).unwrap_err().message,
            "Invalid signature: you should have sent HmacSHA256Hex(\"POST\\n/apps/3/events\\nauth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f\", your_secret_key), but you sent \"00\""
        );
    }

    #[test]
    fn every_flipped_bit_is_not() {
        let query = format!("{QUERY}&auth_signature={SIGNATURE}");
        for at in 0..BODY.len() {
            let mut body = BODY.as_bytes().to_vec();
            body[at] ^= 1;
            assert!(signed(&query, &String::from_utf8_lossy(&body), 1_353_088_179).is_err());
        }
        for at in 0..query.len() {
            let mut bytes = query.as_bytes().to_vec();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            // Hexadecimal in capitals is the same signature.
            if !changed.eq_ignore_ascii_case(&query) {
                assert!(signed(&changed, BODY, 1_353_088_179).is_err(), "{changed}");
            }
        }
    }

    #[test]
    fn the_window_is_600_seconds_either_way() {
        let query = format!("{QUERY}&auth_signature={SIGNATURE}");
        assert!(signed(&query, BODY, 1_353_088_179 + 600).is_ok() && signed(&query, BODY, 1_353_088_179 - 600).is_ok());
        assert_eq!(signed(&query, BODY, 1_353_088_179 + 601), Err(Code::Expired));
        assert_eq!(signed(&query, BODY, 1_353_088_179 - 601), Err(Code::Expired));
    }

    #[test]
    fn an_unsigned_body_is_refused() {
        let query = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&auth_signature=00";
        assert_eq!(signed(query, BODY, 1_353_088_179), Err(Code::Unauthorized));
    }

    #[test]
    fn basic_takes_both_secrets_and_nothing_else() {
        let config = config();
        let good = |header: &str| {
            let given = header.to_owned();
            let header = move |name: &str| (name == "authorization").then(|| given.clone());
            let head = Head { method: "POST", path: "/publish", query: "", header: &header };
            matches!(identify(&config, &head, 0), Ok(Publisher::Basic(_)))
        };
        let encode = |text: &str| STANDARD.encode(text);
        assert!(good(&format!("Basic {}", encode("278d425bdf160c739803:7ad3773142a6692b25b8"))));
        assert!(good(&format!("basic {}", encode("278d425bdf160c739803:another-secret-of-it"))));
        for text in [
            "",
            ":",
            "278d425bdf160c739803:",
            "278d425bdf160c739803:7ad3773142a6692b25b",
            "x:7ad3773142a6692b25b8",
            "278d425bdf160c739803",
        ] {
            assert!(!good(&format!("Basic {}", encode(text))), "{text}");
        }
        for header in ["", "Basic", "Basic ", "Basic %%%", "Bearer abc", "Basic /////w=="] {
            assert!(!good(header), "{header}");
        }
    }
}
