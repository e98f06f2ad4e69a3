// Pusher's HTTP API, driven by Pusher's own library for Node, as it is on npm.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import Pusher from "pusher";
import {
  history,
  inSeconds,
  join,
  Listener,
  published,
  signedPath,
  token,
  until,
  within,
} from "../clients/client.mjs";
import { start } from "../harness.mjs";

const [key, secret] = ["app-key", "the-secret-of-the-app"];
const other = { id: "2", key: "other-key", secrets: ["the-secret-of-the-other"], directory: false };
const channels = [
  { prefix: "tiny", message_bytes: 10 },
  { prefix: "cache-short", history: { size: 5, ttl: 120 } },
];
const apps = [{ id: "1", key, secrets: [secret], channels }, other];

let server;
before(async () => {
  server = await start({ apps });
});
after(() => server.stop());

function library(options) {
  const { hostname, port } = new URL(server.url);
  return new Pusher({ appId: "1", key, secret, host: hostname, port, useTLS: false, ...options });
}

const bodyOf = async (response) => {
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "application/json");
  return response.json();
};

/** Status and text of what the library throws. */
async function refusedBy(promise) {
  const error = await promise.then(
    () => assert.fail("it was not refused"),
    (error) => error,
  );
  assert.ok(error instanceof Pusher.RequestError, error);
  assert.match(error.body, /^[^\n]+\n$/, "one line of text");
  return [error.status, error.body.trimEnd()];
}

/** A socket of many channels. */
async function openMany(wanted, query = "") {
  const listener = new Listener(server, `/connect?key=${key}${query}`);
  [listener.welcome] = await listener.has("welcome");
  for (const channel of wanted) listener.send({ type: "subscribe", channel });
  await listener.has("subscribed", wanted.length);
  return listener;
}

/** A socket that speaks Pusher's protocol, by hand. */
class PusherSocket extends Listener {
  constructor() {
    super(server, `/app/${key}?protocol=7&client=test&version=1`);
  }

  async hears(event, count = 1) {
    const heard = () => this.frames.filter((frame) => frame.event === event);
    const missing = () => `${count} × ${event}, there is ${JSON.stringify(this.frames)}`;
    return until(missing, () => heard().length >= count && heard());
  }

  async open(...wanted) {
    const [{ data }] = await this.hears("pusher:connection_established");
    this.id = JSON.parse(data).socket_id;
    for (const channel of wanted) this.send({ event: "pusher:subscribe", data: { channel } });
    await this.hears("pusher_internal:subscription_succeeded", wanted.length);
    return this;
  }
}

const openPusher = (...wanted) => new PusherSocket().open(...wanted);
const dataOf = (frames) => frames.map(({ data }) => data);
const closeAll = (listeners) => Promise.all(listeners.map((listener) => listener.close()));
const memberToken = (sub, channel) =>
  `&token=${token({ sub, exp: inSeconds(3600), channels: { [channel]: ["sub"] } }, { secret })}`;

