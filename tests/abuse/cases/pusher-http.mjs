// Pusher's HTTP API, used wrongly. Its refusals are a line of text, so only their status is told here.
import { createHash } from "node:crypto";
import { basic, inSeconds, signedPath } from "../../clients/client.mjs";
import { open, shut } from "../server.mjs";

const [secret] = open.secrets;
const authorization = basic(open.key, secret);
const event = (more) => ({ name: "e", channel: "lobby", data: "1", ...more });

const post = (name, body, expected = "400", path = "/apps/1/events", headers = { authorization }) => ({
  name: `${path.slice(0, 40)} with ${name}`,
  request: {
    method: "POST",
    path,
    headers,
    body: typeof body === "object" && !Buffer.isBuffer(body) ? JSON.stringify(body) : body,
  },
  expected,
});
const get = (path, expected, headers = { authorization }) => ({
  name: `GET ${path.slice(0, 100)}`,
  request: { path, headers },
  expected,
});

const long = "x".repeat(65_537);
const bodies = [
  ["nothing", ""],
  ["a word", "hello"],
  ["half of it", '{"name":"e","channel":"lobby"'],
  ["something behind it", `${JSON.stringify(event())} x`],
  ["a list", "[]"],
  ["a number", "7"],
  ["null", "null"],
  ["bytes that are no UTF-8", Buffer.from([0x22, 0xff, 0x22])],
  ["a lone surrogate", '{"name":"e","channel":"lobby","data":"\\ud800"}'],
  ["10,000 brackets", `{"name":"e","channel":"lobby","data":${"[".repeat(10_000)}`],
  ["no name", event({ name: undefined })],
  ["an empty name", event({ name: "" })],
  ["a name of 201 characters", event({ name: "n".repeat(201) })],
  ["a name that is a number", event({ name: 7 })],
  ["a name with a line break", event({ name: "a\nb" })],
  ["no data", event({ data: undefined })],
  ["data that is null", event({ data: null })],
  ["data that is an object", event({ data: { a: 1 } })],
  ["data that is a list", event({ data: [1] })],
  ["data that is a number", event({ data: 1 })],
  ["data that is true", event({ data: true })],
  ["no channel", event({ channel: undefined })],
  ["an empty channel", event({ channel: "" })],
  ["a channel with a space", event({ channel: "a b" })],
  ["a channel with a colon", event({ channel: "a:b" })],
  ["a channel of 165 characters", event({ channel: "c".repeat(165) })],
  ["a channel that is a list", event({ channel: ["a"] })],
  ["the channel of nobody", event({ channel: "#server-to-user-" })],
  ["the channel of a user that has none", event({ channel: "#server-to-user-a b" })],
  ["another channel with #", event({ channel: "#lobby" })],
  ["no channels", event({ channel: undefined, channels: [] })],
  ["channels that are a name", event({ channel: undefined, channels: "lobby" })],
  ["channels that are numbers", event({ channel: undefined, channels: [1] })],
  ["one bad channel", event({ channels: ["lobby", "a b"] })],
  ["101 channels", event({ channels: Array.from({ length: 101 }, (_, nth) => `c${nth}`) })],
  ["100 channels, and one", event({ channels: Array.from({ length: 100 }, (_, nth) => `c${nth}`) })],
  ["30,000 channels", event({ channels: Array.from({ length: 30_000 }, (_, nth) => `c${nth}`) })],
  ...["", "x", "1", "1.", ".1", "1.2.3", "-1.2", "1.2 ", "1,2", "1\n2", `1.${"2".repeat(400)}`].map(
    (socket_id) => [`socket_id ${socket_id.slice(0, 8)}`, event({ socket_id })],
  ),
  ["a socket_id that is a number", event({ socket_id: 1.2 })],
  ["info that is a list", event({ info: ["user_count"] })],
  ["an empty id", event({ id: "" })],
  ["an id of 129 bytes", event({ id: "i".repeat(129) })],
  ["an id that is a number", event({ id: 1 })],
  ["65,537 bytes of data", event({ data: long }), "413"],
  ["11 bytes where 10 are allowed", event({ channel: "tiny", data: "12345678901" }), "413"],
  ["too much for one of its channels", event({ channels: ["tiny"], data: "12345678901" }), "413"],
  ["a megabyte and more", event({ data: "x".repeat(1_100_000) }), "413"],
];

const batches = [
  ["nothing", ""],
  ["no batch", {}],
  ["a batch that is an object", { batch: {} }],
  ["a batch of numbers", { batch: [1] }],
  ["a batch in a batch", { batch: [{ batch: [event()] }] }],
  ["an empty event", { batch: [{}] }],
  ["eleven events", { batch: Array.from({ length: 11 }, () => event()) }],
  ["several channels for an event", { batch: [event({ channel: undefined, channels: ["a"] })] }],
  ["one bad event", { batch: [event(), event({ data: 1 })] }],
  ["one that is too large", { batch: [event(), event({ data: long })] }, "413"],
];

const text = JSON.stringify(event());
const sign = (more, { path = "/apps/1/events", key = open.key, by = secret, body = text } = {}) =>
  signedPath(path, body, { key, secret: by, ...more });
