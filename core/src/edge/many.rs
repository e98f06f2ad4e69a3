//! Letting a client in that wants many channels: into a Hub.

use super::Route;
use super::connect::{Guest, given_position, last, last_event_id, wants_raw};
use crate::call::{self, Begin};
use crate::channel::ChannelName;
use crate::head::Head;
use crate::hub::{HubConnect, Want};
use crate::limits;
use crate::position::Position;
use crate::refusal::{Code, Refusal};
use crate::session::Format;
use crate::{config::Config, token::Grants};

/// A client who may go into a Hub: with what, and how it is answered. Which Hub is a question of room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManyAdmission {
    /// The app's id.
    pub app: String,
    /// What the Hub is told.
    pub connect: HubConnect,
    /// Whether the subprotocol `dormouse` was offered, and has to be answered.
    pub subprotocol: bool,
    /// For an event stream: the value of `Access-Control-Allow-Origin`.
    pub allow_origin: Option<String>,
}

/// Checks key, origin and token, and for an event stream the channels and where each begins. `now_s` is in seconds.
pub fn admit_many(config: &Config, route: &Route, head: &Head<'_>, now_s: u64) -> Result<ManyAdmission, Refusal> {
    let stream = *route == Route::Events;
    let (good, message) = if stream {
        (!head.wants_websocket() && head.wants_event_stream(), "connect with Accept: text/event-stream")
    } else {
        (head.wants_websocket(), "connect with Upgrade: websocket")
    };
    if !good {
        return Err(Refusal::new(Code::UpgradeRequired, message));
    }
    let guest = Guest::check(config, head, now_s)?;
    if wants_raw(head)? {
        return Err(Refusal::new(Code::InvalidField, "raw: with one channel only, at /rooms/{channel}"));
    }
    // A socket says later what it wants, and is judged then; a stream cannot.
    let wants = if stream { wants(&guest, head)? } else { Vec::new() };
    let grants = match &guest.token {
        Some(token) if !stream => token.grants.clone(),
        _ => Grants::default(),
    };
    let connect = HubConnect {
        version: call::VERSION,
        format: if stream { Format::ManyStream } else { Format::Many },
        user: guest.user(),
        expires_at: guest.expires_at(),
        grants,
        resume: None,
        info: if stream { None } else { guest.info()? },
        wants,
    };
    let (app, subprotocol, allow_origin) = (guest.app.id.clone(), guest.subprotocol, guest.allow_origin);
    Ok(ManyAdmission { app, connect, subprotocol, allow_origin })
}

/// What a stream wants: a channel that its own `Last-Event-ID` does not know begins where the URL says.
fn wants(guest: &Guest<'_>, head: &Head<'_>) -> Result<Vec<Want>, Refusal> {
    let channels = channels(head)?;
    let mut places = places(&last_event_id(head).unwrap_or_default())?;
    places.extend(self::places(&given_position(head).unwrap_or_default())?);
    let last = last(head)?;
    let want = |channel: ChannelName| {
        guest.may_join(&channel).map_err(|refusal| of(&channel, &refusal))?;
        let place = places.iter().find(|(of, _)| *of == channel);
        let from = place.map(|(_, position)| Begin::After(*position)).or(last);
        let data = guest.data(&channel, head).map_err(|refusal| of(&channel, &refusal))?;
        Ok(Want { channel, from, may_publish: false, data })
    };
    channels.into_iter().map(want).collect()
}

/// The lists of every `channels`, and every `channel`: a name may have commas, and can be given by itself.
fn channels(head: &Head<'_>) -> Result<Vec<ChannelName>, Refusal> {
    let mut channels: Vec<ChannelName> = Vec::new();
    for (parameter, value) in head.query_pairs() {
        let names: &mut dyn Iterator<Item = &str> = match parameter.as_ref() {
            "channels" if !value.is_empty() => &mut value.split(','),
            "channel" => &mut core::iter::once(value.as_ref()),
            _ => continue,
        };
        for name in names {
            let name = ChannelName::parse(name)?;
            if channels.contains(&name) {
                return Err(Refusal::new(Code::InvalidField, format!("channels: {name} is there twice")));
            }
            channels.push(name);
            if channels.len() > limits::EVENTS_CHANNELS_MAX {
                return Err(how_many());
            }
        }
    }
    if channels.is_empty() { Err(how_many()) } else { Ok(channels) }
}

