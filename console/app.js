import { FINAL_CODES, join, keepAlive } from "./resume.js";

const MAX_ENTRIES = 500;
const MAX_SHOWN = 20_000;
const LOCAL = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
// What `wrangler dev` is started with. It opens nothing but a development server on the visitor's own machine.
const DEV = { key: "dev-key", secret: "dev-secret" };

const WORDS = {
  1001: "The server went away.",
  1006: "The connection was lost.",
  1009: "A frame was over the size limit.",
  4000: "A ping was left unanswered, so the line was taken for dead.",
  4400: "The request was not understood. Correct what it names, then connect again.",
  4401: "The key or token is missing, wrong, or out of its time. Enter a valid one, then connect again.",
  4403: "Known, but not allowed: the channel, publishing in it, or this page's origin.",
  4404: "There is no such place on this server.",
  4408: "This page read too slowly to follow.",
  4410: "The room is going away.",
  4413: "Something sent was over its size limit.",
  4429: "Too many messages came from this client.",
  4500: "The server failed; the fault is in its log.",
  4503: "The server is overloaded or not configured.",
  4507: "The server could not store a message.",
};

const $ = (id) => document.getElementById(id);
const typed = (id) => $(id).value.trim();

/** The one visit to a room this page is on; `position` outlives a disconnect so that coming back resumes. */
const visit = {
  socket: null,
  channel: "",
  key: "",
  position: "",
  live: false,
  lastClose: "",
  lastError: null,
};
const sent = new Map();

// Connection

function connect() {
  const [channel, key, token] = ["channel", "key", "token"].map(typed);
  if (!channel) return $("channel").focus();
  if (channel !== visit.channel || key !== visit.key) visit.position = "";
  Object.assign(visit, { channel, key, lastClose: "", lastError: null });

  const room = new URL(`/rooms/${encodeURIComponent(channel)}`, location.origin.replace(/^http/, "ws"));
  if (key) room.searchParams.set("key", key);
  if (token) room.searchParams.set("token", token);
  const socket = join(room.href, onframe, { onwait, position: visit.position });
  keepAlive(socket, onpong);
  // Not addEventListener: the copy of its own close events that partysocket hands out there has lost the code.
  socket.onclose = onclose;
  visit.socket = socket;
  setActive(true);
}

function disconnect() {
  visit.socket.onclose = null;
  visit.socket.close(1000, "closed by the visitor");
  ended(`1000: Closed by you.${visit.position ? " Connecting again resumes at the position below." : ""}`);
}

function ended(why) {
  visit.socket = null;
  setLive(false);
  setActive(false);
  showState("closed", why);
}

function onwait(ms) {
  if (!visit.lastClose)
    return showState("connecting", visit.position ? `resuming after ${visit.position}` : "");
  showState(
    "reconnecting",
    `${visit.lastClose} Next attempt ${ms < 100 ? "now" : `in ${(ms / 1000).toFixed(1)} s`}.`,
  );
}

function onclose(event) {
  setLive(false);
  const final = FINAL_CODES.has(event.code);
  // partysocket closes failed attempts with an event of its own, whose 1000 no server ever sent.
  const failed = !(event instanceof CloseEvent) && event.code === 1000;
  const error = event.code >= 4000 ? visit.lastError : null;
  const name = error?.code ?? event.reason;
  const known = WORDS[event.code] ?? "";
  const words = failed
    ? "The server could not be reached."
    : `${[event.code, name].join(" ").trim()}. ${known}`.trim();
  visit.lastError = null;
  // A night of failed attempts must not push every message out of the list.
  if (!failed || !visit.lastClose) addEntry("closed", { note: words, final });
  const said = error ? ` The server says: “${String(error.message).replace(/\.$/, "")}”.` : "";
  if (final) return ended(`${words}${said} Not trying again.`);
  visit.lastClose = words + said;
  showState("reconnecting", visit.lastClose);
}

function onframe(frame, position, text) {
  visit.position = position;
  // The reason for a close is the error right before it; anything in between means that it was about something else.
  visit.lastError = frame.type === "error" ? frame : null;
  $("position").textContent = position || "none yet";
  switch (frame.type) {
    case "welcome":
      return onwelcome(frame);
    case "ack":
      return onack(frame);
    case "gap":
      return addEntry("gap", { position: frame.position, note: gapWords(frame) });
    case "error":
      return onerror(frame);
    case "message":
      stir();
      return addEntry("message", { position: frame.position, event: frame.event, ...dataOf(frame, text) });
    default:
      return addEntry(String(frame.type), { data: text });
  }
}

function onwelcome(frame) {
  visit.lastClose = "";
  setLive(true);
  $("connection").textContent = frame.connection;
  const how =
    frame.resumed === undefined ? "joined" : frame.resumed ? "resumed" : "could not resume everything";
  showState("live", `in ${frame.channel}`);
  addEntry("welcome", {
    position: frame.position,
    note: `${frame.channel}: ${how}, connection ${frame.connection}`,
  });
}

