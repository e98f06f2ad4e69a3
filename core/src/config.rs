//! The one configuration: the secret `APPS`, JSON, read once.

use crate::channel::ChannelName;
use crate::limits;
use crate::webhook::{self, Webhook};
use serde::Deserialize;

/// The secret that `npm start` sets up. A host that is not this machine refuses to run on it.
pub const DEVELOPMENT_SECRET: &str = "dev-secret";

/// Every app of a deployment.
#[derive(Debug, Clone)]
pub struct Config {
    apps: Vec<App>,
}

/// A tenant.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// 1 to 64 characters of `A-Za-z0-9_-`; part of the names of its objects.
    pub id: String,
    /// The public key: names the app on connecting and publishing.
    pub key: String,
    /// One or two live secrets; both are good while a secret is rotated.
    pub secrets: Vec<String>,
    /// The origins whose pages may connect, exactly as browsers send them. Empty: any.
    #[serde(default)]
    pub origins: Vec<String>,
    /// Sockets that one Hub holds; the next ones go to another.
    #[serde(default = "hub_connections")]
    pub hub_connections: usize,
    /// Whether there is a list of its channels and of the objects that hold its sockets.
    #[serde(default = "yes")]
    pub directory: bool,
    /// Seconds within which a connection in Pusher's protocol has to subscribe to a private or presence channel, or to sign in. 0: it need not.
    #[serde(default)]
    pub authorize_within: u64,
    /// Whether users who sign in are told who of their watchlists is online.
    #[serde(default)]
    pub watchlist: bool,
    /// Rules by prefix of the channel's name; the longest prefix wins.
    #[serde(default)]
    pub channels: Vec<Rule>,
    /// Who is told what happens.
    #[serde(default)]
    pub webhooks: Vec<Webhook>,
}

fn hub_connections() -> usize {
    limits::HUB_SOCKETS_DEFAULT
}

fn yes() -> bool {
    true
}

/// What holds for the channels whose names begin with `prefix`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// The beginning of the names; empty means every channel.
    pub prefix: String,
    /// Whether clients may publish. Off by default.
    pub publish: bool,
    /// Size of one message's data in bytes.
    pub message_bytes: usize,
    /// Frames per second that one connection may send, twice as many at once. Of a connection of many channels: what it may publish, in all channels with the same rate
    /// together; its frames have [`limits::HUB_FRAME_RATE`].
    pub client_rate: u32,
    /// Sockets that a channel's own object holds; the Worker leads the others to Hubs. 0: all of them.
    pub connections: usize,
    /// Whether subscribers in Pusher's protocol, and webhooks, are told how many there are. Never in presence channels and those of users.
    pub subscription_count: bool,
    /// What is kept.
    pub history: History,
    /// The app's: whether the Directory is told who is there.
    #[serde(skip)]
    pub directory: bool,
}

/// How much of a channel is kept, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct History {
    /// Messages; 0 makes a channel ephemeral: positions count, nothing is kept.
    pub size: u64,
    /// Seconds.
    pub ttl: u64,
}

impl Default for Rule {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            publish: false,
            message_bytes: limits::MESSAGE_BYTES_DEFAULT,
            client_rate: limits::CLIENT_RATE_DEFAULT,
            connections: limits::ROOM_SOCKETS_DEFAULT,
            subscription_count: false,
            history: History::default(),
            directory: false,
        }
    }
}

impl Default for History {
    fn default() -> Self {
        Self { size: limits::HISTORY_SIZE_DEFAULT, ttl: limits::HISTORY_TTL_S_DEFAULT }
    }
}

/// What is wrong with `APPS`: the field, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// For instance `APPS[0].secrets[1]`.
    pub field: String,
    /// What is wrong with it; never quotes a secret.
    pub problem: String,
}

