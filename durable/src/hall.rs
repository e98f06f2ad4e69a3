//! One Hub as the runtime runs it: what happens is told to the core, and what the core says is performed.

mod questions;

use crate::alarm::Alarm;
use crate::common::{Calls, answer_pings, answered_no, hear, now, random_id, refuse, take, turn};
use crate::env::apps;
use crate::kept::Kept;
use crate::places::Places;
use crate::script::{answered, is_rebuilt, json};
use crate::sockets;
use crate::stub::{HubStub, RoomStub};
use crate::tabs::Tabs;
use dormouse_core::call::{CONNECT_HEADER, VERSION, room_name};
use dormouse_core::channel::ChannelName;
use dormouse_core::close::CLOSE_PATH;
use dormouse_core::config::App;
use dormouse_core::connection::in_hub;
use dormouse_core::directory::HUB_COUNT_PATH;
use dormouse_core::frame::Frame;
use dormouse_core::hub::{Hub as Rules, HubConnect, HubSession, Input, Output, Slot};
use dormouse_core::link::{DELIVER_PATH, Delivery, Follow, Missed, RELAY_PATH, Relay, parse_hub_name, speaks_pusher};
use dormouse_core::presence::Report;
use dormouse_core::pusher::words::COME_BACK;
use dormouse_core::refusal::{Code, Refusal};
use dormouse_core::resume::RESUME_PATH;
use js_sys::Function;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_sys::{WebSocket, js_sys};
use worker::worker_sys::{DurableObjectState, WebSocketPair};
use worker::{Delay, Env, Request, Response, Result, console_error};

/// What the object has in memory: a cache of attachments, except for the Rooms that wait.
pub(crate) struct Hall {
    state: DurableObjectState,
    env: Env,
    /// The object's name: what Rooms know it by.
    name: String,
    app: String,
    rules: RefCell<Rules>,
    places: Places,
    kept: Kept,
    tabs: Tabs,
    /// Whether it stands for an object that a trap has ended.
    rebuilt: bool,
    restored: Cell<bool>,
    /// A socket that is connecting, and what became of it.
    arriving: RefCell<Option<WebSocket>>,
    refused: RefCell<Option<Refusal>>,
    /// The slot of a socket that the core let in and the runtime did not.
    stillborn: Cell<Option<Slot>>,
    waiting: RefCell<HashMap<u64, Function>>,
    pub(crate) calls: Calls,
    tickets: Cell<u64>,
    alarm: Alarm,
}

impl Hall {
    pub(crate) fn new(state: DurableObjectState, env: &Env) -> Option<Rc<Self>> {
        let name = state.id().ok()?.name()?;
        let app = parse_hub_name(&name)?.to_owned();
        let rules = Rules::wake(settings(env, &app)?);
        let alarm = Alarm::new(state.storage().ok()?);
        let kept = Kept::new(state.storage().ok()?);
        let tabs = Tabs::new(state.storage().ok()?);
        let rebuilt = is_rebuilt(&state);
        Some(Rc::new_cyclic(|hall: &Weak<Self>| Self {
            calls: Calls(Box::new([
                (DELIVER_PATH, take(hall, Self::deliver)),
                (RELAY_PATH, take(hall, Self::relay)),
                (CLOSE_PATH, hear(hall, Self::close)),
                (HUB_COUNT_PATH, hear(hall, Self::count)),
                (RESUME_PATH, hear(hall, Self::resume)),
            ])),
            state,
            env: env.clone(),
            name,
            app,
            rules: RefCell::new(rules),
            places: Places::default(),
            kept,
            tabs,
            rebuilt,
            restored: Cell::new(false),
            arriving: RefCell::default(),
            refused: RefCell::default(),
            stillborn: Cell::new(None),
            waiting: RefCell::default(),
            tickets: Cell::new(0),
            alarm,
        }))
    }

    /// One event: ask the core, then perform everything that it says, before the next. Not `async`: nothing can come between.
    pub(crate) fn drive(self: &Rc<Self>, input: Input) {
        self.restore(None);
        self.decide(|rules, out| rules.handle(input, turn(), out));
    }

