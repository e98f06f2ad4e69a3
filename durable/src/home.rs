//! One channel's home as the runtime runs it: what happens is told to the core, and what the core says is performed.

mod followers;
mod members;
mod questions;
mod webhooks;

use crate::alarm::Alarm;
use crate::common::{Calls, answer_pings, answered_no, busy, hear, random_id, refuse, take, turn};
use crate::env::apps;
use crate::laggards::Laggards;
use crate::script::{answered, is_rebuilt, synced};
use crate::sockets;
use crate::sql::{SqlStore, store_error};
use dormouse_core::call::{
    CONNECT_HEADER, Connect, MESSAGES_PATH, PUBLISH_PATH, Published, decode_publish, parse_room_name,
};
use dormouse_core::channel::ChannelName;
use dormouse_core::close::CLOSE_PATH;
use dormouse_core::connection::in_room;
use dormouse_core::directory::COUNT_PATH;
use dormouse_core::frame::Frame;
use dormouse_core::link::{self, FOLLOW_PATH, MISSED_PATH, TALLY_PATH, UNFOLLOW_PATH};
use dormouse_core::message::Message;
use dormouse_core::position::Position;
use dormouse_core::presence::{MEMBERS_PATH, REPORT_PATH};
use dormouse_core::refusal::{CLOSE_TOO_SLOW, Code, Refusal};
use dormouse_core::room::{Input, Output, PageQuery, Room as Rules};
use dormouse_core::session::{Format, Session};
use dormouse_core::webhook::Hooks;
use js_sys::Function;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{WebSocket, js_sys};
use worker::worker_sys::{DurableObjectState, WebSocketPair};
use worker::{Env, Request, Response, Result, console_error};

/// What the object has in memory: a cache of attachments and storage, except for the publishers that wait.
pub(crate) struct Home {
    pub(crate) state: DurableObjectState,
    env: Env,
    app: String,
    channel: ChannelName,
    rules: RefCell<Rules>,
    /// Whether it stands for an object that a trap has ended, and its rules have not been told.
    rebuilt: Cell<bool>,
    store: RefCell<SqlStore>,
    /// Sockets whose end has not been told yet; counted when first asked for.
    open: Cell<Option<usize>>,
    /// No socket was found, and none was accepted since: asking the runtime four times takes 17 µs.
    deserted: Cell<bool>,
    /// The socket whose event this is: no need to look for it.
    current: RefCell<Option<(String, WebSocket)>>,
    /// A socket that is connecting, and what became of it.
    arriving: RefCell<Option<WebSocket>>,
    refused: RefCell<Option<Refusal>>,
    /// One that the core let in, and that could not be accepted.
    stillborn: RefCell<Option<Session>>,
    /// Called when what was written is on the disk, with the error if it is not.
    told: Closure<dyn FnMut(JsValue)>,
    waiting: RefCell<HashMap<u64, Function>>,
    tickets: Cell<u64>,
    pub(crate) calls: Calls,
    pub(crate) laggards: Laggards,
    /// The batch that was replayed last, and its frames as values.
    shared: RefCell<(Rc<[Frame]>, Vec<JsValue>)>,
    alarm: Alarm,
}

impl Home {
    pub(crate) fn new(state: DurableObjectState, env: &Env) -> Option<Rc<Self>> {
        let name = state.id().ok()?.name()?;
        let (app, channel) = parse_room_name(&name)?;
        let known = match apps(env) {
            Some(Ok(config)) => config.app_by_id(app),
            // The Worker lets nobody in then; an alarm may still ring.
            Some(Err(_)) | None => None,
        };
        let rule = known.map(|app| app.rule(&channel));
        let hooks = known.map(|app| Hooks::of(app, &channel)).unwrap_or_default();
        let (storage, alarm) = (state.storage().ok()?, state.storage().ok()?);
        let rebuilt = Cell::new(is_rebuilt(&state));
        let asked: DurableObjectState = JsValue::from(&state).unchecked_into();
        Some(Rc::new_cyclic(|home: &Weak<Self>| Self {
            told: {
                let home = home.clone();
                Closure::new(move |error: JsValue| {
                    let result = if error.is_undefined() { Ok(()) } else { Err(store_error(&error)) };
                    if let Some(home) = home.upgrade() {
                        home.drive(Input::Flushed(result));
                    }
                })
            },
            calls: Calls(Box::new([
                (PUBLISH_PATH, take(home, Self::publish)),
                (FOLLOW_PATH, hear(home, Self::follow)),
                (UNFOLLOW_PATH, hear(home, Self::unfollow)),
                (TALLY_PATH, hear(home, Self::tally)),
                (MISSED_PATH, hear(home, Self::missed)),
                (REPORT_PATH, hear(home, Self::report)),
                (MEMBERS_PATH, hear(home, Self::members)),
                (MESSAGES_PATH, hear(home, Self::messages)),
                (CLOSE_PATH, hear(home, Self::close)),
                (COUNT_PATH, hear(home, Self::count)),
            ])),
            env: env.clone(),
            app: app.to_owned(),
            rebuilt,
            rules: RefCell::new(Rules::wake(channel.clone(), rule.unwrap_or_default(), None).with_hooks(hooks)),
            channel,
            store: RefCell::new(SqlStore::new(storage, asked)),
            state,
            open: Cell::new(None),
            deserted: Cell::new(false),
            current: RefCell::default(),
            arriving: RefCell::default(),
            refused: RefCell::default(),
            stillborn: RefCell::default(),
            waiting: RefCell::default(),
            tickets: Cell::new(0),
            laggards: Laggards::default(),
            shared: RefCell::new((Rc::new([]), Vec::new())),
            alarm: Alarm::new(alarm),
        }))
    }

