use super::{Hooks, Kind, channel_event, client_event, lost_event, member_event};
use crate::channel::ChannelName;
use crate::config::Config;
use crate::message::{Message, Payload};
use serde_json::{Value, json};

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

fn hooks(webhooks: &Value, name: &str) -> Hooks {
    let apps = json!([{ "id": "1", "key": "123456789", "secrets": ["dev-secret"], "webhooks": webhooks }]);
    let config = Config::parse(&apps.to_string()).unwrap();
    Hooks::of(config.app(None).unwrap(), &ChannelName::known(name).unwrap())
}

#[test]
fn the_signature_is_that_of_pushers_own_tests() {
    // pusher-http-node, tests/integration/webhook.js.
    let body = r#"{"time_ms":1403175510755,"events":[{"channel":"test_channel","name":"channel_vacated"}]}"#;
    let signature = "c17257e92037cd7de407ebc1ed174ceb7b2e518db127f44411b9ffc4f5b28cc5";
    assert_eq!(super::sign("tofu", body), signature);
    let hooks = Hooks { key: "123456789".into(), secret: "tofu".into(), targets: Vec::new() };
    let event = r#"{"channel":"test_channel","name":"channel_vacated"}"#;
    let post = hooks.post("https://example.com", "id".into(), 1_403_175_510_755, &[event], 1);
    assert_eq!((post.body.as_str(), post.signature.as_str(), post.key.as_str()), (body, signature, "123456789"));
}

#[test]
fn nobody_hears_of_hidden_channels() {
    let webhooks = json!([{ "url": "https://example.com" }]);
    assert!(!hooks(&webhooks, "online-7").is_empty() && !hooks(&webhooks, "#server-to-user-7").is_empty());
    for name in ["#online-7", "#resume-0123456789abcdef0123456789abcdef"] {
        assert!(hooks(&webhooks, name).is_empty(), "{name}");
    }
}

#[test]
fn events_have_pushers_names_and_fields() {
    let read = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let presence = channel("presence-a");
    for (kind, name) in [
        (Kind::ChannelOccupied, "channel_occupied"),
        (Kind::ChannelVacated, "channel_vacated"),
        (Kind::CacheMiss, "cache_miss"),
    ] {
        assert_eq!(read(channel_event(kind, &presence)), json!({ "name": name, "channel": "presence-a" }));
    }
    for (kind, name) in [(Kind::MemberAdded, "member_added"), (Kind::MemberRemoved, "member_removed")] {
        let expected = json!({ "name": name, "channel": "presence-a", "user_id": "ü\"\n" });
        assert_eq!(read(member_event(kind, &presence, "ü\"\n")), expected);
    }
    assert_eq!(read(lost_event(&presence, 7)), json!({ "name": "dormouse_lost", "channel": "presence-a", "count": 7 }));
    let mut message = Message::new(Some("client-e\"".into()), Payload::Json("{\"a\":\n1}".into()), None);
    message.user = Some("7".into());
    let expected = json!({
        "name": "client_event", "channel": "presence-a", "event": "client-e\"", "data": "{\"a\":\n1}", "socket_id": "1.2", "user_id": "7",
    });
    let text = client_event(&presence, &message, "1.2");
    assert!(!text.contains('\n'), "rows are split at line feeds");
    assert_eq!(read(text), expected);
    let bytes = Message::new(None, Payload::Binary(vec![0, 255]), None);
    let expected =
        json!({ "name": "client_event", "channel": "a", "event": "message", "data": "AP8=", "socket_id": "1.2" });
    assert_eq!(read(client_event(&channel("a"), &bytes, "1.2")), expected);
    message.payload = Payload::Text("x".into());
    assert!(read(client_event(&channel("private-a"), &message, "1.2")).get("user_id").is_none());
}

#[test]
fn who_wants_what_of_which_channel() {
    let all = json!([
        { "url": "https://a.com" },
        { "url": "https://b.com", "prefix": "chat-", "suffix": "-x", "events": ["client_event", "cache_miss"] },
    ]);
    let urls = |name: &str| hooks(&all, name).targets.iter().map(|hook| hook.url.clone()).collect::<Vec<_>>();
    assert_eq!(urls("chat-1-x"), ["https://a.com", "https://b.com"]);
    assert_eq!((urls("chat-1").len(), urls("1-x").len()), (1, 1));
    let chat = hooks(&json!([all[1]]), "chat--x");
    assert!(chat.want(Kind::ClientEvent) && chat.want(Kind::CacheMiss) && !chat.want(Kind::ChannelOccupied));
    assert!(hooks(&json!([all[1]]), "lobby").is_empty() && hooks(&json!([]), "chat-1-x").is_empty());
    assert!(hooks(&all, "lobby").want(Kind::MemberRemoved));
    assert!(!format!("{:?}", hooks(&all, "lobby")).contains("dev-secret"));
}
