//! What is said on sockets of the `pusher` dialect. Its wire strings stand here only.
//!
//! Sources: Pusher's "Channels protocol" (protocol 7), and what pusher-js 8.6 reads and writes.

use super::data;
use crate::channel::ChannelName;
use crate::frame::many::Tell;
use crate::frame::{Frame, Gap, quoted};
use crate::message::Message;
use crate::presence::{Joined, Left, Member, MemberData};
use crate::refusal::{Code, Refusal};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// What pusher-js sends to see whether anybody is there: the runtime answers exactly this by itself.
pub const PING: &str = r#"{"event":"pusher:ping","data":{}}"#;
/// Its answer.
pub const PONG: &str = r#"{"event":"pusher:pong","data":{}}"#;
/// What the names of all events begin with that the server says itself: nobody may publish such a one.
pub(crate) const RESERVED: [&str; 3] = ["pusher:", "pusher_internal:", "dormouse:"];
/// The name of an event that was published without one.
pub(crate) const NAMELESS: &str = "message";
/// How long a client may hear nothing before it asks whether anybody is there, in seconds: what pusher-js does anyway.
const ACTIVITY_TIMEOUT_S: u32 = 120;

/// There is no app with that key. Up to 4099: clients do not come back.
pub const NO_APP: u16 = 4001;
/// `protocol` is no number.
pub const BAD_PROTOCOL: u16 = 4006;
/// A protocol that is not spoken here.
pub const UNSUPPORTED_PROTOCOL: u16 = 4007;
/// The origin is not allowed, the app closed it, or it has not been authorised in time.
pub const NOT_AUTHORIZED: u16 = 4009;
/// It may come back in a second; up to 4199.
pub const COME_BACK: u16 = 4100;
/// In-band: more client events than the rule allows. No connection is closed with 4300 or more: clients would not come back.
pub const TOO_MANY_EVENTS: u16 = 4301;
/// In-band: the watchlist is too long.
pub const WATCHLIST_TOO_LONG: u16 = 4302;

/// The code that closes a connection for a reason. Clients come back in a second from 4100, and never from what is below.
#[must_use]
pub const fn close_code(refusal: &Refusal) -> u16 {
    match (refusal.pusher, refusal.code) {
        (Some(number), _) if number < 4300 => number,
        (_, Code::Unauthorized | Code::Forbidden | Code::Expired) => NOT_AUTHORIZED,
        _ => COME_BACK,
    }
}

/// What a connection is told; `None` where there are no words for it.
#[must_use]
pub fn tell(what: &Tell<'_>) -> Option<Frame> {
    let text = match what {
        Tell::Welcome { connection } => {
            let data = format!(r#"{{"socket_id":"{connection}","activity_timeout":{ACTIVITY_TIMEOUT_S}}}"#);
            event("pusher:connection_established", None, &data)
        }
        Tell::Subscribed { channel, .. } => event(SUBSCRIBED, Some(channel), "{}"),
        Tell::Error { refusal, .. } => error(refusal),
        // The close code tells.
        Tell::Farewell(_) | Tell::Unsubscribed { .. } | Tell::Ack { .. } | Tell::History { .. } => return None,
    };
    Some(Frame::Text(text))
}

/// It does not get a channel, though it may have it. As pusher-js itself says that it was not authorised, by whom apps are told.
#[must_use]
pub fn not_subscribed(channel: &ChannelName, refusal: &Refusal) -> Frame {
    #[derive(Serialize)]
    struct Data<'a> {
        r#type: &'a str,
        error: &'a str,
        status: u16,
    }
    let data = Data { r#type: refusal.code.name(), error: &refusal.message, status: refusal.code.status() };
    Frame::Text(event("pusher:subscription_error", Some(channel), &json(&data)))
}

/// It is signed in, as its own text says.
#[must_use]
pub fn signed_in(user_data: &str) -> Frame {
    Frame::Text(event("pusher:signin_success", None, &format!(r#"{{"user_data":{}}}"#, quoted(user_data))))
}

/// The cache channel that it has just got has no last message.
#[must_use]
pub fn cache_miss(channel: &ChannelName) -> Frame {
    Frame::Text(format!(r#"{{"event":"pusher:cache_miss","channel":"{channel}"}}"#))
}

/// Messages of a channel cannot be had: an event that no other server has, so nobody mistakes it.
#[must_use]
pub fn gap(channel: &ChannelName, gap: &Gap) -> Frame {
    Frame::Text(event("dormouse:gap", Some(channel), &json(gap)))
}

/// It has the presence channel, and these are there: the first of them, and its own user in any case. Counted are all.
#[must_use]
pub fn members(channel: &ChannelName, count: u64, list: &[Member], own: Option<&Member>) -> Frame {
    #[derive(Serialize)]
    struct Presence<'a> {
        ids: Vec<&'a str>,
        hash: Hash<'a>,
        count: u64,
    }
    #[derive(Serialize)]
    struct Data<'a> {
        presence: Presence<'a>,
    }
    let own = own.filter(|own| list.iter().all(|member| member.user != own.user));
    let members: Vec<&Member> = list.iter().chain(own).collect();
    let ids = members.iter().map(|member| member.user.as_str()).collect();
    let count = count.max(members.len() as u64);
    let presence = Presence { ids, hash: Hash(&members), count };
    Frame::Text(event(SUBSCRIBED, Some(channel), &json(&Data { presence })))
}

/// Who has gone and who has come, each by itself; who has gone first.
#[must_use]
pub fn changes(channel: &ChannelName, left: &[&Left], joined: &[&Joined]) -> Vec<Frame> {
    #[derive(Serialize)]
    struct Added<'a> {
        user_id: &'a str,
        user_info: Option<&'a MemberData>,
    }
    #[derive(Serialize)]
    struct Removed<'a> {
        user_id: &'a str,
    }
    let gone = left.iter().map(|left| ("pusher_internal:member_removed", json(&Removed { user_id: &left.user })));
    let come = joined.iter().map(|joined| {
        let added = Added { user_id: &joined.member.user, user_info: joined.member.data.as_ref() };
        ("pusher_internal:member_added", json(&added))
    });
    gone.chain(come).map(|(name, data)| Frame::Text(event(name, Some(channel), &data))).collect()
}

/// So many subscribers a channel has.
#[must_use]
pub fn subscription_count(channel: &ChannelName, count: u64) -> Frame {
    let data = format!(r#"{{"subscription_count":{count}}}"#);
    Frame::Text(event("pusher_internal:subscription_count", Some(channel), &data))
}

/// Users of its watchlist are online, or are not.
#[must_use]
pub fn watched(users: &[&str], online: bool) -> Frame {
    #[derive(Serialize)]
    struct Event<'a> {
        name: &'a str,
        user_ids: &'a [&'a str],
    }
    #[derive(Serialize)]
    struct Data<'a> {
        events: [Event<'a>; 1],
    }
    let name = if online { "online" } else { "offline" };
    let data = Data { events: [Event { name, user_ids: users }] };
    Frame::Text(event("pusher_internal:watchlist_events", None, &json(&data)))
}

const SUBSCRIBED: &str = "pusher_internal:subscription_succeeded";

/// What members show, by user.
struct Hash<'a>(&'a [&'a Member]);

impl Serialize for Hash<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for member in self.0 {
            map.serialize_entry(&member.user, &member.data)?;
        }
        map.end()
    }
}

