//! The Directory of an app: the Durable Object that knows which channels have connections and which objects hold sockets, as the runtime sees it. What happens is told
//! to the core, and what the core says is performed.

use crate::alarm::Alarm;
use crate::common::{Hear, hear, now, refuse};
use crate::directory_sql::DirectorySql;
use crate::script::{answered, heard};
use crate::stub::close;
use dormouse_core::call::VERSION;
use dormouse_core::close::{Close, Holder, Whose};
use dormouse_core::directory::{
    CLOSE_USER_PATH, CloseUser, Directory as Rules, Input, LIST_PATH, Output, REPORT_PATH, STRIKE_PATH,
    parse_directory_name,
};
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
use worker::{Delay, Env, Request, State, console_error};

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
    report: Hear,
    list: Hear,
    strike: Hear,
    close_user: Hear,
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
    pub fn fetch(&self, request: web_sys::Request) -> JsValue {
        let Some(desk) = &self.desk else {
            return refuse(&Refusal::new(Code::Internal, "this object has no name that means a directory")).into();
        };
        let request = Request::from(request);
        let hear = match request.path().as_str() {
            REPORT_PATH => &desk.report,
            LIST_PATH => &desk.list,
            STRIKE_PATH => &desk.strike,
            CLOSE_USER_PATH => &desk.close_user,
            _ => return refuse(&Refusal::new(Code::NotFound, "no such call")).into(),
        };
        heard(request.inner(), hear.as_ref()).into()
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
            report: hear(desk, |desk, call| desk.answer(|rules, store| rules.report(&decode(call)?, store))),
            list: hear(desk, |desk, call| desk.answer(|rules, store| rules.list(&decode(call)?, store))),
            strike: hear(desk, |desk, call| {
                desk.answer(|rules, store| rules.strike(decode(call)?, store).map(|()| serde_json::json!({})))
            }),
            close_user: {
                let desk = desk.clone();
                Closure::new(move |call: String, answer: Function| {
                    if let Some(desk) = desk.upgrade() {
                        desk.close_user(&call, answer);
                    }
                })
            },
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
            return Err(Refusal::new(Code::Internal, "the directory is busy"));
        };
        Ok(serde_json::to_string(&decide(&mut rules, &mut store)?).unwrap_or_default())
    }

    fn close_user(self: &Rc<Self>, call: &str, answer: Function) {
        let CloseUser { user, .. } = match decode(call) {
            Ok(call) => call,
            Err(refusal) => return answered(&answer, refusal.code.status(), &refusal.body()),
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
                    Err(refusal) => answered(&answer, refusal.code.status(), &refusal.body()),
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
