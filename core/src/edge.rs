//! The door: what the Worker does with a request. Everything is refused here, before an object is touched.

mod app;
mod channels;
mod connect;
mod hubs;
mod many;
mod members;
mod publish;
mod region;

pub use app::{AppPath, admit_app};
pub use channels::{Listing, Tally, listing, operator, user_id};
pub use connect::{Admission, admit};
pub use hubs::{Hubs, Search, Try};
pub use many::{ManyAdmission, admit_many};
pub use members::{MembersAdmission, admit_members};
pub use publish::{Item, Order, Reply, Target, order};
pub use region::{REGIONS, region};

use crate::channel::ChannelName;
use crate::config::Config;
use crate::connection::ConnectionId;
use crate::credentials::{Publisher, identify};
use crate::head::Head;
use crate::limits;
use crate::position::Position;
use crate::refusal::{Code, Refusal};
use crate::room::PageQuery;
use percent_encoding::percent_decode_str;

/// What a request is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// `GET` of anything else: a file of the console page, if there is one.
    Page,
    /// `GET /up`.
    Up,
    /// `GET /rooms/{channel}`, or `GET /users/{id}`: a user's channel.
    Room(ChannelName),
    /// `GET /connect`: a WebSocket of many channels.
    Connect,
    /// `GET /app/{key}` behind any path: a WebSocket in Pusher's protocol.
    App(AppPath),
    /// `GET /events`: an event stream of many channels.
    Events,
    /// `POST /publish`.
    Publish,
    /// `POST /publish/{channel}`.
    PublishRaw(ChannelName),
    /// `GET /channels`: those that have connections.
    Channels,
    /// `DELETE /connections/{id}`.
    Connection(ConnectionId),
    /// `DELETE /users/{id}/connections`.
    UserConnections(String),
    /// `GET /channels/{channel}/messages`.
    Messages(ChannelName),
    /// `GET /channels/{channel}/members`.
    Members(ChannelName),
}

/// Finds the route, or says that there is none.
pub fn route(head: &Head<'_>) -> Result<Route, Refusal> {
    let mut parts = head.path.strip_prefix('/').unwrap_or(head.path).split('/');
    let parts = [parts.next(), parts.next(), parts.next(), parts.next()];
    let (route, allow) = match parts {
        [Some("up"), None, ..] => (Route::Up, "GET"),
        [Some("rooms"), Some(channel), None, _] => (Route::Room(decode(channel)?), "GET"),
        [Some("users"), Some(id), None, _] => {
            (Route::Room(ChannelName::of_user(&percent_decode_str(id).decode_utf8_lossy())?), "GET")
        }
        [Some("users"), Some(id), Some("connections"), None] => (Route::UserConnections(user_id(id)?), "DELETE"),
        [Some("connections"), Some(id), None, _] => (Route::Connection(connection(id)?), "DELETE"),
        [Some("connect"), None, ..] => (Route::Connect, "GET"),
        [Some("events"), None, ..] => (Route::Events, "GET"),
        [Some("publish"), None, ..] => (Route::Publish, "POST"),
        [Some("publish"), Some(channel), None, _] => (Route::PublishRaw(decode(channel)?), "POST"),
        [Some("channels"), None, ..] => (Route::Channels, "GET"),
        [Some("channels"), Some(channel), Some("messages"), None] => (Route::Messages(decode(channel)?), "GET"),
        [Some("channels"), Some(channel), Some("members"), None] => (Route::Members(decode(channel)?), "GET"),
        [Some(""), None, ..] => (Route::Page, "GET"),
        _ if matches!(head.method, "GET" | "HEAD") => {
            (AppPath::parse(head.path).map_or(Route::Page, Route::App), "GET")
        }
        _ => return Err(not_found()),
    };
    // A HEAD is answered as a GET without its body; a connection has nothing but a body that never ends.
    let method = match (head.method, &route) {
        ("HEAD", Route::Page | Route::Up | Route::Channels | Route::Messages(_) | Route::Members(_)) => "GET",
        (method, _) => method,
    };
    if method != allow {
        let mut refusal = Refusal::new(Code::MethodNotAllowed, format!("this route takes {allow}"));
        refusal.allow = Some(allow);
        return Err(refusal);
    }
    Ok(route)
}

