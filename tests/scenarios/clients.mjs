// Those who connect to the server, and those who ask it: real sockets, real requests.

import { createHash, createHmac } from "node:crypto";
import { request } from "node:http";
import WebSocket from "ws";
import { isAnswer, laneOf, meaning } from "./lane.mjs";

const patienceMs = 20_000;

/** What pusher-js sends, and the runtime answers. */
const pusherPing = '{"event":"pusher:ping","data":{}}';

function channelOf(path) {
  const [, route, name] = path.match(/^\/(rooms|users)\/([^/?]+)/) ?? [];
  if (route === "users") return `#server-to-user-${decodeURIComponent(name)}`;
  return name && decodeURIComponent(name);
}

/** One connection, and everything that has come over it and was not looked at yet. */
class Client {
  #items = [];
  #takers = [];
  #ending;
  #unanswered = 0;
  #published = [];
  #isFresh = true;
  /** Whether a Hub speaks to it: then only what is of one lane comes in order. */
  isOfHub;
  /** The channels that it has. */
  channels = new Set();
  /** Whether it was closed, and that is known. */
  gone = false;
  /** The head of its answer, with the body if it was refused: `{ status, headers, body }`. */
  answer;

  constructor(path) {
    this.path = path;
    this.raw = path.includes("raw=1");
    this.isOfPusher = /\/app\/[^/?]*(\?|$)/.test(path);
    this.isOfHub = this.isOfPusher || /^\/(connect|events)\b/.test(path);
    const channel = channelOf(path);
    if (channel !== undefined) this.channels.add(channel);
    const [bare, query] = path.split("?");
    this.key = this.isOfPusher
      ? bare.split("/").at(-1)
      : (new URLSearchParams(query).get("key") ?? undefined);
    this.ended = new Promise((resolve) => {
      this.#ending = resolve;
    });
  }

  /** What came and was not looked at. */
  get rest() {
    return this.#items;
  }

  /** Whether it is connected, as far as it knows. */
  get isLive() {
    return !this.gone && this.answer.status < 400 && !this.#items.some((item) => "closed" in item);
  }

  put(item) {
    if ("closed" in item) this.#ending(item.closed);
    if (this.gone) return;
    const text = item.text ?? item.event;
    const { type, channel, event } = meaning(text ?? "");
    if (type === "subscribed" || event === "pusher_internal:subscription_succeeded")
      this.channels.add(channel);
    if (this.isOfPusher && event?.startsWith("client-")) {
      for (const peer of this.peers.values()) peer.isHeard(event, channel);
    }
    if (event === "pusher:error") this.#published.pop();
    if (type === "unsubscribed") this.channels.delete(channel);
    if (isAnswer(text)) this.#unanswered -= 1;
    this.#items.push(item);
    this.#wakeTakers();
  }

  #wakeTakers() {
    for (const taker of this.#takers.splice(0)) taker();
  }

  /** A frame is sent that a Hub answers. */
  asks(data) {
    if (data === "ping" || this.raw) return;
    if (!this.isOfPusher) {
      this.#unanswered += 1;
      return;
    }
    const { event, channel, data: about } = meaning(String(data));
    if (event === "pusher:unsubscribe") this.channels.delete(about?.channel);
    if (data === pusherPing || event === "pusher:pong" || event === "pusher:unsubscribe") return;
    this.#unanswered += 1;
    // Nobody answers an event: it is done when another one has heard it, or when it was refused.
    if (event?.startsWith("client-")) this.#published.push(`${event} ${channel}`);
  }

  /** Somebody has heard an event that a client has published. */
  isHeard(event, channel) {
    const at = this.#published.indexOf(`${event} ${channel}`);
    if (at < 0) return;
    this.#published.splice(at, 1);
    this.#unanswered -= 1;
    this.#wakeTakers();
  }

