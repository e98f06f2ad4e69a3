/** Who is there, in rooms and Hubs of a real workerd; and after it was killed. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { basic, inSeconds, join, Listener, published, token, until, within } from "../clients/client.mjs";
import { start } from "../harness.mjs";
import { start as startWorkerd } from "../workerd.mjs";
import { view } from "./view.mjs";

const channels = [
  { prefix: "", publish: true, client_rate: 1000 },
  { prefix: "presence-crowd", connections: 1 },
];
const apps = [{ id: "1", key: "dev-key", secrets: ["dev-secret"], hub_connections: 3, channels }];
const pass = (user) => token({ sub: user, exp: inSeconds(3600), channels: { "presence-*": ["sub", "pub"] } });

let server;
before(async () => {
  server = await start({ apps });
});
after(() => server.stop());

const inRoom = (channel, user, more = "") => join(server, channel, { query: `?token=${pass(user)}${more}` });

/** A connection of many channels, with these. */
async function onHub(at, user, ...wanted) {
  const listener = new Listener(at, `/connect?token=${pass(user)}`);
  await within("the handshake", listener.opened);
  await listener.has("welcome");
  for (const channel of wanted) listener.send({ type: "subscribe", channel, data: { name: user } });
  await listener.has("subscribed", wanted.length);
  return listener;
}

async function members(at, channel, query = "") {
  const response = await fetch(`${at.url}/channels/${channel}/members${query}`, {
    headers: { authorization: basic() },
  });
  assert.equal(response.status, 200);
  return response.json();
}

/** Waits until everybody, and the list, say that these are there. */
async function sees(at, channel, listeners, expected, ms = 15_000) {
  const same = (users) => JSON.stringify(users) === JSON.stringify(expected);
  const views = () => listeners.map((listener) => view(listener.frames, channel));
  await until(
    () => `${expected}, there is ${JSON.stringify(views())}`,
    async () => {
      const page = await members(at, channel, "?limit=1000");
      return (
        same(page.members.map((member) => member.user)) &&
        page.count === expected.length &&
        views().every(({ users, count }) => same(users) && count === expected.length)
      );
    },
    ms,
  );
  assert.deepEqual(
    views().flatMap(({ faults }) => faults),
    [],
  );
}

for (const asleep of [false, true]) {
  const rest = async () => asleep && (await server.evictAll());
  const named = (name) => `presence-${name}${asleep ? "-asleep" : ""}`;

  describe(asleep ? "with everybody asleep between any two steps" : "awake", () => {
    test("in a room: lists, joins, tabs, reloads and leaves", async () => {
      const channel = named("room");
      const a = await inRoom(channel, "a", "&data=%7B%22name%22%3A%22Anna%22%7D");
      await sees(server, channel, [a], ["a"]);
      assert.deepEqual(a.of("members")[0].members, [{ user: "a", data: { name: "Anna" } }]);
      await rest();
      const b = await inRoom(channel, "b");
      await sees(server, channel, [a, b], ["a", "b"]);
      await rest();
      const second = await inRoom(channel, "a");
      await sees(server, channel, [a, b, second], ["a", "b"]);
      await rest();
      await a.close();
      await rest();
      // A page that is loaded again.
      await b.close();
      const back = await inRoom(channel, "b");
      await rest();
      await sees(server, channel, [second, back], ["a", "b"]);
      await second.close();
      await rest();
      await sees(server, channel, [back], ["b"]);
      assert.equal(view(back.frames, channel).users.length, 1);
      assert.equal(second.of("presence").length, 0, "neither a tab nor a reload is a change");
      await back.close();
    });

    test("over a room and two Hubs: one user is one member wherever it is", async () => {
      const channel = named("wide");
      const a = await inRoom(channel, "a");
      await rest();
      const hubs = [];
      for (const user of ["b", "c", "d", "a"]) {
        hubs.push(await onHub(server, user, channel));
        await rest();
      }
      await sees(server, channel, [a, ...hubs], ["a", "b", "c", "d"]);
      await rest();
      await a.close();
      await rest();
      hubs[1].send({ type: "unsubscribe", channel });
      await hubs[1].has("unsubscribed");
      await rest();
      await sees(server, channel, [hubs[0], hubs[2], hubs[3]], ["a", "b", "d"]);
      await hubs[3].close();
      await rest();
      await sees(server, channel, [hubs[0], hubs[2]], ["b", "d"]);
      await published(server, { channel, data: "still" });
      for (const hub of [hubs[0], hubs[2]]) await hub.has("message");
      for (const listener of hubs) await listener.close();
    });

    test("who finds the room full is a member in a Hub, and notices nothing", async () => {
      const channel = named("crowd");
      const listeners = [];
      for (const user of ["a", "b", "c", "d", "e"]) {
        listeners.push(await inRoom(channel, user));
        await rest();
      }
      await sees(server, channel, listeners, ["a", "b", "c", "d", "e"]);
      await listeners.shift().close();
      await rest();
      await sees(server, channel, listeners, ["b", "c", "d", "e"]);
      for (const listener of listeners) await listener.close();
    });
  });
}

