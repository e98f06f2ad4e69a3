//! Letting a client in that speaks Pusher's protocol: into a Hub of its kind.

use super::connect::check_origin;
use super::many::ManyAdmission;
use crate::call;
use crate::config::Config;
use crate::head::Head;
use crate::hub::HubConnect;
use crate::pusher::words::{BAD_PROTOCOL, NO_APP, NOT_AUTHORIZED, UNSUPPORTED_PROTOCOL};
use crate::refusal::{Code, Refusal};
use crate::resume::ResumeId;
use crate::session::Format;
use crate::token::Grants;
use percent_encoding::percent_decode_str;

/// The protocols that are spoken: they differ in what a client does, and not in what it is told.
const PROTOCOLS: core::ops::RangeInclusive<u32> = 5..=7;

/// Where a client of Pusher's protocol came: `/app/{key}`, behind any path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppPath {
    /// The app's key.
    pub key: String,
    /// What stands before `/app/`, as it came: empty, or with a slash at its beginning.
    pub prefix: String,
}

impl AppPath {
    /// Reads a path; `None` if it is another.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let (before, key) = path.rsplit_once('/')?;
        let prefix = before.strip_suffix("/app")?;
        Some(Self { key: percent_decode_str(key).decode_utf8_lossy().into_owned(), prefix: prefix.to_owned() })
    }

    /// As which tab it resumes: `/r/{id}` stands right before `/app/`. Refused where that is no id: a tab that believes it resumes shall not find out when it is too late.
    fn resume(&self) -> Result<Option<ResumeId>, Refusal> {
        let Some((before, id)) = self.prefix.rsplit_once('/') else { return Ok(None) };
        if !before.ends_with("/r") {
            return Ok(None);
        }
        let numbered = |refusal: Refusal| Refusal { pusher: Some(BAD_PROTOCOL), ..refusal };
        ResumeId::parse(id).map(Some).map_err(numbered)
    }
}

/// Checks protocol, key and origin. The refusals say with which code a socket is closed.
pub fn admit_app(config: &Config, path: &AppPath, head: &Head<'_>) -> Result<ManyAdmission, Refusal> {
    if !head.wants_websocket() {
        return Err(Refusal::new(Code::UpgradeRequired, "connect with Upgrade: websocket"));
    }
    check_protocol(head)?;
    let app = config.app(Some(&path.key));
    let app = app.ok_or_else(|| Refusal::numbered(Code::NotFound, NO_APP, "there is no app with this key"))?;
    let numbered = |refusal: Refusal| Refusal { pusher: Some(NOT_AUTHORIZED), ..refusal };
    check_origin(app, head).map_err(numbered)?;
    let connect = HubConnect {
        version: call::VERSION,
        format: Format::Pusher,
        user: None,
        expires_at: None,
        grants: Grants::default(),
        info: None,
        resume: path.resume()?,
        wants: Vec::new(),
    };
    Ok(ManyAdmission { app: app.id.clone(), connect, subprotocol: false, allow_origin: None })
}

/// A client that does not say its protocol is taken to speak the last one.
fn check_protocol(head: &Head<'_>) -> Result<(), Refusal> {
    let Some(given) = head.query("protocol") else { return Ok(()) };
    let protocol: u32 =
        given.parse().map_err(|_| Refusal::numbered(Code::InvalidField, BAD_PROTOCOL, "protocol: a number, 5 to 7"))?;
    if PROTOCOLS.contains(&protocol) {
        return Ok(());
    }
    Err(Refusal::numbered(Code::InvalidField, UNSUPPORTED_PROTOCOL, "protocol: 5 to 7"))
}

#[cfg(test)]
mod tests {
    use super::{AppPath, admit_app};
    use crate::config::Config;
    use crate::head::Head;
    use crate::pusher::words::close_code;
    use crate::session::Format;

    fn come(path: &str, query: &str, headers: &[(&str, &str)]) -> Result<String, u16> {
        let apps = r#"[{"id":"1","key":"k","secrets":["secret-number-one-"]},
            {"id":"2","key":"l","secrets":["secret-number-two-"],"origins":["https://example.com"]}]"#;
        let config = Config::parse(apps).unwrap();
        let header = |asked: &str| {
            let all = [&[("upgrade", "websocket")], headers].concat();
            all.iter().rev().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned())
        };
        let head = Head { method: "GET", path, query, header: &header };
        let admission = admit_app(&config, &AppPath::parse(path).unwrap(), &head);
        let admission = admission.map_err(|refusal| close_code(&refusal))?;
        assert_eq!((admission.connect.format, admission.subprotocol), (Format::Pusher, false));
        Ok(admission.app)
    }

    #[test]
    fn any_path_may_stand_before_it() {
        for (path, prefix) in [("/app/k", ""), ("/a/app/k", "/a"), ("/r/x-y/app/k", "/r/x-y"), ("//app/k", "/")] {
            assert_eq!(AppPath::parse(path), Some(AppPath { key: "k".into(), prefix: prefix.into() }), "{path}");
        }
        assert_eq!(AppPath::parse("/app/%6B").unwrap().key, "k");
        assert_eq!(AppPath::parse("/app/app/app/").unwrap(), AppPath { key: String::new(), prefix: "/app/app".into() });
        for path in ["", "/", "/app", "app/k", "/app/k/", "/xapp/k", "/app/k/x", "/APP/k"] {
            assert_eq!(AppPath::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_tab_that_resumes_says_its_id_before_the_app() {
        let id = "0b6f0f5e-3a54-4a3c-9d3b-6b1f4f9d2a10";
        let resume = |path: &str| AppPath::parse(path).unwrap().resume().map_err(|refusal| close_code(&refusal));
        for before in ["", "/a", "/a/r/b"] {
            assert_eq!(resume(&format!("{before}/r/{id}/app/k")).unwrap().unwrap().as_str(), id);
        }
        for path in ["/app/k", "/r/app/k", "/r/x/y/app/k", "/xr/0123456789abcdef/app/k"] {
            assert_eq!(resume(path), Ok(None), "{path}");
        }
        for path in ["/r//app/k", "/r/short/app/k", "/r/0123456789abcde%20/app/k"] {
            assert_eq!(resume(path), Err(4006), "{path}");
        }
    }

    #[test]
    fn who_may_not_in_is_told_why_by_a_number() {
        for query in ["", "protocol=7&client=js&version=8.6.0&flash=false", "protocol=5", "protocol=6"] {
            assert_eq!(come("/app/k", query, &[]), Ok("1".into()), "{query}");
        }
        for (path, query, code) in [
            ("/app/x", "protocol=7", 4001),
            ("/app/", "", 4001),
            ("/app/k", "protocol=", 4006),
            ("/app/k", "protocol=seven", 4006),
            ("/app/k", "protocol=-7", 4006),
            ("/app/k", "protocol=4", 4007),
            ("/app/k", "protocol=8", 4007),
        ] {
            assert_eq!(come(path, query, &[]), Err(code), "{path}?{query}");
        }
        assert_eq!(come("/app/l", "", &[("origin", "https://example.com")]), Ok("2".into()));
        assert_eq!(come("/app/l", "", &[("origin", "https://example.org")]), Err(4009));
        assert_eq!(come("/app/l", "", &[]), Ok("2".into()));
    }
}