  /** Waits for something to be so, as long as things come, and for a while; whether it is. */
  async #until(isSo) {
    const end = Date.now() + patienceMs;
    while (!isSo()) {
      const ms = end - Date.now();
      if (ms <= 0) return false;
      const late = setTimeout(() => this.#wakeTakers(), ms);
      await new Promise((resolve) => this.#takers.push(resolve));
      clearTimeout(late);
    }
    return true;
  }

  /** Waits until everything that it asked a Hub is answered: an object that waits for another is not put to sleep. */
  async answered() {
    await this.#until(() => this.#unanswered <= 0 || !this.isLive);
  }

  /** Returns the next thing that comes: of a Hub's client the next of the lane, if one is named. Undefined if nothing does. */
  async next(lane) {
    // What comes first comes first.
    const wanted = this.isOfHub && !this.#isFresh ? lane : undefined;
    this.#isFresh = false;
    const isIt = (item) => wanted === undefined || laneOf(item.text ?? item.event) === wanted;
    const found = () => this.#items.findIndex(isIt);
    await this.#until(() => found() >= 0 || !this.isLive);
    const at = found();
    return at < 0 ? undefined : this.#items.splice(at, 1)[0];
  }
}

function listenTo(client, socket) {
  socket.on("message", (data, isBinary) =>
    client.put(isBinary ? { bytes: data } : { text: data.toString() }),
  );
  socket.on("close", (closed) => client.put({ closed }));
  socket.on("upgrade", ({ statusCode, headers }) => {
    client.answer = { status: statusCode, headers, body: "" };
  });
  return new Promise((resolve, reject) => {
    socket.on("open", resolve);
    socket.on("error", reject);
  });
}

/** Opens a socket. */
export async function openSocket(url, path, headers) {
  const client = new Client(path);
  const others = headers.filter(([name]) => name !== "sec-websocket-protocol");
  const offered = headers.find(([name]) => name === "sec-websocket-protocol")?.[1];
  const protocols = offered ? offered.split(",").map((protocol) => protocol.trim()) : [];
  const options = { headers: Object.fromEntries(others), perMessageDeflate: false };
  const socket = new WebSocket(url.replace(/^http/, "ws") + path, protocols, options);
  client.send = (data) => {
    if (client.isOfHub) client.asks(data);
    socket.send(data);
  };
  client.leave = async () => {
    client.gone = true;
    socket.close(1000);
    const code = await client.ended;
    if (code !== 1000) throw new Error(`its close was answered with ${code}`);
  };
  client.stop = () => socket.terminate();
  await listenTo(client, socket);
  return client;
}

function readEvents(client, response) {
  let text = "";
  response.setEncoding("utf8").on("data", (chunk) => {
    const blocks = (text + chunk).split("\n\n");
    text = blocks.pop();
    // A comment only keeps the connection alive.
    const events = blocks.filter((block) => !block.startsWith(":"));
    for (const block of events) client.put({ event: block.replaceAll("\n", " / ") });
  });
  response.on("close", () => client.put({ closed: true }));
  response.on("error", () => {});
}

async function readAll(response) {
  const chunks = [];
  for await (const chunk of response) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function send(url, method, path, headers, body) {
  return new Promise((resolve, reject) => {
    const options = { method, headers: Object.fromEntries(headers), agent: false };
    const asking = request(url + path, options, (response) => resolve({ asking, response }));
    asking.on("error", reject);
    asking.end(body);
  });
}

/** Opens an event stream. */
export async function openStream(url, path, headers) {
  const client = new Client(path);
  const { asking, response } = await send(url, "GET", path, [...headers, ["accept", "text/event-stream"]]);
  const isOpen = response.statusCode === 200;
  const body = isOpen ? "" : await readAll(response);
  client.answer = { status: response.statusCode, headers: response.headers, body };
  client.leave = async () => {
    client.gone = true;
    asking.destroy();
  };
  client.stop = () => asking.destroy();
  if (isOpen) readEvents(client, response);
  return client;
}

/** Sends a request, and returns `{ status, headers, body }`. */
export async function ask(url, { method, path, headers, body }) {
  const { response } = await send(url, method, path, headers, body);
  return { status: response.statusCode, headers: response.headers, body: await readAll(response) };
}

const mac = (secret, text) => createHmac("sha256", secret).update(text);

/** A JWT. In the claims `:+60` and `:-60` are so many seconds from now. */
export function signToken(secret, claims) {
  const now = Math.ceil(Date.now() / 1000);
  const timed = claims.replaceAll(/:([+-]\d+)/g, (_, seconds) => `:${now + Number(seconds)}`);
  const parts = ['{"alg":"HS256","typ":"JWT"}', timed].map((part) => Buffer.from(part).toString("base64url"));
  return [...parts, mac(secret, parts.join(".")).digest("base64url")].join(".");
}

/** `key:signature` of a text, as Pusher's clients are signed. */
export function signText(credentials, text) {
  const [key, secret] = credentials.split(":");
  return `${key}:${mac(secret, text).digest("hex")}`;
}

/** The path of a request, with the parameters that sign it in Pusher's way. */
export function signPath({ method, path, body }, credentials, seconds) {
  const [key, secret] = credentials.split(":");
  const [bare, query = ""] = path.split("?");
  const time = Math.floor(Date.now() / 1000) + seconds;
  const parameters = query.split("&").filter(Boolean);
  parameters.push(`auth_key=${key}`, `auth_timestamp=${time}`, "auth_version=1.0");
  if (body.length > 0) parameters.push(`body_md5=${createHash("md5").update(body).digest("hex")}`);
  const sorted = parameters.sort().join("&");
  const signature = mac(secret, `${method}\n${bare}\n${sorted}`).digest("hex");
  return `${bare}?${sorted}&auth_signature=${signature}`;
}

/** The value of `Authorization`. */
export const basic = (credentials) => `Basic ${Buffer.from(credentials).toString("base64")}`;
