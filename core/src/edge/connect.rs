//! Letting a client in.

use super::{number, position};
use crate::call::{self, Begin, Connect, room_name};
use crate::channel::ChannelName;
use crate::config::{App, Config};
use crate::frame::{SUBPROTOCOL, SUBPROTOCOL_TOKEN};
use crate::head::Head;
use crate::limits;
use crate::refusal::{Code, Refusal};
use crate::session::Format;
use crate::token::{Grant, Token};

/// A client who may go in: where, with what, and how it is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admission {
    /// The object's name.
    pub object: String,
    /// What the object is told.
    pub connect: Connect,
    /// Whether the subprotocol `dormouse` was offered, and has to be answered.
    pub subprotocol: bool,
    /// For an event stream: the value of `Access-Control-Allow-Origin`.
    pub allow_origin: Option<String>,
}

/// Checks key, origin, token, rule and parameters. `now_s` is in seconds.
pub fn admit(config: &Config, channel: &ChannelName, head: &Head<'_>, now_s: u64) -> Result<Admission, Refusal> {
    let websocket = head.wants_websocket();
    if !websocket && !head.wants_event_stream() {
        let message = "connect with Upgrade: websocket, or with Accept: text/event-stream";
        return Err(Refusal::new(Code::UpgradeRequired, message));
    }
    let app = config.app(head.query("key").as_deref()).ok_or_else(|| {
        Refusal::new(Code::Unauthorized, "key: the public key of an app (it may be left out where there is one)")
    })?;
    let allow_origin = check_origin(app, head)?;
    let (offered, token) = credentials(head);
    let token = token.map(|token| Token::check(app, &token, now_s)).transpose()?;
    let may_publish = check_channel(app, channel, token.as_ref())?;
    let raw = match head.query("raw").as_deref() {
        None | Some("" | "0") => false,
        Some("1") => true,
        Some(_) => return Err(Refusal::new(Code::InvalidField, "raw: 1, or leave it out")),
    };
    let format = match (websocket, raw) {
        (true, false) => Format::Json,
        (true, true) => Format::Raw,
        (false, false) => Format::Stream,
        (false, true) => Format::RawStream,
    };
    let connect = Connect {
        version: call::VERSION,
        format,
        user: token.as_ref().and_then(|token| token.sub.clone()),
        expires_at: token.as_ref().map(Token::expires_at_ms),
        may_publish: may_publish && websocket,
        from: begin(head, websocket)?,
    };
    Ok(Admission { object: room_name(&app.id, channel), connect, subprotocol: offered, allow_origin })
}

/// Browsers say where a page is from, and only that is checked: exactly, against the list (CVE-2022-42975 came of patterns).
/// Other clients say nothing, and need no list.
fn check_origin(app: &App, head: &Head<'_>) -> Result<Option<String>, Refusal> {
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
    (ours, token.or_else(|| head.query("token").filter(|token| !token.is_empty()).map(std::borrow::Cow::into_owned)))
}

/// Whether the client may join, and if so, whether it may publish.
fn check_channel(app: &App, channel: &ChannelName, token: Option<&Token>) -> Result<bool, Refusal> {
    let rule = app.rule(channel);
    if !channel.needs_token() {
        return Ok(rule.publish);
    }
    let Some(token) = token else {
        let message = "this channel needs a token: Sec-WebSocket-Protocol: dormouse, bearer.<jwt> or ?token=";
        return Err(Refusal::new(Code::Unauthorized, message));
    };
    if !token.grants(channel, Grant::Sub) {
        return Err(Refusal::new(Code::Forbidden, "the token does not grant `sub` for this channel"));
    }
    Ok(rule.publish && token.grants(channel, Grant::Pub))
}

/// Where it begins. An event stream's own `Last-Event-ID` is newer than the URL it was opened with.
fn begin(head: &Head<'_>, websocket: bool) -> Result<Option<Begin>, Refusal> {
    let last_event_id = if websocket { None } else { head.header("last-event-id").filter(|id| !id.is_empty()) };
    let given = last_event_id
        .or_else(|| head.query("position").filter(|given| !given.is_empty()).map(std::borrow::Cow::into_owned));
    if let Some(given) = given {
        return Ok(Some(Begin::After(position(&given)?)));
    }
    let Some(last) = head.query("last") else { return Ok(None) };
    let last = number(&last, 0, limits::LAST_MAX)
        .ok_or_else(|| Refusal::new(Code::InvalidField, format!("last: 0 to {}", limits::LAST_MAX)))?;
    Ok(Some(Begin::Last(last)))
}
