import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { basic, inSeconds, join, Listener, Stream, token, until, within } from "../clients/client.mjs";
import { start } from "../harness.mjs";
import { channelsOf, closeConnection, closeUser, lists, occupied } from "./directory.mjs";

const channels = [
  { prefix: "", publish: true },
  { prefix: "crowd", connections: 1 },
  { prefix: "away", connections: 0 },
];
const apps = [
  { id: "1", key: "dev-key", secrets: ["dev-secret"], hub_connections: 2, channels },
  { id: "2", key: "off-key", secrets: ["off-secret-of-16-and-more"], directory: false },
];
const off = basic("off-key", "off-secret-of-16-and-more");

let server;
before(async () => {
  server = await start({ apps });
});
after(() => server.stop());

const keyed = (query) => `?key=dev-key${query ? `&${query}` : ""}`;
const of = (sub) => (sub === undefined ? "" : `token=${token({ sub, exp: inSeconds(3600) })}`);
const open = (channel, query = "", key = keyed) => join(server, channel, { query: key(query) });

async function openMany(query, wanted = []) {
  const listener = new Listener(server, `/connect${keyed(query)}`);
  [listener.welcome] = await listener.has("welcome");
  for (const channel of wanted) listener.send({ type: "subscribe", channel });
  if (wanted.length > 0) await listener.has("subscribed", wanted.length);
  return listener;
}

async function openStream(path, query, welcome = "welcome") {
  const stream = await new Stream().open(
    server,
    `${path}${path.includes("?") ? "&" : "?"}key=dev-key&${query}`,
  );
  if (welcome) stream.welcome = JSON.parse((await stream.has(welcome))[0].data);
  return stream;
}

/** What a connection's id says of where it is: a channel, or a Hub's region and number. */
const placeOf = ({ connection }) => connection.slice(33);

const closeAll = (listeners) => Promise.all(listeners.map((listener) => listener.close()));

/** Over a WebSocket with JSON: the last frame, and the close. */
async function wasClosed(listener) {
  assert.equal((await within("the close", listener.ended)).code, 4403);
  const { type, code, message } = listener.frames.at(-1);
  assert.deepEqual([type, code, message], ["error", "forbidden", "closed by the app"]);
}

async function streamWasClosed(stream) {
  const [{ data }] = await stream.has("close");
  assert.deepEqual(JSON.parse(data), { code: 4403, message: "closed by the app" });
  await within("the stream's end", stream.ended);
}

