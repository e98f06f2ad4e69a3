//! Which socket is in which slot of a Hub, while it is awake.

use dormouse_core::hub::Slot;
use js_sys::Map;
use std::cell::RefCell;
use wasm_bindgen::JsValue;
use web_sys::{WebSocket, js_sys};

/// Both ways: by slot to send, by socket when it speaks. Sockets are compared by identity, which only a map of JavaScript's can do.
#[derive(Default)]
pub(crate) struct Places {
    sockets: RefCell<Vec<Option<WebSocket>>>,
    slots: Map,
}

impl Places {
    pub(crate) fn take(&self, slot: Slot, socket: WebSocket) {
        self.slots.set(&socket, &JsValue::from(slot));
        let mut sockets = self.sockets.borrow_mut();
        let at = slot as usize;
        if sockets.len() <= at {
            sockets.resize(at + 1, None);
        }
        if let Some(place) = sockets.get_mut(at) {
            *place = Some(socket);
        }
    }

    pub(crate) fn leave(&self, slot: Slot, socket: &WebSocket) {
        self.slots.delete(socket);
        if let Some(place) = self.sockets.borrow_mut().get_mut(slot as usize) {
            *place = None;
        }
    }

    pub(crate) fn slot(&self, socket: &WebSocket) -> Option<Slot> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was put in as a slot")]
        self.slots.get(socket).as_f64().map(|slot| slot as Slot)
    }

    pub(crate) fn socket(&self, slot: Slot) -> Option<WebSocket> {
        self.sockets.borrow().get(slot as usize).cloned().flatten()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.size() == 0
    }

    pub(crate) fn each_of(&self, slots: &[Slot], speak: impl Fn(&WebSocket)) {
        let sockets = self.sockets.borrow();
        slots.iter().filter_map(|slot| sockets.get(*slot as usize)?.as_ref()).for_each(speak);
    }

    pub(crate) fn each(&self, look: impl Fn(&WebSocket)) {
        self.sockets.borrow().iter().flatten().for_each(look);
    }
}
