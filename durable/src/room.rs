//! The Room: the Durable Object that is home to one channel.

use crate::env::apps;
use crate::sockets;
use crate::sql::{SqlStore, store_error};
use dormouse_core::call::{
    CONNECT_HEADER, CONNECT_PATH, Connect, MESSAGES_PATH, Outcome, PUBLISH_PATH, Published, decode_publish,
    parse_room_name,
};
use dormouse_core::channel::ChannelName;
use dormouse_core::frame::{Frame, PING, PONG};
use dormouse_core::limits;
use dormouse_core::message::Message;
use dormouse_core::position::Position;
use dormouse_core::refusal::{CLOSE_TOO_SLOW, Code, Refusal, close_reply};
use dormouse_core::room::{Input, Output, PageQuery, Room as Rules, Turn};
use dormouse_core::session::{Format, Session};
use futures::channel::oneshot;
use js_sys::{JsString, Uint8Array};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{WebSocket, js_sys};
use worker::worker_sys::{DurableObjectState, WebSocketPair, WebSocketRequestResponsePair};
use worker::{Delay, DurableObject, Env, Request, Response, Result, State, console_error, durable_object};

/// The Durable Object class. `alarm` exports the constructor, `fetch` and `alarm`; the socket handlers below are exported by hand, because
/// synchronous ones cost no promise and no copy of the frame, and a trap in one is an exception and not a promise that never settles.
#[durable_object(alarm)]
pub struct Room {
    home: Option<Rc<Home>>,
}

/// What the object has in memory: a cache of attachments and storage, except for the publishers that wait.
struct Home {
    state: DurableObjectState,
    channel: ChannelName,
    rules: RefCell<Rules>,
    store: RefCell<SqlStore>,
    /// Sockets that are open; counted when first asked for.
    open: Cell<Option<usize>>,
    /// The socket whose event this is: no need to look for it.
    current: RefCell<Option<(String, WebSocket)>>,
    /// A socket that is connecting, and what became of it.
    arriving: RefCell<Option<WebSocket>>,
    refused: RefCell<Option<Refusal>>,
    waiting: RefCell<HashMap<u64, oneshot::Sender<Vec<Outcome>>>>,
    tickets: Cell<u64>,
    behind: RefCell<Vec<Behind>>,
    /// The same sockets, for asking quickly.
    behind_set: js_sys::Set,
    restored: Cell<bool>,
    pumping: Cell<bool>,
    /// Until the runtime has said when the alarm will ring, a new one waits here.
    alarm: Cell<Armed>,
}

#[derive(Clone, Copy)]
enum Armed {
    Unknown { wanted: Option<u64> },
    Known,
}

/// A socket that is replayed to, and when it last took a batch.
struct Behind {
    socket: WebSocket,
    since: u64,
}

impl DurableObject for Room {
    fn new(state: State, env: Env) -> Self {
        let home = Home::new(JsValue::from(state.as_raw()).unchecked_into(), &env);
        if let Some(home) = &home {
            let asking = home.clone();
            // Events wait for this: one storage read for each waking, so that an alarm is never set later than it was.
            drop(state.block_concurrency_while(async move {
                let armed = asking.ask_alarm().await;
                asking.alarm_known(armed);
                Ok(())
            }));
        }
        Self { home }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        let Some(home) = &self.home else { return refuse(&nameless()) };
        match request.path().as_str() {
            CONNECT_PATH => home.connect(&request),
            PUBLISH_PATH => home.publish(request).await,
            MESSAGES_PATH => home.messages(&request),
            _ => refuse(&Refusal::new(Code::NotFound, "no such call")),
        }
    }

    async fn alarm(&self) -> Result<Response> {
        if let Some(home) = &self.home {
            let sessions = sockets::open(&home.state).iter().filter_map(sockets::session).collect();
            home.drive(Input::Alarm { sessions });
        }
        Response::empty()
    }
}