    fn decide<T>(self: &Rc<Self>, ask: impl FnOnce(&mut Rules, &mut Vec<Output>) -> T) -> Option<T> {
        let mut outputs = Vec::new();
        let answer = ask(&mut *self.rules.try_borrow_mut().ok()?, &mut outputs);
        for output in outputs {
            self.perform(output);
        }
        Some(answer)
    }

    /// Takes up every socket that has an attachment, once after waking: those that are closing, too, because each will have its own end. `speaks` is the
    /// socket whose event this is: a list that lacks it shall not lose the event. Rows of members are read only where there is no socket, or calls were lost.
    fn restore(self: &Rc<Self>, speaks: Option<&WebSocket>) {
        if self.restored.replace(true) {
            return;
        }
        for socket in self.state.get_websockets().unwrap_or_default() {
            self.take_up(socket);
        }
        if let Some(socket) = speaks.filter(|socket| self.places.slot(socket).is_none()) {
            self.take_up(socket.clone());
        }
        if self.places.is_empty() {
            self.tabs.begin_life();
        }
        if speaks_pusher(&self.name)
            && let Ok(mut rules) = self.rules.try_borrow_mut()
        {
            rules.mourn(self.tabs.mourned());
        }
        let lost = (self.rebuilt || self.places.is_empty()).then(|| self.kept.rows());
        self.decide(|rules, out| rules.restored(lost, turn(), out));
    }

    fn take_up(&self, socket: WebSocket) {
        let session = sockets::attachment(&socket).and_then(|text| HubSession::decode(&text));
        let (Some(session), Ok(mut rules)) = (session, self.rules.try_borrow_mut()) else { return };
        self.places.take(rules.restore(session), socket);
    }

    fn perform(self: &Rc<Self>, output: Output) {
        match output {
            Output::Accept { slot, session } => self.accept(slot, &session),
            Output::Refuse(refusal) => *self.refused.borrow_mut() = Some(refusal),
            Output::Send { slots, frames } => self.send(&slots, &frames),
            Output::Remember { slot, session } => {
                if let Some(socket) = self.places.socket(slot)
                    && let Err(error) = sockets::attach(&socket, &session.encode())
                {
                    console_error!("attachment: {error:?}");
                }
            }
            Output::CloseSlow { unsent, code } => self.places.each(|socket| {
                if socket.ready_state() == WebSocket::OPEN && socket.buffered_amount() > unsent {
                    sockets::close(socket, code, "too slow");
                }
            }),
            Output::Close { slot, code, reason } => {
                if let Some(socket) = self.places.socket(slot) {
                    sockets::close(&socket, code, reason);
                }
            }
            Output::Receipt { ticket, receipt } => {
                self.acknowledge(ticket, &serde_json::to_string(&receipt).unwrap_or_default());
            }
            Output::Relayed { ticket, answer } => self.acknowledge(ticket, &answer),
            Output::Forward { ticket, hub, delivery } => self.spawn(async move |hall| {
                let result = async { HubStub::named(&hall.env, hub.clone())?.forward(&delivery).await }.await;
                hall.drive(Input::Forwarded { ticket, hub, result });
            }),
            Output::Follow { channel, at, count } => self.spawn(async move |hall| {
                let follow = Follow { count, ..hall.following(at) };
                let result = async { hall.room(&channel)?.follow(&follow).await }.await;
                let result = result.map(|followed| followed.position);
                hall.drive(Input::Followed { channel, at, result });
            }),
            Output::Tally { channel, tally } => self.spawn(async move |hall| {
                let follow = Follow { count: Some(tally.count), ..hall.following(tally.at) };
                let result = async { hall.room(&channel)?.tally(&follow).await }.await;
                hall.drive(Input::Tallied { channel, result: result.map(|tallied| tallied.known) });
            }),
            // The timer keeps the object awake for a moment: many who come together are one request.
            Output::TallyIn(pause) => self.spawn(async move |hall| {
                Delay::from(Duration::from_millis(pause)).await;
                hall.drive(Input::Tally);
            }),
            // A Room that does not hear of it learns it with its next delivery.
            Output::Unfollow { channel, at } => self.spawn(async move |hall| {
                let _ = async { hall.room(&channel)?.unfollow(&hall.following(at)).await }.await;
            }),
            Output::Missed { channel, from } => self.spawn(async move |hall| {
                let missed = Missed { version: VERSION, from };
                let result = async { hall.room(&channel)?.missed(&missed).await }.await;
                hall.drive(Input::Missed { channel, from, result });
            }),
            Output::Publish { channel, messages } => self.spawn(async move |hall| {
                let result = async { hall.room(&channel)?.publish(&messages).await }.await;
                hall.drive(Input::Published { channel, result });
            }),
            Output::Report { channel, report } => self.spawn(async move |hall| {
                let (at, report) = (report.at, Report { hub: hall.name.clone(), ..report });
                let result = async { hall.room(&channel)?.report(&report).await }.await;
                hall.drive(Input::Reported { channel, at, result });
            }),
            Output::Keep { channel } => self.kept.keep(&channel),
            Output::Doubt { channel } => self.kept.doubt(&channel),
            Output::Trust { channel } => self.kept.trust(&channel),
            Output::Drop { channel } => self.kept.drop(&channel),
            Output::Register { state, at } => self.register(state, at),
            Output::Hold { id, held, open } => self.tabs.hold(&id, &held, open),
            Output::LetGo { id } => self.tabs.let_go(&id),
            Output::Fetch { hub, id, tag } => self.fetch_tab(hub, id, tag),
            Output::Reached { channel, acked } => self.tabs.reach(&channel, acked),
            Output::Bound { channel, position } => self.tabs.bound(&channel, position),
            Output::LookAt(at) => self.spawn(async move |hall| {
                Delay::from(Duration::from_millis(at.saturating_sub(now()))).await;
                hall.drive(Input::Look { at });
            }),
            Output::WakeAt(at) => self.alarm.set(at),
        }
    }