function onack(frame) {
  const started = sent.get(frame.id);
  sent.delete(frame.id);
  const took = started === undefined ? "" : ` after ${since(started)}`;
  result(`${frame.duplicate ? "Had been published" : "Published"} at ${frame.position}${took}.`);
}

function onerror(frame) {
  addEntry("error", { event: frame.code, note: frame.message });
  // An error names no publish, but while one is unanswered it is the likeliest cause.
  if (sent.size > 0) result(`${frame.code}: ${frame.message}`, true);
  sent.clear();
}

function onpong(ms) {
  visit.lastError = null;
  $("latency").textContent = ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

const since = (started) => `${Math.round(performance.now() - started)} ms`;

function gapWords(frame) {
  const why = {
    expired: "they are older than the history kept",
    lost: "the log they were in no longer exists",
    ahead: "the channel never got that far",
  };
  return `Messages after ${frame.after} up to ${frame.position} cannot be had: ${why[frame.reason] ?? frame.reason}.`;
}

// Publishing

/** The data field as JSON text: kept as typed, since parsing and printing it again would round long numbers. */
function typedData() {
  const text = typed("publish-data");
  try {
    JSON.parse(text);
    return { json: text };
  } catch (error) {
    if (/^[[{"]/.test(text)) return { json: null, hint: `Not JSON yet: ${error.message}` };
    return {
      json: JSON.stringify(text),
      hint: `${text ? "Not JSON" : "Empty"}, so it goes out as a string.`,
    };
  }
}

function publishBody(first, json) {
  const event = typed("publish-event") || undefined;
  return `${JSON.stringify({ ...first, event }).slice(0, -1)},"data":${json}}`;
}

function publishOverSocket() {
  const { json } = typedData();
  if (!visit.live || json === null) return;
  // An id is remembered by the channel, not by the connection: a counter would collide with the next visitor's.
  const id = Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join("");
  sent.set(id, performance.now());
  result("Sent, waiting for the ack …");
  visit.socket.send(publishBody({ type: "publish", id }, json));
}

async function publishByHttp() {
  const { json } = typedData();
  if (!httpAllowed().allowed || json === null) return;
  const started = performance.now();
  result("Posted, waiting for the answer …");
  try {
    const response = await fetch("/publish", {
      method: "POST",
      // Without this, a 401 would make the browser ask the visitor for a password.
      credentials: "omit",
      headers: {
        authorization: `Basic ${btoa(`${DEV.key}:${DEV.secret}`)}`,
        "content-type": "application/json",
      },
      body: publishBody({ channel: typed("channel") }, json),
    });
    const answer = await response.json();
    if (!response.ok)
      return result(`${response.status} ${answer.error?.code}: ${answer.error?.message}`, true);
    const [done] = Object.values(answer.channels);
    result(`${response.status}: published at ${done.position} after ${since(started)}.`);
  } catch (error) {
    result(`No usable answer: ${error.message}`, true);
  }
}

function httpAllowed() {
  const needsSecret = "HTTP publishing needs an app's secret, and a secret must never be in a page.";
  if (!LOCAL)
    return { allowed: false, hint: `${needsSecret} Publish from your server, or with the curl line.` };
  const key = typed("key");
  if (key && key !== DEV.key)
    return { allowed: false, hint: `${needsSecret} Only ${DEV.key} has one that is public.` };
  return { allowed: true, hint: `HTTP uses the development secret, ${DEV.key}:${DEV.secret}.` };
}

const quoted = (text) => (/^[\w.:/@=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

function curlLine() {
  const key = typed("key");
  const { json } = typedData();
  let user = key ? `${quoted(key)}:"$DORMOUSE_SECRET"` : `"$DORMOUSE_KEY:$DORMOUSE_SECRET"`;
  if (httpAllowed().allowed) user = `${DEV.key}:${DEV.secret}`;
  const body = publishBody({ channel: typed("channel") }, json ?? "null");
  const url = `${location.origin}/publish`;
  return `curl -u ${user} ${url} -H 'content-type: application/json' -d ${quoted(body)}`;
}

async function copyCurl() {
  let words = "Copied";
  try {
    await navigator.clipboard.writeText($("curl").textContent);
  } catch {
    // Plain http on another host has no clipboard: leave it selected for the keyboard.
    getSelection().selectAllChildren($("curl"));
    words = "Selected";
  }
  $("copy-curl").textContent = words;
  $("copy-status").textContent = `${words} the curl line`;
  setTimeout(() => {
    $("copy-curl").textContent = "Copy";
  }, 2_000);
}

// What is shown

function setLive(live) {
  visit.live = live;
  if (!live) {
    $("connection").textContent = "none";
    $("latency").textContent = "not measured";
    if (sent.size > 0)
      result(
        "The connection went before the ack came. If it was published, it arrives with the resume.",
        true,
      );
    sent.clear();
  }
  refresh();
}

function setActive(active) {
  $("connect").textContent = active ? "Disconnect" : "Connect";
  // A submit button would let Enter in a read-only field disconnect.
  $("connect").type = active ? "button" : "submit";
  $("connect").classList.toggle("primary", !active);
  for (const id of ["channel", "key", "token"]) $(id).readOnly = active;
  if (active && !visit.position) $("position").textContent = "none yet";
}

function showState(state, detail) {
  $("state").dataset.state = state;
  $("state").textContent = state;
  $("state-detail").textContent = detail;
  document.title = state === "live" ? `${visit.channel} · Dormouse` : `${state} · Dormouse`;
}

function result(words, failed = false) {
  $("publish-status").textContent = words;
  $("publish-status").classList.toggle("failed", failed);
}

function refresh() {
  const { json, hint } = typedData();
  const http = httpAllowed();
  $("data-hint").textContent = hint ?? "";
  $("data-hint").classList.toggle("failed", json === null);
  $("publish-data").setAttribute("aria-invalid", String(json === null));
  $("http-hint").textContent = http.hint;
  $("publish-http").disabled = !http.allowed || json === null;
  $("publish-socket").disabled = !visit.live || json === null;
  $("curl").textContent = json === null ? "Waiting for data that is JSON." : curlLine();
  $("copy-curl").disabled = json === null;
}

let stirring;
/** The dormouse opens an eye for each message, as the room behind it does. */
function stir() {
  $("dormouse").classList.add("awake");
  clearTimeout(stirring);
  stirring = setTimeout(() => $("dormouse").classList.remove("awake"), 1_200);
}

// The list

/** JSON.parse rounds what a double cannot hold; where the engine lets us, print such numbers as they came. */
function exact(_key, value, context) {
  const differs =
    typeof value === "number" && context?.source !== undefined && String(value) !== context.source;
  return differs && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
}

function dataOf(frame, text) {
  if (frame.encoding === "base64") {
    const base64 = String(frame.data);
    const bytes = Math.floor(base64.replace(/=+$/, "").length * 0.75);
    return { note: `binary, ${bytes.toLocaleString("en")} bytes, as base64:`, data: base64 };
  }
  try {
    return { data: JSON.stringify(JSON.parse(text, exact).data, null, 2) };
  } catch {
    // Thousands of brackets deep: more than the engine's stack has room for. It arrived all the same.
    return { note: "too deep to print, as it came:", data: text };
  }
}

function element(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function clock(now) {
  const time = element(
    "time",
    "time",
    `${now.toTimeString().slice(0, 8)}.${String(now.getMilliseconds()).padStart(3, "0")}`,
  );
  time.dateTime = now.toISOString();
  return time;
}

function positionOf(position) {
  const [epoch, seq] = position.split(":");
  const node = element("span", "at");
  node.append(element("span", "epoch", `${epoch}:`), element("b", "seq", seq));
  return node;
}

function dataNode(data) {
  const size = `${data.length.toLocaleString("en")} characters`;
  const shown = data.length > MAX_SHOWN ? `${data.slice(0, MAX_SHOWN)}\n… cut here, of ${size}` : data;
  const pre = element("pre", "data", shown);
  if (data.length < 1_200 && shown.split("\n", 15).length < 15) return pre;
  const details = element("details", "long");
  const start = data.slice(0, 80).replace(/\s+/g, " ");
  details.append(element("summary", "", `${start} … ${size}`), pre);
  return details;
}

function addEntry(type, { position, event, note, data, final }) {
  const entry = element("li", "entry");
  entry.dataset.type = type;
  if (position) entry.dataset.position = position;
  if (final) entry.dataset.final = "";
  const head = element("div", "entry-head");
  head.append(element("span", "kind", type));
  if (event !== undefined) head.append(element("span", "event", String(event)));
  if (position) head.append(positionOf(position));
  head.append(clock(new Date()));
  entry.append(head);
  if (note) entry.append(element("p", "note", note));
  if (data !== undefined) entry.append(dataNode(data));

  const log = $("log");
  log.prepend(entry);
  while (log.childElementCount > MAX_ENTRIES) log.lastElementChild.remove();
  showCount();
}

function showCount() {
  const count = $("log").childElementCount;
  $("count").textContent =
    count === 0 ? "nothing yet" : count === MAX_ENTRIES ? `the newest ${count}` : String(count);
  $("empty").hidden = count > 0;
  $("log").hidden = count === 0;
}

// Start

// A link can name the room; a token must not travel in an address bar.
const asked = new URLSearchParams(location.search);
if (asked.has("channel")) $("channel").value = asked.get("channel");
$("key").value = asked.get("key") ?? (LOCAL ? DEV.key : "");

$("room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!visit.socket) connect();
});
$("connect").addEventListener("click", (event) => {
  if (!visit.socket) return;
  event.preventDefault();
  disconnect();
});
$("publish-form").addEventListener("submit", (event) => {
  event.preventDefault();
  publishOverSocket();
});
$("publish-http").addEventListener("click", publishByHttp);
$("copy-curl").addEventListener("click", copyCurl);
$("clear").addEventListener("click", () => {
  $("log").replaceChildren();
  showCount();
});
for (const id of ["channel", "key", "publish-event", "publish-data"])
  $(id).addEventListener("input", refresh);
showCount();
refresh();
