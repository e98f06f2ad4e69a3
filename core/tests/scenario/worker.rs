//! The Worker, without its runtime: asks the edge and answers as `src` does.

use crate::scenario::objects::Objects;
use crate::scenario::script::Headers;
use dormouse_core::call::{Outcome, room_name};
use dormouse_core::channel::ChannelName;
use dormouse_core::config::{Config, ConfigError};
use dormouse_core::credentials::identify;
use dormouse_core::edge::{self, ManyAdmission, Route, Target, admit, admit_app, admit_many, order, region};
use dormouse_core::frame::{self, SUBPROTOCOL};
use dormouse_core::head::Head;
use dormouse_core::limits;
use dormouse_core::link::{hub_name, series};
use dormouse_core::pusher::words::close_code;
use dormouse_core::refusal::{Code, Refusal};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What `APPS` says.
pub(crate) type Apps = Option<Result<Config, ConfigError>>;

pub(crate) struct Request {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: String,
    /// The object that has the connection now.
    pub(crate) object: Option<String>,
    /// The close code of a socket that was refused; its last words are the body.
    pub(crate) refused: Option<u16>,
}

impl Response {
    fn new(status: u16, headers: &[(&str, &str)], body: String) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { status, headers, body, object: None, refused: None }
    }

    fn json(status: u16, body: String) -> Self {
        Self::new(status, &[("content-type", "application/json")], body)
    }
}

/// Answers a request. `client` is who gets the frames, if it is a connection.
pub(crate) fn fetch(objects: &mut Objects, apps: &Apps, request: &Request, client: &str) -> Response {
    let header = |name: &str| request.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let method = if request.method == "HEAD" { "GET" } else { &request.method };
    let head = Head { method, path, query, header: &header };
    serve(objects, apps, &head, &request.body, client).unwrap_or_else(|refusal| refuse(&head, &refusal))
}

