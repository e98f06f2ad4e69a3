// Those who connect to the server, and those who ask it: real sockets, real requests.

import { createHash, createHmac } from "node:crypto";
import { request } from "node:http";
import WebSocket from "ws";

const patienceMs = 20_000;

/** One connection, and everything that has come over it and was not looked at yet. */
class Client {
  #items = [];
  #taker;
  #ending;
  /** Whether it was closed, and that is known. */
  gone = false;
  /** The head of its answer, with the body if it was refused: `{ status, headers, body }`. */
  answer;

  constructor(path) {
    this.path = path;
    this.raw = path.includes("raw=1");
    this.channel = path.match(/^\/rooms\/([^/?]+)/)?.[1];
    this.key = new URLSearchParams(path.split("?")[1]).get("key") ?? undefined;
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
    this.#items.push(item);
    this.#taker?.();
  }

  /** Returns the next thing that comes; undefined if nothing does. */
  async next() {
    if (this.#items.length === 0) {
      let late;
      await new Promise((resolve) => {
        this.#taker = resolve;
        late = setTimeout(resolve, patienceMs);
      });
      clearTimeout(late);
      this.#taker = undefined;
    }
    return this.#items.shift();
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
  client.send = (data) => socket.send(data);
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
