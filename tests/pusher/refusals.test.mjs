/** What clients and servers may not do: each is answered as Pusher does, and the socket stays up where Pusher's would. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, afterEach, before, describe, test } from "node:test";
import { inSeconds, publish, signedPath, until } from "../clients/client.mjs";
import { start } from "../harness.mjs";
import { pathOf } from "../load/pusher-bytes.mjs";
import { appId, key, sdkFor, secret } from "./backend.mjs";
import { Client, Wire } from "./client.mjs";

const other = { id: "4712", key: "other-key", secret: "the-secret-of-another" };
const apps = [
  {
    id: appId,
    key,
    secrets: [secret],
    watchlist: true,
    channels: [
      // Pusher's own bound for an event's data; ours is higher unless a rule says otherwise.
      { prefix: "", publish: true, message_bytes: 10_240 },
      { prefix: "private-quiet", publish: false },
    ],
  },
  { id: other.id, key: other.key, secrets: [other.secret], origins: ["https://good.example"] },
  { id: "4713", key: "strict-key", secrets: [secret], authorize_within: 2 },
];

let server;
let sdk;
const wires = [];
before(async () => {
  server = await start({ apps });
  sdk = sdkFor(server);
});
after(() => server.stop());
afterEach(() => {
  for (const wire of wires.splice(0)) wire.socket.terminate();
});

async function connect(options) {
  const wire = new Wire(server, options);
  wires.push(wire);
  return wire.connected();
}

/** How a connection ends that was not let in. */
async function closeOf(path, headers) {
  const wire = new Wire(server, { path, headers });
  wires.push(wire);
  const { code } = await wire.ended;
  assert.equal(wire.of("pusher:connection_established").length, 0);
  return code;
}

const sign = (text, { by = secret, as = key } = {}) =>
  `${as}:${createHmac("sha256", by).update(text).digest("hex")}`;

describe("who is not let in is told by a code that pusher-js understands", () => {
  const version = "client=js&version=8.6.0&flash=false";
  const cases = [
    ["an unknown app", `/app/nobody?protocol=7&${version}`, 4001],
    ["protocol 4", `/app/${key}?protocol=4&${version}`, 4007],
    ["protocol 8", `/app/${key}?protocol=8&${version}`, 4007],
    ["a protocol that is no number", `/app/${key}?protocol=seven&${version}`, 4006],
  ];
  for (const [what, path, code] of cases)
    test(`${what}: ${code}`, async () => assert.equal(await closeOf(path), code));

  test("a page of another origin: 4009", async () => {
    const path = pathOf(other.key);
    assert.equal(await closeOf(path, { origin: "https://evil.example" }), 4009);
    await connect({ path, headers: { origin: "https://good.example" } });
  });

  for (const protocol of [5, 6, 7])
    test(`protocol ${protocol} is spoken`, () => connect({ path: `/app/${key}?protocol=${protocol}` }));

  test("pusher-js does not come back after 4001", async () => {
    const client = new Client(server, { url: "http://127.0.0.1:1" }, { appKey: "nobody" });
    try {
      await until("the end", () => client.states.at(-1) === "disconnected");
      assert.deepEqual(client.codes, [4001]);
    } finally {
      client.close();
    }
  });

  test("who is not authorised in time is closed with 4009, if the app wants that; who is stays", async () => {
    const path = pathOf("strict-key");
    const [idle, open, good] = [await connect({ path }), await connect({ path }), await connect({ path })];
    open.say("pusher:subscribe", { auth: "", channel: "public" });
    const auth = sign(`${good.socketId}:private-a`, { as: "strict-key" });
    good.say("pusher:subscribe", { auth, channel: "private-a" });
    await good.has("pusher_internal:subscription_succeeded");
    await server.evictAll();
    assert.deepEqual([(await idle.ended).code, (await open.ended).code], [4009, 4009]);
    assert.ok(await good.isUp());
  });
});

