// Headers, bodies and queries that are wrong, around a publish, a room and a history; and what is hardly HTTP.
import { basic, inSeconds, token } from "../../clients/client.mjs";
import { open } from "../server.mjs";
import { encode } from "../wire.mjs";

const authorization = basic(open.key, open.secrets[0]);
const body = '{"channel":"lobby","data":1}';
const F = "400 invalid_field";
const P = "400 invalid_position";

const post = (name, { path = "/publish", headers, ...more }, expected) => ({
  name,
  request: { method: "POST", path, headers: { authorization, ...headers }, body, ...more },
  expected,
});

const encodings = [
  "gzip",
  "GZIP",
  "deflate",
  "br",
  "zstd",
  "compress",
  "x-gzip",
  "gzip, identity",
  "aes128gcm",
  "1",
];

const posts = [
  ...encodings.map((encoding) =>
    post(`publish in ${encoding}`, { headers: { "content-encoding": encoding } }, "415 unsupported_encoding"),
  ),
  ...encodings
    .slice(0, 5)
    .map((encoding) =>
      post(
        `raw publish in ${encoding}`,
        { path: "/publish/lobby", headers: { "content-encoding": encoding } },
        "415 unsupported_encoding",
      ),
    ),
  post("raw publish of nothing", { path: "/publish/lobby", body: "" }, "400 empty_body"),
  post("raw publish without a body", { path: "/publish/lobby", body: undefined }, "400 empty_body"),
  post("publish without a body", { body: undefined }, "400 empty_body"),
  post("raw publish of 65,537 bytes", { path: "/publish/lobby", body: "x".repeat(65_537) }, "413 too_large"),
  post(
    "raw publish of 11 bytes where 10 are allowed",
    { path: "/publish/tiny", body: "x".repeat(11) },
    "413 too_large",
  ),
  post("raw publish of 2 MB", { path: "/publish/wide", body: Buffer.alloc(2_000_000) }, "413 too_large"),
  post(
    "raw publish of 262,145 bytes",
    { path: "/publish/wide", body: Buffer.alloc(262_145) },
    "413 too_large",
  ),
  post(
    "raw publish with a long id",
    { path: "/publish/lobby", headers: { "idempotency-key": "i".repeat(129) } },
    F,
  ),
  post("raw publish with an empty id", { path: "/publish/lobby", headers: { "idempotency-key": "" } }, F),
  ...["a b", "a%2Fb", "", "%00", "a:b", "%F0%9F%90%AD", "c".repeat(165), "%"].map((channel) => {
    const path = `/publish/${channel.replaceAll(" ", "%20")}`;
    return post(`raw publish to ${path.slice(0, 40)}`, { path }, "400 invalid_channel");
  }),
  {
    name: "a length past the limit, and nothing else",
    bytes: encode({
      method: "POST",
      path: "/publish",
      headers: { authorization, "content-length": "2000000000" },
    }),
    expected: "413 too_large",
  },
  {
    name: "a length that cuts the body",
    bytes: encode({
      method: "POST",
      path: "/publish",
      headers: { authorization, "content-length": "10" },
      body,
    }),
    expected: "400 invalid_json",
  },
];

const chunked = (...chunks) => [
  encode({ method: "POST", path: "/publish", headers: { authorization, "transfer-encoding": "chunked" } }),
  ...chunks,
];
const chunk = (text) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;

const chunks = [
  ["no chunk", chunked("0\r\n\r\n"), "400 empty_body"],
  ["chunks that are no JSON", chunked(chunk("{"), chunk("x"), "0\r\n\r\n"), "400 invalid_json"],
  ["a thousand chunks of one byte", chunked(chunk(" ").repeat(1000), "0\r\n\r\n"), "400 invalid_json"],
  [
    "chunks past the limit",
    chunked(...Array(20).fill(chunk("x".repeat(65_536))), "0\r\n\r\n"),
    "413 too_large",
  ],
  ["a chunk whose size is no number", chunked(`zz\r\n${body}\r\n0\r\n\r\n`), "400 invalid_json"],
  [
    "a chunk whose size is past all numbers",
    chunked(`FFFFFFFFFFFFFFFFF\r\n${body}\r\n0\r\n\r\n`),
    "400 invalid_json",
  ],
  ["a chunk whose size is negative", chunked(`-5\r\n${body}\r\n0\r\n\r\n`), "400 invalid_json"],
  ["a chunk that is longer than it says", chunked(`5\r\n${body}\r\n0\r\n\r\n`), "400 invalid_json"],
  ["chunks with a trailer", chunked(chunk("{"), "0\r\nx: y\r\n\r\n"), "400 invalid_json"],
].map(([name, bytes, expected]) => ({ name, bytes, expected }));