    fn accept(&self, slot: Slot, session: &HubSession) {
        let Some(socket) = self.arriving.borrow_mut().take() else { return self.stillborn.set(Some(slot)) };
        answer_pings(&self.state, session.format);
        if let Err(error) = sockets::accept_as(&self.state, &socket, &session.connection, &session.encode()) {
            console_error!("accept: {error:?}");
            // It may have been accepted, and only its attachment not: then nobody would ever close it.
            self.close_broken(&socket);
            *self.refused.borrow_mut() = Some(Refusal::new(Code::Internal, "the connection could not be accepted"));
            return self.stillborn.set(Some(slot));
        }
        self.places.take(slot, socket);
    }

    /// Closes a socket of which nothing is known: something failed here, and it may come back.
    pub(crate) fn close_broken(&self, socket: &WebSocket) {
        let code = if speaks_pusher(&self.name) { COME_BACK } else { Code::Internal.close_code() };
        sockets::close(socket, code, Code::Internal.name());
    }

    /// One value per frame for all of them; per socket and frame one crossing.
    fn send(&self, slots: &[Slot], frames: &[Frame]) {
        let values: Vec<JsValue> = frames.iter().map(sockets::value).collect();
        self.places.each_of(slots, |socket| values.iter().for_each(|value| sockets::send(socket, value)));
    }

    /// One request to the Room for each channel that nobody here had; no row, unless the alarm has to be set.
    pub(crate) fn connect(self: &Rc<Self>, request: &Request) -> Result<web_sys::Response> {
        let connect = request.headers().get(CONNECT_HEADER)?.unwrap_or_default();
        let Ok(connect) = serde_json::from_str::<HubConnect>(&connect) else {
            return Ok(refuse(&Refusal::new(Code::InvalidField, "call: connect")));
        };
        let mut pair = WebSocketPair::new()?;
        let (client, server) = (pair.client()?, pair.server()?);
        *self.arriving.borrow_mut() = Some(server);
        let connection = in_hub(connect.format, &random_id(), &self.name);
        self.restore(None);
        let held = connect.resume.as_ref().and_then(|id| self.tabs.held(id));
        self.drive(Input::Connect { connect, connection, held });
        self.arriving.take();
        if let Some(slot) = self.stillborn.take() {
            self.drive(Input::Left { slot });
        }
        match self.refused.take() {
            Some(refusal) => Ok(refuse(&refusal)),
            None => Response::from_websocket(client.into()).map(web_sys::Response::from),
        }
    }