fn how_many() -> Refusal {
    let message = format!("channels: 1 to {} names, with commas between them", limits::EVENTS_CHANNELS_MAX);
    Refusal::new(Code::InvalidField, message)
}

/// Reads `channel=epoch:seq`, with commas between them. A name may have commas and equals signs but no colon, so each part ends at the first comma
/// after its colon.
fn places(text: &str) -> Result<Vec<(ChannelName, Position)>, Refusal> {
    let wrong = || {
        let message = "Last-Event-ID and position look like lobby=9f2c41d07ab3:42,news=07ab39f2c41d:7";
        Refusal::new(Code::InvalidPosition, message)
    };
    let mut places = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let colon = rest.find(':').ok_or_else(wrong)?;
        let (head, tail) = rest.split_at(colon);
        let (seq, later) = tail.split_at(tail.find(',').unwrap_or(tail.len()));
        let (name, epoch) = head.rsplit_once('=').ok_or_else(wrong)?;
        let name = ChannelName::parse(name).map_err(|_| wrong())?;
        places.push((name, Position::parse(&format!("{epoch}{seq}")).ok_or_else(wrong)?));
        if places.len() > limits::EVENTS_CHANNELS_MAX {
            return Err(wrong());
        }
        rest = later.strip_prefix(',').unwrap_or(later);
    }
    Ok(places)
}

/// A refusal that says which of the channels it is about.
fn of(channel: &ChannelName, refusal: &Refusal) -> Refusal {
    Refusal::new(refusal.code, format!("{channel}: {}", refusal.message))
}

#[cfg(test)]
mod tests {
    use super::super::{Route, admit, admit_many};
    use super::{ManyAdmission, places};
    use crate::call::Begin;
    use crate::channel::ChannelName;
    use crate::config::Config;
    use crate::head::Head;
    use crate::position::{Epoch, Position};
    use crate::refusal::Code;
    use crate::session::Format;
    use crate::token::Grant;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    use hmac::{Hmac, Mac};
    use sha2::Sha256;

    const SECRET: &str = "secret-number-one-";
    const STREAM: (&str, &str) = ("accept", "text/event-stream");
    const SOCKET: (&str, &str) = ("upgrade", "websocket");

    fn config() -> Config {
        let apps =
            r#"[{"id":"1","key":"k","secrets":["secret-number-one-"],"channels":[{"prefix":"","publish":true}]}]"#;
        Config::parse(apps).unwrap()
    }

