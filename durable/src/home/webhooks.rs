//! Requests to webhooks.

use super::Home;
use crate::script::post;
use dormouse_core::limits;
use dormouse_core::room::Input;
use dormouse_core::webhook::{ID_HEADER, KEY_HEADER, Post, SIGNATURE_HEADER};
use js_sys::Array;
use std::rc::Rc;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;
use web_sys::js_sys;
use worker::console_error;

impl Home {
    /// One request, which nothing waits for and which keeps the object awake for [`limits::WEBHOOK_MS`] at most. The runtime holds it back until what was written before is on the disk.
    pub(super) fn post(self: &Rc<Self>, request: Post) {
        let home = self.clone();
        spawn_local(async move {
            let Post { url, id, key, signature, body, ticket } = request;
            let headers = [(ID_HEADER, id), (KEY_HEADER, key), (SIGNATURE_HEADER, signature)];
            let headers: Array = headers
                .into_iter()
                .map(|(name, value)| Array::of2(&JsValue::from_str(name), &JsValue::from_str(&value)))
                .collect();
            let status = post(&url, &headers, &body, limits::WEBHOOK_MS).await;
            let taken = match status.as_ref().map(|status| status.as_f64().unwrap_or_default()) {
                Ok(status) if (200.0..300.0).contains(&status) => true,
                Ok(status) => {
                    console_error!("webhook of {}: answered {status}", home.channel);
                    false
                }
                Err(error) => {
                    console_error!("webhook of {}: {error:?}", home.channel);
                    false
                }
            };
            home.drive(Input::Posted { url, ticket, taken });
        });
    }
}