/** What a client may send to subscribe, and how it is refused. `by` and `as` are somebody's secret and key. */
const subscriptions = [
  ["without a signature", "private-a", () => ({ auth: "" }), /auth|signature/i],
  ["without anything", "private-a", () => ({}), /auth|signature/i],
  [
    "with a signature for another socket",
    "private-a",
    () => ({ auth: sign("1.1:private-a") }),
    /^Invalid signature: Expected HMAC SHA256 hex digest of \d+\.\d+:private-a, but got [0-9a-f]{64}$/,
  ],
  [
    "with one for another channel",
    "private-a",
    (socket) => ({ auth: sign(`${socket}:private-b`) }),
    /Invalid signature/,
  ],
  [
    "with one by another app",
    "private-a",
    (socket) => ({ auth: sign(`${socket}:private-a`, { by: other.secret, as: other.key }) }),
    /key/i,
  ],
  [
    "with another app's secret and this one's key",
    "private-a",
    (socket) => ({ auth: sign(`${socket}:private-a`, { by: other.secret }) }),
    /Invalid signature/,
  ],
  [
    "with a signature that is cut",
    "private-a",
    (socket) => ({ auth: sign(`${socket}:private-a`).slice(0, -2) }),
    /Invalid signature/,
  ],
  [
    "with one that is no hexadecimal",
    "private-a",
    () => ({ auth: `${key}:${"z".repeat(64)}` }),
    /Invalid signature/,
  ],
  ["with a number for it", "private-a", () => ({ auth: 7 }), /./],
  [
    "to a private channel with data that was not signed",
    "private-a",
    (socket) => ({ auth: sign(`${socket}:private-a`), channel_data: '{"user_id":"1"}' }),
    /Invalid signature/,
  ],
  [
    "to a presence channel with data that was not signed",
    "presence-a",
    (socket) => ({ auth: sign(`${socket}:presence-a`), channel_data: '{"user_id":"1"}' }),
    /Invalid signature/,
  ],
  [
    "to a presence channel with other data than was signed",
    "presence-a",
    (socket) => ({ auth: sign(`${socket}:presence-a:{"user_id":"1"}`), channel_data: '{"user_id":"2"}' }),
    /Invalid signature/,
  ],
  [
    "to a presence channel without data",
    "presence-a",
    (socket) => ({ auth: sign(`${socket}:presence-a`) }),
    /channel_data|user/,
  ],
  [
    "to an encrypted channel without a signature",
    "private-encrypted-a",
    () => ({ auth: "" }),
    /auth|signature/i,
  ],
  [
    "to a private cache channel without a signature",
    "private-cache-a",
    () => ({ auth: "" }),
    /auth|signature/i,
  ],
  ["to a user's channel without signing in", "#server-to-user-anna", () => ({ auth: "" }), /./],
  [
    "to a user's channel with a signature of it",
    "#server-to-user-anna",
    (socket) => ({ auth: sign(`${socket}:#server-to-user-anna`) }),
    /./,
  ],
  ["to a channel of a name with a space", "a b", () => ({ auth: "" }), /./],
  ["to one of a name with #", "#anything", () => ({ auth: "" }), /./],
  ["to one of a name with ümlauts", "ümlaut", () => ({ auth: "" }), /./],
  ["to one without a name", "", () => ({ auth: "" }), /./],
  ["to one of 201 characters", "x".repeat(201), () => ({ auth: "" }), /./],
  ["to one of 20,000 characters", "x".repeat(20_000), () => ({ auth: "" }), /./],
];

/** Data of a presence channel that is signed as it should be, and is no good. */
const members = [
  ["without user_id", "{}"],
  ["with an empty user_id", '{"user_id":""}'],
  ["with an object for user_id", '{"user_id":{"a":1}}'],
  ["with null for user_id", '{"user_id":null}'],
  ["with a user_id of 129 characters", JSON.stringify({ user_id: "x".repeat(129) })],
  ["with user_info of more than 1 KB", JSON.stringify({ user_id: "1", user_info: "x".repeat(1100) })],
  ["that is no JSON", "user_id=1"],
  ["that is a list", "[]"],
];

