/** HTTP and WebSocket by hand, over a TCP connection for each request: what no decent client would send. */
import { randomBytes } from "node:crypto";
import { connect } from "node:net";

/** Whoever takes longer to answer has hung. */
export const patienceMs = 5000;

const asLines = (headers) =>
  Object.entries(headers).flatMap(([name, value]) => [value].flat().map((each) => [name, each]));

/**
 * A request as bytes. Headers are an object (a list stands for several of one name); a length is added to a body unless a header
 * says how it ends. `ws` makes it the opening of a WebSocket, `sse` that of an event stream.
 */
export function encode({ method = "GET", path, headers = {}, body, ws, sse, host = "127.0.0.1" }) {
  const names = Object.keys(headers).map((name) => name.toLowerCase());
  const lines = asLines(headers);
  if (!names.includes("host") && host) lines.unshift(["Host", host]);
  if (ws) lines.push(["Connection", "Upgrade"], ["Upgrade", "websocket"], ["Sec-WebSocket-Version", "13"]);
  if (ws) lines.push(["Sec-WebSocket-Key", randomBytes(16).toString("base64")]);
  if (sse) lines.push(["Accept", "text/event-stream"]);
  const bytes = body === undefined ? Buffer.alloc(0) : Buffer.from(body);
  const says = names.includes("content-length") || names.includes("transfer-encoding");
  if (body !== undefined && !says) lines.push(["Content-Length", String(bytes.length)]);
  if (!ws && !names.includes("connection")) lines.push(["Connection", "close"]);
  const head = [`${method} ${path} HTTP/1.1`, ...lines.map(([name, value]) => `${name}: ${value}`), "", ""];
  // One byte for each character: a header may have any of them.
  return Buffer.concat([Buffer.from(head.join("\r\n"), "latin1"), bytes]);
}

/** A client's frame, masked as it has to be. `fin`, `opcode`, `masked`, `reserved` and `length` may be wrong. */
export function frame(payload, { opcode, fin = true, masked = true, reserved = 0, length } = {}) {
  const bytes = Buffer.from(payload);
  const kind = opcode ?? (typeof payload === "string" ? 1 : 2);
  const head = [(fin ? 0x80 : 0) | (reserved << 4) | kind];
  const size = length ?? bytes.length;
  const mask = masked ? 0x80 : 0;
  if (size < 126) head.push(mask | size);
  else if (size < 65_536) head.push(mask | 126, size >> 8, size & 255);
  else {
    const long = Buffer.alloc(8);
    long.writeBigUInt64BE(BigInt(size));
    head.push(mask | 127, ...long);
  }
  if (!masked) return Buffer.concat([Buffer.from(head), bytes]);
  const key = randomBytes(4);
  return Buffer.concat([Buffer.from(head), key, bytes.map((byte, at) => byte ^ key[at & 3])]);
}

function readFrame(buffer) {
  if (buffer.length < 2) return undefined;
  let size = buffer[1] & 127;
  let at = 2;
  if (size === 126) {
    if (buffer.length < 4) return undefined;
    size = buffer.readUInt16BE(2);
    at = 4;
  } else if (size === 127) {
    if (buffer.length < 10) return undefined;
    size = Number(buffer.readBigUInt64BE(2));
    at = 10;
  }
  if (buffer.length < at + size) return undefined;
  return { opcode: buffer[0] & 15, payload: buffer.subarray(at, at + size), end: at + size };
}

function readHead(buffer) {
  const end = buffer.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [first, ...lines] = buffer.subarray(0, end).toString("latin1").split("\r\n");
  const [, status] = first.match(/^HTTP\/1\.[01] (\d{3})/) ?? [];
  const headers = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { status: Number(status), headers, rest: buffer.subarray(end + 4) };
}

/** One connection to the server. Answers are taken one after another with `answer`, frames with `next`. */
export class Wire {
  /** With `false` a close is not answered: the server is left with a socket that is half closed. */
  answersClose = true;
  #buffer = Buffer.alloc(0);
  #ended = false;
  #wake = () => {};