#[wasm_bindgen]
impl Room {
    /// A frame came. The runtime's handler; synchronous on purpose.
    #[wasm_bindgen(js_name = webSocketMessage)]
    pub fn on_message(&self, socket: WebSocket, message: &JsValue) {
        let Some((home, session)) = self.known(&socket) else { return };
        home.speaks(&session, socket);
        // Before it is copied: a frame may have 32 MiB.
        let length = match message.dyn_ref::<JsString>() {
            Some(text) => text.length(),
            None => Uint8Array::new(message).length(),
        };
        if length as usize > limits::FRAME_BYTES_MAX {
            return home.drive(Input::FrameTooLong { session });
        }
        let frame = match message.as_string() {
            Some(text) => Frame::Text(text),
            None => Frame::Binary(Uint8Array::new(message).to_vec()),
        };
        home.drive(Input::Frame { session, frame });
    }

    /// A socket was closed. The runtime's handler.
    #[wasm_bindgen(js_name = webSocketClose)]
    pub fn on_close(&self, socket: &WebSocket, code: u16, reason: &str, _clean: bool) {
        // A hibernatable socket is answered by us or not at all: without this the client waits 10 s for 1006.
        sockets::close(socket, close_reply(code), reason);
        self.gone(socket);
    }

    /// A socket broke. The runtime's handler.
    #[wasm_bindgen(js_name = webSocketError)]
    pub fn on_error(&self, socket: &WebSocket, _error: &JsValue) {
        self.gone(socket);
    }

    fn known(&self, socket: &WebSocket) -> Option<(&Rc<Home>, Session)> {
        let known = self.home.as_ref().zip(sockets::session(socket));
        if known.is_none() {
            sockets::close(socket, Code::Internal.close_code(), Code::Internal.name());
        }
        known
    }

    fn gone(&self, socket: &WebSocket) {
        let Some((home, session)) = self.home.as_ref().zip(sockets::session(socket)) else { return };
        sockets::forget(socket);
        home.caught_up(socket);
        let open = home.open.get().map_or_else(
            || sockets::open(&home.state).iter().filter(|other| *other != socket).count(),
            |open| open.saturating_sub(1),
        );
        home.open.set(Some(open));
        home.drive(Input::Left { connection: session.connection, sockets: open });
    }
}

impl Home {
    fn new(state: DurableObjectState, env: &Env) -> Option<Rc<Self>> {
        let name = state.id().ok()?.name()?;
        let (app, channel) = parse_room_name(&name)?;
        let rule = match apps(env) {
            Some(Ok(config)) => config.app_by_id(app).map(|app| app.rule(&channel)),
            // The Worker lets nobody in then; an alarm may still ring.
            Some(Err(_)) | None => None,
        };
        let storage = state.storage().ok()?;
        let asked: DurableObjectState = JsValue::from(&state).unchecked_into();
        let remembered = move || sockets::open(&asked).iter().find_map(sockets::session).map(|session| session.epoch);
        Some(Rc::new(Self {
            rules: RefCell::new(Rules::wake(channel.clone(), rule.unwrap_or_default(), None)),
            channel,
            store: RefCell::new(SqlStore::new(storage, Box::new(remembered))),
            state,
            open: Cell::new(None),
            current: RefCell::default(),
            arriving: RefCell::default(),
            refused: RefCell::default(),
            waiting: RefCell::default(),
            tickets: Cell::new(0),
            behind: RefCell::default(),
            behind_set: js_sys::Set::new(&JsValue::UNDEFINED),
            restored: Cell::new(false),
            pumping: Cell::new(false),
            alarm: Cell::new(Armed::Unknown { wanted: None }),
        }))
    }

    /// One event: ask the core, then perform everything that it says, before the next. Not `async`: nothing can come between.
    fn drive(self: &Rc<Self>, input: Input) {
        self.restore();
        let mut outputs = Vec::new();
        {
            let (Ok(mut rules), Ok(mut store)) = (self.rules.try_borrow_mut(), self.store.try_borrow_mut()) else {
                return;
            };
            rules.handle(input, turn(), &mut *store, &mut outputs);
        }
        for output in outputs {
            self.perform(output);
        }
        self.current.take();
    }

