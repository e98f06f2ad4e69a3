// Private rooms, and tokens that do not open them. And pages of other people.
import { createSign, generateKeyPairSync } from "node:crypto";
import { inSeconds, token } from "../../clients/client.mjs";
import { open, shut } from "../server.mjs";

const [secret, old] = open.secrets;
const channels = { "private-a": ["sub", "pub"] };
const claims = { sub: "u", exp: inSeconds(3600), channels };
const make = (more, options) => token({ ...claims, ...more }, { secret, ...options });
const good = make();
const [head, payload, signature] = good.split(".");
const part = (value) =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
const header = (value) => make({}, { header: value });

function withRsa() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const text = `${part({ alg: "RS256" })}.${payload}`;
  return `${text}.${createSign("sha256").update(text).sign(privateKey, "base64url")}`;
}

const U = "4401 unauthorized";
const bad = [
  ["none", undefined, U],
  ["an empty one", "", U],
  ["a word", "token", U],
  ["a dot", ".", U],
  ["three dots", "...", U],
  ["two parts", `${head}.${payload}`, U],
  ["four parts", `${good}.${signature}`, U],
  ["no header", `.${payload}.${signature}`, U],
  ["no claims", `${head}..${signature}`, U],
  ["no signature", `${head}.${payload}.`, U],
  ["alg none and no signature", `${part({ alg: "none" })}.${payload}.`, U],
  ["alg None", `${part({ alg: "None" })}.${payload}.`, U],
  ["alg NONE with a signature", `${part({ alg: "NONE" })}.${payload}.${signature}`, U],
  ["alg none, signed", header({ alg: "none" }), U],
  ["no alg", header({ typ: "JWT" }), U],
  ["alg null", header({ alg: null }), U],
  ["alg a number", header({ alg: 256 }), U],
  ["alg a list", header({ alg: ["HS256"] }), U],
  ["alg hs256", header({ alg: "hs256" }), U],
  ["alg HS384", header({ alg: "HS384" }), U],
  ["alg HS512", header({ alg: "HS512" }), U],
  ["alg RS256, signed as HS256", header({ alg: "RS256" }), U],
  ["alg RS256", withRsa(), U],
  ["alg ES256", header({ alg: "ES256" }), U],
  ["a header that is a list", header([]), U],
  ["a header that is not JSON", header("{"), U],
  ["a key of its own", header({ alg: "HS256", jwk: { kty: "oct", k: "AAAA" } }).replace(/[^.]*$/, "AAAA"), U],
  ["a wrong secret", make({}, { secret: "the-open-secret-nex" }), U],
  ["an empty secret", make({}, { secret: "" }), U],
  ["the other app's secret", make({}, { secret: shut.secrets[0] }), U],
  ["the key as secret", make({}, { secret: open.key }), U],
  ["a signature that is cut", good.slice(0, -4), U],
  [
    "a signature in hexadecimal",
    `${head}.${payload}.${Buffer.from(signature, "base64url").toString("hex")}`,
    U,
  ],
  ["another token's signature", `${head}.${payload}.${make({ sub: "v" }).split(".")[2]}`, U],
  ["other claims under a good signature", `${head}.${part({ ...claims, sub: "admin" })}.${signature}`, U],
  [
    "base64 that is not for URLs",
    `${head}.${Buffer.from(JSON.stringify(claims)).toString("base64")}=.${signature}`,
    U,
  ],
  ["no exp", make({ exp: undefined }), U],
  ["exp null", make({ exp: null }), U],
  ["exp a word", make({ exp: "tomorrow" }), U],
  ["exp a number in quotes", make({ exp: String(inSeconds(60)) }), U],
  ["exp true", make({ exp: true }), U],
  ["exp infinite", token(`{"exp":1e999,"channels":{"private-a":["sub"]}}`, { secret }), U],
  ["exp past what a time can be", make({ exp: 9e18 }), U],
  ["exp an hour ago", make({ exp: inSeconds(-3600) }), "4401 expired"],
  ["exp a second ago", make({ exp: inSeconds(-1) }), "4401 expired"],
  ["exp in 1970", make({ exp: 0 }), "4401 expired"],
  ["exp before 1970", make({ exp: -1 }), "4401 expired"],
  ["exp past, of the old secret", make({ exp: inSeconds(-1) }, { secret: old }), "4401 expired"],
  ["nbf in an hour", make({ nbf: inSeconds(3600) }), "4401 expired"],
  ["nbf a word", make({ nbf: "now" }), U],
  ["a user without a name", make({ sub: "" }), U],
  ["a user with a long name", make({ sub: "u".repeat(129) }), U],
  ["a user who is a number", make({ sub: 7 }), U],
  ["claims that are a list", token([], { secret }), U],
  ["claims that are null", token("null", { secret }), U],
  ["claims that are not JSON", token("{", { secret }), U],
  ["claims that are no UTF-8", token(Buffer.from([0x7b, 0xff, 0x7d]).toString("latin1"), { secret }), U],
  [
    "claims of 100,000 brackets",
    token(`{"exp":${claims.exp},"x":${"[".repeat(100_000)}`, { secret }).slice(0, 8000),
    U,
  ],
  ["channels that are a list", make({ channels: ["private-a"] }), U],
  ["channels that are a word", make({ channels: "private-a" }), U],
  ["grants that are a word", make({ channels: { "private-a": "sub" } }), U],
  [
    "101 patterns",
    make({ channels: Object.fromEntries(Array.from({ length: 101 }, (_, n) => [`private-${n}`, []])) }),
    U,
  ],
  ["8,193 bytes", "a".repeat(8193), "4413 too_large"],
  ["8,193 bytes and a good signature", make({ x: "x".repeat(8193) }), "4413 too_large"],
  ["no channels", make({ channels: undefined }), "4403 forbidden"],
  ["no channel at all", make({ channels: {} }), "4403 forbidden"],
  ["another channel", make({ channels: { "private-b": ["sub"] } }), "4403 forbidden"],
  ["a longer channel", make({ channels: { "private-ab": ["sub"] } }), "4403 forbidden"],
  ["a beginning that is not one", make({ channels: { "private-": ["sub"] } }), "4403 forbidden"],
  ["a star in the middle", make({ channels: { "private*a": ["sub"] } }), "4403 forbidden"],
  ["a question mark", make({ channels: { "private-?": ["sub"] } }), "4403 forbidden"],
  ["a regular expression", make({ channels: { "private-.*": ["sub"] } }), "4403 forbidden"],
  ["capitals", make({ channels: { "PRIVATE-A": ["sub"] } }), "4403 forbidden"],
  ["publishing alone", make({ channels: { "private-a": ["pub"] } }), "4403 forbidden"],
  ["no grants", make({ channels: { "private-a": [] } }), "4403 forbidden"],
  ["grants of a later version", make({ channels: { "private-a": ["admin", "all"] } }), "4403 forbidden"],
];