fn serve(objects: &mut Objects, apps: &Apps, head: &Head<'_>, body: &[u8], client: &str) -> Result<Response, Refusal> {
    let route = edge::route(head)?;
    let config = || edge::configured(apps.as_ref(), "127.0.0.1");
    let now_s = objects.now / 1000;
    match &route {
        Route::Members(channel) => {
            let admission = edge::admit_members(config()?, channel, head, now_s)?;
            let page = objects.members(&room_name(&admission.app, channel), &admission.query)?;
            let mut response = Response::json(200, serde_json::to_string(&page).unwrap_or_default());
            response.headers.extend(cors(admission.allow_origin.as_deref()));
            Ok(response)
        }
        // The page's own files are the runtime's, and no Directory stands on this stage.
        Route::Page | Route::Channels | Route::Connection(_) | Route::UserConnections(_) => Err(edge::not_found()),
        Route::App(path) => match config()
            .and_then(|config| admit_app(config, path, head))
            .and_then(|admission| enter_hub(objects, &admission, client))
        {
            Err(refusal) if head.wants_websocket() => {
                Ok(Response { refused: Some(close_code(&refusal)), ..Response::new(101, &[], String::new()) })
            }
            answer => answer,
        },
        Route::Connect | Route::Events => {
            let admission = admit_many(config()?, &route, head, now_s)?;
            enter_hub(objects, &admission, client)
        }
        Route::Up => config().map(|_| Response::json(200, r#"{"status":"ok"}"#.to_owned())),
        Route::Room(channel) => connect(objects, config()?, channel, head, client),
        Route::Publish | Route::PublishRaw(_) => publish(objects, config()?, &route, head, body),
        Route::Messages(channel) => {
            let config = config()?;
            let (app, query) = edge::page(config, head, now_s)?;
            let page = objects.page(&room_name(app, channel), query)?;
            Ok(Response::json(200, page.body(channel)))
        }
    }
}

fn connect(
    objects: &mut Objects,
    config: &Config,
    channel: &ChannelName,
    head: &Head<'_>,
    client: &str,
) -> Result<Response, Refusal> {
    let admission = admit(config, channel, head, objects.now / 1000)?;
    if objects.full.is_room_full(&admission.object, objects.now) {
        return enter_hub(objects, &admission.into_many(), client);
    }
    match objects.connect(&admission.object, sent(&admission.connect)?, client) {
        Err(refusal) if refusal.code == Code::Full => {
            objects.full.room_is_full(admission.object.clone(), objects.now);
            enter_hub(objects, &admission.into_many(), client)
        }
        entered => {
            let (stream, origin) = (admission.connect.format.is_stream(), admission.allow_origin.as_deref());
            entered.map(|()| entry(stream, admission.subprotocol, origin, admission.object))
        }
    }
}

/// Into the first Hub that has room.
fn enter_hub(objects: &mut Objects, admission: &ManyAdmission, client: &str) -> Result<Response, Refusal> {
    let (app, near) = (&admission.app, &series(admission.connect.format, region(None, None)));
    let mut nth = objects.full.first(app, near, objects.now);
    for _ in 0..limits::HUBS_TRIED_MAX {
        let name = hub_name(app, near, nth);
        match objects.connect_hub(&name, sent(&admission.connect)?, client) {
            Err(refusal) if refusal.code == Code::Full => nth = objects.full.full(app, near, nth, objects.now),
            entered => {
                let (stream, origin) = (admission.connect.format.is_stream(), admission.allow_origin.as_deref());
                return entered.map(|()| entry(stream, admission.subprotocol, origin, name));
            }
        }
    }
    Err(Refusal::new(Code::Full, "every hub that was tried is full: try again"))
}

/// What an object is told, as it reads it.
fn sent<T: Serialize + DeserializeOwned>(connect: &T) -> Result<T, Refusal> {
    let text = serde_json::to_string(connect).unwrap_or_default();
    serde_json::from_str(&text).map_err(|error| Refusal::new(Code::Internal, error.to_string()))
}

fn entry(stream: bool, subprotocol: bool, allow_origin: Option<&str>, object: String) -> Response {
    let mut response = match (stream, allow_origin) {
        (false, _) if subprotocol => Response::new(101, &[("sec-websocket-protocol", SUBPROTOCOL)], String::new()),
        (false, _) => Response::new(101, &[], String::new()),
        (true, origin) => {
            let always =
                [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("x-accel-buffering", "no")];
            let mut response = Response::new(200, &always, String::new());
            response.headers.extend(cors(origin));
            response
        }
    };
    response.object = Some(object);
    response
}

/// For pages, which may read what they asked for.
fn cors(origin: Option<&str>) -> impl Iterator<Item = (String, String)> {
    let headers = origin.into_iter().flat_map(|o| [("access-control-allow-origin", o), ("vary", "origin")]);
    headers.map(|(name, value)| (name.to_owned(), value.to_owned()))
}

fn publish(
    objects: &mut Objects,
    config: &Config,
    route: &Route,
    head: &Head<'_>,
    body: &[u8],
) -> Result<Response, Refusal> {
    let publisher = identify(config, head, objects.now / 1000)?;
    let encoding = head.header("content-encoding").unwrap_or_default();
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
        return Err(Refusal::new(Code::UnsupportedEncoding, "send the body as it is, without Content-Encoding"));
    }
    if body.len() > limits::PUBLISH_BODY_BYTES_MAX {
        let most = limits::PUBLISH_BODY_BYTES_MAX;
        return Err(Refusal::new(Code::TooLarge, format!("a publish has at most {most} bytes")));
    }
    let app = publisher.prove(head, body)?;
    let order = order(app, route, head, body.to_vec())?;
    let mut call = |target: Target| {
        let outcomes = objects.publish(&room_name(&app.id, &target.channel), &target.messages);
        let refused = |error| vec![Outcome::Refused { error }; target.messages.len()];
        let outcomes = outcomes.unwrap_or_else(refused);
        (target, outcomes)
    };
    let answers: Vec<(Target, Vec<Outcome>)> = order.targets().into_iter().map(&mut call).collect();
    let reply = order.reply(&answers);
    let mut response = Response::json(reply.status, reply.body);
    response.headers.extend(reply.retry_after_s.map(|seconds| ("retry-after".to_owned(), seconds.to_string())));
    Ok(response)
}

/// The headers of `src/answer.rs`, but for `Upgrade`: the runtime keeps that to itself.
fn refuse(head: &Head<'_>, refusal: &Refusal) -> Response {
    let code = refusal.code;
    if head.method == "GET" && head.wants_websocket() {
        let raw = head.query("raw").as_deref() == Some("1");
        let words = if raw { String::new() } else { frame::refused(refusal) };
        let offered = head.header("sec-websocket-protocol").unwrap_or_default();
        let ours = offered.split(',').any(|protocol| protocol.trim() == SUBPROTOCOL);
        let headers: &[_] = if ours { &[("sec-websocket-protocol", SUBPROTOCOL)] } else { &[] };
        return Response { refused: Some(code.close_code()), ..Response::new(101, headers, words) };
    }
    let mut response = Response::json(code.status(), refusal.body());
    let mut add = |name: &str, value: &str| response.headers.push((name.to_owned(), value.to_owned()));
    if let Some(allow) = refusal.allow {
        add("allow", allow);
    }
    if code == Code::Unauthorized && head.query("auth_key").is_none() {
        add("www-authenticate", "Basic realm=\"dormouse\"");
    }
    if code == Code::Overloaded {
        add("retry-after", &limits::RETRY_AFTER_S.to_string());
    }
    response
}