/// What is answered where there is nothing.
#[must_use]
pub fn not_found() -> Refusal {
    Refusal::new(Code::NotFound, "no such route: see docs/protocol.md")
}

/// Refuses to run on a configuration that is missing, wrong, or everybody's: the development secret is good on this machine only.
pub fn configured<'a, E: core::fmt::Display>(
    config: Option<&'a Result<Config, E>>,
    host: &str,
) -> Result<&'a Config, Refusal> {
    let refuse = |message: String| Err(Refusal::new(Code::NotConfigured, message));
    match config {
        None => refuse("the secret APPS is not set: `npx wrangler secret put APPS`, see the README".to_owned()),
        Some(Err(error)) => refuse(error.to_string()),
        Some(Ok(config)) if config.is_for_development() && !is_this_machine(host) => {
            refuse("APPS has the development secret, which everybody knows: set a secret of your own".to_owned())
        }
        Some(Ok(config)) => Ok(config),
    }
}

fn is_this_machine(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]" | "::1") || host.ends_with(".localhost")
}

/// Who asks for a history, and which page. `now_s` is in seconds.
pub fn page<'a>(config: &'a Config, head: &Head<'_>, now_s: u64) -> Result<(&'a str, PageQuery), Refusal> {
    let app = identify(config, head, now_s).and_then(|publisher: Publisher<'_>| publisher.prove(head, b""))?;
    let limit = match head.query("limit") {
        None => limits::PAGE_MESSAGES_DEFAULT,
        Some(limit) => number(&limit, 1, limits::PAGE_MESSAGES_MAX)
            .ok_or_else(|| Refusal::new(Code::InvalidField, format!("limit: 1 to {}", limits::PAGE_MESSAGES_MAX)))?,
    };
    let after = head.query("after").map(|after| position(&after)).transpose()?;
    Ok((&app.id, PageQuery { after, limit }))
}

/// Digits only, within bounds.
fn number(text: &str, least: u64, most: u64) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.filter(|number| (least..=most).contains(number))
}

fn position(text: &str) -> Result<Position, Refusal> {
    Position::parse(text).ok_or_else(|| Refusal::new(Code::InvalidPosition, "a position looks like 9f2c41d07ab3:42"))
}

fn connection(segment: &str) -> Result<ConnectionId, Refusal> {
    ConnectionId::parse(&percent_decode_str(segment).decode_utf8_lossy())
}

fn decode(segment: &str) -> Result<ChannelName, Refusal> {
    ChannelName::parse(&percent_decode_str(segment).decode_utf8_lossy())
}

#[cfg(test)]
mod tests {
    use super::{Route, configured, route};
    use crate::config::{Config, ConfigError};
    use crate::head::Head;
    use crate::refusal::Code;

    fn to(method: &str, path: &str) -> Result<Route, Code> {
        let none = |_: &str| None;
        route(&Head { method, path, query: "", header: &none }).map_err(|refusal| refusal.code)
    }

