//! The few calls that are JavaScript, because there they take a fraction of what the generated bindings take (server time per publish
//! against a bare JavaScript object, measured side by side: 2.1 with bindings, 1.6 so).

use wasm_bindgen::prelude::*;
use web_sys::js_sys;

#[wasm_bindgen(inline_js = r#"
export async function ask(namespace, name, path, body, ms) {
  const given = new AbortController();
  // Cleared, and not `AbortSignal.timeout`: a timer that is left would keep the object awake.
  const timer = setTimeout(() => given.abort(new Error(`no answer within ${ms} ms`)), ms);
  try {
    const init = { method: "POST", body, signal: given.signal };
    const answer = await namespace.getByName(name).fetch("https://room" + path, init);
    return [answer.status, answer.headers.get("x-dormouse-answer") ?? await answer.text()];
  } finally {
    clearTimeout(timer);
  }
}
export async function post(url, headers, body, ms) {
  const given = new AbortController();
  const timer = setTimeout(() => given.abort(new Error(`no answer within ${ms} ms`)), ms);
  try {
    const type = ["content-type", "application/json"];
    const init = { method: "POST", headers: [type, ...headers], body, redirect: "manual", signal: given.signal };
    const answer = await fetch(url, init);
    // What it says is of no interest, and what is not read holds the connection.
    await answer.body?.cancel();
    return answer.status;
  } finally {
    clearTimeout(timer);
  }
}
export async function heard(request, hear) {
  const body = await request.text();
  return new Promise((answer) => hear(body, answer));
}
export function answered(answer, status, body) {
  // A body is a stream, and reading it one more turn on the other side; a header is there at once. Beyond ASCII, and long ones, are for the body.
  const short = body.length <= 1024 && /^[ -~]*$/.test(body);
  answer(short ? new Response(null, { status, headers: { "x-dormouse-answer": body } }) : json(status, body));
}
const headers = { "content-type": "application/json" };
export function json(status, body) {
  return new Response(body, { status, headers });
}
export function synced(storage, told) {
  storage.sync().then(() => told(undefined), told);
}
// This module outlives an instance of Wasm, which is replaced after a trap; its objects are constructed again then, with the states that they had.
const seen = new WeakSet();
export function isRebuilt(state) {
  const known = seen.has(state);
  seen.add(state);
  return known;
}
export function cheapMicrotasks() {
  const now = Promise.resolve();
  globalThis.queueMicrotask = (run) => { now.then(run); };
}
"#)]
extern "C" {
    /// Posts to the object of that name; `[status, body]`, given up after so many milliseconds. Bindings would make a stub, a request, headers, a response and a stream of them.
    #[wasm_bindgen(catch)]
    pub(crate) async fn ask(
        namespace: &JsValue,
        name: &str,
        path: &str,
        body: &str,
        ms: u32,
    ) -> Result<JsValue, JsValue>;

    /// Posts to a URL, and gives the status of the answer; a redirect's is its own. Given up after so many milliseconds.
    #[wasm_bindgen(catch)]
    pub(crate) async fn post(url: &str, headers: &JsValue, body: &str, ms: u32) -> Result<JsValue, JsValue>;

    /// Reads a request, gives its body and the way to answer to `hear`, and is the answer. A Rust future would cost a task and two promises more.
    pub(crate) fn heard(request: &web_sys::Request, hear: &JsValue) -> js_sys::Promise;

    /// Answers what was [`heard`].
    pub(crate) fn answered(answer: &js_sys::Function, status: u16, body: &str);

    /// A JSON response.
    #[must_use]
    pub fn json(status: u16, body: &str) -> web_sys::Response;

    /// Tells when everything written is on the disk: nothing, or the error. One closure for an object's life, not two for every flush.
    #[wasm_bindgen(catch)]
    pub(crate) fn synced(storage: &JsValue, told: &JsValue) -> Result<(), JsValue>;

    /// Whether the object stands for one that a trap has ended: its sockets are there, and its calls that were under way are lost.
    #[wasm_bindgen(js_name = isRebuilt)]
    pub(crate) fn is_rebuilt(state: &JsValue) -> bool;

    /// The runtime builds a function template at every `queueMicrotask` (35 µs), and a Rust future wakes by nothing else; a settled promise does the same.
    #[wasm_bindgen(js_name = cheapMicrotasks)]
    pub fn cheap_microtasks();
}
