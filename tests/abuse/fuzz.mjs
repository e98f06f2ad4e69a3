/** Requests and frames that begin as good ones, and what chance makes of them. */
import { basic, inSeconds, signedPath, token } from "../clients/client.mjs";
import { below, chance, mutate, noise, pick } from "./random.mjs";
import { open, shut } from "./server.mjs";
import { encode, frame } from "./wire.mjs";

const [secret] = open.secrets;
const bodies = [
  '{"channel":"chat","event":"greeting","data":{"any":["json",1,null,"🐭"]},"id":"7"}',
  '{"channels":["chat","lobby"],"data":"text"}',
  '{"batch":[{"channel":"chat","data":1},{"channel":"lobby","event":"e","data":{"a":{}},"except":"c"}]}',
  '{"channel":"chat","data":1,"if_position":"9f2c41d07ab3:42"}',
  "plain text",
];
const grants = token(
  { sub: "u", exp: inSeconds(3600), channels: { "private-*": ["sub", "pub"] } },
  { secret },
);

const values = [
  ...[
    "1",
    "null",
    "true",
    "{}",
    "[]",
    '""',
    '"x"',
    '"a\\nb"',
    '"\\u0000"',
    '"\\ud800"',
    '"🐭"',
    "1e999",
    "-0",
    '["chat"]',
    '"chat"',
  ],
  ...[
    '"9f2c41d07ab3:1"',
    '"publish"',
    `"${"x".repeat(201)}"`,
    '[{"channel":"chat","data":1}]',
    '[["chat"]]',
    '{"a":{"b":[]}}',
  ],
];
// The likely ones more often.
const likelyNames = ["data", "event", "event", "id", "id", "except"];
const names = ["type", "channel", "channels", "batch", "except", "if_position", "more", ...likelyNames];

/** JSON that may be a publish, or a frame: names that are known, with values that may not belong there. */
function composed(next, likely) {
  const chosen = Array.from({ length: below(next, 4) }, () => pick(next, names));
  // Twice the same name is refused before anything else is looked at.
  const unique = next() < 0.9 ? [...new Set(chosen)] : chosen;
  const members = unique.map((name) => `"${name}":${pick(next, values)}`);
  return `{${[...(next() < 0.9 ? [likely] : []), ...members].join(",")}}`;
}

/** A good request: with credentials, or, everything else being the same, with none that count. */
function request(next, allowed) {
  const authorization = allowed
    ? basic(open.key, secret)
    : pick(next, [basic(open.key, "wrong-secret-of-it"), basic("x", "y"), "Basic", ""]);
  const key = allowed ? open.key : pick(next, ["", "nobody", "open", "dev-key"]);
  const by = allowed ? secret : "wrong-secret-of-it";
  const body = pick(next, bodies);
  const headers = { authorization };
  const parameters = pick(next, ["last=3", "position=9f2c41d07ab3:42", "raw=1", "raw=1&last=1", ""]);
  // Without the channel's prefix, or without the origin, anybody may come in who knows the key: not to be changed, then.
  const onlyIn = (place) => (allowed ? {} : { place });
  const bearer = allowed
    ? grants
    : token({ exp: inSeconds(3600), channels: { "*": ["sub"] } }, { secret: by });
  return pick(next, [
    () => ({ method: "POST", path: "/publish", headers, body }),
    () => ({
      method: "POST",
      path: "/publish/chat",
      headers: { ...headers, "idempotency-key": "i", "content-type": "application/json" },
      body,
    }),
    () => ({ method: "POST", path: signedPath("/publish", body, { key: open.key, secret: by }), body }),
    () => ({ path: "/channels/chat/messages?after=9f2c41d07ab3:1&limit=7", headers }),
    () => ({ path: `/rooms/chat?key=${key}&${parameters}`, ws: true }),
    () => ({
      path: `/rooms/lobby?key=${key}&${parameters}`,
      sse: true,
      headers: { "last-event-id": "9f2c41d07ab3:1" },
    }),
    () => ({ path: `/rooms/private-x?key=${open.key}&token=${bearer}`, ws: true, ...onlyIn("token") }),
    () => ({
      path: `/rooms/private-x?key=${open.key}`,
      headers: { "sec-websocket-protocol": `dormouse, bearer.${bearer}` },
      ws: true,
      ...onlyIn("header"),
    }),
    () => ({
      path: `/rooms/lobby?key=${shut.key}`,
      headers: { origin: allowed ? "https://good.example" : "https://evil.example" },
      ws: true,
      ...onlyIn("header"),
    }),
  ])();
}

