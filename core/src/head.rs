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