    /// One event: ask the core, then perform everything that it says, before the next. Not `async`: nothing can come between.
    pub(crate) fn drive(self: &Rc<Self>, input: Input) {
        self.decide(|rules, store, out| rules.handle(input, turn(), store, out));
    }

    fn decide<T>(self: &Rc<Self>, ask: impl FnOnce(&mut Rules, &mut SqlStore, &mut Vec<Output>) -> T) -> Option<T> {
        self.restore();
        let mut outputs = Vec::new();
        let answer = {
            let (Ok(mut rules), Ok(mut store)) = (self.rules.try_borrow_mut(), self.store.try_borrow_mut()) else {
                return None;
            };
            if self.rebuilt.take() {
                rules.rebuilt(&mut *store, &mut outputs);
            }
            ask(&mut rules, &mut store, &mut outputs)
        };
        for output in outputs {
            self.perform(output);
        }
        self.current.take();
        Some(answer)
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
            Output::SendAll { to, frames } => self.send_all(&to, frames),
            Output::Broadcast { position, message } => self.broadcast(position, &message),
            Output::Remember(session) => {
                if let Some(socket) = self.socket(&session.connection) {
                    if session.behind.is_none() {
                        self.laggards.remove(&socket);
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
                    self.laggards.remove(&socket);
                    sockets::close(&socket, code, reason);
                }
            }
            Output::Answer { ticket, outcomes } => {
                if let Some(answer) = self.waiting.borrow_mut().remove(&ticket) {
                    answered(&answer, 200, &serde_json::to_string(&Published { outcomes }).unwrap_or_default());
                }
            }
            Output::Deliver { hub, ticket, delivery } => self.deliver(hub, ticket, delivery),
            Output::Announce(announcement) => self.announce(&announcement),
            Output::AnnounceIn(pause) => self.announce_in(pause),
            Output::Told { of, revision } => self.told(&of, revision),
            Output::Relay { hubs, ticket, delivery } => self.relay(hubs, ticket, delivery),
            Output::Count => self.drive(Input::Counted { sockets: self.open() }),
            Output::Register(report) => self.register(report),
            Output::Post(post) => self.post(post),
            Output::Flush => self.flush(),
            Output::WakeAt(at) => self.alarm.set(at),
            Output::Forget => self.forget(),
        }
    }

    /// The values of a batch are made once for all readers who share it.
    fn send_all(&self, to: &str, frames: Rc<[Frame]>) {
        let Some(socket) = self.socket(to) else { return };
        let mut shared = self.shared.borrow_mut();
        if !Rc::ptr_eq(&shared.0, &frames) {
            let values = frames.iter().map(sockets::value).collect();
            *shared = (frames, values);
        }
        for value in &shared.1 {
            sockets::send(&socket, value);
        }
    }

    /// Nobody is behind any more.
    pub(crate) fn share_no_more(&self) {
        *self.shared.borrow_mut() = (Rc::new([]), Vec::new());
    }

    /// One value for all sockets of a format; per socket one crossing.
    fn broadcast(&self, position: Position, message: &Message) {
        let except = message.except.as_deref().and_then(|connection| sockets::find(&self.state, connection));
        if self.deserted.get() {
            return;
        }
        let some_behind = !self.laggards.is_empty();
        let mut found = 0;
        for format in Format::OF_ONE {
            let sockets = sockets::of_format(&self.state, format);
            if sockets.is_empty() {
                continue;
            }
            found += sockets.len();
            let Ok(rules) = self.rules.try_borrow() else { return };
            let value = sockets::value(&rules.frame(format, position, message));
            for socket in &sockets {
                let waits = some_behind && self.laggards.has(socket);
                if !waits && except.as_ref() != Some(socket) {
                    sockets::send(socket, &value);
                }
            }
        }
        self.deserted.set(found == 0);
    }