    fn perform(self: &Rc<Self>, output: Output) {
        match output {
            Output::Accept(session) => self.accept(session),
            Output::Refuse(refusal) => *self.refused.borrow_mut() = Some(refusal),
            Output::Send { to, frame } => {
                if let Some(socket) = self.socket(&to) {
                    sockets::send(&socket, &sockets::value(&frame));
                }
            }
            Output::Broadcast { position, message, except } => self.broadcast(position, &message, except.as_deref()),
            Output::Remember(session) => {
                if let Some(socket) = self.socket(&session.connection) {
                    if session.behind.is_none() {
                        self.caught_up(&socket);
                    }
                    if let Err(error) = sockets::remember(&socket, &session) {
                        console_error!("attachment: {error:?}");
                    }
                }
            }
            Output::Pump => self.pump(),
            Output::CloseSlow { unsent } => {
                for socket in sockets::open(&self.state) {
                    if socket.buffered_amount() > unsent {
                        sockets::close(&socket, CLOSE_TOO_SLOW, "too slow");
                    }
                }
            }
            Output::Close { of, code, reason } => {
                if let Some(socket) = self.socket(&of) {
                    self.caught_up(&socket);
                    sockets::close(&socket, code, reason);
                }
            }
            Output::Answer { ticket, outcomes } => {
                if let Some(waiting) = self.waiting.borrow_mut().remove(&ticket) {
                    let _ = waiting.send(outcomes);
                }
            }
            Output::Flush => self.flush(),
            Output::WakeAt(at) => self.wake_at(at),
            Output::Forget => self.forget(),
        }
    }

    /// One value for all sockets of a format; per socket one crossing.
    fn broadcast(&self, position: Position, message: &Message, except: Option<&str>) {
        let except = except.and_then(|connection| sockets::find(&self.state, connection));
        let some_behind = self.behind_set.size() > 0;
        for format in Format::ALL {
            let sockets = sockets::of_format(&self.state, format);
            if sockets.is_empty() {
                continue;
            }
            let Ok(rules) = self.rules.try_borrow() else { return };
            let value = sockets::value(&rules.frame(format, position, message));
            for socket in &sockets {
                let waits = some_behind && self.behind_set.has(socket);
                if !waits && except.as_ref() != Some(socket) {
                    sockets::send(socket, &value);
                }
            }
        }
    }

    fn accept(&self, session: Session) {
        let Some(socket) = self.arriving.borrow_mut().take() else { return };
        // Every time: it is cheap, and an object that was rebuilt does not know whether it did.
        if let Ok(pair) = WebSocketRequestResponsePair::new(PING, PONG) {
            let _ = self.state.set_websocket_auto_response(&pair);
        }
        let open = self.open();
        if let Err(error) = sockets::accept(&self.state, &socket, &session) {
            console_error!("accept: {error:?}");
            *self.refused.borrow_mut() = Some(Refusal::new(Code::Internal, "the connection could not be accepted"));
            return;
        }
        self.open.set(Some(open + 1));
        if session.behind.is_some() {
            self.add_behind(socket.clone());
        }
        *self.current.borrow_mut() = Some((session.connection, socket));
    }

    fn connect(self: &Rc<Self>, request: &Request) -> Result<Response> {
        let connect = request.headers().get(CONNECT_HEADER)?.unwrap_or_default();
        let Ok(connect) = serde_json::from_str::<Connect>(&connect) else {
            return refuse(&Refusal::new(Code::InvalidField, "call: connect"));
        };
        let mut pair = WebSocketPair::new()?;
        let (client, server) = (pair.client()?, pair.server()?);
        *self.arriving.borrow_mut() = Some(server);
        self.drive(Input::Connect { connect, connection: random_id(), sockets: self.open() });
        self.arriving.take();
        match self.refused.take() {
            Some(refusal) => refuse(&refusal),
            None => Response::from_websocket(client.into()),
        }
    }