for (const asleep of [false, true]) {
  const rest = async () => asleep && (await server.evictAll());
  const named = (name) => `${name}${asleep ? "-asleep" : ""}`;

  describe(asleep ? "with everybody asleep between any two steps" : "awake", () => {
    test("a channel is listed while it has connections, wherever they are", async () => {
      const channel = named("crowd");
      const listeners = [];
      for (let nth = 1; nth <= 6; nth += 1) {
        listeners.push(await open(channel));
        await lists(server, channel, { [channel]: nth });
        await rest();
      }
      // One in the room, two in each hub that is full.
      const places = new Set(listeners.map(({ welcome }) => placeOf(welcome)));
      assert.ok(places.has(channel) && places.size >= 4, [...places].join(" "));
      const many = await openMany("", [channel, named("crowd-2")]);
      await lists(server, "crowd", { [channel]: 7, [named("crowd-2")]: 1 });
      await rest();
      await lists(server, "crowd", { [channel]: 7, [named("crowd-2")]: 1 });
      await rest();
      await closeAll([...listeners.slice(0, 3), many]);
      await rest();
      await lists(server, "crowd", { [channel]: 3 });
      await rest();
      await closeAll(listeners.slice(3));
      await rest();
      await lists(server, "crowd", {});
    });

    test("the directory hears who comes at once, and who has gone after a pause, one row each", async () => {
      const channel = named("told");
      const row = async () => (await server.directory()).channels.find(({ name }) => name === channel);
      const first = await open(channel);
      const held = await until("the row", row);
      assert.equal(held.sockets, 1);
      const follower = await openMany("", [channel]);
      await rest();
      await first.close();
      const second = await open(channel);
      assert.deepEqual(await row(), held, "a page that is loaded again is no change");
      await rest();
      await second.close();
      await rest();
      const followed = await until("no sockets", async () => {
        const found = await row();
        return found?.sockets === 0 && found;
      });
      assert.ok(followed.at > held.at);
      // The Hub ends following after five seconds. The runtime puts it to sleep after ten, and not before.
      await follower.close();
      await until("no row", async () => !(await row()), 20_000);
      const left = async () => (await server.directory()).hubs.length;
      await until("no hub", async () => (await left()) === 0, 20_000);
    });

    test("pages follow one another, in order of name, within a prefix", async () => {
      const names = ["b", "a", "d", "c", "aa"].map((name) => named(`paged-${name}`));
      const listeners = [];
      for (const name of names) listeners.push(await open(name));
      const outside = await open(named("pagef"));
      const sorted = [...names].sort();
      await rest();
      await lists(server, "paged-", Object.fromEntries(sorted.map((name) => [name, 1])));
      await rest();
      const found = [];
      for (let after = ""; ; ) {
        await rest();
        const { status, json } = await channelsOf(server, `?prefix=paged-&limit=2${after}`);
        assert.equal(status, 200);
        assert.ok(json.channels.length <= 2);
        found.push(...json.channels.map(({ channel }) => channel));
        assert.equal(json.after, json.more ? found.at(-1) : undefined);
        if (!json.more) break;
        after = `&after=${json.after}`;
      }
      assert.deepEqual(found, sorted);
      await closeAll([...listeners, outside]);
      await lists(server, "paged-", {});
    });

    test("one connection is closed by its id, in every format, and nobody else", async () => {
      const [room, away] = [named("kick"), named("away")];
      for (const channel of [room, away]) {
        const json = await open(channel);
        const stream = await openStream(`/rooms/${channel}`, "");
        const others = [await open(channel), await open(channel, "raw=1")];
        for (const listener of [json, stream]) {
          const id = listener.welcome.connection;
          assert.match(id, /^[0-9a-f]{32}:/);
          await rest();
          assert.deepEqual((await closeConnection(server, id)).json, { closed: 1 });
        }
        await wasClosed(json);
        await streamWasClosed(stream);
        await rest();
        assert.deepEqual((await closeConnection(server, json.welcome.connection)).json, { closed: 0 });
        for (const other of others) assert.equal(other.socket.readyState, 1);
        await closeAll(others);
      }
      const many = await openMany("", [room]);
      const manyStream = await openStream(`/events?channels=${room},${away}`, "");
      await rest();
      for (const listener of [many, manyStream])
        assert.deepEqual((await closeConnection(server, listener.welcome.connection)).json, { closed: 1 });
      await wasClosed(many);
      await streamWasClosed(manyStream);
      const unknown = `${"0".repeat(32)}:weur:4000000000`;
      for (const id of [unknown, `${"0".repeat(32)}:${named("nobody")}`])
        assert.deepEqual((await closeConnection(server, id)).json, { closed: 0 });
    });

    test("a user's connections are closed in every room and hub, and nobody else's", async () => {
      const user = named("user/ä");
      const names = [named("kick-a"), named("kick-b"), named("away-a")];
      const [mine, others] = [[], []];
      for (const name of names)
        for (const [listeners, who] of [
          [mine, user],
          [others, "somebody else"],
          [others, undefined],
        ])
          listeners.push(await open(name, of(who)));
      for (const [listeners, who] of [
        [mine, user],
        [others, "somebody else"],
      ])
        listeners.push(await openMany(of(who), names));
      const streams = [
        await openStream(`/rooms/${names[0]}`, of(user)),
        await openStream(`/rooms/${names[2]}`, of(user)),
        await openStream(`/events?channels=${names.join(",")}`, of(user)),
      ];
      const raw = await open(names[1], `raw=1&${of(user)}`);
      const everybody = [...mine, ...others, ...streams].filter(({ welcome }) => welcome);
      const places = new Set(
        everybody.map(({ welcome }) => placeOf(welcome)).filter((place) => place.includes(":")),
      );
      assert.ok(places.size >= 3, [...places].join(" "));
      await until("every report", async () => {
        const { channels, hubs } = await server.directory();
        const held = channels.filter(({ name, sockets }) => names.includes(name) && sockets === 1);
        return (
          held.length === 2 && [...places].every((place) => hubs.some(({ name }) => name === `v1:1:${place}`))
        );
      });
      await rest();
      const { status, json, text } = await closeUser(server, user);
      assert.equal(status, 200, text);
      assert.deepEqual(json, { closed: mine.length + streams.length + 1, done: true });
      for (const listener of mine) await wasClosed(listener);
      for (const stream of streams) await streamWasClosed(stream);
      assert.equal((await within("the close", raw.ended)).code, 4403);
      assert.deepEqual(raw.frames, []);
      await rest();
      assert.deepEqual((await closeUser(server, user)).json, { closed: 0, done: true });
      for (const other of others) {
        assert.equal(other.socket.readyState, 1);
        assert.equal(other.of("error").length, 0);
      }
      await closeAll(others);
    });
  });
}