impl core::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl Config {
    /// Reads and checks the value of `APPS`.
    pub fn parse(apps: &str) -> Result<Self, ConfigError> {
        let mut json = serde_json::Deserializer::from_str(apps);
        let apps: Vec<App> = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| wrong(&format!("{}", error.path()), &problem_of(error.inner())))?;
        json.end().map_err(|_| wrong("", "there is something after the closing bracket"))?;
        if apps.is_empty() || apps.len() > limits::APPS_MAX {
            return Err(wrong("", &format!("1 to {} apps are needed", limits::APPS_MAX)));
        }
        let config = Self { apps };
        let development = config.is_for_development();
        for (at, app) in config.apps.iter().enumerate() {
            app.check(&format!("[{at}]"), development)?;
            if let Some(twin) = config.apps.iter().take(at).position(|other| other.id == app.id || other.key == app.key)
            {
                return Err(wrong(&format!("[{at}]"), &format!("has the id or key of [{twin}]")));
            }
        }
        Ok(config)
    }

    /// The app that a key names; the only one if none is named.
    #[must_use]
    pub fn app(&self, key: Option<&str>) -> Option<&App> {
        match (key, self.apps.as_slice()) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(key), apps) => apps.iter().find(|app| app.key == key),
        }
    }

    /// The app with this id.
    #[must_use]
    pub fn app_by_id(&self, id: &str) -> Option<&App> {
        self.apps.iter().find(|app| app.id == id)
    }

    /// Whether an app has the development secret, which everybody knows.
    #[must_use]
    pub fn is_for_development(&self) -> bool {
        self.apps.iter().any(|app| app.secrets.iter().any(|secret| secret == DEVELOPMENT_SECRET))
    }
}

impl App {
    /// The rule for a channel: that with the longest matching prefix, else the default. A cache channel keeps its last message whatever the rule says.
    #[must_use]
    pub fn rule(&self, channel: &ChannelName) -> Rule {
        if channel.is_pointer() {
            let history = History { size: 1, ttl: limits::HISTORY_TTL_S_MAX };
            return Rule { history, directory: false, ..Rule::default() };
        }
        let matching = self.channels.iter().filter(|rule| channel.as_str().starts_with(&rule.prefix));
        let rule = matching.max_by_key(|rule| rule.prefix.len()).cloned().unwrap_or_default();
        let mut rule = Rule { directory: self.directory && channel.online().is_none(), ..rule };
        rule.subscription_count &= !channel.has_members() && channel.user().is_none();
        if channel.is_cache() {
            rule.history.size = rule.history.size.max(1);
        }
        rule
    }

    /// Whether the subscribers of a channel are counted for them. Cheap where no rule asks for it.
    #[must_use]
    pub fn counts(&self, channel: &ChannelName) -> bool {
        self.channels.iter().any(|rule| rule.subscription_count) && self.rule(channel).subscription_count
    }