for (const asleep of [false, true]) {
  const rest = async () => asleep && (await server.evictAll());
  const named = (name) => `${name}${asleep ? "-asleep" : ""}`;

  describe(asleep ? "with everybody asleep between any two steps" : "awake", () => {
    test("what is triggered reaches every dialect, with the position that it would have had", async () => {
      const pusher = library();
      const channel = named("news");
      const room = await join(server, channel, { query: `?key=${key}` });
      const many = await openMany([channel]);
      const socket = await openPusher(channel);
      const contents = [{ any: ["json", 1.5, null] }, "plain text", "12", "", "ü \u2028 \u{1f9ad}", 7];
      for (const content of contents) {
        await rest();
        assert.deepEqual(await bodyOf(await pusher.trigger(channel, "an event", content)), {});
      }
      // The library sends text as it is, and anything else as JSON: JSON is JSON to who reads it.
      const read = [{ any: ["json", 1.5, null] }, "plain text", 12, "", "ü \u2028 \u{1f9ad}", 7];
      assert.deepEqual(dataOf(await room.has("message", 6)), read);
      assert.deepEqual(dataOf(await many.has("message", 6)), read);
      const texts = contents.map((content) =>
        typeof content === "string" ? content : JSON.stringify(content),
      );
      assert.deepEqual(dataOf(await socket.hears("an event", 6)), texts);
      const position = await published(
        server,
        { channel, data: 1 },
        {
          authorization: null,
          path: signedPath("/publish", JSON.stringify({ channel, data: 1 }), { key, secret }),
        },
      );
      assert.equal(position, room.welcome.position.replace(/:0$/, ":7"));
      assert.equal((await many.has("message", 7)).at(-1).position, position);
      await closeAll([room, many, socket]);
    });

    test("a message is kept from one socket, and from that one only", async () => {
      const pusher = library();
      const [channel, second] = [named("except"), named("except-2")];
      const [one, two] = [await openPusher(channel, second), await openPusher(channel, second)];
      const many = await openMany([channel, second]);
      await rest();
      await pusher.trigger([channel, second], "e", "not-one", { socket_id: one.id });
      await rest();
      await pusher.trigger(channel, "e", "not-two", { socket_id: two.id });
      await rest();
      // The library takes no ids but Pusher's.
      const body = { name: "e", channel, data: "not-many", socket_id: many.welcome.connection };
      await pusher.post({ path: "/events", body });
      await rest();
      await pusher.triggerBatch([
        { channel, name: "e", data: "batch-not-one", socket_id: one.id },
        { channel, name: "e", data: "to-all" },
      ]);
      const [b, c] = [channel, second].map((name) => (data) => `${name}:${data}`);
      const sorted = (frames) => frames.map(({ channel, data }) => `${channel}:${data}`).sort();
      assert.deepEqual(sorted(await one.hears("e", 3)), [b("not-two"), b("not-many"), b("to-all")].sort());
      assert.deepEqual(
        sorted(await two.hears("e", 5)),
        [b("not-one"), c("not-one"), b("not-many"), b("batch-not-one"), b("to-all")].sort(),
      );
      assert.deepEqual(
        sorted(await many.has("message", 5)),
        [b("not-one"), c("not-one"), b("not-two"), b("batch-not-one"), b("to-all")].sort(),
      );
      await closeAll([one, two, many]);
    });

    test("info tells what there is of every channel", async () => {
      const pusher = library();
      const [plain, presence, empty] = [named("info"), named("presence-info"), named("info-empty")];
      const of = (user) => memberToken(user, presence);
      const members = [
        await openMany([presence], of("u1")),
        await openMany([presence], of("u1")),
        await join(server, presence, { query: `?key=${key}${of("u2")}` }),
      ];
      const listeners = [...members, await openMany([plain])];
      const info = "user_count,subscription_count";
      const wanted = {
        [plain]: { subscription_count: 1 },
        [presence]: { user_count: 2, subscription_count: 3 },
        [empty]: { subscription_count: 0 },
      };
      let last;
      await until(
        () => JSON.stringify(last),
        async () => {
          await rest();
          last = (await bodyOf(await pusher.trigger([plain, presence, empty], "e", {}, { info }))).channels;
          return last[presence].user_count === 2;
        },
      );
      assert.deepEqual(last, wanted);
      assert.deepEqual(await bodyOf(await pusher.trigger(plain, "e", {}, { info: "user_count" })), {
        channels: { [plain]: {} },
      });
      const batch = [
        { channel: presence, name: "e", data: {}, info: "user_count" },
        { channel: plain, name: "e", data: {} },
        { channel: plain, name: "e", data: {}, info },
      ];
      assert.deepEqual(await bodyOf(await pusher.triggerBatch(batch)), {
        batch: [{ user_count: 2 }, {}, { subscription_count: 1 }],
      });
      await closeAll(listeners);
    });

    test("a user is sent to on all connections", async () => {
      const pusher = library();
      const user = named("user@example.com");
      const query = `?key=${key}&token=${token({ sub: user, exp: inSeconds(3600) }, { secret })}`;
      const listener = new Listener(server, `/users/${encodeURIComponent(user)}${query}`);
      await listener.has("welcome");
      await rest();
      assert.deepEqual(await bodyOf(await pusher.sendToUser(user, "hello", { a: 1 })), {});
      const [{ event, data, channel }] = await listener.has("message");
      assert.deepEqual([event, data, channel], ["hello", { a: 1 }, `#server-to-user-${user}`]);
      await listener.close();
    });

    test("channels, one channel and its users are told", async () => {
      const pusher = library();
      const [plain, presence, cache] = [named("list-a"), named("presence-list"), named("cache-short")];
      const get = async (path, params) => bodyOf(await pusher.get({ path, params }));
      const of = (user) => memberToken(user, presence);
      assert.deepEqual(await get(`/channels/${plain}`), { occupied: false });
      assert.deepEqual(await get(`/channels/${presence}`, { info: "user_count" }), {
        occupied: false,
        user_count: 0,
      });
      assert.deepEqual(await get(`/channels/${presence}/users`), { users: [] });
      const listeners = [
        await openMany([presence], of("u1")),
        await join(server, presence, { query: `?key=${key}${of("u2")}` }),
        await openMany([plain]),
        await join(server, plain, { query: `?key=${key}` }),
      ];
      let last;
      const listed = async (params, expected) => {
        const right = async () => {
          await rest();
          last = (await get("/channels", params)).channels;
          return JSON.stringify(last) === JSON.stringify(expected);
        };
        await until(() => `${JSON.stringify(expected)}, there is ${JSON.stringify(last)}`, right, 20_000);
      };
      await listed({ filter_by_prefix: plain }, { [plain]: {} });
      await listed(
        { filter_by_prefix: presence, info: "user_count,subscription_count" },
        { [presence]: { user_count: 2, subscription_count: 2 } },
      );
      const all = (await get("/channels")).channels;
      assert.deepEqual([all[plain], all[presence]], [{}, {}]);
      assert.deepEqual(await get(`/channels/${plain}`, { info: "subscription_count" }), {
        occupied: true,
        subscription_count: 2,
      });
      assert.deepEqual(await get(`/channels/${presence}`, { info: "user_count,subscription_count" }), {
        occupied: true,
        user_count: 2,
        subscription_count: 2,
      });
      assert.deepEqual(await get(`/channels/${presence}/users`), { users: [{ id: "u1" }, { id: "u2" }] });

      assert.deepEqual(await get(`/channels/${cache}`, { info: "cache" }), { occupied: false, cache: null });
      await pusher.trigger(cache, "e", { old: true });
      await pusher.trigger(cache, "e", "the last");
      await rest();
      const { cache: kept } = await get(`/channels/${cache}`, { info: "cache" });
      assert.equal(kept.data, "the last");
      assert.ok(kept.ttl > 100 && kept.ttl <= 120, `${kept.ttl}`);

      await closeAll(listeners);
      await listed({ filter_by_prefix: plain }, {});
      assert.deepEqual(await get(`/channels/${plain}`), { occupied: false });
    });

    test("a user's connections are terminated, and nobody else's", async () => {
      const pusher = library();
      for (const user of [named("mallory"), named("a ü@b")]) {
        const of = (sub) => `&token=${token({ sub, exp: inSeconds(3600) }, { secret })}`;
        const [channel, goes, stays] = [named("kick"), of(user), of(`${user}2`)];
        const gone = [
          await openMany([channel], goes),
          await join(server, channel, { query: `?key=${key}${goes}` }),
        ];
        const left = [await openMany([channel], stays), await openPusher(channel)];
        await rest();
        assert.deepEqual(await bodyOf(await pusher.terminateUserConnections(user)), {});
        for (const { ended } of gone) assert.equal((await within("the close", ended)).code, 4403);
        await pusher.trigger(channel, "still", {});
        await left[0].has("message");
        await left[1].hears("still");
        await closeAll(left);
      }
    });

    test("who has signed in by Pusher's protocol is terminated as Pusher does it", async () => {
      const pusher = library();
      const id = named("signed-in");
      const socket = await openPusher(named("kick-pusher"));
      socket.send({ event: "pusher:signin", data: pusher.authenticateUser(socket.id, { id }) });
      await socket.hears("pusher:signin_success");
      await rest();
      await pusher.terminateUserConnections(id);
      assert.equal((await within("the close", socket.ended)).code, 4009);
    });

    test("the same id makes one message, however often it is sent", async () => {
      const pusher = library();
      const channel = named("once");
      for (let nth = 0; nth < 3; nth += 1) {
        assert.deepEqual(await bodyOf(await pusher.trigger(channel, "e", "1", { id: "i" })), {});
        await rest();
      }
      await pusher.triggerBatch([{ channel, name: "e", data: "1", id: "i" }]);
      const path = signedPath(`/channels/${channel}/messages`, "", { key, secret, method: "GET" });
      const { json } = await history(server, channel, {
        query: `?${path.split("?")[1]}`,
        authorization: null,
      });
      assert.deepEqual(dataOf(json.messages), [1]);
      const [status, text] = await refusedBy(pusher.trigger(channel, "e", "2", { id: "i" }));
      assert.equal(status, 409);
      assert.match(text, new RegExp(`^${channel}: `));
    });
  });
}