test("objects that lost everybody without a word are struck out by the next listing", async () => {
  await open("lost-a");
  await openMany("", ["lost-b"]);
  await lists(server, "lost", { "lost-a": 1, "lost-b": 1 });
  await server.evictAll({ webSockets: "close" });
  await lists(server, "lost", {});
  const back = [await open("lost-a"), await openMany("", ["lost-b"])];
  await lists(server, "lost", { "lost-a": 1, "lost-b": 1 });
  await closeAll(back);
});

test("a listing between two pages of one visitor loses nobody", async () => {
  for (let round = 0; round < 5; round += 1) {
    const first = await open("reload");
    await lists(server, "reload", { reload: 1 });
    await first.close();
    await until("nobody", async () => Object.keys(await occupied(server, "reload")).length === 0);
    const second = await open("reload");
    await lists(server, "reload", { reload: 1 });
    await second.close();
  }
});

test("users' channels are channels", async () => {
  const listener = new Listener(server, `/users/7${keyed(of("7"))}`);
  await listener.has("welcome");
  await lists(server, "#server-to-user-", { "#server-to-user-7": 1 });
  const { connection } = listener.frames[0];
  assert.deepEqual((await closeConnection(server, connection)).json, { closed: 1 });
  await wasClosed(listener);
});

test("an app may do without", async () => {
  const before = (await server.objects()).length;
  const listener = await open("lobby", "", () => "?key=off-key");
  assert.equal((await server.objects()).length, before + 1, "its room, and no directory");
  for (const answer of [await channelsOf(server, "", off), await closeUser(server, "u", off)]) {
    assert.equal(answer.status, 404);
    assert.equal(answer.json.error.code, "not_found");
    assert.match(answer.json.error.message, /directory/);
  }
  assert.deepEqual((await closeConnection(server, listener.welcome.connection, off)).json, { closed: 1 });
  await wasClosed(listener);
  assert.equal((await server.objects()).length, before + 1);
});

test("another app's credentials reach nothing", async () => {
  const listener = await open("mine", of("u"));
  await lists(server, "mine", { mine: 1 });
  assert.deepEqual((await closeConnection(server, listener.welcome.connection, off)).json, { closed: 0 });
  for (const nobody of [null, basic("dev-key", "wrong"), basic("off-key", "dev-secret")]) {
    for (const answer of [
      await channelsOf(server, "", nobody),
      await closeUser(server, "u", nobody),
      await closeConnection(server, listener.welcome.connection, nobody),
    ])
      assert.equal(answer.status, 401);
  }
  assert.equal(listener.of("error").length, 0);
  await listener.close();
});