    #[test]
    fn routes_are_found_and_everything_else_is_not() {
        assert_eq!(to("GET", "/up"), Ok(Route::Up));
        assert!(matches!(to("GET", "/rooms/a%40b%2Cc"), Ok(Route::Room(name)) if name.as_str() == "a@b,c"));
        assert!(matches!(to("GET", "/channels/a/messages"), Ok(Route::Messages(_))));
        assert!(matches!(to("HEAD", "/channels/presence-a/members"), Ok(Route::Members(_))));
        assert_eq!((to("GET", "/connect"), to("GET", "/events")), (Ok(Route::Connect), Ok(Route::Events)));
        assert_eq!((to("GET", "/channels"), to("HEAD", "/channels")), (Ok(Route::Channels), Ok(Route::Channels)));
        assert_eq!(to("DELETE", "/users/a%2F%C3%A4/connections"), Ok(Route::UserConnections("a/ä".into())));
        let id = "0123456789abcdef0123456789abcdef%3Aweur:7";
        assert!(matches!(to("DELETE", &format!("/connections/{id}")), Ok(Route::Connection(_))));
        for id in ["", "a", "%", "0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef:%ff"] {
            assert_eq!(to("DELETE", &format!("/connections/{id}")), Err(Code::InvalidField), "{id}");
        }
        for id in ["", "%ff", &"u".repeat(129)] {
            assert_eq!(to("DELETE", &format!("/users/{id}/connections")), Err(Code::InvalidField), "{id}");
        }
        for path in ["/app/k", "/anything/at/all/app/k", "/rooms/app/k"] {
            assert!(matches!(to("GET", path), Ok(Route::App(app)) if app.key == "k"), "{path}");
            assert_eq!(to("POST", path), Err(Code::NotFound), "{path}");
        }
        // Every other route comes first.
        assert!(matches!(to("GET", "/channels/app/messages"), Ok(Route::Messages(_))));
        assert_eq!(to("DELETE", "/users/app/connections"), Ok(Route::UserConnections("app".into())));
        assert_eq!(to("HEAD", "/app/k"), Err(Code::MethodNotAllowed));
        assert_eq!(to("POST", "/publish"), Ok(Route::Publish));
        assert!(matches!(to("POST", "/publish/a"), Ok(Route::PublishRaw(_))));
        for path in [
            "",
            "/",
            "/rooms",
            "/rooms/a/b",
            "/publish/a/b",
            "/connect/a",
            "/events/",
            "/up/x",
            "/channels/a",
            "/channels/",
            "/connections",
            "/connections/a/b",
            "/users/a/b",
            "/users/a/connections/b",
            "/channels/a/messages/b",
            "/ROOMS/a",
        ] {
            assert_eq!(to("GET", path), Ok(Route::Page), "{path}");
            let refused = if path.trim_matches('/').is_empty() { Code::MethodNotAllowed } else { Code::NotFound };
            assert_eq!(to("POST", path), Err(refused), "{path}");
        }
        for path in ["/rooms/", "/rooms/a%2Fb", "/rooms/%00", "/rooms/%ff", "/rooms/%C3%A4", "/publish/"] {
            assert_eq!(to("GET", path), Err(Code::InvalidChannel), "{path}");
        }
        assert_eq!((to("HEAD", "/up"), to("HEAD", "/nope")), (Ok(Route::Up), Ok(Route::Page)));
        assert_eq!(
            (to("HEAD", "/rooms/a"), to("HEAD", "/publish")),
            (Err(Code::MethodNotAllowed), Err(Code::MethodNotAllowed))
        );
        assert_eq!((to("GET", "//up"), to("POST", "//publish")), (Ok(Route::Page), Err(Code::NotFound)));
        for (method, path) in [
            ("POST", "/up"),
            ("POST", "/rooms/a"),
            ("POST", "/connect"),
            ("HEAD", "/events"),
            ("GET", "/publish"),
            ("PUT", "/publish/a"),
            ("DELETE", "/channels/a/messages"),
            ("DELETE", "/channels"),
            ("GET", "/users/a/connections"),
            ("POST", "/users/a/connections"),
            ("GET", "/connections/0123456789abcdef0123456789abcdef:a"),
        ] {
            assert_eq!(to(method, path), Err(Code::MethodNotAllowed), "{path}");
        }
    }

    #[test]
    fn the_development_secret_stays_on_this_machine() {
        let config: Result<Config, ConfigError> =
            Config::parse(r#"[{"id":"1","key":"dev-key","secrets":["dev-secret"]}]"#);
        for host in ["localhost", "127.0.0.1", "[::1]", "dormouse.localhost"] {
            assert!(configured(Some(&config), host).is_ok(), "{host}");
        }
        for host in ["", "example.com", "localhost.example.com", "127.0.0.1.nip.io", "notlocalhost"] {
            assert!(configured(Some(&config), host).is_err(), "{host}");
        }
        assert!(configured::<ConfigError>(None, "localhost").is_err());
        assert!(configured(Some(&Config::parse("[]")), "localhost").is_err());
    }
}