/** One of its parts is changed, with the length that then is right; or any of its bytes. */
function spoil(next, { place, ...good }) {
  const [name] = Object.keys(good.headers ?? {}).slice(-1);
  const parts = [
    "path",
    "path",
    ...(good.body ? ["body", "body", "composed"] : []),
    ...(name ? ["header"] : []),
    "method",
    "whole",
  ];
  const part = place ?? pick(next, parts);
  const text = (value) => mutate(next, Buffer.from(value)).toString("latin1");
  if (part === "composed") return encode({ ...good, body: composed(next, '"channel":"chat","data":1') });
  if (part === "body") return encode({ ...good, body: mutate(next, Buffer.from(good.body)) });
  // What ends a line would make another request of it: that is for the changes to the whole.
  const line = (value) => text(value).replaceAll(/[\r\n]/g, "");
  if (part === "path" || part === "token") {
    const [kept, spoilt] = part === "token" ? good.path.split(/(?<=token=)/) : ["/", good.path.slice(1)];
    const path = kept + line(spoilt);
    // Mostly as a client would write it: what is not escaped hardly gets past the runtime.
    const inPercent = (character) => `%${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
    const escaped = path.replaceAll(next() < 0.8 ? /[^!-~]/g : / /g, inPercent);
    return encode({ ...good, path: escaped });
  }
  if (part === "header") {
    // Some headers that are empty are not there at all for the runtime, and who does not say where from may come in.
    const value = line(good.headers[name]).trim() || "empty";
    return encode({ ...good, headers: { ...good.headers, [name]: value } });
  }
  if (part === "method")
    return encode({
      ...good,
      method: pick(next, ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"]),
    });
  return mutate(next, encode(good));
}

/** A request of one seed. Without credentials it gets nowhere, however it is changed: there is no guessing them. */
export function spoiltRequest(seed, allowed) {
  const next = chance(seed);
  return spoil(next, request(next, allowed));
}

/** What is not HTTP at all, or only at its beginning. */
export function garbage(seed) {
  const next = chance(seed);
  const bytes = noise(next, below(next, 400));
  const beginnings = [
    "",
    "",
    "GET ",
    "GET /up HTTP/1.1\r\n",
    "POST /publish HTTP/1.1\r\nHost: a\r\n",
    "\r\n\r\n",
    "\x16\x03\x01",
    "PRI * HTTP/2.0\r\n\r\n",
  ];
  const printable = next() < 0.3 ? Buffer.from(bytes.map((byte) => 32 + (byte % 95))) : bytes;
  return Buffer.concat([
    Buffer.from(pick(next, beginnings), "latin1"),
    printable,
    Buffer.from(pick(next, ["", "\r\n\r\n"])),
  ]);
}

const frames = [
  '{"type":"publish","event":"greeting","data":{"any":["json",1,null,"🐭"]},"id":"7"}',
  '{"type":"publish","data":"text"}',
  '{"type":"publish","data":[[[[]]]],"event":"e"}',
  "ping",
];

/** Frames of one seed: mostly one. */
export function spoiltFrames(seed) {
  const next = chance(seed);
  const payload = pick(next, [
    () => noise(next, below(next, 3000)),
    ...Array(4).fill(() => Buffer.from(composed(next, '"type":"publish","data":["🐭"]'))),
    ...Array(5).fill(() => mutate(next, Buffer.from(pick(next, frames)))),
  ])();
  const opcode = pick(next, [...Array(10).fill(1), 2, 0, 9, 10, 3]);
  const odd = next() < 0.05;
  const head = {
    opcode,
    fin: !(odd && next() < 0.5),
    reserved: odd ? below(next, 8) : 0,
    masked: !(odd && next() < 0.3),
  };
  // A frame of control has 125 bytes at most: the runtime is silent about longer ones.
  const first = frame(opcode > 7 ? payload.subarray(0, 125) : payload, head);
  return next() < 0.1 ? [first, frame(payload, { opcode: pick(next, [0, 1, 2]) })] : [first];
}
