//! The sockets that are replayed to, and the rounds of batches that bring them up to date.

use crate::common::now;
use crate::home::Home;
use crate::sockets;
use dormouse_core::limits;
use dormouse_core::refusal::CLOSE_TOO_SLOW;
use dormouse_core::room::Input;
use js_sys::Set;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;
use web_sys::{WebSocket, js_sys};
use worker::Delay;

/// A cache of the attachments that say `behind`.
pub(crate) struct Laggards {
    /// In turn, each with the time at which it last took a batch. One that has caught up or gone stays until its turn comes.
    queue: RefCell<VecDeque<(WebSocket, u64)>>,
    /// Those that are behind, for asking quickly.
    set: Set,
    restored: Cell<bool>,
    pumping: Cell<bool>,
}

impl Default for Laggards {
    fn default() -> Self {
        Self {
            queue: RefCell::default(),
            set: Set::new(&JsValue::UNDEFINED),
            restored: Cell::new(false),
            pumping: Cell::new(false),
        }
    }
}

impl Laggards {
    pub(crate) fn add(&self, socket: WebSocket) {
        self.set.add(&socket);
        self.queue.borrow_mut().push_back((socket, now()));
    }

    /// From now on the socket gets what is live; or it is gone.
    pub(crate) fn remove(&self, socket: &WebSocket) {
        self.set.delete(socket);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.set.size() == 0
    }

    pub(crate) fn has(&self, socket: &WebSocket) -> bool {
        self.set.has(socket)
    }

    fn unsent(&self) -> u64 {
        self.queue.borrow().iter().map(|(socket, _)| u64::from(socket.buffered_amount())).sum()
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

    /// Replays until nobody is behind, a batch a turn. The timers between keep the object awake.
    pub(crate) fn pump(self: &Rc<Self>) {
        if self.laggards.is_empty() || self.laggards.pumping.replace(true) {
            return;
        }
        let home = self.clone();
        spawn_local(async move {
            while !home.laggards.is_empty() {
                if home.round().await == 0 {
                    Delay::from(Duration::from_millis(u64::from(limits::REPLAY_PAUSE_MS))).await;
                }
            }
            home.laggards.queue.borrow_mut().clear();
            home.share_no_more();
            home.laggards.pumping.set(false);
        });
    }

    /// Once around: a batch for each that can take one, as far as all of them together stay within bounds; past these the others are first in the next round. Who has taken nothing
    /// for too long is closed in either case: else some who do not read would stop everybody's replay for good. How many could.
    async fn round(self: &Rc<Self>) -> usize {
        let mut unsent = self.laggards.unsent();
        let mut served = 0;
        let mut waiting = Vec::new();
        let turns = self.laggards.queue.borrow().len();
        for _ in 0..turns {
            let Some((socket, since)) = self.laggards.queue.borrow_mut().pop_front() else { break };
            if !self.laggards.has(&socket) {
                continue;
            }
            let before = socket.buffered_amount();
            if before > limits::REPLAY_SOCKET_BYTES {
                self.wait_or_close(socket, since);
                continue;
            }
            if unsent > limits::REPLAY_TOTAL_BYTES {
                // It could take more: that it has to wait is no fault of its own.
                waiting.push((socket, now()));
                continue;
            }
            let Some(session) = sockets::session(&socket) else {
                self.laggards.remove(&socket);
                continue;
            };
            self.speaks(&session, socket.clone());
            self.drive(Input::Replay { session });
            served += 1;
            unsent += u64::from(socket.buffered_amount().saturating_sub(before));
            if self.laggards.has(&socket) {
                self.laggards.queue.borrow_mut().push_back((socket, now()));
            }
            Delay::from(Duration::ZERO).await;
        }
        for one in waiting.into_iter().rev() {
            self.laggards.queue.borrow_mut().push_front(one);
        }
        served
    }

    fn wait_or_close(&self, socket: WebSocket, since: u64) {
        if now().saturating_sub(since) > limits::REPLAY_STALL_MS {
            self.laggards.remove(&socket);
            sockets::close(&socket, CLOSE_TOO_SLOW, "too slow");
        } else {
            self.laggards.queue.borrow_mut().push_back((socket, since));
        }
    }
}
