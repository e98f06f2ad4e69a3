//! Does what comes in as lines of JSON with Pusher's own SDK for Rust, and prints each answer as one: `{"ok": …}` or `{"error": …}`.
//!
//!     pusher-sdk 127.0.0.1:8787 app-id key secret

use hyper::client::HttpConnector;
use pusher::{Member, Pusher, PusherBuilder};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::stdin;

type Sdk = Pusher<HttpConnector>;

fn text<'a>(line: &'a Value, name: &str) -> &'a str {
    line[name].as_str().unwrap_or_default()
}

fn texts<'a>(line: &'a Value, name: &str) -> Vec<&'a str> {
    line[name].as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// `info` and `filter_by_prefix`, as far as they are asked for.
fn parameters(line: &Value) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    if let Some(prefix) = line["prefix"].as_str() {
        parameters.push(("filter_by_prefix".to_owned(), prefix.to_owned()));
    }
    let info = texts(line, "info").join(",");
    if !info.is_empty() {
        parameters.push(("info".to_owned(), info));
    }
    parameters
}

async fn trigger(sdk: &Sdk, line: &Value) -> Result<Value, String> {
    let (channels, event, data) = (texts(line, "channels"), text(line, "name"), &line["data"]);
    let triggered = match (line["socket_id"].as_str(), channels.as_slice()) {
        (None, [channel]) => sdk.trigger(channel, event, data).await,
        (Some(socket), [channel]) => sdk.trigger_exclusive(channel, event, data, socket).await,
        (None, _) => sdk.trigger_multi(&channels, event, data).await,
        (Some(socket), _) => sdk.trigger_multi_exclusive(&channels, event, data, socket).await,
    };
    triggered.map(|_| json!({}))
}

fn authorize(sdk: &Sdk, line: &Value) -> Result<Value, String> {
    let (channel, socket) = (text(line, "channel"), text(line, "socket_id"));
    let data = &line["data"];
    let auth = if data.is_null() {
        sdk.authenticate_private_channel(channel, socket)
    } else {
        let named = |(name, value): (&'_ String, &'_ Value)| Some((name.clone(), value.as_str()?.to_owned()));
        let info: HashMap<String, String> =
            data["user_info"].as_object().map(|info| info.iter().filter_map(named).collect()).unwrap_or_default();
        let user_info = Some(info.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect());
        let user_id = text(data, "user_id");
        sdk.authenticate_presence_channel(channel, socket, &Member { user_id, user_info })
    };
    serde_json::from_str(&auth?).map_err(|error| error.to_string())
}

async fn act(sdk: &Sdk, line: &Value) -> Result<Value, String> {
    let channel_of = |channel: pusher::Channel| json!({ "occupied": channel.occupied, "user_count": channel.user_count, "subscription_count": channel.subscription_count });
    match text(line, "do") {
        "trigger" => trigger(sdk, line).await,
        "channels" => {
            let list = sdk.channels_with_options(parameters(line)).await?;
            Ok(list.channels.into_iter().map(|(name, channel)| (name, channel_of(channel))).collect())
        }
        "channel" => Ok(channel_of(sdk.channel_with_options(text(line, "channel"), parameters(line)).await?)),
        "users" => {
            let list = sdk.channel_users(text(line, "channel")).await?;
            Ok(list.users.into_iter().map(|user| user.id).collect())
        }
        "authorize" => authorize(sdk, line),
        "webhook" => {
            let hook = sdk.webhook(text(line, "key"), text(line, "signature"), text(line, "body"))?;
            Ok(json!(hook.events))
        }
        other => Err(format!("this SDK has no {other}")),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let [host, app, key, secret] = given.as_slice() else {
        panic!("pusher-sdk host app-id key secret");
    };
    let sdk = PusherBuilder::new(app, key, secret).host(host).finalize();
    for line in stdin().lines() {
        let line = serde_json::from_str(&line.expect("a line")).expect("a line of JSON");
        let answer = match act(&sdk, &line).await {
            Ok(value) => json!({ "ok": value }),
            Err(error) => json!({ "error": error }),
        };
        println!("{answer}");
    }
}
