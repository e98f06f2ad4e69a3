// Who may publish, and read a history: nobody of these.
import { createHash, createHmac } from "node:crypto";
import { basic, inSeconds, signedPath } from "../../clients/client.mjs";
import { open, shut } from "../server.mjs";

const body = '{"channel":"lobby","data":1}';
const [secret] = open.secrets;
const encoded = (text) => Buffer.from(text).toString("base64");
const good = `${open.key}:${secret}`;

const headers = [
  ["nothing", undefined],
  ["an empty header", ""],
  ["a scheme alone", "Basic"],
  ["a scheme and a space", "Basic "],
  ["a scheme and nothing encoded", "Basic ="],
  ["what is not base64", "Basic %%%%"],
  ["base64 for URLs", `Basic ${Buffer.from(`${open.key}:${"\xff".repeat(6)}`).toString("base64url")}`],
  ["no padding", `Basic ${encoded(good).replace(/=+$/, "")}x`],
  ["two credentials", `Basic ${encoded(good)}, Basic ${encoded(good)}`],
  ["a wrong secret", basic(open.key, "the-open-secret-nex")],
  ["a shorter secret", basic(open.key, secret.slice(0, -1))],
  ["a longer secret", basic(open.key, `${secret}x`)],
  ["an empty secret", basic(open.key, "")],
  ["the secret in capitals", basic(open.key, secret.toUpperCase())],
  ["both secrets", basic(open.key, open.secrets.join(","))],
  ["the other app's secret", basic(open.key, shut.secrets[0])],
  ["the app's id instead of its key", basic(open.id, secret)],
  ["an unknown key", basic("nobody", secret)],
  ["no key", basic("", secret)],
  ["neither", basic("", "")],
  ["the key in capitals", basic(open.key.toUpperCase(), secret)],
  ["key and secret the wrong way round", basic(secret, open.key)],
  ["no colon", `Basic ${encoded(open.key + secret)}`],
  ["a space before the key", basic(` ${open.key}`, secret)],
  ["a line break after the secret", basic(open.key, `${secret}\n`)],
  ["a NUL after the secret", basic(open.key, `${secret}\0`)],
  ["bytes that are no UTF-8", `Basic ${Buffer.from([0xff, 0xfe, 0x3a, 0xff]).toString("base64")}`],
  ["a bearer", `Bearer ${secret}`],
  ["a bearer that is Basic", `Bearer ${encoded(good)}`],
  ["a digest", `Digest username="${open.key}"`],
  ["the credentials unencoded", `Basic ${good}`],
  ["encoded twice", `Basic ${encoded(encoded(good))}`],
  ["the development secret", basic("dev-key", "dev-secret")],
  ["60,000 characters", `Basic ${"A".repeat(60_000)}`],
  ["a million colons' worth", basic(":".repeat(10_000), ":")],
];

const ask = (name, request, expected) => ({ name, request, expected });
const to = {
  publish: { method: "POST", path: "/publish", body },
  raw: { method: "POST", path: "/publish/lobby", body },
  messages: { path: "/channels/lobby/messages" },
};
const withHeader = (request, authorization) => ({
  ...request,
  headers: authorization === undefined ? {} : { authorization },
});

// As if they had been asked for.
const elsewhere = [
  ["a secret in the query", { path: `/publish?key=${open.key}&secret=${secret}` }],
  ["a key in the query", { path: `/publish?auth_key=${open.key}` }],
  [
    "credentials in the URL",
    { path: `/publish?authorization=${encodeURIComponent(basic(open.key, secret))}` },
  ],
  ["a cookie", { headers: { cookie: `authorization=${basic(open.key, secret)}` } }],
  ["a proxy's header", { headers: { "proxy-authorization": basic(open.key, secret) } }],
  [
    "X-Forwarded-For of this machine",
    { headers: { "x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1" } },
  ],
  ["X-HTTP-Method-Override", { headers: { "x-http-method-override": "GET" } }],
  [
    "the header between objects",
    { headers: { "x-dormouse-connect": '{"version":1,"format":"j","may_publish":true}' } },
  ],
  [
    "the header for the runtime",
    { headers: { "cf-worker": "example.com", "cf-connecting-ip": "127.0.0.1" } },
  ],
];

const sign = (more, { text = body, path = "/publish", key = open.key, by = secret } = {}) =>
  signedPath(path, text, { key, secret: by, ...more });
const md5 = (text) => createHash("md5").update(text).digest("hex");
// Signed over other text than the protocol says.
const signedOver = (text) => {
  const query = sign()
    .split("?")[1]
    .replace(/&auth_signature=.*/, "");
  const signature = createHmac("sha256", secret).update(text(query)).digest("hex");
  return `/publish?${query}&auth_signature=${signature}`;
};