    /// One row written when calm; when hot, this call's share of one. The answer is held back by the runtime until the row is on the disk.
    async fn publish(self: &Rc<Self>, mut request: Request) -> Result<Response> {
        let messages = match decode_publish(&request.text().await?) {
            Ok(messages) => messages,
            Err(refusal) => return refuse(&refusal),
        };
        let ticket = self.tickets.get();
        self.tickets.set(ticket + 1);
        let (answer, answered) = oneshot::channel();
        self.waiting.borrow_mut().insert(ticket, answer);
        self.drive(Input::Publish { ticket, messages });
        match answered.await {
            Ok(outcomes) => Response::from_json(&Published { outcomes }),
            Err(_) => refuse(&Refusal::new(Code::Internal, "the publish was not answered")),
        }
    }

    fn messages(&self, request: &Request) -> Result<Response> {
        let Ok(query) = request.query::<PageQuery>() else {
            return refuse(&Refusal::new(Code::InvalidField, "call: messages"));
        };
        let (Ok(mut rules), Ok(mut store)) = (self.rules.try_borrow_mut(), self.store.try_borrow_mut()) else {
            return refuse(&Refusal::new(Code::Internal, "the room is busy"));
        };
        match rules.page(query, turn(), &mut *store) {
            Ok(page) => json(page.body(&self.channel)),
            Err(refusal) => refuse(&refusal),
        }
    }

    /// Takes up what sleep interrupted: sockets that are still behind.
    fn restore(self: &Rc<Self>) {
        if self.restored.replace(true) {
            return;
        }
        for socket in sockets::replayed(&self.state) {
            if sockets::session(&socket).is_some_and(|session| session.behind.is_some()) {
                self.add_behind(socket);
            }
        }
        self.pump();
    }

    fn pump(self: &Rc<Self>) {
        if self.behind.borrow().is_empty() || self.pumping.replace(true) {
            return;
        }
        let home = self.clone();
        spawn_local(async move {
            while home.pump_round() {
                Delay::from(Duration::from_millis(u64::from(limits::REPLAY_PAUSE_MS))).await;
            }
            home.pumping.set(false);
        });
    }

    /// One batch for each that can take one, as far as all of them together stay within bounds. Whether anybody is still behind.
    fn pump_round(self: &Rc<Self>) -> bool {
        let sockets: Vec<WebSocket> = self.behind.borrow().iter().map(|behind| behind.socket.clone()).collect();
        let mut unsent: u64 = sockets.iter().map(|socket| u64::from(socket.buffered_amount())).sum();
        let now = turn().now;
        for socket in sockets {
            let before = socket.buffered_amount();
            if before <= limits::REPLAY_SOCKET_BYTES && unsent <= limits::REPLAY_TOTAL_BYTES {
                let Some(session) = sockets::session(&socket) else {
                    self.caught_up(&socket);
                    continue;
                };
                self.took(&socket, now);
                self.speaks(&session, socket.clone());
                self.drive(Input::Replay { session });
                unsent += u64::from(socket.buffered_amount().saturating_sub(before));
            } else if before > limits::REPLAY_SOCKET_BYTES && self.stalled(&socket, now) {
                self.caught_up(&socket);
                sockets::close(&socket, CLOSE_TOO_SLOW, "too slow");
            }
        }
        !self.behind.borrow().is_empty()
    }

    fn add_behind(&self, socket: WebSocket) {
        self.behind_set.add(&socket);
        self.behind.borrow_mut().push(Behind { socket, since: turn().now });
    }

    /// From now on the socket gets what is live; or it is gone.
    fn caught_up(&self, socket: &WebSocket) {
        if self.behind_set.delete(socket) {
            self.behind.borrow_mut().retain(|behind| &behind.socket != socket);
        }
    }

    fn took(&self, socket: &WebSocket, now: u64) {
        if let Some(behind) = self.behind.borrow_mut().iter_mut().find(|behind| &behind.socket == socket) {
            behind.since = now;
        }
    }

    fn stalled(&self, socket: &WebSocket, now: u64) -> bool {
        let behind = self.behind.borrow();
        behind
            .iter()
            .any(|behind| &behind.socket == socket && now.saturating_sub(behind.since) > limits::REPLAY_STALL_MS)
    }