    fn check(&self, at: &str, development: bool) -> Result<(), ConfigError> {
        let name = |text: &str| {
            (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        if !name(&self.id) {
            return Err(wrong(&format!("{at}.id"), "1 to 64 characters of A-Za-z0-9_-"));
        }
        if !name(&self.key) {
            return Err(wrong(&format!("{at}.key"), "1 to 64 characters of A-Za-z0-9_-"));
        }
        if self.secrets.is_empty() || self.secrets.len() > limits::SECRETS_MAX {
            return Err(wrong(&format!("{at}.secrets"), "one secret, or two while one is rotated"));
        }
        for (nth, secret) in self.secrets.iter().enumerate() {
            if secret.len() < limits::SECRET_BYTES_MIN && secret != DEVELOPMENT_SECRET {
                let problem = format!("a secret has at least {} characters", limits::SECRET_BYTES_MIN);
                return Err(wrong(&format!("{at}.secrets[{nth}]"), &problem));
            }
        }
        if self.origins.len() > limits::ORIGINS_MAX {
            return Err(wrong(&format!("{at}.origins"), &format!("at most {}", limits::ORIGINS_MAX)));
        }
        for (nth, origin) in self.origins.iter().enumerate() {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            if host.is_none_or(|host| host.is_empty() || host.contains(['/', '*', '@', ' '])) {
                let problem = "an origin is scheme and host, with a port if it has one, like https://example.com";
                return Err(wrong(&format!("{at}.origins[{nth}]"), problem));
            }
        }
        if !(1..=limits::SOCKETS_MAX).contains(&self.hub_connections) {
            return Err(wrong(&format!("{at}.hub_connections"), &format!("1 to {}", limits::SOCKETS_MAX)));
        }
        if self.authorize_within > limits::AUTHORIZE_WITHIN_MAX_S {
            let problem = format!("0 to {}", limits::AUTHORIZE_WITHIN_MAX_S);
            return Err(wrong(&format!("{at}.authorize_within"), &problem));
        }
        if self.channels.len() > limits::RULES_MAX {
            return Err(wrong(&format!("{at}.channels"), &format!("at most {} rules", limits::RULES_MAX)));
        }
        webhook::check(&self.webhooks, development)
            .map_err(|(field, problem)| wrong(&format!("{at}.{field}"), &problem))?;
        self.channels.iter().enumerate().try_for_each(|(nth, rule)| rule.check(&format!("{at}.channels[{nth}]")))
    }
}

impl Rule {
    fn check(&self, at: &str) -> Result<(), ConfigError> {
        let within = |field: &str, value: u64, least: u64, most: u64| {
            let problem = format!("{least} to {most}");
            if (least..=most).contains(&value) { Ok(()) } else { Err(wrong(&format!("{at}.{field}"), &problem)) }
        };
        if !self.prefix.is_empty() && ChannelName::parse(&self.prefix).is_err() {
            return Err(wrong(&format!("{at}.prefix"), "the beginning of a channel name, or empty for every channel"));
        }
        within("message_bytes", self.message_bytes as u64, 1, limits::MESSAGE_BYTES_MAX as u64)?;
        within("client_rate", u64::from(self.client_rate), 1, u64::from(limits::CLIENT_RATE_MAX))?;
        within("connections", self.connections as u64, 0, limits::SOCKETS_MAX as u64)?;
        within("history.size", self.history.size, 0, limits::HISTORY_SIZE_MAX)?;
        within("history.ttl", self.history.ttl, 1, limits::HISTORY_TTL_S_MAX)
    }
}

fn wrong(path: &str, problem: &str) -> ConfigError {
    let path = if path == "." { "" } else { path };
    ConfigError { field: format!("APPS{path}"), problem: problem.to_owned() }
}

/// serde's own words, except where they would quote a value: that may be a secret.
fn problem_of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected ")) {
        Some((_, expected)) => format!("expected {expected}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::Config;
    use crate::channel::ChannelName;

    fn error(apps: &str) -> String {
        Config::parse(apps).unwrap_err().to_string()
    }

    const GOOD: &str = r#"[{"id":"1","key":"k1","secrets":["0123456789abcdef"],"origins":["https://example.com"],
        "channels":[{"prefix":"","history":{"size":5}},{"prefix":"chat-","publish":true,"message_bytes":100}]}]"#;

    #[test]
    fn the_longest_prefix_rules() {
        let config = Config::parse(GOOD).unwrap();
        let app = config.app(None).unwrap();
        let rule = |name: &str| app.rule(&ChannelName::parse(name).unwrap());
        assert!(rule("chat-1").publish);
        assert_eq!(rule("chat-1").history.size, 100);
        assert_eq!(rule("lobby").history.size, 5);
        assert_eq!(rule("lobby").history.ttl, 600);
        assert!(!rule("lobby").publish);
        assert!(config.app(Some("k1")).is_some() && config.app(Some("k2")).is_none() && !config.is_for_development());
    }

    #[test]
    fn a_cache_channel_keeps_a_message_whatever_its_rule_says() {
        let apps = r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"],"channels":[{"history":{"size":0}}]}]"#;
        let config = Config::parse(apps).unwrap();
        let size = |name: &str| config.app(None).unwrap().rule(&ChannelName::parse(name).unwrap()).history.size;
        assert_eq!((size("a"), size("cache-a"), size("private-encrypted-cache-a")), (0, 1, 1));
    }