for (const asleep of [false, true]) {
  const rest = async () => asleep && (await server.evictAll());

  describe(`subscriptions that are refused${asleep ? ", by objects that were asleep" : ""}`, () => {
    for (const [how, channel, data, message] of subscriptions)
      test(how, async () => {
        const wire = await connect();
        await rest();
        const error = await wire.refused("pusher:subscribe", { ...data(wire.socketId), channel });
        assert.equal(error.code, null);
        assert.match(error.message, message);
        assert.ok(error.message.length <= 400);
        assert.ok(await wire.isUp());
        assert.equal(wire.of("pusher_internal:subscription_succeeded").length, 0);
      });

    for (const [how, data] of members)
      test(`to a presence channel, with data ${how}`, async () => {
        const wire = await connect();
        await rest();
        const auth = sign(`${wire.socketId}:presence-a:${data}`);
        const error = await wire.refused("pusher:subscribe", {
          auth,
          channel_data: data,
          channel: "presence-a",
        });
        assert.equal(error.code, null);
        assert.ok(await wire.isUp());
        assert.equal(wire.of("pusher_internal:subscription_succeeded").length, 0);
      });

    test("twice to the same channel", async () => {
      const wire = await connect();
      wire.say("pusher:subscribe", { auth: "", channel: "twice" });
      await wire.has("pusher_internal:subscription_succeeded");
      await rest();
      const error = await wire.refused("pusher:subscribe", { auth: "", channel: "twice" });
      assert.deepEqual(error, { code: null, message: "Existing subscription to channel twice" });
      await rest();
      await sdk.trigger("twice", "once", 1);
      await wire.has("once");
      assert.ok(await wire.isUp());
      assert.equal(wire.of("once").length, 1);
      assert.equal(wire.of("pusher_internal:subscription_succeeded").length, 1);
    });
  });
}

test("who was refused gets nothing of the channel", async () => {
  const [channel, user] = ["private-guarded", "guarded"];
  const [outside, inside] = [await connect(), await connect()];
  await outside.refused("pusher:subscribe", { auth: sign("1.1:private-guarded"), channel });
  await outside.refused("pusher:subscribe", { auth: "", channel: `#server-to-user-${user}` });
  inside.say("pusher:subscribe", { auth: sign(`${inside.socketId}:${channel}`), channel });
  await inside.has("pusher_internal:subscription_succeeded");
  await server.evictAll();
  await sdk.trigger(channel, "secret", 1);
  await sdk.sendToUser(user, "secret", 1);
  await inside.has("secret");
  assert.ok(await outside.isUp());
  assert.equal(outside.of("secret").length, 0);
});

test("a user_id may be a number, and is its text", async () => {
  const wire = await connect();
  const data = '{"user_id":10,"user_info":{"name":"Mr. Channels"}}';
  const auth = sign(`${wire.socketId}:presence-number:${data}`);
  wire.say("pusher:subscribe", { auth, channel_data: data, channel: "presence-number" });
  const [frame] = await wire.has("pusher_internal:subscription_succeeded");
  assert.deepEqual(JSON.parse(frame.data), {
    presence: { ids: ["10"], hash: { 10: { name: "Mr. Channels" } }, count: 1 },
  });
});

test("a private channel takes data that was signed with it", async () => {
  const wire = await connect();
  const data = '{"user_id":"1"}';
  const auth = sign(`${wire.socketId}:private-data:${data}`);
  wire.say("pusher:subscribe", { auth, channel_data: data, channel: "private-data" });
  await wire.has("pusher_internal:subscription_succeeded");
});