    fn flush(self: &Rc<Self>) {
        let home = self.clone();
        let flushed = self.state.storage().and_then(|storage| storage.sync());
        spawn_local(async move {
            let result = match flushed {
                Ok(flushed) => JsFuture::from(flushed).await,
                Err(error) => Err(error),
            };
            home.drive(Input::Flushed(result.map(|_| ()).map_err(|error| store_error(&error))));
        });
    }

    fn forget(&self) {
        if let Ok(mut store) = self.store.try_borrow_mut() {
            store.forgotten();
        }
        match self.state.storage().and_then(|storage| storage.delete_all()) {
            Ok(deleted) => spawn_local(async move {
                if let Err(error) = JsFuture::from(deleted).await {
                    console_error!("delete: {error:?}");
                }
            }),
            Err(error) => console_error!("delete: {error:?}"),
        }
    }

    async fn ask_alarm(&self) -> Option<u64> {
        let asked = self.state.storage().ok()?.get_alarm(JsValue::UNDEFINED.unchecked_into()).ok()?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time in milliseconds")]
        JsFuture::from(asked).await.ok()?.as_f64().map(|at| at as u64)
    }

    fn alarm_known(&self, armed: Option<u64>) {
        let Armed::Unknown { wanted } = self.alarm.replace(Armed::Known) else { return };
        if let Ok(mut rules) = self.rules.try_borrow_mut() {
            rules.armed(armed);
        }
        if let Some(at) = wanted.filter(|at| armed.is_none_or(|armed| *at < armed)) {
            self.wake_at(at);
        }
    }

    /// One row written. Never waited for: it is in the same transaction as what was written in this turn.
    fn wake_at(&self, at: u64) {
        if let Armed::Unknown { wanted } = self.alarm.get() {
            return self.alarm.set(Armed::Unknown { wanted: Some(wanted.map_or(at, |wanted| wanted.min(at))) });
        }
        #[expect(clippy::cast_precision_loss, reason = "a time in milliseconds")]
        let date = js_sys::Date::new(&JsValue::from_f64(at as f64));
        let set = self.state.storage().and_then(|storage| storage.set_alarm(date, JsValue::UNDEFINED.unchecked_into()));
        match set {
            Ok(set) => spawn_local(async move {
                if let Err(error) = JsFuture::from(set).await {
                    console_error!("alarm: {error:?}");
                }
            }),
            Err(error) => console_error!("alarm: {error:?}"),
        }
    }

    fn open(&self) -> usize {
        self.open.get().unwrap_or_else(|| {
            let open = sockets::open(&self.state).len();
            self.open.set(Some(open));
            open
        })
    }

    fn speaks(&self, session: &Session, socket: WebSocket) {
        *self.current.borrow_mut() = Some((session.connection.clone(), socket));
    }

    fn socket(&self, connection: &str) -> Option<WebSocket> {
        if let Some((current, socket)) = &*self.current.borrow()
            && current == connection
        {
            return Some(socket.clone());
        }
        sockets::find(&self.state, connection)
    }
}

fn turn() -> Turn {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time in milliseconds, and 48 bits")]
    let (now, random) = (js_sys::Date::now() as u64, (js_sys::Math::random() * 281_474_976_710_656.0) as u64);
    Turn { now, random }
}

/// 128 random bits, of which an UUID has 122.
fn random_id() -> String {
    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(js_namespace = crypto, js_name = randomUUID)]
        fn random_uuid() -> String;
    }
    random_uuid().replace('-', "")
}

fn nameless() -> Refusal {
    Refusal::new(Code::Internal, "this object has no name that means a room")
}

fn refuse(refusal: &Refusal) -> Result<Response> {
    Ok(json(refusal.body())?.with_status(refusal.code.status()))
}

fn json(body: String) -> Result<Response> {
    Ok(Response::builder().with_header("content-type", "application/json")?.fixed(body.into_bytes()))
}
