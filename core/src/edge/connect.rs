//! Letting a client in.

use super::many::ManyAdmission;
use super::{number, position};
use crate::access::may_join;
use crate::call::{self, Begin, Connect, room_name};
use crate::channel::ChannelName;
use crate::config::{App, Config};
use crate::frame::{SUBPROTOCOL, SUBPROTOCOL_TOKEN};
use crate::head::Head;
use crate::hub::{HubConnect, Want};
use crate::limits;
use crate::presence::{self, MemberData};
use crate::refusal::{Code, Refusal};
use crate::session::Format;
use crate::token::{Grants, Token};
use std::borrow::Cow;

/// A client who may go into a channel: where, with what, and how it is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admission {
    /// The app's id.
    pub app: String,
    /// The channel.
    pub channel: ChannelName,
    /// The object's name.
    pub object: String,
    /// What the object is told.
    pub connect: Connect,
    /// Whether the subprotocol `dormouse` was offered, and has to be answered.
    pub subprotocol: bool,
    /// For an event stream: the value of `Access-Control-Allow-Origin`.
    pub allow_origin: Option<String>,
}

impl Admission {
    /// The same client as a Hub takes it: for when the room has as many sockets as it may.
    #[must_use]
    pub fn into_many(self) -> ManyAdmission {
        let Connect { version, format, user, expires_at, may_publish, from, data } = self.connect;
        let wants = vec![Want { channel: self.channel, from, may_publish, data }];
        // It speaks of this one channel for as long as it lives, so what else the token grants is of no use to it.
        let connect = HubConnect {
            version,
            format,
            user,
            expires_at,
            grants: Grants::default(),
            info: None,
            resume: None,
            wants,
        };
        ManyAdmission { app: self.app, connect, subprotocol: self.subprotocol, allow_origin: self.allow_origin }
    }
}

/// Checks key, origin, token, rule and parameters. `now_s` is in seconds.
pub fn admit(config: &Config, channel: &ChannelName, head: &Head<'_>, now_s: u64) -> Result<Admission, Refusal> {
    let websocket = head.wants_websocket();
    if !websocket && !head.wants_event_stream() {
        let message = "connect with Upgrade: websocket, or with Accept: text/event-stream";
        return Err(Refusal::new(Code::UpgradeRequired, message));
    }
    let guest = Guest::check(config, head, now_s)?;
    let may_publish = guest.may_join(channel)?;
    let format = match (websocket, wants_raw(head)?) {
        (true, false) => Format::Json,
        (true, true) => Format::Raw,
        (false, false) => Format::Stream,
        (false, true) => Format::RawStream,
    };
    let connect = Connect {
        version: call::VERSION,
        format,
        user: guest.user(),
        expires_at: guest.expires_at(),
        may_publish: may_publish && websocket,
        from: begin(head, websocket)?,
        data: guest.data(channel, head)?,
    };
    Ok(Admission {
        app: guest.app.id.clone(),
        channel: channel.clone(),
        object: room_name(&guest.app.id, channel),
        connect,
        subprotocol: guest.subprotocol,
        allow_origin: guest.allow_origin,
    })
}

/// Whose key, origin and token are good, whatever it came for.
pub(super) struct Guest<'a> {
    pub(super) app: &'a App,
    pub(super) token: Option<Token>,
    pub(super) subprotocol: bool,
    pub(super) allow_origin: Option<String>,
}

impl<'a> Guest<'a> {
    pub(super) fn check(config: &'a Config, head: &Head<'_>, now_s: u64) -> Result<Self, Refusal> {
        let app = config.app(head.query("key").as_deref()).ok_or_else(|| {
            Refusal::new(Code::Unauthorized, "key: the public key of an app (it may be left out where there is one)")
        })?;
        let allow_origin = check_origin(app, head)?;
        let (subprotocol, token) = credentials(head);
        let token = token.map(|token| Token::check(app, &token, now_s)).transpose()?;
        Ok(Self { app, token, subprotocol, allow_origin })
    }