test("what cannot be published is refused with the texts that the libraries look for", async () => {
  const pusher = library();
  const long = pusher.trigger("tiny", "e", "12345678901");
  assert.deepEqual(await refusedBy(long), [
    413,
    "The data content of this event exceeds the allowed maximum (10 bytes, the channel's rule in APPS)",
  ]);
  const event = (more) => ({ channel: "a", name: "e", data: "1", ...more });
  const batch = (...events) => pusher.triggerBatch(events);
  assert.deepEqual(await refusedBy(batch(...Array.from({ length: 11 }, event))), [
    400,
    "Batch too large (> 10)",
  ]);
  const [status, text] = await refusedBy(batch(event(), event({ channel: "tiny", data: "12345678901" })));
  assert.equal(status, 413);
  assert.match(text, /^batch\[1\]: The data content of this event/);
  const post = (body) => pusher.post({ path: "/events", body });
  for (const [more, words] of [
    [{ data: { a: 1 } }, /^data: a string/],
    [{ data: undefined }, /^data/],
    [{ name: undefined }, /^name/],
    [{ name: "n".repeat(201) }, /^name: 1 to 200/],
    [{ name: "pusher:ping" }, /^name: names that begin with pusher: /],
    [{ name: "pusher_internal:member_removed" }, /^name: names that begin with pusher_internal: /],
    [{ name: "dormouse:gap" }, /^name: names that begin with dormouse: /],
    [{ channel: undefined }, /^channel or channels/],
    [{ channel: "a b" }, /channel name/],
    [{ channels: Array.from({ length: 101 }, (_, nth) => `c${nth}`) }, /^channels: 1 to 100/],
    [{ socket_id: "no" }, /^Invalid socket id no/],
  ]) {
    const [status, text] = await refusedBy(post(event(more)));
    assert.equal(status, 400);
    assert.match(text, words);
  }
});

