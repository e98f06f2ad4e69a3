/** pusher-js in Node: channels of every kind, and what servers trigger in them. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { until } from "../clients/client.mjs";
import { start } from "../harness.mjs";
import { appId, key, secret, startBackend } from "./backend.mjs";
import { Client } from "./client.mjs";

const apps = [{ id: appId, key, secrets: [secret], channels: [{ prefix: "", publish: true }] }];

let server;
let backend;
const clients = [];
before(async () => {
  server = await start({ apps });
  backend = await startBackend(server);
});
after(async () => {
  await backend.close();
  await server.stop();
});
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

/** A client that is connected. */
function connect(user, more) {
  const client = new Client(server, backend, { user, ...more });
  clients.push(client);
  return client.connected();
}

/** The data of every event of a channel, in order. */
const dataOf = (client, event, channel) => client.of(event, channel).map(({ data }) => data);

/** What an event may carry, as the SDK takes it and as pusher-js gives it. */
const contents = [
  { mouse: "🐭", nested: { list: [1, null, true, 'é\n\u2028"\\'] } },
  "a text",
  '🐭 with "quotes" and \\ and \u0000',
  "",
  [],
];

for (const asleep of [false, true]) {
  const rest = async () => asleep && (await server.evictAll());
  const named = (name) => `${name}${asleep ? "-asleep" : ""}`;

  describe(asleep ? "with everybody asleep between any two steps" : "awake", () => {
    test("connects, at any path", async () => {
      const plain = await connect();
      assert.match(plain.socketId, /^\d+\.\d+$/);
      await rest();
      const behind = await connect(undefined, { wsPath: "/any/path" });
      assert.match(behind.socketId, /^\d+\.\d+$/);
      assert.notEqual(plain.socketId, behind.socketId);
      await rest();
      const channel = named("paths");
      await plain.subscribe(channel);
      await rest();
      await behind.subscribe(channel);
      await rest();
      await backend.sdk.trigger(channel, "hello", "both");
      for (const client of [plain, behind]) {
        await client.has("hello", channel);
        assert.deepEqual(client.errors, []);
        assert.deepEqual(client.states, ["connected"]);
      }
    });

    test("a public channel: everything that is triggered, as it was triggered, in order", async () => {
      const channel = named("public");
      const [one, two] = [await connect(), await connect()];
      await one.subscribe(channel);
      await rest();
      await two.subscribe(channel);
      for (const data of contents) {
        await rest();
        const answer = await backend.sdk.trigger(channel, "content", data);
        assert.deepEqual([answer.status, await answer.json()], [200, {}]);
      }
      await one.has("content", channel, contents.length);
      await two.has("content", channel, contents.length);
      // pusher-js gives a text that is not JSON as it is.
      assert.deepEqual(dataOf(one, "content", channel), contents);
      assert.deepEqual(dataOf(two, "content", channel), contents);
      assert.ok(one.of("content").every((frame) => !("user_id" in frame)));
    });

    test("a private channel is for who is authorised", async () => {
      const channel = named("private-letters");
      const client = await connect("anna");
      await client.subscribe(channel);
      assert.deepEqual(backend.asked.at(-1), { channel, socket: client.socketId, user: "anna" });
      await rest();
      await backend.sdk.trigger(channel, "letter", { to: "anna" });
      await client.has("letter", channel);
      const refused = client.pusher.subscribe(named("private-forbidden"));
      const error = await new Promise((done) => refused.bind("pusher:subscription_error", done));
      assert.equal(error.status, 403);
      assert.equal(refused.subscribed, false);
    });

    test("an event is kept from the socket that caused it", async () => {
      const channel = named("private-excluded");
      const [one, two] = [await connect("a"), await connect("b")];
      await one.subscribe(channel);
      await two.subscribe(channel);
      await rest();
      await backend.sdk.trigger(channel, "moved", 1, { socket_id: one.socketId });
      await rest();
      await backend.sdk.triggerBatch([
        { channel, name: "moved", data: "2", socket_id: two.socketId },
        { channel, name: "moved", data: "3" },
      ]);
      await one.has("moved", channel, 2);
      await two.has("moved", channel, 2);
      assert.deepEqual(dataOf(one, "moved", channel), [2, 3]);
      assert.deepEqual(dataOf(two, "moved", channel), [1, 3]);
    });

    test("many channels at once, and a batch", async () => {
      const names = ["red", "private-green", "presence-blue"].map(named);
      const client = await connect("anna");
      await client.subscribe(...names);
      await rest();
      await backend.sdk.trigger(names, "paint", { coat: 1 });
      await rest();
      const batch = names.map((channel, nth) => ({ channel, name: "paint", data: { coat: 2, nth } }));
      assert.deepEqual(await (await backend.sdk.triggerBatch(batch)).json(), {});
      for (const [nth, name] of names.entries()) {
        await client.has("paint", name, 2);
        assert.deepEqual(dataOf(client, "paint", name), [{ coat: 1 }, { coat: 2, nth }]);
      }
    });

    test("an encrypted channel: Dormouse carries what it cannot read", async () => {
      const channel = named("private-encrypted-secrets");
      const client = await connect("anna");
      const read = [];
      client.pusher.subscribe(channel).bind("secret", (data) => read.push(data));
      await client.subscribe(channel);
      await rest();
      await backend.sdk.trigger(channel, "secret", { the: "treasure 🐭" });
      await rest();
      await backend.sdk.triggerBatch([{ channel, name: "secret", data: "second" }]);
      await until("both", () => read.length === 2);
      assert.deepEqual(read, [{ the: "treasure 🐭" }, "second"]);
      for (const { data } of client.of("secret", channel))
        assert.deepEqual(Object.keys(data).sort(), ["ciphertext", "nonce"]);
    });

    for (const kind of ["cache", "private-cache", "presence-cache", "private-encrypted-cache"]) {
      test(`${kind}-: the last event for who comes later, or that there is none`, async () => {
        const channel = named(`${kind}-news`);
        const heard = (client) => {
          const list = [];
          client.pusher.subscribe(channel).bind_global((event, data) => list.push({ event, data }));
          return list;
        };
        const one = await connect("a");
        const first = heard(one);
        await one.has("pusher:cache_miss", channel);
        const order = one.frames.filter((frame) => frame.channel === channel).map(({ event }) => event);
        assert.deepEqual(order, ["pusher_internal:subscription_succeeded", "pusher:cache_miss"]);
        for (const number of [1, 2]) {
          await rest();
          await backend.sdk.trigger(channel, "news", { number });
        }
        await one.has("news", channel, 2);
        await rest();
        const two = await connect("b");
        const second = heard(two);
        await two.has("news", channel);
        const news = (list) => list.filter(({ event }) => event === "news").map(({ data }) => data.number);
        await until("decrypted", () => news(first).length === 2 && news(second).length === 1);
        assert.deepEqual([news(first), news(second)], [[1, 2], [2]]);
        assert.equal(two.of("pusher:cache_miss").length, 0);
        const [begin] = two.frames.filter((frame) => frame.channel === channel);
        assert.equal(begin.event, "pusher_internal:subscription_succeeded");
      });
    }

    test("who has left a channel gets nothing of it, and may come back", async () => {
      const channel = named("private-left");
      const [one, two] = [await connect("a"), await connect("b")];
      await one.subscribe(channel);
      await two.subscribe(channel);
      await rest();
      one.pusher.unsubscribe(channel);
      // Nothing answers that: what is answered after it comes later.
      await one.subscribe(named("another"));
      await rest();
      await backend.sdk.trigger(channel, "while-away", 1);
      await two.has("while-away", channel);
      await rest();
      await one.subscribe(channel);
      await backend.sdk.trigger(channel, "back", 1);
      await one.has("back", channel);
      assert.equal(one.of("while-away").length, 0);
    });
  });
}

test("the bound of the server's SDK: a hundred channels with one trigger, ten events in one batch", async () => {
  const names = Array.from({ length: 100 }, (_, nth) => `hundred-${nth}`);
  const client = await connect();
  await client.subscribe(names[0], names[99]);
  await backend.sdk.trigger(names, "all", 1);
  await client.has("all", names[0]);
  await client.has("all", names[99]);
  const batch = (count) =>
    Array.from({ length: count }, (_, nth) => ({ channel: names[0], name: "ten", data: nth }));
  await backend.sdk.triggerBatch(batch(10));
  await client.has("ten", names[0], 10);
  assert.deepEqual(dataOf(client, "ten", names[0]), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const refused = await backend.sdk.triggerBatch(batch(11)).catch((error) => error);
  assert.equal(refused.status, 400);
  assert.match(refused.body, /[Bb]atch too large/);
});
