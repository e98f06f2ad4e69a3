//! A connection's id: random, and it says which object has the connection, so that one request finds it. `<random>:<channel>` in a Room,
//! `<random>:<region>:<n>` in a Hub; neither channels nor regions have a colon. In the `pusher` dialect it is `<place>.<random>`, both decimal (its clients and server
//! libraries hold on to `^\d+\.\d+$`), and the place is 9 n + region, of a Hub of its own kind ([`crate::link::series`]). Made and read here only.

use crate::channel::ChannelName;
use crate::close::Holder;
use crate::edge::REGIONS;
use crate::limits;
use crate::link::{PUSHER_SERIES, hub_name, series};
use crate::refusal::{Code, Refusal};
use crate::session::Format;

/// A connection's id, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionId {
    text: String,
    place: Place,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Place {
    Room(ChannelName),
    Hub(&'static str, u32),
    /// Of those that speak Pusher's protocol.
    PusherHub(&'static str, u32),
}

/// The id of a new connection of a Room. `random` is [`limits::CONNECTION_RANDOM`] hexadecimal digits.
#[must_use]
pub fn in_room(random: &str, channel: &ChannelName) -> String {
    format!("{random}:{channel}")
}

/// The id of a new connection of a Hub, whose object name is `hub`. `random` is [`limits::CONNECTION_RANDOM`] hexadecimal digits; in a `socket_id` are 64 of its bits.
#[must_use]
pub fn in_hub(format: Format, random: &str, hub: &str) -> String {
    // After the version and the app's id, which neither has a colon.
    let place = hub.splitn(3, ':').nth(2).unwrap_or_default();
    if format != Format::Pusher {
        return format!("{random}:{place}");
    }
    let (series, nth) = place.split_once(':').unwrap_or_default();
    let region = series.strip_prefix(PUSHER_SERIES).unwrap_or(series);
    let region = REGIONS.iter().position(|known| *known == region).unwrap_or_default();
    let place = nth.parse::<u32>().map_or(0, u64::from) * REGIONS.len() as u64 + region as u64;
    let random = random.get(..16).and_then(|half| u64::from_str_radix(half, 16).ok()).unwrap_or_default();
    format!("{place}.{random}")
}

impl ConnectionId {
    /// Checks an id as it came in, already percent-decoded.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let place = if text.len() <= limits::CONNECTION_ID_MAX { read(text) } else { None };
        let wrong = || Refusal::new(Code::InvalidField, "a connection's id is what its welcome said");
        place.map(|place| Self { text: text.to_owned(), place }).ok_or_else(wrong)
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The object of that app that has the connection, or had it.
    #[must_use]
    pub fn holder(&self, app: &str) -> Holder {
        match &self.place {
            Place::Room(channel) => Holder::Channel(channel.clone()),
            Place::Hub(region, nth) => Holder::Hub(hub_name(app, region, *nth)),
            Place::PusherHub(region, nth) => Holder::Hub(hub_name(app, &series(Format::Pusher, region), *nth)),
        }
    }
}

/// Digits as a number writes itself: else an object would have several names here.
fn decimal(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

fn read_socket_id(place: &str, random: &str) -> Option<Place> {
    decimal(random)?;
    let (place, regions) = (decimal(place)?, REGIONS.len() as u64);
    let region = REGIONS.get(usize::try_from(place % regions).ok()?)?;
    Some(Place::PusherHub(region, u32::try_from(place / regions).ok()?))
}

fn read(text: &str) -> Option<Place> {
    if let Some((place, random)) = text.split_once('.').filter(|(place, _)| !place.contains(':')) {
        return read_socket_id(place, random);
    }
    let (random, place) = text.split_once(':')?;
    let is_random = random.len() == limits::CONNECTION_RANDOM
        && random.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !is_random {
        return None;
    }
    let Some((region, nth)) = place.split_once(':') else {
        return ChannelName::parse(place).ok().map(Place::Room);
    };
    let region = REGIONS.into_iter().find(|known| *known == region)?;
    Some(Place::Hub(region, u32::try_from(decimal(nth)?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::{ConnectionId, in_hub, in_room};
    use crate::channel::ChannelName;
    use crate::close::Holder;
    use crate::edge::REGIONS;
    use crate::limits;
    use crate::link::{hub_name, series};
    use crate::session::Format;

    const RANDOM: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn an_id_names_the_object_that_has_the_connection() {
        for name in ["a", "#server-to-user-7", "=@,.;_-", &"x".repeat(limits::CHANNEL_NAME_MAX)] {
            let channel = ChannelName::parse(name).unwrap();
            let id = in_room(RANDOM, &channel);
            let read = ConnectionId::parse(&id).unwrap();
            assert_eq!((read.as_str(), read.holder("1")), (id.as_str(), Holder::Channel(channel)));
        }
        for (region, nth) in REGIONS.into_iter().zip([0, 1, 7, 10, 99, 1000, 65_536, 4_000_000, u32::MAX]) {
            let hub = hub_name("app_1-x", region, nth);
            let id = in_hub(Format::Many, RANDOM, &hub);
            assert_eq!(id, format!("{RANDOM}:{region}:{nth}"));
            assert_eq!(ConnectionId::parse(&id).unwrap().holder("app_1-x"), Holder::Hub(hub.clone()));
            let hub = hub_name("app_1-x", &series(Format::Pusher, region), nth);
            let id = in_hub(Format::Pusher, RANDOM, &hub);
            let (place, random) = id.split_once('.').unwrap();
            assert!(place.parse::<u64>().is_ok() && random.parse::<u64>() == Ok(0x0123_4567_89ab_cdef), "{id}");
            assert_eq!(ConnectionId::parse(&id).unwrap().holder("app_1-x"), Holder::Hub(hub));
        }
    }

    #[test]
    fn the_longest_fits_a_tag_of_the_runtime() {
        let longest = in_room(RANDOM, &ChannelName::parse(&"x".repeat(limits::CHANNEL_NAME_MAX)).unwrap());
        assert_eq!(longest.len(), limits::CONNECTION_ID_MAX);
        // 256 characters, of which the driver takes two for itself.
        assert!(longest.len() + 2 <= 256);
    }

    #[test]
    fn everything_else_is_no_id() {
        let ids = [
            "",
            ":",
            ":a",
            "::",
            "a:b",
            "lobby",
            "lobby:1",
            RANDOM,
            "0123456789ABCDEF0123456789abcdef:a",
            "0123456789abcdef0123456789abcde:a",
            "0123456789abcdef0123456789abcdef0:a",
            "0123456789abcdef0123456789abcdeg:a",
            "1.",
            ".1",
            "1.1.1",
            "01.1",
            "1.+1",
            "1.18446744073709551616",
            "38654705664.1",
        ];
        for id in ids {
            assert!(ConnectionId::parse(id).is_err(), "{id}");
        }
        let places = [
            "",
            ":",
            "a b",
            "a/b",
            "ä",
            "a\0",
            "weur:",
            ":0",
            "weur:x",
            "weur:-1",
            "weur:+1",
            "weur:01",
            "weur: 1",
            "weur:1:2",
            "WEUR:1",
            "mars:1",
            "weur:4294967296",
            "a:b",
            "#server-to-user-",
            "#user-7",
        ];
        for place in places {
            assert!(ConnectionId::parse(&format!("{RANDOM}:{place}")).is_err(), "{place}");
        }
        assert!(ConnectionId::parse(&format!("{RANDOM}:{}", "x".repeat(limits::CHANNEL_NAME_MAX + 1))).is_err());
    }
}
