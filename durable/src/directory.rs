//! The Directory of an app: the Durable Object that knows which channels have connections and which objects hold sockets, as the runtime sees it. What happens is told
//! to the core, and what the core says is performed.

use crate::alarm::Alarm;
use crate::common::{Calls, answered_no, busy, hear, now, refuse, take};
use crate::directory_sql::DirectorySql;
use crate::script::answered;
use crate::stub::close;
use dormouse_core::call::VERSION;
use dormouse_core::close::{Close, Holder, Whose};
use dormouse_core::directory::{
    CLOSE_USER_PATH, CloseUser, Directory as Rules, Input, LIST_PATH, Output, REPORT_PATH, STRIKE_PATH,
    parse_directory_name,
};
use dormouse_core::head::split_url;
use dormouse_core::link::decode;
use dormouse_core::refusal::{Code, Refusal};
use js_sys::Function;
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_sys::js_sys;
use worker::worker_sys::DurableObjectState;
use worker::{Delay, Env, State, console_error};

/// The Durable Object class, exported by hand as the others are (`docs/decisions/0006-the-room-is-exported-by-hand.md`).
#[wasm_bindgen]
pub struct Directory {
    desk: Option<Rc<Desk>>,
}

/// What the object has in memory: a cache of its rows, but for who waits, and for how far the orders are.
struct Desk {
    env: Env,
    app: String,
    rules: RefCell<Rules>,
    store: RefCell<DirectorySql>,
    waiting: RefCell<HashMap<u64, Function>>,
    tickets: Cell<u64>,
    ticking: Cell<bool>,
    calls: Calls,
    alarm: Alarm,
}

#[wasm_bindgen]
impl Directory {
    /// The runtime makes or wakes the object.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(state: &DurableObjectState, env: &Env) -> Self {
        let waits = State::from(JsValue::from(state).unchecked_into::<DurableObjectState>());
        let desk = Desk::new(state, env);
        if let Some(desk) = &desk {
            let waking = desk.clone();
            // Events wait for this.
            drop(waits.block_concurrency_while(async move {
                waking.learn_alarm().await;
                Ok(())
            }));
        }
        Self { desk }
    }

    /// A call from the Worker, a Room, or a Hub.
    #[must_use]
    pub fn fetch(&self, request: &web_sys::Request) -> JsValue {
        let Some(desk) = &self.desk else {
            return refuse(&Refusal::new(Code::Internal, "this object has no name that means a directory")).into();
        };
        desk.calls.hear(split_url(&request.url()).1, request)
    }

    /// The alarm rang.
    pub fn alarm(&self) {
        if let Some(desk) = &self.desk {
            desk.drive(Input::Alarm);
        }
    }
}

impl Desk {
    fn new(state: &DurableObjectState, env: &Env) -> Option<Rc<Self>> {
        let name = state.id().ok()?.name()?;
        let app = parse_directory_name(&name)?.to_owned();
        let (storage, alarm) = (state.storage().ok()?, state.storage().ok()?);
        Some(Rc::new_cyclic(|desk: &Weak<Self>| Self {
            env: env.clone(),
            rules: RefCell::new(Rules::wake(app.clone())),
            app,
            store: RefCell::new(DirectorySql::new(storage)),
            waiting: RefCell::default(),
            tickets: Cell::new(0),
            ticking: Cell::new(false),
            calls: Calls(Box::new([
                (REPORT_PATH, hear(desk, |desk, call| desk.answer(|rules, store| rules.report(&decode(call)?, store)))),
                (LIST_PATH, hear(desk, |desk, call| desk.answer(|rules, store| rules.list(&decode(call)?, store)))),
                (
                    STRIKE_PATH,
                    hear(desk, |desk, call| {
                        desk.answer(|rules, store| rules.strike(decode(call)?, store).map(|()| serde_json::json!({})))
                    }),
                ),
                (CLOSE_USER_PATH, take(desk, Self::close_user)),
            ])),
            alarm: Alarm::new(alarm),
        }))
    }

    async fn learn_alarm(&self) {
        let armed = self.alarm.ask().await;
        if let Ok(mut rules) = self.rules.try_borrow_mut() {
            rules.armed(armed);
        }
        self.alarm.known(armed);
    }

    fn answer<T: Serialize>(
        &self,
        decide: impl FnOnce(&mut Rules, &mut DirectorySql) -> Result<T, Refusal>,
    ) -> Result<String, Refusal> {
        let (Ok(mut rules), Ok(mut store)) = (self.rules.try_borrow_mut(), self.store.try_borrow_mut()) else {
            return Err(busy());
        };
        Ok(serde_json::to_string(&decide(&mut rules, &mut store)?).unwrap_or_default())
    }

    fn close_user(self: &Rc<Self>, call: &str, answer: Function) {
        let CloseUser { user, .. } = match decode(call) {
            Ok(call) => call,
            Err(refusal) => return answered_no(&answer, &refusal),
        };
        let ticket = self.tickets.get();
        self.tickets.set(ticket + 1);
        self.waiting.borrow_mut().insert(ticket, answer);
        self.drive(Input::Close { ticket, user });
        self.tick();
    }

    /// One event: ask the core, then perform everything that it says, before the next.
    fn drive(self: &Rc<Self>, input: Input) {
        let mut outputs = Vec::new();
        {
            let (Ok(mut rules), Ok(mut store)) = (self.rules.try_borrow_mut(), self.store.try_borrow_mut()) else {
                return;
            };
            rules.handle(input, now(), &mut *store, &mut outputs);
        }
        for output in outputs {
            self.perform(output);
        }
    }

    fn perform(self: &Rc<Self>, output: Output) {
        match output {
            Output::Call { call, holder, user } => self.call(call, holder, user),
            Output::Answer { ticket, result } => {
                let Some(answer) = self.waiting.borrow_mut().remove(&ticket) else { return };
                match result {
                    Ok(closed) => answered(&answer, 200, &serde_json::to_string(&closed).unwrap_or_default()),
                    Err(refusal) => answered_no(&answer, &refusal),
                }
            }
            Output::WakeAt(at) => self.alarm.set(at),
            Output::GaveUp { objects } => {
                console_error!("closing a user's connections was given up: {objects} objects or more did not answer");
            }
        }
    }

    fn call(self: &Rc<Self>, call: u64, holder: Holder, user: String) {
        let desk = self.clone();
        spawn_local(async move {
            let order = Close { version: VERSION, whose: Whose::User(user) };
            let result = close(&desk.env, &desk.app, &holder, &order).await;
            desk.drive(Input::Called { call, result });
        });
    }

    /// A tick a second, while somebody waits for an answer: nobody else does.
    fn tick(self: &Rc<Self>) {
        if self.waiting.borrow().is_empty() || self.ticking.replace(true) {
            return;
        }
        let desk = self.clone();
        spawn_local(async move {
            while !desk.waiting.borrow().is_empty() {
                Delay::from(Duration::from_secs(1)).await;
                desk.drive(Input::Tick);
            }
            desk.ticking.set(false);
        });
    }
}
