//! `docs/limits.md` is the table of `core/src/limits.rs`: `UPDATE_EXPECT=1 cargo test -p dormouse-core --test limits` writes it anew.

use dormouse_core::limits;
use std::collections::BTreeMap;

macro_rules! values {
    ($($name:ident),* $(,)?) => {
        BTreeMap::from([$((stringify!($name), u64::try_from(limits::$name).unwrap())),*])
    };
}

const HEAD: &str = "# Limits

Every bound of Dormouse, with its reason and what happens past it: the constants of `core/src/limits.rs`, from which this table is made. What a
channel rule may change is said there; see [configuration.md](configuration.md). Refusals are explained in [protocol.md](protocol.md).

| limit | value | what it is, why, and what happens past it |
|---|---:|---|
";

#[rustfmt::skip]
fn every_value() -> BTreeMap<&'static str, u64> {
    values![
        CHANNEL_NAME_MAX, EVENT_NAME_MAX, MESSAGE_ID_MAX, CONNECTION_RANDOM, CONNECTION_ID_MAX, MESSAGE_BYTES_DEFAULT,
        MESSAGE_BYTES_MAX, FRAME_ENVELOPE_BYTES, FRAME_BYTES_MAX, PUBLISH_BODY_BYTES_MAX, PUSHER_BODY_BYTES_MAX, BATCH_MAX,
        CHANNELS_PER_PUBLISH_MAX, CALLS_AT_ONCE, SIGNATURE_WINDOW_S, TOKEN_BYTES_MAX, TOKEN_PATTERNS_MAX,
        USER_ID_MAX, TOKEN_SKEW_S, APPS_MAX, SECRETS_MAX, SECRET_BYTES_MIN, ORIGINS_MAX, RULES_MAX,
        HISTORY_SIZE_DEFAULT, HISTORY_SIZE_MAX, HISTORY_TTL_S_DEFAULT, HISTORY_TTL_S_MAX, HISTORY_BYTES_MAX,
        ID_WINDOW_MS, IDS_MAX, LOG_BYTES_MAX, SEGMENTS_MAX, SEGMENT_BYTES_MAX, PENDING_MAX, PENDING_BYTES_MAX,
        RETRY_AFTER_S, SOCKETS_MAX, ROOM_SOCKETS_DEFAULT, CLIENT_RATE_DEFAULT, CLIENT_RATE_MAX, RATE_STRIKES_MAX,
        LAST_MAX, REPLAY_INLINE_BYTES, REPLAY_BATCH_BYTES, REPLAY_SOCKET_BYTES, REPLAY_TOTAL_BYTES, REPLAY_PAUSE_MS,
        REPLAY_STALL_MS, REPLAY_LEASE_MS, UNSENT_BYTES_MAX, UNSENT_LOOK_BYTES, FRAME_COST_BYTES, FOLLOWERS_MAX,
        RELAY_FOLLOWERS, RELAY_GROUP, RELAY_OTHERS_MAX, RELAYS_MAX, RELAY_CALLS_AT_ONCE, RELAY_CALL_MS, DELIVERY_MS, RELAY_MS, DELIVERY_TRIES_AT_ONCE,
        HUB_NAME_MAX, DELIVERY_BYTES, DELIVERY_RETRY_MS, DELIVERY_RETRY_MAX_MS, DELIVERY_LOOK_MS, TAIL_BYTES,
        TAIL_MESSAGES, REPORT_CHANGES_MAX, EVENTS_CHANNELS_MAX, HUBS_TRIED_MAX, HUB_MEMORY_MS, HUB_PLACES_MAX, FULL_ROOM_MEMORY_MS,
        FULL_ROOMS_MAX, PAGE_MESSAGES_MAX, PAGE_MESSAGES_DEFAULT, PAGE_BYTES, IDLE_LOOK_MS, STREAM_COMMENT_S,
        HUB_SOCKETS_DEFAULT, SUBSCRIPTIONS_MAX, ATTACHMENT_BYTES, HUB_FRAME_RATE, HUB_CALLS_AT_ONCE, HUB_CALLS_MAX, HISTORY_ASKED_MAX, CALL_MS, CLOSE_USER_MS, HUB_PENDING_MAX,
        MEMBER_DATA_BYTES, MEMBERS_MAX, MEMBERS_LISTED, MEMBERS_PER_FRAME, MEMBERS_PER_DELIVERY, MEMBERS_PAGE_MAX,
        MEMBERS_PAGE_DEFAULT, LEAVE_GRACE_MS, LOST_GRACE_MS, PRESENCE_LEASE_MS, PRESENCE_LOOK_MS, MEMBERS_PAUSE_MS, GONE_MAX,
        COUNT_PAUSE_MS, COUNT_SMALL, COUNT_LARGE_PAUSE_MS, COUNT_RETRY_MS,
        HUB_PENDING_BYTES, UNFOLLOW_MS, HUB_REVIEW_MS, REFUSAL_MESSAGE_MAX, AUTHORIZE_WITHIN_MAX_S, WATCHLIST_MAX, RELIST_MS,
        REPORT_PAUSE_MS, REPORT_RETRY_MS, REPORT_RETRY_MAX_MS, REPORT_TRIES_MAX, CHANNELS_PAGE_MAX, STRUCK_MAX, ORDER_CALLS_AT_ONCE,
        CHANNELS_NAMED_MAX, CHANNELS_LISTED_MAX, CHANNELS_ASKED_MAX, HUBS_ASKED_MAX,
        ORDER_TARGETS, ORDERS_MAX, ORDER_ANSWER_MS, ORDER_RETRY_MS, ORDER_RETRY_MAX_MS, ORDER_AGE_MAX_MS, ORDER_LEASE_MS,
        WEBHOOKS_MAX, WEBHOOK_URL_BYTES_MAX, WEBHOOK_CALLS_AT_ONCE, WEBHOOK_MS, WEBHOOK_LEASE_MS, WEBHOOK_RETRY_MS, WEBHOOK_RETRY_MAX_MS,
        WEBHOOK_AGE_MAX_MS, WEBHOOK_EVENTS_MAX, WEBHOOK_BYTES_MAX, WEBHOOK_ROW_EVENTS, WEBHOOK_ROW_BYTES, WEBHOOK_LOOK_MS,
        RESUME_ID_MIN, RESUME_ID_MAX, RESUME_PING_MS, RESUME_PONGS_PER_S, RESUME_WINDOW_MESSAGES, RESUME_WINDOW_BYTES, RESUME_WINDOWS_PER_S, RESUME_STALL_MS, RESUME_SAVE_MS, RESUME_CLAIM_MS, RESUME_KEEP_MS,
        RESUME_SWEEP_MS, RESUME_ROWS_MAX, RESUME_NAMES_MAX, RESUME_LOOK_MS,
    ]
}

#[test]
fn the_document_is_the_code() {
    let values = every_value();
    let source = include_str!("../src/limits.rs");
    let mut words = String::new();
    let mut table = String::from(HEAD);
    for line in source.lines() {
        if let Some(comment) = line.strip_prefix("/// ") {
            words.push_str(comment);
            words.push(' ');
        } else if let Some(name) = line.strip_prefix("pub const ").and_then(|rest| rest.split(':').next()) {
            let value = values.get(name).unwrap_or_else(|| panic!("{name} is not in this test's list"));
            let row = format!("| `{name}` | {} | {} |\n", thousands(*value), words.trim());
            table.push_str(&row);
            words.clear();
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/limits.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), table, "run it with UPDATE_EXPECT=1");
}

fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
