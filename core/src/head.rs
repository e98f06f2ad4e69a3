//! The head of an HTTP request, as far as decisions need it.

use std::borrow::Cow;

/// Method, path, query and headers of a request; the Worker lends them.
pub struct Head<'a> {
    /// `GET`, `POST` …
    pub method: &'a str,
    /// The path as it came, percent-encoded, without the query.
    pub path: &'a str,
    /// The query as it came, without the `?`.
    pub query: &'a str,
    /// Looks a header up by its lower-case name.
    pub header: &'a dyn Fn(&str) -> Option<String>,
}

impl Head<'_> {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        (self.header)(name)
    }

    /// The first query parameter of that name, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query_pairs().find(|(given, _)| given == name).map(|(_, value)| value)
    }

    /// Every query parameter, decoded.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.query.as_bytes())
    }

    /// Whether the client asks for a WebSocket (RFC 6455, 4.2.1).
    #[must_use]
    pub fn wants_websocket(&self) -> bool {
        self.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
    }

    /// Whether the client asks for an event stream.
    #[must_use]
    pub fn wants_event_stream(&self) -> bool {
        let names = |value: String| {
            value.split(',').any(|part| part.trim().to_ascii_lowercase().starts_with("text/event-stream"))
        };
        self.header("accept").is_some_and(names)
    }
}

/// Host (without its port), path and query of a URL that the runtime has parsed and written anew.
#[must_use]
pub fn split_url(url: &str) -> (&str, &str, &str) {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = match authority.rsplit_once(':') {
        // The colon inside of an IPv6 address ends no host.
        Some((host, port)) if !port.ends_with(']') => host,
        _ => authority,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (host, path, query)
}

#[cfg(test)]
mod tests {
    use super::{Head, split_url};

    #[test]
    fn urls_are_split() {
        assert_eq!(split_url("http://127.0.0.1:8787/rooms/a?x=1&y=/#z"), ("127.0.0.1", "/rooms/a", "x=1&y=/"));
        assert_eq!(split_url("https://example.com/"), ("example.com", "/", ""));
        assert_eq!(split_url("http://[::1]:8787/up"), ("[::1]", "/up", ""));
        assert_eq!(split_url("http://[::1]/up"), ("[::1]", "/up", ""));
        assert_eq!(split_url("https://example.com?a:b"), ("example.com", "", "a:b"));
        assert_eq!(split_url(""), ("", "", ""));
    }

    #[test]
    fn what_a_client_wants_is_in_its_headers() {
        let wants = |name: &'static str, value: &'static str| {
            let header = move |asked: &str| (asked == name).then(|| value.to_owned());
            let head = Head { method: "GET", path: "/", query: "", header: &header };
            (head.wants_websocket(), head.wants_event_stream())
        };
        assert_eq!(wants("upgrade", "WebSocket"), (true, false));
        assert_eq!(wants("upgrade", "h2c"), (false, false));
        assert_eq!(wants("accept", "application/json, Text/Event-Stream;q=0.9"), (false, true));
        assert_eq!(wants("accept", "*/*"), (false, false));
    }
}