    #[test]
    fn with_several_apps_the_key_is_needed() {
        let apps =
            r#"[{"id":"1","key":"a","secrets":["dev-secret"]},{"id":"2","key":"b","secrets":["0123456789abcdef"]}]"#;
        let config = Config::parse(apps).unwrap();
        assert!(config.app(None).is_none());
        assert_eq!(config.app(Some("b")).unwrap().id, "2");
        assert!(config.is_for_development());
    }

    #[test]
    fn the_error_names_the_field_and_never_a_secret() {
        for (apps, expected) in [
            ("", "APPS: EOF"),
            ("{}", "APPS: expected a sequence"),
            ("[]", "APPS: 1 to 100 apps"),
            (r#"[{"id":"1","key":"k"}]"#, "APPS[0]: missing field `secrets`"),
            (r#"[{"id":1,"key":"k","secrets":["0123456789abcdef"]}]"#, "APPS[0].id: expected a string"),
            (r#"[{"id":"1","key":"k","secrets":"hunter2hunter2hunter2"}]"#, "APPS[0].secrets: expected a sequence"),
            (r#"[{"id":"1","key":"k","secrets":["short"]}]"#, "APPS[0].secrets[0]: a secret has at least 16"),
            (r#"[{"id":"1","key":"k","secrets":[]}]"#, "APPS[0].secrets: one secret"),
            (r#"[{"id":"a:b","key":"k","secrets":["0123456789abcdef"]}]"#, "APPS[0].id: 1 to 64"),
            (
                r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"],"origins":["example.com"]}]"#,
                "APPS[0].origins[0]: an origin",
            ),
            (
                r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"],"channels":[{"prefix":"a b"}]}]"#,
                "APPS[0].channels[0].prefix",
            ),
            (
                r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"],"channels":[{"history":{"size":-1}}]}]"#,
                "APPS[0].channels[0].history.size",
            ),
            (
                r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"],"channels":[{"connections":32001}]}]"#,
                "APPS[0].channels[0].connections: 0 to 32000",
            ),
            (
                r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"],"authorize_within":3601}]"#,
                "APPS[0].authorize_within: 0 to 3600",
            ),
            (
                r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"],"channels":[{"history":{"ttl":0}}]}]"#,
                "APPS[0].channels[0].history.ttl: 1 to",
            ),
            (r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"],"orgins":[]}]"#, "unknown field `orgins`"),
            (
                r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"],"webhooks":[{"url":"http://127.0.0.1/hunter2"}]}]"#,
                "APPS[0].webhooks[0].url: it has to begin with https://",
            ),
            (
                r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"],"webhooks":[{"url":"https://10.0.0.1/hunter2"}]}]"#,
                "APPS[0].webhooks[0].url: the host is not on the public internet",
            ),
            (
                r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"],"webhooks":[{"url":"https://a.com"},{"url":"https://a.com"}]}]"#,
                "APPS[0].webhooks[1].url: is that of webhooks[0]",
            ),
            (
                r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"],"webhooks":[{"url":"https://a.com","events":["channel_ocupied"]}]}]"#,
                "APPS[0].webhooks[0].events[0]: unknown variant `channel_ocupied`",
            ),
            (
                r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"],"webhooks":[{"url":"https://a.com","prefix":"a b"}]}]"#,
                "APPS[0].webhooks[0].prefix: the beginning of a channel name",
            ),
            (
                r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"]},{"id":"1","key":"l","secrets":["0123456789abcdef"]}]"#,
                "APPS[1]: has the id or key of [0]",
            ),
            (r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"]}] x"#, "APPS: there is something after"),
        ] {
            let error = error(apps);
            assert!(error.contains(expected), "{apps}: {error}");
            assert!(!error.contains("hunter2") && !error.contains("short"), "{error}");
        }
    }
}