const asQuery = (value) => (value === undefined ? "" : `&token=${encodeURIComponent(value)}`);
const rooms = bad.map(([name, value, expected]) => ({
  name: `a private room with a token of ${name}`,
  request: { path: `/rooms/private-a?key=${open.key}${asQuery(value)}`, ws: true },
  expected,
}));

// A subprotocol is a token of HTTP: no empty ones, and nothing that would have to be escaped.
const protocols = bad
  .filter(([, value]) => /^[\w.-]+$/.test(value ?? ""))
  .slice(0, 20)
  .map(([name, value, expected]) => ({
    name: `a private room with a bearer of ${name}`,
    request: {
      path: `/rooms/private-a?key=${open.key}`,
      headers: { "sec-websocket-protocol": `dormouse, bearer.${value}` },
      ws: true,
    },
    expected,
    protocol: "dormouse",
  }));

const streams = bad.slice(10, 22).map(([name, value, expected]) => ({
  name: `an event stream of a private room with a token of ${name}`,
  request: { path: `/rooms/private-a?key=${open.key}${asQuery(value)}`, sse: true },
  expected: expected.replace(/^4/, ""),
}));

const others = [
  ["a presence room without a token", "/rooms/presence-a?key=open-key", U],
  [
    "a presence room with a token for a private one",
    `/rooms/presence-a?key=open-key&token=${good}`,
    "4403 forbidden",
  ],
  ["another private room", `/rooms/private-b?key=open-key&token=${good}`, "4403 forbidden"],
  ["the same room of another app", `/rooms/private-a?key=shut-key&token=${good}`, U],
  // A token is checked wherever one is given.
  [
    "a public room with a token that has expired",
    `/rooms/lobby?key=open-key&token=${make({ exp: 1 })}`,
    "4401 expired",
  ],
  [
    "a public room with a token of another app",
    `/rooms/lobby?key=open-key&token=${make({}, { secret: "x" })}`,
    U,
  ],
].map(([name, path, expected]) => ({ name, request: { path, ws: true }, expected }));

export const tokens = [...rooms, ...protocols, ...streams, ...others];

const hostile = [
  "https://evil.example",
  "http://good.example",
  "https://good.example:443",
  "https://good.example:8443",
  "https://good.example/",
  "https://good.example.evil.example",
  "https://evil-good.example",
  "https://evilgood.example",
  "https://good.example@evil.example",
  "https://evil.example#https://good.example",
  "https://evil.example?https://good.example",
  "https://sub.good.example",
  "https://GOOD.example",
  "HTTPS://good.example",
  "https://good.example ,https://evil.example",
  "https://good.example.",
  "https://good\xa0.example",
  "https://xn--good.example",
  "//good.example",
  "good.example",
  "http://localhost",
  "http://localhost:30000",
  "http://localhost:3000.evil.example",
  "http://127.0.0.1:3000",
  "null",
  "*",
  "file://",
  "about:blank",
  "chrome-extension://abcdef",
  "javascript:alert(1)",
  "https://",
  "undefined",
];

export const origins = [
  ...hostile.map((origin) => ({
    name: `a page of ${origin}`,
    request: { path: "/rooms/lobby?key=shut-key", headers: { origin }, ws: true },
    expected: "4403 forbidden",
  })),
  ...hostile.slice(0, 10).map((origin) => ({
    name: `an event stream for a page of ${origin}`,
    request: { path: "/rooms/lobby?key=shut-key", headers: { origin }, sse: true },
    expected: "403 forbidden",
  })),
  {
    name: "a good origin and a bad one",
    request: {
      path: "/rooms/lobby?key=shut-key",
      headers: { origin: ["https://good.example", "https://evil.example"] },
      ws: true,
    },
    expected: "4403 forbidden",
  },
];