/// The in-band error: nothing else changes.
fn error(refusal: &Refusal) -> String {
    let code = refusal.pusher.map_or_else(|| "null".to_owned(), |number| number.to_string());
    let message = quoted(&refusal.message);
    format!(r#"{{"event":"pusher:error","data":{{"code":{code},"message":{message}}}}}"#)
}

/// An event whose data is a text, as every event's is.
fn event(name: &str, channel: Option<&ChannelName>, data: &str) -> String {
    let channel = channel.map(|channel| format!(r#","channel":"{channel}""#)).unwrap_or_default();
    format!(r#"{{"event":"{name}"{channel},"data":{}}}"#, quoted(data))
}

fn json<T: Serialize>(data: &T) -> String {
    serde_json::to_string(data).unwrap_or_default()
}

/// The frame of a message. `user_id` is told in presence channels, and where a client published it.
#[must_use]
pub fn message(channel: &ChannelName, message: &Message) -> String {
    let data = data(&message.payload);
    let mut out = String::with_capacity(data.len() + data.len() / 8 + 160);
    out.push_str(r#"{"event":"#);
    out.push_str(&quoted(message.event.as_deref().unwrap_or(NAMELESS)));
    // A channel's name needs no escaping.
    out.push_str(r#","channel":""#);
    out.push_str(channel.as_str());
    out.push_str(r#"","data":"#);
    out.push_str(&quoted(&data));
    if let Some(user) = message.user.as_deref().filter(|_| channel.has_members()) {
        out.push_str(r#","user_id":"#);
        out.push_str(&quoted(user));
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::{cache_miss, changes, close_code, gap, members, message, signed_in, tell, watched};
    use crate::channel::ChannelName;
    use crate::frame::many::Tell;
    use crate::frame::{Frame, Gap, GapReason};
    use crate::message::{Message, Payload};
    use crate::position::Epoch;
    use crate::presence::{Joined, Left, Member, MemberData};
    use crate::refusal::{Code, Refusal};

    fn text(frame: Frame) -> String {
        match frame {
            Frame::Text(text) => text,
            Frame::Binary(bytes) => panic!("{bytes:?}"),
        }
    }

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name).unwrap()
    }

    #[test]
    fn the_frame_of_a_message() {
        let mut new = Message::new(Some("e\"".into()), Payload::Json(r#"{"a":"b"}"#.into()), None);
        assert_eq!(message(&channel("a"), &new), r#"{"event":"e\"","channel":"a","data":"{\"a\":\"b\"}"}"#);
        new.user = Some("7".into());
        assert_eq!(message(&channel("a"), &new), r#"{"event":"e\"","channel":"a","data":"{\"a\":\"b\"}"}"#);
        assert_eq!(
            message(&channel("presence-a"), &new),
            r#"{"event":"e\"","channel":"presence-a","data":"{\"a\":\"b\"}","user_id":"7"}"#
        );
        let bare = Message::new(None, Payload::Text("hi".into()), None);
        assert_eq!(message(&channel("a"), &bare), r#"{"event":"message","channel":"a","data":"hi"}"#);
    }

    #[test]
    fn what_one_connection_is_told() {
        let (a, at) = (channel("a"), Epoch::new(0x9f2c_41d0_7ab3).at(7));
        let refusal = Refusal::new(Code::Unauthorized, "no \"auth\"");
        let told = |what: &Tell<'_>| tell(what).map(text);
        assert_eq!(
            told(&Tell::Welcome { connection: "3.14" }).unwrap(),
            r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"3.14\",\"activity_timeout\":120}"}"#
        );
        assert_eq!(
            told(&Tell::Subscribed { channel: &a, position: at, resumed: None }).unwrap(),
            r#"{"event":"pusher_internal:subscription_succeeded","channel":"a","data":"{}"}"#
        );
        assert_eq!(
            told(&Tell::Error { channel: Some(&a), id: None, refusal: &refusal }).unwrap(),
            r#"{"event":"pusher:error","data":{"code":null,"message":"no \"auth\""}}"#
        );
        let often = Refusal::numbered(Code::RateLimited, 4301, "slower");
        assert_eq!(
            told(&Tell::Error { channel: None, id: None, refusal: &often }).unwrap(),
            r#"{"event":"pusher:error","data":{"code":4301,"message":"slower"}}"#
        );
        for what in [Tell::Farewell(&refusal), Tell::Ack { channel: &a, id: None, position: at, duplicate: false }] {
            assert_eq!(told(&what), None);
        }
        assert_eq!(
            text(signed_in(r#"{"id":"7"}"#)),
            r#"{"event":"pusher:signin_success","data":"{\"user_data\":\"{\\\"id\\\":\\\"7\\\"}\"}"}"#
        );
        assert_eq!(text(cache_miss(&a)), r#"{"event":"pusher:cache_miss","channel":"a"}"#);
        assert_eq!(
            text(watched(&["8"], true)),
            r#"{"event":"pusher_internal:watchlist_events","data":"{\"events\":[{\"name\":\"online\",\"user_ids\":[\"8\"]}]}"}"#
        );
        let lost = Gap { after: at, position: Epoch::new(1).at(2), reason: GapReason::Lost };
        assert_eq!(
            text(gap(&a, &lost)),
            r#"{"event":"dormouse:gap","channel":"a","data":"{\"after\":\"9f2c41d07ab3:7\",\"position\":\"000000000001:2\",\"reason\":\"lost\"}"}"#
        );
    }

    #[test]
    fn who_is_there_comes_and_goes() {
        let room = channel("presence-a");
        let member = |user: &str, data: Option<&str>| {
            let data = data.map(|data| MemberData::parse(data).unwrap());
            Member { user: user.into(), data }
        };
        let list = [member("7", Some(r#"{"n":1}"#)), member("8\"", None)];
        assert_eq!(
            text(members(&room, 2, &list, Some(&list[0]))),
            r#"{"event":"pusher_internal:subscription_succeeded","channel":"presence-a","data":"{\"presence\":{\"ids\":[\"7\",\"8\\\"\"],\"hash\":{\"7\":{\"n\":1},\"8\\\"\":null},\"count\":2}}"}"#
        );
        // One of many is not on the list, but knows itself.
        let own = text(members(&room, 250, &list, Some(&member("9", None))));
        assert!(own.contains(r#"\"9\":null},\"count\":250"#), "{own}");
        assert!(text(members(&room, 0, &[], Some(&list[0]))).contains(r#"\"count\":1"#));
        let (left, joined) = (Left { at: 1, user: "9".into() }, Joined { at: 2, member: list[0].clone() });
        let frames: Vec<String> = changes(&room, &[&left], &[&joined]).into_iter().map(text).collect();
        assert_eq!(
            frames,
            [
                r#"{"event":"pusher_internal:member_removed","channel":"presence-a","data":"{\"user_id\":\"9\"}"}"#,
                r#"{"event":"pusher_internal:member_added","channel":"presence-a","data":"{\"user_id\":\"7\",\"user_info\":{\"n\":1}}"}"#,
            ]
        );
    }

    #[test]
    fn nobody_is_closed_so_that_it_stays_away_for_what_passes() {
        for (code, expected) in [
            (Code::Forbidden, 4009),
            (Code::Expired, 4009),
            (Code::Full, 4100),
            (Code::Overloaded, 4100),
            (Code::RateLimited, 4100),
            (Code::Internal, 4100),
            (Code::NotConfigured, 4100),
        ] {
            assert_eq!(close_code(&Refusal::new(code, "")), expected, "{code:?}");
        }
        assert_eq!(close_code(&Refusal::numbered(Code::NotFound, 4001, "")), 4001);
        // In-band only: 4300 and above would keep a client away for good.
        assert_eq!(close_code(&Refusal::numbered(Code::RateLimited, 4301, "")), 4100);
    }
}