const signatures = [
  ["601 seconds old", sign({ auth_timestamp: inSeconds(-601) }), "expired"],
  ["an hour old", sign({ auth_timestamp: inSeconds(-3600) }), "expired"],
  ["of 1970", sign({ auth_timestamp: 0 }), "expired"],
  ["1,000 seconds ahead", sign({ auth_timestamp: inSeconds(1000) }), "expired"],
  ["in milliseconds", sign({ auth_timestamp: Date.now() }), "expired"],
  ["at the end of time", sign({ auth_timestamp: "18446744073709551615" }), "expired"],
  ["past the end of time", sign({ auth_timestamp: "18446744073709551616" }), "unauthorized"],
  ["with a negative time", sign({ auth_timestamp: "-1" }), "unauthorized"],
  ["with a time in hexadecimal", sign({ auth_timestamp: "0x1" }), "unauthorized"],
  ["with a fraction of a second", sign({ auth_timestamp: `${inSeconds(0)}.5` }), "unauthorized"],
  ["with a time that is empty", sign({ auth_timestamp: "" }), "unauthorized"],
  ["with a time that is a word", sign({ auth_timestamp: "now" }), "unauthorized"],
  ["with version 2.0", sign({ auth_version: "2.0" }), "unauthorized"],
  ["with version 1", sign({ auth_version: "1" }), "unauthorized"],
  ["with no version", sign({ auth_version: "" }), "unauthorized"],
  ["by an unknown key", sign({}, { key: "nobody" }), "unauthorized"],
  ["by no key", sign({}, { key: "" }), "unauthorized"],
  ["by the app's id", sign({}, { key: open.id }), "unauthorized"],
  ["with the other app's secret", sign({}, { by: shut.secrets[0] }), "unauthorized"],
  ["with no secret", sign({}, { by: "" }), "unauthorized"],
  ["for another body", sign({}, { text: `${body} ` }), "unauthorized"],
  ["with the MD5 of nothing", sign({ body_md5: md5("") }), "unauthorized"],
  ["with an MD5 in capitals", sign({ body_md5: md5(body).toUpperCase() }), "unauthorized"],
  ["with an MD5 that is cut", sign({ body_md5: md5(body).slice(1) }), "unauthorized"],
  ["with no MD5", sign({}, { text: "" }), "unauthorized"],
  ["for another method", sign({ method: "GET" }), "unauthorized"],
  [
    "for another path",
    sign({}, { path: "/publish/lobby" }).replace("/publish/lobby", "/publish"),
    "unauthorized",
  ],
  ["with a parameter too many", `${sign()}&a=b`, "unauthorized"],
  ["with a parameter twice", `${sign()}&auth_version=1.0`, "unauthorized"],
  ["with an empty signature", sign().replace(/auth_signature=.*/, "auth_signature="), "unauthorized"],
  ["with no signature", sign().replace(/&auth_signature=.*/, ""), "unauthorized"],
  ["with a signature that is cut", sign().slice(0, -1), "unauthorized"],
  ["with half a signature", sign().slice(0, -32), "unauthorized"],
  ["with a signature too long", `${sign()}00`, "unauthorized"],
  ["with a signature of words", sign().replace(/auth_signature=.*/, "auth_signature=zzzz"), "unauthorized"],
  [
    "with a signature of zeros",
    sign().replace(/auth_signature=.*/, `auth_signature=${"0".repeat(64)}`),
    "unauthorized",
  ],
  ["over the query alone", signedOver((query) => query), "unauthorized"],
  ["over a method in small letters", signedOver((query) => `post\n/publish\n${query}`), "unauthorized"],
  ["with a line break too many", signedOver((query) => `POST\n/publish\n${query}\n`), "unauthorized"],
];

export const credentials = [
  ...headers.map(([name, value]) =>
    ask(`publish with ${name}`, withHeader(to.publish, value), "401 unauthorized"),
  ),
  ...headers
    .slice(0, 14)
    .map(([name, value]) => ask(`raw publish with ${name}`, withHeader(to.raw, value), "401 unauthorized")),
  ...headers
    .slice(0, 14)
    .map(([name, value]) => ask(`history with ${name}`, withHeader(to.messages, value), "401 unauthorized")),
  ...elsewhere.map(([name, more]) =>
    ask(`publish with ${name}`, { ...to.publish, ...more }, "401 unauthorized"),
  ),
  ...signatures.map(([name, path, code]) => ask(`signed ${name}`, { ...to.publish, path }, `401 ${code}`)),
  ask(
    "a good signature does not help wrong credentials",
    { ...to.publish, path: sign(), headers: { authorization: basic(open.key, "wrong") } },
    "401 unauthorized",
  ),
  ask(
    "history signed as a publish",
    { path: sign({}, { path: "/channels/lobby/messages", text: "" }) },
    "401 unauthorized",
  ),
];