test("what cannot be asked is refused", async () => {
  const pusher = library();
  const get = (path, params) => refusedBy(pusher.get({ path, params }));
  const needs =
    "user_count may only be requested for presence channels - please supply filter_by_prefix begining with presence-";
  assert.deepEqual(await get("/channels", { info: "user_count" }), [400, needs]);
  assert.deepEqual(await get("/channels", { info: "user_count", filter_by_prefix: "private-" }), [
    400,
    needs,
  ]);
  const unless = "Cannot retrieve the user count unless the channel is a presence channel";
  assert.deepEqual(await get("/channels/private-a", { info: "user_count" }), [400, unless]);
  const only = "Users can only be retrieved for presence channels";
  assert.deepEqual(await get("/channels/private-a/users"), [400, only]);
  assert.equal((await get("/nothing"))[0], 404);
  const shut = library({ appId: "2", key: other.key, secret: other.secrets[0] });
  assert.equal((await refusedBy(shut.get({ path: "/channels" })))[0], 404);
  assert.equal((await refusedBy(shut.terminateUserConnections("u")))[0], 404);
});

test("only the app of the path is served, with its own secret and in time", async () => {
  const wrong = (options) => refusedBy(library(options).trigger("a", "e", "1"));
  const [status, text] = await wrong({ secret: "the-secret-of-nobody" });
  assert.equal(status, 401);
  assert.match(
    text,
    /^Invalid signature: you should have sent HmacSHA256Hex\("POST\\n\/apps\/1\/events\\nauth_key=app-key&/,
  );
  assert.deepEqual(await wrong({ key: "nobody" }), [401, "Unknown auth_key"]);
  assert.deepEqual(await wrong({ key: other.key, secret: other.secrets[0] }), [401, "Unknown auth_key"]);
  assert.deepEqual(await wrong({ appId: "2" }), [401, "Unknown auth_key"]);
  assert.deepEqual(await wrong({ appId: "3" }), [404, "Unknown app id 3"]);

  const body = JSON.stringify({ name: "e", channel: "a", data: "1" });
  const send = async (path, text = body) => {
    const response = await fetch(server.url + path, { method: "POST", body: text });
    return [response.status, await response.text()];
  };
  const signed = (more, path = "/apps/1/events") => signedPath(path, body, { key, secret, ...more });
  for (const seconds of [-610, 610]) {
    const [status, text] = await send(signed({ auth_timestamp: inSeconds(seconds) }));
    assert.equal(status, 401);
    const time = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`;
    const shape = `^Timestamp expired: Given timestamp \\(${time}\\) not within 600s of server time \\(${time}\\)\n$`;
    assert.match(text, new RegExp(shape));
    const [, given, now] = text.match(/\((.*?)\).*\((.*?)\)/);
    const apart = (Date.parse(given) - Date.parse(now)) / 1000;
    assert.ok(Math.abs(apart - seconds) < 10, text);
  }
  // In time it may be sent again; for anything else it is not good.
  const good = signed();
  assert.deepEqual(await send(good), [200, "{}"]);
  assert.deepEqual(await send(good), [200, "{}"]);
  assert.equal((await send(good, body.replace("1", "2")))[0], 401);
  assert.equal((await send(good.replace("/events", "/batch_events")))[0], 401);
  assert.equal((await send(good.replace("/apps/1/", "/apps/2/")))[0], 401);
  assert.equal((await send(signed({ auth_version: "2.0" })))[0], 401);
  assert.equal((await send(signedPath("/apps/1/events", "", { key, secret })))[0], 401);
  const listing = signedPath("/apps/1/channels", "", { key, secret, method: "GET" });
  const asked = await fetch(server.url + listing);
  assert.deepEqual([asked.status, (await asked.json()).channels !== undefined], [200, true]);
  assert.equal((await fetch(server.url + listing, { method: "POST" })).status, 405);
});