describe("signing in", () => {
  const user = (socket, data, more) => ({ auth: sign(`${socket}::user::${data}`, more), user_data: data });
  const anna = '{"id":"anna"}';
  const cases = [
    ["with a signature for another socket", () => user("1.1", anna)],
    ["with another secret", (socket) => user(socket, anna, { by: other.secret })],
    ["as another app", (socket) => user(socket, anna, { by: other.secret, as: other.key })],
    ["with a channel's signature", (socket) => ({ auth: sign(`${socket}:user:${anna}`), user_data: anna })],
    ["with other data than was signed", (socket) => ({ ...user(socket, anna), user_data: '{"id":"ben"}' })],
    ["without an id", (socket) => user(socket, '{"name":"anna"}')],
    ["with an empty id", (socket) => user(socket, '{"id":""}')],
    ["with an id of 129 characters", (socket) => user(socket, JSON.stringify({ id: "x".repeat(129) }))],
    ["with data that is no JSON", (socket) => user(socket, "anna")],
    ["without data", (socket) => ({ auth: sign(`${socket}::user::`) })],
    ["without anything", () => ({})],
  ];
  for (const [how, data] of cases)
    test(how, async () => {
      const wire = await connect();
      const error = await wire.refused("pusher:signin", data(wire.socketId));
      assert.equal(typeof error.message, "string");
      // Pusher closes here with 4009, which pusher-js takes for an end; a socket that is up can do no more than before.
      assert.ok(await wire.isUp());
      assert.equal(wire.of("pusher:signin_success").length, 0);
      await wire.refused("pusher:subscribe", { auth: "", channel: "#server-to-user-anna" });
    });

  test("a second time, as somebody else; and then another user's channel", async () => {
    const wire = await connect();
    wire.say("pusher:signin", user(wire.socketId, anna));
    await wire.has("pusher:signin_success");
    await server.evictAll();
    await wire.refused("pusher:signin", user(wire.socketId, '{"id":"ben"}'));
    await wire.refused("pusher:subscribe", { auth: "", channel: "#server-to-user-ben" });
    wire.say("pusher:subscribe", { auth: "", channel: "#server-to-user-anna" });
    await wire.has("pusher_internal:subscription_succeeded");
    await server.evictAll();
    await sdk.sendToUser("ben", "note", "for ben");
    await sdk.sendToUser("anna", "note", "for anna");
    const [note] = await wire.has("note");
    assert.equal(note.data, "for anna");
    assert.ok(await wire.isUp());
    assert.equal(wire.of("note").length, 1);
  });

  test("with a hundred and one on the watchlist: 4302, and it is signed in", async () => {
    const wire = await connect();
    const watchlist = Array.from({ length: 101 }, (_, nth) => `user-${nth}`);
    wire.say("pusher:signin", user(wire.socketId, JSON.stringify({ id: "anna", watchlist })));
    await wire.has("pusher:signin_success");
    const [{ data }] = await wire.has("pusher:error");
    assert.equal(data.code, 4302);
    assert.ok(await wire.isUp());
  });
});

describe("client events that are refused", () => {
  const cases = [
    ["on a public channel", "open", "client-x", {}],
    ["on a channel that it does not have", "private-other", "client-x", {}],
    ["on an encrypted channel", "private-encrypted-a", "client-x", {}],
    ["where the rule forbids them", "private-quiet", "client-x", {}],
    ["of another name", "private-a", "x", {}],
    ["of Pusher's own names", "private-a", "pusher_internal:member_added", { user_id: "1" }],
    ["of Pusher's own names, too", "private-a", "pusher:subscription_succeeded", {}],
    ["of a name of 201 characters", "private-a", `client-${"x".repeat(194)}`, {}],
    ["of more than 10 KB", "private-a", "client-x", "x".repeat(10_241)],
  ];
  for (const [how, channel, event, data] of cases)
    test(how, async () => {
      const [wire, listener] = [await connect(), await connect()];
      for (const one of [wire, listener])
        for (const name of ["open", "private-a", "private-encrypted-a", "private-quiet"])
          one.say("pusher:subscribe", { auth: sign(`${one.socketId}:${name}`), channel: name });
      for (const one of [wire, listener]) await one.has("pusher_internal:subscription_succeeded", 4);
      await server.evictAll();
      const error = await wire.refused(event, data, channel);
      assert.equal(typeof error.message, "string");
      wire.say("client-good", {}, "private-a");
      await listener.has("client-good");
      assert.equal(listener.of(event).length, 0);
      assert.ok(await wire.isUp());
    });
});

describe("frames that are none", () => {
  const cases = [
    ["nothing", ""],
    ["text", "hello"],
    ["half of one", '{"event":"pusher:subscribe"'],
    ["null", "null"],
    ["a list", '["pusher:ping"]'],
    ["no event", "{}"],
    ["a number for the event", '{"event":7}'],
    ["an unknown event", '{"event":"pusher:unknown","data":{}}'],
    ["data that is a number", '{"event":"pusher:subscribe","data":7}'],
    ["data that is a list", '{"event":"pusher:subscribe","data":[]}'],
    ["a list for the channel", '{"event":"pusher:subscribe","data":{"channel":["a"]}}'],
    ["much nesting", `{"event":"pusher:subscribe","data":${"[".repeat(5000)}${"]".repeat(5000)}}`],
    ["bytes", Buffer.from([0, 255, 1])],
  ];
  for (const [what, frame] of cases)
    test(what, async () => {
      const wire = await connect();
      wire.send(frame);
      await wire.has("pusher:error");
      assert.ok(await wire.isUp());
    });

  test("more than any frame may have", async () => {
    const wire = await connect();
    wire.send("x".repeat(1_100_000));
    await wire.has("pusher:error");
    assert.ok(await wire.isUp());
  });
});