test("a thousand members are few frames, and pages", async () => {
  const large = await startWorkerd({ apps: [{ ...apps[0], hub_connections: 2000 }] });
  try {
    const channel = "presence-many";
    const first = await onHub(large, "first", channel);
    const users = Array.from({ length: 1000 }, (_, nth) => `u${String(nth).padStart(4, "0")}`);
    const listeners = [];
    for (let at = 0; at < users.length; at += 50) {
      listeners.push(
        ...(await Promise.all(users.slice(at, at + 50).map((user) => onHub(large, user, channel)))),
      );
    }
    await until("everybody", () => view(first.frames, channel).count === 1001, 60_000);
    assert.deepEqual(view(first.frames, channel).faults, []);
    assert.equal(view(first.frames, channel).users.length, 1001);
    assert.ok(first.of("presence").length <= 200, `${first.of("presence").length} frames`);
    const last = await onHub(large, "last", channel);
    const [list] = await last.has("members");
    assert.deepEqual([list.count, list.members.length, list.more], [1002, 100, true]);
    const found = [];
    for (let page = { more: true }; page.more; ) {
      const next = found.length > 0 ? `&after=${found.at(-1)}` : "";
      page = await members(large, channel, `?limit=300${next}`);
      found.push(...page.members.map((member) => member.user));
    }
    assert.deepEqual(found, ["first", "last", ...users]);
    // All at once, and the others are told in few frames again.
    const before = first.of("presence").length;
    for (const listener of listeners) listener.socket.close();
    await until("two", () => view(first.frames, channel).count === 2, 60_000);
    assert.ok(first.of("presence").length - before <= 60, `${first.of("presence").length - before} frames`);
  } finally {
    await large.stop();
  }
});

test("after SIGKILL who is listed is connected, within a minute, without anybody coming back to where the lost were", async () => {
  const killed = await startWorkerd({ apps });
  try {
    const channel = "presence-killed";
    const query = (user) => ({ query: `?token=${pass(user)}` });
    const lost = [await join(killed, channel, query("a")), await onHub(killed, "b", channel)];
    lost.push(await onHub(killed, "c", channel), await onHub(killed, "d", channel));
    await sees(killed, channel, lost, ["a", "b", "c", "d"]);
    await killed.kill9();
    await killed.restart();
    // Only c comes back; nobody touches the room by itself.
    const back = await onHub(killed, "c", channel);
    const began = Date.now();
    await until("c alone", () => JSON.stringify(view(back.frames, channel).users) === '["c"]', 75_000);
    assert.ok(Date.now() - began < 65_000, `${Date.now() - began} ms`);
    await sees(killed, channel, [back], ["c"]);
    await back.close();
  } finally {
    await killed.stop();
  }
});