const authorised = { headers: { authorization } };
const history = [
  ...["0", "-1", "1001", "1e3", "1.5", "", " ", "ten", "0x10", "99999999999999999999", "+5"].map((limit) => [
    `limit=${encodeURIComponent(limit)}`,
    F,
  ]),
  ...[
    "",
    "x",
    "9f2c41d07ab3",
    "9f2c41d07ab3:-1",
    "9f2c41d07ab3:01",
    "9F2C41D07AB3:1",
    "9f2c41d07ab3:9007199254740992",
    "0",
    "null",
  ].map((after) => [`after=${after}`, P]),
  ["limit=5&after=x", P],
  ["after=9f2c41d07ab3:1&limit=0", F],
].map(([query, expected]) => ({
  name: `history?${query}`,
  request: { path: `/channels/lobby/messages?${query}`, ...authorised },
  expected,
}));

const listing = [
  ...["0", "-1", "101", "1e3", "1.5", "", " ", "ten", "0x10", "99999999999999999999", "+5"].map((limit) => [
    `limit=${encodeURIComponent(limit)}`,
    F,
  ]),
  ...["a b", "a/b", "a:b", "#user", "#server-to-user-#", "%", "*", "ä", "a\0", "x".repeat(165)].map(
    (prefix) => [`prefix=${encodeURIComponent(prefix)}`, F],
  ),
  ...["", "a b", "#", "#server-to-user-", "a:b", "ä", "x".repeat(165)].map((after) => [
    `after=${encodeURIComponent(after)}`,
    "400 invalid_channel",
  ]),
  ["prefix=%ff", F],
].map(([query, expected]) => ({
  name: `channels?${query}`,
  request: { path: `/channels?${query}`, ...authorised },
  expected,
}));

// Whoever has no credentials, or those of nobody, reaches neither a Directory nor any other object.
const strangers = [
  undefined,
  basic(open.key, "wrong"),
  basic("nobody", open.secrets[0]),
  "Basic x",
  "Bearer x",
].flatMap((credentials) =>
  [
    ["GET", "/channels"],
    ["GET", "/channels?limit=0"],
    ["DELETE", "/users/u/connections"],
    ["DELETE", `/connections/${"0".repeat(32)}:lobby`],
    ["DELETE", `/connections/${"0".repeat(32)}:weur:0`],
  ].map(([method, path]) => ({
    name: `${method} ${path} with ${credentials}`,
    request: { method, path, headers: credentials ? { authorization: credentials } : {} },
    expected: "401 unauthorized",
  })),
);

const room = (name, query, expected, more) => ({
  name: `a room with ${name}`,
  request: { path: `/rooms/lobby?key=open-key&${query}`, ws: true, ...more },
  expected,
});
const rooms = [
  ...["2", "-1", "true", "yes", "on", "01", "1 ", "raw", "null"].map((raw) =>
    // Whether it is raw is not known: the frame says what is wrong.
    room(`raw=${raw}`, `raw=${encodeURIComponent(raw)}`, "4400 invalid_field"),
  ),
  ...["-1", "1001", "1e3", "1.5", "", "all", "0x1", "99999999999999999999"].map((last) =>
    room(`last=${last}`, `last=${last}`, "4400 invalid_field"),
  ),
  ...[
    "x",
    "1",
    ":",
    "9f2c41d07ab3",
    "9f2c41d07ab3:",
    "9f2c41d07ab3:-1",
    "9f2c41d07ab3:01",
    "9F2C41D07AB3:1",
  ].map((position) => room(`position=${position}`, `position=${position}`, "4400 invalid_position")),
  room("a raw socket and a bad position", "raw=1&position=x", "4400 invalid_position"),
  room("an event stream and a bad position", "position=x", P, { ws: false, sse: true }),
  room("an event stream and a bad last", "last=x", F, { ws: false, sse: true }),
  room("a bad Last-Event-ID", "", P, { ws: false, sse: true, headers: { "last-event-id": "x" } }),
  room("a bad Last-Event-ID before a good position", "position=9f2c41d07ab3:1", P, {
    ws: false,
    sse: true,
    headers: { "last-event-id": "9f2c41d07ab3" },
  }),
  ...["", "nobody", "OPEN-KEY", "open-key ", "1", "open-key%00", "*", "open-key,shut-key"].map((key) => ({
    name: `a room of the app ${JSON.stringify(key)}`,
    request: { path: `/rooms/lobby?key=${encodeURI(key)}`, ws: true },
    expected: "4401 unauthorized",
  })),
  {
    name: "a room of no app",
    request: { path: "/rooms/lobby", ws: true },
    expected: "4401 unauthorized",
  },
  {
    name: "an event stream of no app",
    request: { path: "/rooms/lobby", sse: true },
    expected: "401 unauthorized",
  },
  {
    name: "a token of 8,193 bytes among the protocols",
    request: {
      path: "/rooms/private-a?key=open-key",
      headers: { "sec-websocket-protocol": `dormouse, bearer.${"a".repeat(8193)}` },
      ws: true,
    },
    expected: "4413 too_large",
    protocol: "dormouse",
  },
  {
    name: "a bearer that is bad before one that is good",
    request: {
      path: "/rooms/private-a?key=open-key",
      headers: {
        "sec-websocket-protocol": `bearer.x, dormouse, bearer.${token({ exp: inSeconds(60), channels: { "*": ["sub"] } }, { secret: open.secrets[0] })}`,
      },
      ws: true,
    },
    expected: "4401 unauthorized",
    protocol: "dormouse",
  },
];