const good = JSON.stringify({ name: "e", channel: "http", data: "{}" });
const events = `/apps/${appId}/events`;
const post = (path, body = good) => publish(server, body, { path, authorization: null });
const signed = (path, body, more) => signedPath(path, body, { key, secret, ...more });
const get = (path, parameters = {}) => {
  const query = signedPath(path, "", { key, secret, method: "GET", ...parameters });
  return fetch(server.url + query).then(async (response) => ({
    status: response.status,
    text: await response.text(),
  }));
};

describe("requests that are refused", () => {
  const unsigned = [
    ["without a signature", () => events],
    [
      "after 601 seconds, though they were good once",
      () => signed(events, good, { auth_timestamp: inSeconds(-601) }),
    ],
    ["from 660 seconds ahead", () => signed(events, good, { auth_timestamp: inSeconds(660) })],
    ["with another secret", () => signed(events, good, { secret: "another-secret-than-its" })],
    ["with an unknown key", () => signed(events, good, { key: "nobody" })],
    ["for another body", () => signed(events, good.replace("http", "another"))],
    ["for another path", () => signed(`/apps/${appId}/batch_events`, good).replace("batch_events", "events")],
    ["for another method", () => signed(events, good, { method: "GET" })],
    ["by another app", () => signed(events, good, { key: other.key, secret: other.secret })],
    ["with a parameter that was not signed", () => `${signed(events, good)}&more=1`],
  ];
  for (const [how, path] of unsigned)
    test(`${how}: 401`, async () => {
      const { status } = await post(path());
      assert.equal(status, 401);
    });

  const bad = [
    ["no JSON", "hello", 400],
    ["a list", "[]", 400],
    ["no name", { channel: "http", data: "" }, 400],
    ["a name of 201 characters", { name: "x".repeat(201), channel: "http", data: "" }, 400],
    ["no channel", { name: "e", data: "" }, 400],
    [
      "101 channels",
      { name: "e", channels: Array.from({ length: 101 }, (_, nth) => `c${nth}`), data: "" },
      400,
    ],
    ["a channel of a name with a space", { name: "e", channel: "a b", data: "" }, 400],
    ["a channel of 201 characters", { name: "e", channel: "x".repeat(201), data: "" }, 400],
    ["a socket_id that is none", { name: "e", channel: "http", data: "", socket_id: "1.2.3" }, 400],
    ["no data", { name: "e", channel: "http" }, 400],
    ["more than 10 KB", { name: "e", channel: "http", data: "x".repeat(10_241) }, 413],
  ];
  for (const [what, body, expected] of bad)
    test(`${what}: ${expected}`, async () => {
      const text = typeof body === "string" ? body : JSON.stringify(body);
      const answer = await post(signed(events, text), text);
      assert.equal(answer.status, expected, answer.text);
    });

  const asked = [
    ["users of a channel that has none", "/channels/open/users", {}, 400],
    ["user_count of all channels", "/channels", { info: "user_count" }, 400],
    ["user_count of a public channel", "/channels/open", { info: "user_count" }, 400],
    ["an attribute that there is not", "/channels/open", { info: "nonsense" }, 400],
    ["another path", "/nowhere", {}, 404],
  ];
  for (const [what, path, parameters, expected] of asked)
    test(`${what}: ${expected}`, async () => {
      const { status, text } = await get(`/apps/${appId}${path}`, parameters);
      assert.equal(status, expected, text);
    });

  test("of an app that is not there, or another's: 401, 403 or 404, and nothing is published", async () => {
    const wire = await connect();
    wire.say("pusher:subscribe", { auth: "", channel: "http" });
    await wire.has("pusher_internal:subscription_succeeded");
    for (const path of [`/apps/1234/events`, `/apps/${other.id}/events`]) {
      const { status } = await post(signed(path, good));
      assert.ok([401, 403, 404].includes(status), `${status}`);
    }
    assert.equal((await post(signed(events, good))).status, 200);
    await wire.has("e");
    assert.equal(wire.of("e").length, 1);
  });
});
