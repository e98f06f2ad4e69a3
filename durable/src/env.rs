//! The configuration, read once per isolate: a new value of the secret comes with new isolates.

use dormouse_core::config::{Config, ConfigError};
use std::sync::OnceLock;
use worker::Env;

/// The secret's name.
const APPS: &str = "APPS";

/// What `APPS` says: nothing if it is not set, else a configuration or what is wrong with it.
pub type Apps = Option<Result<Config, ConfigError>>;

/// The apps of this deployment.
pub fn apps(env: &Env) -> &'static Apps {
    static READ: OnceLock<Apps> = OnceLock::new();
    READ.get_or_init(|| {
        let value = env.secret(APPS).ok()?.to_string();
        (!value.is_empty()).then(|| Config::parse(&value))
    })
}
