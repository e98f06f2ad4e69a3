//! The sockets that are replayed to, and the rounds of batches that bring them up to date.

use crate::home::{Home, now};
use crate::sockets;
use dormouse_core::limits;
use dormouse_core::refusal::CLOSE_TOO_SLOW;
use dormouse_core::room::Input;
use js_sys::Set;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;
use web_sys::{WebSocket, js_sys};
use worker::Delay;

/// A cache of the attachments that say `behind`.
pub(crate) struct Laggards {
    /// Each with the time at which it last took a batch.
    list: RefCell<Vec<(WebSocket, u64)>>,
    /// The same sockets, for asking quickly.
    set: Set,
    restored: Cell<bool>,
    pumping: Cell<bool>,
}

impl Default for Laggards {
    fn default() -> Self {
        Self {
            list: RefCell::default(),
            set: Set::new(&JsValue::UNDEFINED),
            restored: Cell::new(false),
            pumping: Cell::new(false),
        }
    }
}

impl Laggards {
    pub(crate) fn add(&self, socket: WebSocket) {
        self.set.add(&socket);
        self.list.borrow_mut().push((socket, now()));
    }

    /// From now on the socket gets what is live; or it is gone.
    pub(crate) fn remove(&self, socket: &WebSocket) {
        if self.set.delete(socket) {
            self.list.borrow_mut().retain(|(other, _)| other != socket);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    pub(crate) fn has(&self, socket: &WebSocket) -> bool {
        self.set.has(socket)
    }

    fn took(&self, socket: &WebSocket) {
        if let Some((_, since)) = self.list.borrow_mut().iter_mut().find(|(other, _)| other == socket) {
            *since = now();
        }
    }
}

impl Home {
    /// Takes up what sleep interrupted, once after waking.
    pub(crate) fn restore(self: &Rc<Self>) {
        if self.laggards.restored.replace(true) {
            return;
        }
        for socket in sockets::replayed(&self.state) {
            if sockets::session(&socket).is_some_and(|session| session.behind.is_some()) {
                self.laggards.add(socket);
            }
        }
        self.pump();
    }

    /// Replays in rounds until nobody is behind. The pauses keep the object awake, and let live messages through.
    pub(crate) fn pump(self: &Rc<Self>) {
        if self.laggards.is_empty() || self.laggards.pumping.replace(true) {
            return;
        }
        let home = self.clone();
        spawn_local(async move {
            while home.round() {
                Delay::from(Duration::from_millis(u64::from(limits::REPLAY_PAUSE_MS))).await;
            }
            home.laggards.pumping.set(false);
        });
    }

    /// One batch for each that can take one, as far as all of them together stay within bounds. Whether anybody is still behind.
    fn round(self: &Rc<Self>) -> bool {
        let laggards: Vec<(WebSocket, u64)> = self.laggards.list.borrow().clone();
        let mut unsent: u64 = laggards.iter().map(|(socket, _)| u64::from(socket.buffered_amount())).sum();
        for (socket, since) in laggards {
            let before = socket.buffered_amount();
            if before > limits::REPLAY_SOCKET_BYTES {
                if now().saturating_sub(since) > limits::REPLAY_STALL_MS {
                    self.laggards.remove(&socket);
                    sockets::close(&socket, CLOSE_TOO_SLOW, "too slow");
                }
            } else if unsent <= limits::REPLAY_TOTAL_BYTES {
                let Some(session) = sockets::session(&socket) else {
                    self.laggards.remove(&socket);
                    continue;
                };
                self.laggards.took(&socket);
                self.speaks(&session, socket.clone());
                self.drive(Input::Replay { session });
                unsent += u64::from(socket.buffered_amount().saturating_sub(before));
            }
        }
        !self.laggards.is_empty()
    }
}