  constructor(server) {
    const { hostname, port } = new URL(server.url);
    this.socket = connect({ host: hostname, port: Number(port), noDelay: true, allowHalfOpen: true });
    this.socket.on("data", (chunk) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk]);
      this.#wake();
    });
    for (const end of ["end", "error", "close"]) {
      this.socket.on(end, () => {
        this.#ended = true;
        this.#wake();
      });
    }
  }

  write(bytes) {
    if (!this.socket.destroyed) this.socket.write(bytes);
    return this;
  }

  /** Takes something off what has come, as soon as it is complete; undefined when the connection ended before. */
  async #take(what, read) {
    const end = Date.now() + patienceMs;
    for (;;) {
      const taken = read(this.#buffer, this.#ended);
      if (taken !== undefined) return taken;
      if (this.#ended) return undefined;
      const left = end - Date.now();
      if (left <= 0)
        throw new Error(`no ${what} within ${patienceMs} ms; so far: ${this.#buffer.subarray(0, 300)}`);
      let timer;
      await new Promise((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, left);
      });
      clearTimeout(timer);
    }
  }

  /** `{ status, headers, text }`; undefined when the connection ended without an answer. */
  async answer({ method } = {}) {
    const head = await this.#take("answer", readHead);
    if (!head) return undefined;
    const { status, headers } = head;
    this.#buffer = head.rest;
    const isEmpty = method === "HEAD" || status === 101 || status === 204 || status === 304;
    const isStream = status === 200 && headers["content-type"] === "text/event-stream";
    if (isEmpty || isStream) return { status, headers, text: "", isStream };
    const text = await this.#body(headers);
    return { status, headers, text };
  }

  #body(headers) {
    const length = headers["content-length"];
    return this.#take("body", (buffer, ended) => {
      if (headers["transfer-encoding"] === "chunked") {
        const end = buffer.indexOf("0\r\n\r\n");
        if (end < 0) return undefined;
        const text = buffer
          .subarray(0, end)
          .toString()
          .replaceAll(/(^|\r\n)[0-9a-f]+\r\n/gi, "");
        this.#buffer = buffer.subarray(end + 5);
        return text.trimEnd();
      }
      if (length === undefined) return ended ? buffer.toString() : undefined;
      if (buffer.length < Number(length)) return undefined;
      this.#buffer = buffer.subarray(Number(length));
      return buffer.subarray(0, Number(length)).toString();
    });
  }

  /** The next frame as `{ text }`, `{ bytes }` or `{ close, reason }`; undefined when the connection broke. */
  async next() {
    const found = await this.#take("frame", readFrame);
    if (!found) return undefined;
    const { opcode, payload, end } = found;
    this.#buffer = this.#buffer.subarray(end);
    if (opcode === 1) return { text: payload.toString() };
    if (opcode === 2) return { bytes: payload };
    if (opcode !== 8) return this.next();
    // The other half of the handshake, so that the server may let go.
    if (this.answersClose) this.write(frame(payload, { opcode: 8 }));
    return {
      close: payload.length < 2 ? 1005 : payload.readUInt16BE(0),
      reason: payload.subarray(2).toString(),
    };
  }

  end() {
    this.socket.destroy();
  }
}

const codeOf = (text) => {
  try {
    return JSON.parse(text).error?.code;
  } catch {
    return undefined;
  }
};

async function readSocket(wire) {
  const frames = [];
  for (;;) {
    const next = await wire.next();
    if (!next) return { said: "broken", frames };
    if (next.close) return { said: `${next.close} ${next.reason}`.trim(), frames };
    frames.push(next.text ?? next.bytes);
    if (next.text?.startsWith('{"type":"welcome"')) return { said: "live", frames };
  }
}

/**
 * Sends bytes and tells what came of it, in short: `"404 not_found"`; `"400"` for an answer that is not ours;
 * `"4401 unauthorized"` for a WebSocket that was accepted, told and closed; `"live"` for one that is in; `"stream"`;
 * `"nothing"` when the connection was closed without a word. With `finish`, our side of the connection ends when nothing
 * has come for half a second.
 */
export async function exchange(server, bytes, { method, finish } = {}) {
  const wire = new Wire(server);
  // Who was promised more bytes than there are waits for them, and rightly: until it is told that there are none.
  const finishing = finish && setTimeout(() => wire.socket.end(), 500);
  try {
    for (const chunk of [bytes].flat()) wire.write(chunk);
    const answer = await wire.answer({ method });
    if (!answer) return { said: "nothing" };
    if (answer.status === 101) return { ...answer, ...(await readSocket(wire)) };
    if (answer.isStream) return { ...answer, said: "stream" };
    const code = codeOf(answer.text);
    return { ...answer, said: code ? `${answer.status} ${code}` : String(answer.status) };
  } finally {
    clearTimeout(finishing);
    wire.end();
  }
}

/** Sends a request, as `encode` takes it. */
export const send = (server, request) => exchange(server, encode(request), request);