const md5 = (what) => createHash("md5").update(what).digest("hex");
const signatures = [
  ["601 seconds old", sign({ auth_timestamp: inSeconds(-601) })],
  ["1,000 seconds ahead", sign({ auth_timestamp: inSeconds(1000) })],
  ["in milliseconds", sign({ auth_timestamp: Date.now() })],
  ["at the end of time", sign({ auth_timestamp: "18446744073709551615" })],
  ["past the end of time", sign({ auth_timestamp: "18446744073709551616" })],
  ["with a time that is a word", sign({ auth_timestamp: "now" })],
  ["with another version", sign({ auth_version: "1.1" })],
  ["by an unknown key", sign({}, { key: "nobody" })],
  ["by the app's id", sign({}, { key: open.id })],
  ["by the other app", sign({}, { key: shut.key, by: shut.secrets[0] })],
  ["with the other app's secret", sign({}, { by: shut.secrets[0] })],
  ["for the other app", sign({}, { path: "/apps/2/events" }).replace("/apps/2/", "/apps/1/")],
  ["for another action", sign({}, { path: "/apps/1/batch_events" }).replace("batch_events", "events")],
  ["for another method", sign({ method: "GET" })],
  ["for another body", sign({}, { body: `${text} ` })],
  ["for no body", sign({}, { body: "" })],
  ["with the MD5 of nothing", sign({ body_md5: md5("") })],
  ["with a parameter too many", `${sign()}&info=user_count`],
  ["with no signature", sign().replace(/&auth_signature=.*/, "")],
  ["with a signature that is cut", sign().slice(0, -2)],
  ["with a signature of 5,000 characters", `${sign()}${"00".repeat(2500)}`],
];
const strangers = [
  undefined,
  basic(open.key, "wrong"),
  basic(shut.key, shut.secrets[0]),
  "Basic x",
  "Bearer x",
];
const everything = [
  ["POST", "/apps/1/events", text],
  ["POST", "/apps/1/batch_events", "{}"],
  ["GET", "/apps/1/channels"],
  ["GET", "/apps/1/channels?info=x"],
  ["GET", "/apps/1/channels/lobby"],
  ["GET", "/apps/1/channels/presence-a/users"],
  ["POST", "/apps/1/users/u/terminate_connections", "{}"],
];

const paths = [
  ...[
    "/apps/1/",
    "/apps/1/event",
    "/apps/1/events/",
    "/apps/1/events/x",
    "/apps/1/Events",
    "/apps/1//events",
  ],
  ...[
    "/apps/1/channels/lobby/",
    "/apps/1/channels/lobby/x",
    "/apps/1/channels/lobby/users/",
    "/apps/1/users",
  ],
  ...["/apps/1/users/u", "/apps/1/users/u/terminate", "/apps/1/users/u/terminate_connections/x"],
];
const channels = [
  ...["", "a%20b", "a%2Fb", "a:b", "%00", "%ff", "%C3%A4", "%23x", "x".repeat(165)].map((name) => [
    `/apps/1/channels/${name}`,
    "400",
  ]),
  ...["private-a", "lobby", "presence", "%23server-to-user-7", "a%20b"].map((name) => [
    `/apps/1/channels/${name}/users`,
    "400",
  ]),
  ["/apps/1/channels/lobby?info=user_count", "400"],
  ["/apps/1/channels/lobby?info=cache", "400"],
  ["/apps/1/channels/presence-a?info=user_count,name", "400"],
  [`/apps/1/channels/lobby?info=${"x".repeat(5000)}`, "400"],
  ["/apps/1/channels?info=user_count", "400"],
  ["/apps/1/channels?info=user_count&filter_by_prefix=presence", "400"],
  ["/apps/1/channels?info=cache&filter_by_prefix=cache-", "400"],
  ["/apps/1/channels?info=USER_COUNT&filter_by_prefix=presence-", "400"],
  ...["a b", "a/b", "a:b", "#user", "%", "*", "ä", "a\0", "x".repeat(165)].map((prefix) => [
    `/apps/1/channels?filter_by_prefix=${encodeURIComponent(prefix)}`,
    "400",
  ]),
  ...["3", "01", "", "1%20", "%ff", "a%0Ab", "app", "x".repeat(1000)].map((app) => [
    `/apps/${app}/channels`,
    "404",
  ]),
];

export const pusherHttp = [
  ...bodies.map(([name, body, expected]) => post(name, body, expected)),
  ...batches.map(([name, body, expected]) => post(name, body, expected, "/apps/1/batch_events")),
  ...signatures.map(([name, path]) => ({
    name: `events signed ${name}`,
    request: { method: "POST", path, body: text },
    expected: "401",
  })),
  ...strangers.flatMap((credentials) =>
    everything.map(([method, path, body]) => ({
      name: `${method} ${path} with ${credentials}`,
      request: { method, path, body, headers: credentials ? { authorization: credentials } : {} },
      expected: "401",
    })),
  ),
  ...everything.map(([method, path]) => ({
    name: `${path} with the wrong method`,
    request: { method: method === "POST" ? "GET" : "POST", path, headers: { authorization }, body: "{}" },
    expected: "405",
  })),
  ...paths.map((path) => get(path, "404")),
  ...channels.map(([path, expected]) => get(path, expected)),
  ...["", "u".repeat(129), "%ff"]
    .map((user) => post("nobody's id", "{}", "400", `/apps/1/users/${user}/terminate_connections`))
    .map((one, nth) => ({ ...one, name: `${one.name} ${nth}` })),
  ...["gzip", "br", "deflate"].map((encoding) => {
    const headers = { authorization, "content-encoding": encoding };
    return post(encoding, text, "415", "/apps/1/events", headers);
  }),
  {
    name: "a socket where there is none",
    request: { path: "/apps/1/channels?info=x", ws: true, headers: { authorization } },
    expected: "400",
  },
];