const plain = [
  ["nothing that says how", {}],
  ["Accept of everything", { accept: "*/*" }],
  ["Accept of a page", { accept: "text/html,application/xhtml+xml" }],
  ["Accept of JSON", { accept: "application/json" }],
  ["Upgrade to h2c", { connection: "Upgrade", upgrade: "h2c" }],
  ["Upgrade to two things", { connection: "Upgrade", upgrade: "websocket, h2c" }],
  ["Upgrade to nothing", { connection: "Upgrade", upgrade: "" }],
  ["Connection: Upgrade alone", { connection: "Upgrade" }],
  [
    "a WebSocket's key alone",
    { "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13" },
  ],
].map(([name, headers]) => ({
  name: `a room with ${name}`,
  request: { path: "/rooms/lobby?key=open-key", headers },
  expected: "426 upgrade_required",
}));

// Answered by the runtime, which does not let the Worker see them: the status is all that there is.
const get = (lines) => `GET /up HTTP/1.1\r\nHost: 127.0.0.1\r\n${lines}Connection: close\r\n\r\n`;
const malformed = [
  ["an unknown method", get("").replace("GET", "FOO"), "501"],
  ["a method in small letters", get("").replace("GET", "get"), "501"],
  ["no path", "GET  HTTP/1.1\r\nHost: a\r\n\r\n", "400"],
  ["a space in the path", get("").replace("/up", "/u p"), "400"],
  ["a NUL in the path", get("").replace("/up", "/u\0p"), "400"],
  ["a path that is no UTF-8", Buffer.from(get("").replace("/up", "/\xff"), "latin1"), "400"],
  ["a backslash for a path", get("").replace("/up", "\\up"), "400"],
  ["a path of 100,000 characters", get("").replace("/up", `/${"a".repeat(100_000)}`), "414"],
  ["no version", "GET /up\r\n\r\n", "400"],
  ["HTTP/1.0 without a host", "GET /up HTTP/1.0\r\n\r\n", "400"],
  ["HTTP/9.9", get("").replace("HTTP/1.1", "HTTP/9.9"), "400"],
  ["the beginning of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "nothing"],
  ["no host", get("").replace("Host: 127.0.0.1\r\n", ""), "400"],
  ["an empty host", get("").replace("127.0.0.1", ""), "400"],
  ["a header with a space in its name", get("bad name: x\r\n"), "400"],
  ["a header without a colon", get("bad\r\n"), "400"],
  ["a header that is folded", get("x: a\r\n b\r\n"), "400"],
  ["a NUL in a header", get("x: a\0b\r\n"), "400"],
  [
    "two lengths",
    encode({ method: "POST", path: "/publish", headers: { "content-length": ["1", "2"] }, body: "x" }),
    "400",
  ],
  [
    "a negative length",
    encode({ method: "POST", path: "/publish", headers: { "content-length": "-1" }, body: "x" }),
    "400",
  ],
  [
    "a length with a sign",
    encode({ method: "POST", path: "/publish", headers: { "content-length": "+1" }, body: "x" }),
    "400",
  ],
  [
    "a length past all numbers",
    encode({ method: "POST", path: "/publish", headers: { "content-length": "9".repeat(30) }, body: "x" }),
    "400",
  ],
  [
    "an unknown transfer encoding",
    encode({ method: "POST", path: "/publish", headers: { "transfer-encoding": "gzip" }, body: "x" }),
    "400",
  ],
  ["a greeting of TLS", Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 13, 10, 13, 10]), "400"],
  [
    "a WebSocket without a key",
    encode({
      path: "/rooms/private-a?key=open-key",
      headers: { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13" },
    }),
    "400",
  ],
  [
    "a WebSocket of version 8",
    encode({
      path: "/rooms/private-a?key=open-key",
      headers: {
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "8",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      },
    }),
    "426",
  ],
].map(([name, bytes, expected]) => ({ name: `HTTP with ${name}`, bytes, expected }));

// A host that no URL can have reaches the Worker all the same, and is no reason to fail.
const hosts = [
  "a b",
  "[::1",
  "127.0.0.1, evil.example",
  "a<b",
  "%",
  "exa mple.com:80",
  "127.0.0.1:99999",
  "a^b",
].map((host) => ({
  name: `a host of ${host}`,
  request: { path: "/nope", host },
  expected: "404 not_found",
}));

export const http = [...posts, ...chunks, ...plain, ...hosts];
export const queries = [...history, ...listing, ...strangers, ...rooms];
export const runtime = malformed;