    fn token() -> String {
        let claims = r#"{"sub":"u","exp":2000,"channels":{"private-a*":["sub","pub"],"private-b":["pub"]}}"#;
        let text = format!("{}.{}", BASE64.encode(r#"{"alg":"HS256","typ":"JWT"}"#), BASE64.encode(claims));
        let mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap().chain_update(&text);
        format!("{text}.{}", BASE64.encode(mac.finalize().into_bytes()))
    }

    fn come(route: &Route, query: &str, headers: &[(&str, &str)]) -> Result<ManyAdmission, Code> {
        let header =
            |asked: &str| headers.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned());
        let head = Head { method: "GET", path: "/", query, header: &header };
        admit_many(&config(), route, &head, 1000).map_err(|refusal| refusal.code)
    }

    fn at(epoch: u64, seq: u64) -> Position {
        Epoch::new(epoch).at(seq)
    }

    #[test]
    fn a_socket_brings_its_grants_and_wants_nothing_yet() {
        let admission = come(&Route::Connect, &format!("token={}", token()), &[SOCKET]).unwrap();
        assert_eq!(admission.connect.format, Format::Many);
        assert_eq!((admission.connect.user.as_deref(), admission.connect.expires_at), (Some("u"), Some(2_000_000)));
        assert!(admission.connect.grants.allow(&ChannelName::parse("private-a1").unwrap(), Grant::Pub));
        assert!(admission.connect.wants.is_empty() && !admission.subprotocol);
        assert!(come(&Route::Connect, "", &[SOCKET]).unwrap().connect.grants.is_empty());
    }

    #[test]
    fn each_route_has_one_way_of_speaking() {
        assert_eq!(come(&Route::Connect, "", &[STREAM]), Err(Code::UpgradeRequired));
        assert_eq!(come(&Route::Connect, "", &[]), Err(Code::UpgradeRequired));
        assert_eq!(come(&Route::Events, "channels=a", &[SOCKET]), Err(Code::UpgradeRequired));
        assert_eq!(come(&Route::Events, "channels=a", &[SOCKET, STREAM]), Err(Code::UpgradeRequired));
        assert_eq!(come(&Route::Events, "channels=a&raw=1", &[STREAM]), Err(Code::InvalidField));
        assert_eq!(come(&Route::Connect, "key=other", &[SOCKET]), Err(Code::Unauthorized));
        assert_eq!(come(&Route::Connect, "token=x", &[SOCKET]), Err(Code::Unauthorized));
    }

    #[test]
    fn a_stream_names_one_to_twenty_channels_each_once() {
        let names = |query: &str| -> Result<Vec<String>, Code> {
            let wants = come(&Route::Events, query, &[STREAM])?.connect.wants;
            Ok(wants.into_iter().map(|want| want.channel.to_string()).collect())
        };
        assert_eq!(names("channels=a,b&channels=c").unwrap(), ["a", "b", "c"]);
        assert_eq!(names("channel=a,b&channels=a,b").unwrap(), ["a,b", "a", "b"]);
        let many: Vec<String> = (0..21).map(|nth| format!("c{nth}")).collect();
        assert_eq!(names(&format!("channels={}", many[1..].join(","))).unwrap().len(), 20);
        for (query, code) in [
            ("", Code::InvalidField),
            ("channels=", Code::InvalidField),
            ("channels=a,a", Code::InvalidField),
            ("channels=a,,b", Code::InvalidChannel),
            ("channel=", Code::InvalidChannel),
            (&format!("channels={}", many.join(",")), Code::InvalidField),
            ("channels=a,private-a", Code::Unauthorized),
        ] {
            assert_eq!(names(query), Err(code), "{query}");
        }
        let token = token();
        assert_eq!(names(&format!("channels=a,private-a1&token={token}")).unwrap().len(), 2);
        assert_eq!(names(&format!("channels=private-b&token={token}")), Err(Code::Forbidden));
    }

    #[test]
    fn a_stream_goes_on_where_each_channel_was() {
        let query = "channels=a,b,c&position=a=000000000001:1,b=000000000002:2&last=5";
        let headers = [STREAM, ("last-event-id", "a=000000000001:9")];
        let wants = come(&Route::Events, query, &headers).unwrap().connect.wants;
        let from: Vec<Option<Begin>> = wants.iter().map(|want| want.from).collect();
        assert_eq!(from, [Some(Begin::After(at(1, 9))), Some(Begin::After(at(2, 2))), Some(Begin::Last(5))]);
        assert!(wants.iter().all(|want| !want.may_publish));
        let bad = come(&Route::Events, "channels=a", &[STREAM, ("last-event-id", "000000000001:9")]);
        assert_eq!(bad, Err(Code::InvalidPosition));
    }

    #[test]
    fn names_with_commas_and_equals_signs_have_places_too() {
        let read = |text: &str| -> Option<Vec<(String, Position)>> {
            let read = places(text).ok()?;
            Some(read.into_iter().map(|(name, position)| (name.to_string(), position)).collect())
        };
        assert_eq!(read(""), Some(Vec::new()));
        assert_eq!(
            read("a,b==000000000001:1,,=c=000000000002:2"),
            Some(vec![("a,b=".into(), at(1, 1)), (",=c".into(), at(2, 2))])
        );
        for bad in ["a", "a=", ":", "=000000000001:1", "a=000000000001:", "a=1:1", "a=000000000001:1;b=000000000001:1"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn who_finds_the_room_full_can_go_to_a_hub() {
        let channel = ChannelName::parse("a").unwrap();
        let header = |asked: &str| (asked == "upgrade").then(|| "websocket".to_owned());
        let head = Head { method: "GET", path: "/", query: "raw=1&last=3", header: &header };
        let admission = admit(&config(), &channel, &head, 1000).unwrap();
        let many = admission.into_many();
        assert_eq!((many.app.as_str(), many.connect.format), ("1", Format::Raw));
        let [want] = many.connect.wants.as_slice() else { panic!("one channel") };
        assert_eq!((&want.channel, want.from, want.may_publish), (&channel, Some(Begin::Last(3)), true));
    }
}
