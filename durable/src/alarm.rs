//! The object's one alarm.

use js_sys::Date;
use std::cell::Cell;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::js_sys;
use worker::console_error;
use worker::worker_sys::DurableObjectStorage;

/// Sets the alarm; until the runtime has said when it will ring, what is wanted waits here.
pub(crate) struct Alarm {
    storage: DurableObjectStorage,
    armed: Cell<Armed>,
}

#[derive(Clone, Copy)]
enum Armed {
    Unknown { wanted: Option<u64> },
    Known,
}

impl Alarm {
    pub(crate) fn new(storage: DurableObjectStorage) -> Self {
        Self { storage, armed: Cell::new(Armed::Unknown { wanted: None }) }
    }

    /// Asks the runtime when the alarm will ring, in milliseconds: one read.
    pub(crate) async fn ask(&self) -> Option<u64> {
        let asked = self.storage.get_alarm(JsValue::UNDEFINED.unchecked_into()).ok()?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time in milliseconds")]
        JsFuture::from(asked).await.ok()?.as_f64().map(|at| at as u64)
    }

    /// Learns it; what waited is set if it is earlier.
    pub(crate) fn known(&self, armed: Option<u64>) {
        let Armed::Unknown { wanted } = self.armed.replace(Armed::Known) else { return };
        if let Some(at) = wanted.filter(|at| armed.is_none_or(|armed| *at < armed)) {
            self.set(at);
        }
    }

    /// One row written. Never waited for: it is in the same transaction as what was written in this turn.
    pub(crate) fn set(&self, at: u64) {
        if let Armed::Unknown { wanted } = self.armed.get() {
            let wanted = Some(wanted.map_or(at, |wanted| wanted.min(at)));
            return self.armed.set(Armed::Unknown { wanted });
        }
        #[expect(clippy::cast_precision_loss, reason = "a time in milliseconds")]
        let date = Date::new(&JsValue::from_f64(at as f64));
        match self.storage.set_alarm(date, JsValue::UNDEFINED.unchecked_into()) {
            Ok(set) => spawn_local(async move {
                if let Err(error) = JsFuture::from(set).await {
                    console_error!("alarm: {error:?}");
                }
            }),
            Err(error) => console_error!("alarm: {error:?}"),
        }
    }
}
