/** What tests speak to a server with: sockets, event streams, publishing, signatures and tokens. */
import { createHash, createHmac } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import WebSocket from "ws";

/** Waits until a condition gives something, and returns that. Past its time it throws, and says what was waited for. */
export async function until(what, condition, ms = 10_000) {
  for (const end = Date.now() + ms; ; ) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > end)
      throw new Error(`waited ${ms} ms for ${typeof what === "function" ? what() : what}`);
    await pause(15);
  }
}

/** A promise, or an error past its time. */
export function within(what, promise, ms = 10_000) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The value of an `Authorization` header. */
export const basic = (key = "dev-key", secret = "dev-secret") =>
  `Basic ${Buffer.from(`${key}:${secret}`).toString("base64")}`;

const asAnswer = async (response) => {
  const text = await response.text();
  return { status: response.status, text, ...(text.startsWith("{") ? { json: JSON.parse(text) } : {}) };
};

// Who says nothing about it has the development secret; who says `null` has nothing.
const headersWith = (authorization, headers) =>
  authorization === null ? { ...headers } : { authorization, ...headers };

/** `POST /publish`; resolves to status, text and JSON of the answer. */
export async function publish(server, body, { authorization = basic(), path = "/publish", headers } = {}) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const init = { method: "POST", body: text, headers: headersWith(authorization, headers) };
  return asAnswer(await fetch(server.url + path, init));
}

/** Publishes and returns the position, or throws. */
export async function published(server, body, options) {
  const { status, text, json } = await publish(server, body, options);
  if (status !== 200) throw new Error(`${status} ${text}`);
  return Object.values(json.channels)[0].position;
}

/** `GET /channels/{channel}/messages`. */
export async function history(server, channel, { query = "", authorization = basic() } = {}) {
  const init = { headers: headersWith(authorization) };
  return asAnswer(await fetch(`${server.url}/channels/${channel}/messages${query}`, init));
}

/** The path and query of a signed request, as Pusher's HTTP API has it. */
export function signedPath(
  path,
  body,
  { key = "dev-key", secret = "dev-secret", method = "POST", ...more } = {},
) {
  const parameters = {
    auth_key: key,
    auth_timestamp: Math.floor(Date.now() / 1000),
    auth_version: "1.0",
    ...(body === "" ? {} : { body_md5: createHash("md5").update(body).digest("hex") }),
    ...more,
  };
  const query = Object.keys(parameters)
    .sort()
    .map((name) => `${name}=${parameters[name]}`)
    .join("&");
  const signature = createHmac("sha256", secret).update(`${method}\n${path}\n${query}`).digest("hex");
  return `${path}?${query}&auth_signature=${signature}`;
}

const base64url = (value) =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

/** A JWT. What is wrong with one in a test is wrong on purpose. */
export function token(claims, { secret = "dev-secret", header = { alg: "HS256", typ: "JWT" } } = {}) {
  const text = `${base64url(header)}.${base64url(claims)}`;
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
}

/** Seconds since 1970, and so many more. */
export const inSeconds = (seconds) => Math.floor(Date.now() / 1000) + seconds;

/**
 * A WebSocket in a room. `frames` has everything that came (parsed where it is a JSON object), `bytes` what came as binary,
 * `ended` resolves to `{ code, reason }` of its close.
 */
export class Listener {
  frames = [];
  bytes = [];

  constructor(server, path, { protocols = [], headers = {} } = {}) {
    // A connection that the server closes outside of its own event is let go by the runtime up to ten seconds after the
    // close frames went both ways. Like a browser, do not wait for that.
    const options = { headers, closeTimeout: 1000 };
    const socket = new WebSocket(server.url.replace("http", "ws") + path, protocols, options);
    this.socket = socket;
    this.opened = new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
    this.opened.catch(() => {});
    this.ended = new Promise((resolve) => {
      socket.once("close", (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    socket.on("error", () => {});
    socket.on("message", (data, isBinary) => this.take(data, isBinary));
  }

  take(data, isBinary) {
    if (isBinary) return this.bytes.push(data);
    const text = data.toString();
    this.frames.push(text.startsWith("{") ? JSON.parse(text) : text);
  }

  /** The frames of one type. */
  of(type) {
    return this.frames.filter((frame) => frame.type === type);
  }

  /** Waits until there are so many frames of a type, and returns them. */
  has(type, count = 1, ms = 10_000) {
    const missing = () => `${count} × ${type}, there is ${JSON.stringify(this.frames).slice(0, 2000)}`;
    return until(missing, () => this.of(type).length >= count && this.of(type), ms);
  }

  send(frame) {
    this.socket.send(typeof frame === "object" && !Buffer.isBuffer(frame) ? JSON.stringify(frame) : frame);
  }

  async close(code = 1000) {
    this.socket.close(code);
    return within("the close", this.ended);
  }
}

/** Joins a room as a WebSocket; resolves with its welcome, or for a raw one when it is open. */
export async function join(server, channel, { query = "", ...options } = {}) {
  const listener = new Listener(server, `/rooms/${channel}${query}`, options);
  await within("the handshake", listener.opened);
  if (!query.includes("raw=1")) [listener.welcome] = await listener.has("welcome");
  return listener;
}

/** An event stream, read by hand: `events` has `{ id, event, data }` and `{ comment }`. */
export class Stream {
  events = [];
  text = "";

  async open(server, path, headers = {}) {
    this.abort = new AbortController();
    const init = { headers: { accept: "text/event-stream", ...headers }, signal: this.abort.signal };
    this.response = await within("the stream's head", fetch(server.url + path, init));
    this.ended = this.read().catch((error) => {
      if (!this.abort.signal.aborted) this.broken = error;
    });
    return this;
  }

  async read() {
    const decoder = new TextDecoder("utf-8", { fatal: true });
    for await (const chunk of this.response.body) {
      this.text += decoder.decode(chunk, { stream: true });
      for (let end = this.text.indexOf("\n\n"); end >= 0; end = this.text.indexOf("\n\n")) {
        this.events.push(parseEvent(this.text.slice(0, end)));
        this.text = this.text.slice(end + 2);
      }
    }
  }

  /** Waits until there are so many events whose name is one of these, and returns them. */
  has(names, count = 1, ms = 10_000) {
    const found = () =>
      this.events.filter(({ event, comment }) => !comment && [names].flat().includes(event));
    const missing = () => `${count} × ${names}, there is ${JSON.stringify(this.events).slice(0, 2000)}`;
    return until(missing, () => found().length >= count && found(), ms);
  }

  close() {
    this.abort.abort();
  }
}

function parseEvent(block) {
  const event = {};
  for (const line of block.split("\n")) {
    // With `s`: a dot stops at breaks that are none to an event stream.
    const [, name, value] = line.match(/^([^:]*): ?(.*)$/s) ?? [line, line, ""];
    if (name === "") event.comment = true;
    else event[name] = event[name] === undefined ? value : `${event[name]}\n${value}`;
  }
  return event;
}

/** Opens an event stream of a room. */
export const stream = (server, channel, { query = "", headers } = {}) =>
  new Stream().open(server, `/rooms/${channel}${query}`, headers);