    fn accept(&self, session: Session) {
        let Some(socket) = self.arriving.borrow_mut().take() else { return };
        answer_pings(&self.state, session.format);
        let open = self.open();
        self.deserted.set(false);
        if let Err(error) = sockets::accept(&self.state, &socket, &session) {
            console_error!("accept: {error:?}");
            // It may have been accepted, and only its attachment not: then nobody would ever close it.
            sockets::forget(&socket);
            sockets::close(&socket, Code::Internal.close_code(), Code::Internal.name());
            *self.refused.borrow_mut() = Some(Refusal::new(Code::Internal, "the connection could not be accepted"));
            *self.stillborn.borrow_mut() = Some(session);
            return;
        }
        self.open.set(Some(open + 1));
        if session.behind.is_some() {
            self.laggards.add(socket.clone());
        }
        *self.current.borrow_mut() = Some((session.connection, socket));
    }

    pub(crate) fn connect(self: &Rc<Self>, request: &Request) -> Result<web_sys::Response> {
        let connect = request.headers().get(CONNECT_HEADER)?.unwrap_or_default();
        let Ok(connect) = serde_json::from_str::<Connect>(&connect) else {
            return Ok(refuse(&Refusal::new(Code::InvalidField, "call: connect")));
        };
        let mut pair = WebSocketPair::new()?;
        let (client, server) = (pair.client()?, pair.server()?);
        *self.arriving.borrow_mut() = Some(server);
        let connection = in_room(&random_id(), &self.channel);
        self.drive(Input::Connect { connect, connection, sockets: self.open() });
        self.arriving.take();
        if let Some(session) = self.stillborn.take() {
            self.drive(Input::Left { session, sockets: self.open() });
        }
        match self.refused.take() {
            Some(refusal) => Ok(refuse(&refusal)),
            None => Response::from_websocket(client.into()).map(web_sys::Response::from),
        }
    }

    /// One row written when calm; when hot, this call's share of one. The answer is held back by the runtime until the row is on the disk.
    fn publish(self: &Rc<Self>, call: &str, answer: Function) {
        let messages = match decode_publish(call) {
            Ok(messages) => messages,
            Err(refusal) => return answered_no(&answer, &refusal),
        };
        let ticket = self.tickets.get();
        self.tickets.set(ticket + 1);
        self.waiting.borrow_mut().insert(ticket, answer);
        self.drive(Input::Publish { ticket, messages });
    }

    /// A page of history: nothing written.
    fn messages(self: &Rc<Self>, call: &str) -> std::result::Result<String, Refusal> {
        let query: PageQuery = link::decode(call)?;
        let page = self.decide(|rules, store, _| rules.page(query, turn(), store));
        page.unwrap_or_else(|| Err(busy())).map(|page| page.body(&self.channel))
    }

    fn flush(self: &Rc<Self>) {
        if let Err(error) = self.state.storage().and_then(|storage| synced(&storage, self.told.as_ref())) {
            self.drive(Input::Flushed(Err(store_error(&error))));
        }
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

    /// A socket is gone.
    pub(crate) fn left(self: &Rc<Self>, socket: &WebSocket) {
        let Some(session) = sockets::session(socket) else { return };
        sockets::forget(socket);
        self.laggards.remove(socket);
        // Counted anew after waking, it is without this one already: it is forgotten.
        let open = match self.open.get() {
            Some(open) => open.saturating_sub(1),
            None => self.open(),
        };
        self.open.set(Some(open));
        self.drive(Input::Left { session, sockets: open });
    }

    /// The alarm rang.
    pub(crate) fn rang(self: &Rc<Self>) {
        let sessions = sockets::open(&self.state).iter().filter_map(sockets::session).collect();
        self.drive(Input::Alarm { sessions });
    }

    /// Asks when the alarm will ring: one read for each waking, so that it is never set later than it was.
    pub(crate) async fn learn_alarm(&self) {
        let armed = self.alarm.ask().await;
        if let Ok(mut rules) = self.rules.try_borrow_mut() {
            rules.armed(armed);
        }
        self.alarm.known(armed);
    }

    /// Sockets whose end has not been told yet. Those that are closing count: each will have its own end.
    fn open(&self) -> usize {
        self.open.get().unwrap_or_else(|| {
            let sockets = self.state.get_websockets().unwrap_or_default();
            let open = sockets.iter().filter(|socket| sockets::session(socket).is_some()).count();
            self.open.set(Some(open));
            open
        })
    }

    pub(crate) fn speaks(&self, session: &Session, socket: WebSocket) {
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

pub(crate) fn nameless() -> Refusal {
    Refusal::new(Code::Internal, "this object has no name that means a room")
}