    /// Whether there is room for a socket. They are counted, and not taken up: that would take a Hub that sleeps 0.1 s.
    pub(crate) fn look(&self) -> web_sys::Response {
        let sockets = self.state.get_websockets().map_or(0, |sockets| sockets.len());
        let room = self.rules.try_borrow().map(|rules| rules.check_room(sockets));
        match room.unwrap_or(Ok(())) {
            Ok(()) => json(200, "{}"),
            Err(refusal) => refuse(&refusal),
        }
    }

    /// A Room brings messages: nothing is written for them.
    fn deliver(self: &Rc<Self>, call: &str, answer: Function) {
        self.hear(answer, |ticket| Ok(Input::Deliver { ticket, delivery: Delivery::decode(call)? }));
    }

    /// The same, for this Hub and for others: one request to each of those.
    fn relay(self: &Rc<Self>, call: &str, answer: Function) {
        self.hear(answer, |ticket| Ok(Input::Relay { ticket, relay: Relay::decode(call, &self.name)? }));
    }

    fn hear(self: &Rc<Self>, answer: Function, read: impl FnOnce(u64) -> std::result::Result<Input, Refusal>) {
        let ticket = self.tickets.get();
        let input = match read(ticket) {
            Ok(input) => input,
            Err(refusal) => return answered_no(&answer, &refusal),
        };
        self.tickets.set(ticket + 1);
        self.waiting.borrow_mut().insert(ticket, answer);
        self.drive(input);
    }

    fn acknowledge(&self, ticket: u64, receipt: &str) {
        if let Some(answer) = self.waiting.borrow_mut().remove(&ticket) {
            answered(&answer, 200, receipt);
        }
    }

    /// The alarm rang: the rows are read.
    pub(crate) fn rang(self: &Rc<Self>) {
        self.drive(Input::Alarm { kept: self.kept.rows() });
        if self.tabs.sweep() {
            self.drive(Input::Swept);
        }
    }

    /// The slot of a socket; `None` if it has none any more.
    pub(crate) fn slot(self: &Rc<Self>, socket: &WebSocket) -> Option<Slot> {
        self.restore(Some(socket));
        self.places.slot(socket)
    }

    /// A socket is gone.
    pub(crate) fn left(self: &Rc<Self>, socket: &WebSocket, slot: Slot) {
        self.drive(Input::Left { slot });
        self.places.leave(slot, socket);
        // Else waking would take it up again, for as long as the runtime lists it.
        sockets::forget(socket);
    }

    /// Asks when the alarm will ring: one read for each waking, so that it is never set later than it was.
    pub(crate) async fn learn_alarm(&self) {
        let armed = self.alarm.ask().await;
        if let Ok(mut rules) = self.rules.try_borrow_mut() {
            rules.armed(armed);
        }
        self.alarm.known(armed);
    }

    fn room(&self, channel: &ChannelName) -> std::result::Result<RoomStub, Refusal> {
        RoomStub::named(&self.env, room_name(&self.app, channel))
    }

    /// The call goes out in this turn; nothing waits for it, and no timer keeps the object awake.
    fn spawn(self: &Rc<Self>, call: impl AsyncFnOnce(Rc<Self>) + 'static) {
        let hall = self.clone();
        spawn_local(async move { call(hall).await });
    }

    fn following(&self, at: u64) -> Follow {
        Follow { version: VERSION, hub: self.name.clone(), at, count: None }
    }
}

/// The app as it is configured. One that is no longer there has no rules of its own: the Worker lets nobody in for it, but its sockets are here.
fn settings(env: &Env, app: &str) -> Option<App> {
    let known = match apps(env) {
        Some(Ok(config)) => config.app_by_id(app).cloned(),
        Some(Err(_)) | None => None,
    };
    known.or_else(|| {
        serde_json::from_value(serde_json::json!({ "id": app, "key": "", "secrets": [], "directory": false })).ok()
    })
}
