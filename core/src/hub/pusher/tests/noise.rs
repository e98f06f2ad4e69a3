//! What nobody would send.

use super::{World, id, sign};
use crate::frame::Frame;
use crate::hub::Input;
use crate::limits;

/// Frames that are good, of every kind.
fn good() -> Vec<String> {
    let user = r#"{\"id\":\"7\",\"watchlist\":[\"8\"],\"channels\":{\"private-*\":[\"sub\"]}}"#;
    let user_auth = sign(&format!("{}::user::{}", id(0), user.replace('\\', "")));
    let private_auth = sign(&format!("{}:private-a", id(0)));
    let member = r#"{\"user_id\":\"7\"}"#;
    let member_auth = sign(&format!("{}:presence-a:{}", id(0), member.replace('\\', "")));
    vec![
        r#"{"event":"pusher:ping","data":{}}"#.into(),
        r#"{"event":"pusher:subscribe","data":{"auth":"","channel":"cache-a"}}"#.into(),
        r#"{"event":"pusher:unsubscribe","data":{"channel":"cache-a"}}"#.into(),
        format!(r#"{{"event":"pusher:subscribe","data":{{"auth":"{private_auth}","channel":"private-a"}}}}"#),
        format!(
            r#"{{"event":"pusher:subscribe","data":{{"auth":"{member_auth}","channel_data":"{member}","channel":"presence-a"}}}}"#
        ),
        format!(r#"{{"event":"pusher:signin","data":{{"auth":"{user_auth}","user_data":"{user}"}}}}"#),
        r##"{"event":"pusher:subscribe","data":{"auth":"","channel":"#server-to-user-7"}}"##.into(),
        r#"{"event":"client-x","channel":"private-a","data":{"a":[1,"\u00e4"]}}"#.into(),
    ]
}

/// Every frame with some of its bytes changed, left out or doubled: nobody is closed for it, and what it does is bounded by what frames can do.
#[test]
fn frames_with_holes_hurt_nobody() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut world = World::new(r#","watchlist":true"#);
    let slot = world.connect();
    let good = good();
    for frame in &good {
        world.says(slot, frame);
    }
    for _ in 0..20_000 {
        let mut bytes = random.choice(&good).cloned().unwrap_or_default().into_bytes();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(0..bytes.len());
            match random.u8(0..4) {
                0 => bytes[at] = random.u8(..),
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, random.u8(..)),
                _ => drop(bytes.splice(at..at, bytes.clone()).count()),
            }
            bytes.truncate(4_000);
        }
        world.now += 20;
        match String::from_utf8(bytes) {
            Ok(text) => world.says(slot, &text),
            Err(error) => world.handle(Input::Frame { slot, frame: Frame::Binary(error.into_bytes()) }),
        }
        assert!(world.closed.is_empty(), "{:?}", world.closed);
        assert!(world.calls.len() < 3 * limits::SUBSCRIPTIONS_MAX + limits::HUB_CALLS_AT_ONCE, "{}", world.calls.len());
        for text in world.all(slot) {
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
        }
    }
    assert!(world.session(slot).subscriptions.len() <= 2 * limits::SUBSCRIPTIONS_MAX);
}