    pub(super) fn user(&self) -> Option<String> {
        self.token.as_ref().and_then(|token| token.sub.clone())
    }

    pub(super) fn expires_at(&self) -> Option<u64> {
        self.token.as_ref().map(Token::expires_at_ms)
    }

    /// What it shows the other members of a presence channel: what its token says, or else what it says itself.
    pub(super) fn data(&self, channel: &ChannelName, head: &Head<'_>) -> Result<Option<MemberData>, Refusal> {
        if !channel.has_members() {
            return Ok(None);
        }
        presence::shown(self.info()?.as_ref(), head.query("data").map(|data| MemberData::parse(&data)).transpose()?)
    }

    pub(super) fn info(&self) -> Result<Option<MemberData>, Refusal> {
        self.token.as_ref().map_or(Ok(None), Token::info)
    }

    /// Whether it may join the channel, and if so, whether it may publish.
    pub(super) fn may_join(&self, channel: &ChannelName) -> Result<bool, Refusal> {
        let token = self.token.as_ref();
        may_join(self.app, channel, token.and_then(|token| token.sub.as_deref()), token.map(|token| &token.grants))
    }
}

/// Whether payloads are asked for without anything around them.
pub(super) fn wants_raw(head: &Head<'_>) -> Result<bool, Refusal> {
    match head.query("raw").as_deref() {
        None | Some("" | "0") => Ok(false),
        Some("1") => Ok(true),
        Some(_) => Err(Refusal::new(Code::InvalidField, "raw: 1, or leave it out")),
    }
}

/// Browsers say where a page is from, and only that is checked: exactly, against the list (CVE-2022-42975 came of patterns).
/// Other clients say nothing, and need no list.
pub(super) fn check_origin(app: &App, head: &Head<'_>) -> Result<Option<String>, Refusal> {
    let origin = head.header("origin");
    if app.origins.is_empty() {
        return Ok(Some("*".to_owned()));
    }
    match origin {
        Some(origin) if !app.origins.contains(&origin) => {
            Err(Refusal::new(Code::Forbidden, "this origin is not one of the app's: add it to `origins` in APPS"))
        }
        origin => Ok(origin),
    }
}

/// Whether our subprotocol was offered, and the token, from the subprotocols or the query.
fn credentials(head: &Head<'_>) -> (bool, Option<String>) {
    let offered = head.header("sec-websocket-protocol").unwrap_or_default();
    let mut ours = false;
    let mut token = None;
    for protocol in offered.split(',').map(str::trim) {
        ours |= protocol == SUBPROTOCOL;
        token = token.or_else(|| protocol.strip_prefix(SUBPROTOCOL_TOKEN).map(str::to_owned));
    }
    (ours, token.or_else(|| head.query("token").filter(|token| !token.is_empty()).map(Cow::into_owned)))
}

/// Where it begins. An event stream's own `Last-Event-ID` is newer than the URL it was opened with.
fn begin(head: &Head<'_>, websocket: bool) -> Result<Option<Begin>, Refusal> {
    let given = if websocket { None } else { last_event_id(head) }.or_else(|| given_position(head));
    match given {
        Some(given) => Ok(Some(Begin::After(position(&given)?))),
        None => last(head),
    }
}

pub(super) fn last_event_id(head: &Head<'_>) -> Option<String> {
    head.header("last-event-id").filter(|id| !id.is_empty())
}

pub(super) fn given_position(head: &Head<'_>) -> Option<String> {
    head.query("position").filter(|given| !given.is_empty()).map(Cow::into_owned)
}

/// How many of the newest messages a first connection asks for.
pub(super) fn last(head: &Head<'_>) -> Result<Option<Begin>, Refusal> {
    let Some(last) = head.query("last") else { return Ok(None) };
    let last = number(&last, 0, limits::LAST_MAX)
        .ok_or_else(|| Refusal::new(Code::InvalidField, format!("last: 0 to {}", limits::LAST_MAX)))?;
    Ok(Some(Begin::Last(last)))
}
