import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import Pusher from "pusher-js";
import { Listener, within } from "../clients/client.mjs";
import { judge, pusherRun } from "../faults/pusher.mjs";
import { hubName, start as startAsleep } from "../harness.mjs";
import { sleep, start } from "../workerd.mjs";

const seed = Math.floor(Math.random() * 2 ** 32);

test("what is missing, comes twice or in another order is found", () => {
  const at = (seq) => `000000000007:${seq}`;
  const stored = ["a", "b", "c", "d"].map((id, nth) => ({ id, position: at(nth + 1) }));
  const problems = (heard) => judge(heard, stored).problems.length;
  const [a, b, c, d] = stored.map(({ id }) => ({ id }));
  const gap = (after, position) => ({ gap: { after: at(after), position: at(position), reason: "lost" } });
  assert.equal(problems([a, b, c, d]), 0);
  assert.equal(problems([a, gap(1, 3), d]), 0);
  assert.equal(problems([a, b, gap(1, 3), d]), 0);
  assert.notEqual(problems([a, b, d]), 0);
  assert.notEqual(problems([a, b, b, c, d]), 0);
  assert.notEqual(problems([a, c, b, d]), 0);
  assert.notEqual(problems([a, b, c]), 0);
  assert.notEqual(problems([a, gap(2, 3), d]), 0);
  assert.notEqual(problems([a, b, gap(1, 1), b, c, d]), 0);
});

test("a tab that resumes gets every message once and in order, or is told of a gap", async (t) => {
  t.diagnostic(`seed ${seed}`);
  const run = await pusherRun({ cuts: 20, kills: 2, tabs: 3, seed });
  const { published, cuts, kills, connections, expected, received, announced, spared, lost, gaps } = run;
  t.diagnostic(
    JSON.stringify({ published, cuts, kills, connections, expected, received, announced, spared, lost }),
  );
  assert.deepEqual(run.problems, [], run.log.slice(-2000));
  assert.ok(cuts >= 20 && kills === 2 && connections > 20);
  // Gaps for everything would be no lie either.
  assert.ok(gaps.length > 0 && announced < expected / 2, `${announced} of ${expected} announced as gaps`);
});

const [key, secret] = ["resume", "resume-secret-of-this-machine"];
const appsWith = (more) => [{ id: "1", key, secrets: [secret], ...more }];

/** A page with one channel, and what it hears there. */
function page(port, wsPath = `/r/${randomUUID()}`, channel = "news") {
  const options = {
    wsHost: "127.0.0.1",
    wsPort: port,
    forceTLS: false,
    enabledTransports: ["ws"],
    cluster: "",
  };
  const pusher = new Pusher(key, { ...options, wsPath });
  const heard = [];
  pusher.subscribe(channel).bind("tick", (data) => heard.push(data));
  pusher.channel(channel).bind("dormouse:gap", (gap) => heard.push(gap));
  return { pusher, heard };
}

async function until(what, isSo) {
  for (const end = Date.now() + 20_000; !isSo(); await sleep(10))
    if (Date.now() > end) throw new Error(`never: ${what}`);
}

/** How much it had heard, at each ping of the server. */
function pings(pusher, heard) {
  const pinged = [];
  pusher.connection.connection.bind("ping", () => pinged.push(heard.length));
  return pinged;
}

/** Resolves when its Hub has handled the answer to a ping that came after so much. */
async function acknowledged(pusher, pinged, count) {
  await until(`a ping after ${count}`, () => pinged.at(-1) === count);
  // Frames are handled in order, and this one is answered.
  const channel = pusher.subscribe("after");
  await until("an answer", () => channel.subscribed);
}

const headers = { authorization: `Basic ${btoa(`${key}:${secret}`)}` };

async function untilVacated(url) {
  const count = async () => (await (await fetch(`${url}/channels`, { headers })).json()).channels.length;
  for (const end = Date.now() + 10_000; (await count()) > 0; await sleep(10))
    if (Date.now() > end) throw new Error("somebody is still there");
}

async function publish(url, data) {
  const body = JSON.stringify({ channel: "news", event: "tick", data });
  const response = await fetch(`${url}/publish`, { method: "POST", headers, body });
  assert.equal(response.status, 200);
}

test("a tab that comes to another Hub gets what it missed", async () => {
  const server = await start({ apps: appsWith({ hub_connections: 1 }) });
  const { pusher, heard } = page(server.port);
  let other;
  try {
    await until("subscribed", () => pusher.channel("news").subscribed);
    const first = pusher.connection.socket_id;
    const pinged = pings(pusher, heard);
    await publish(server.url, 1);
    await acknowledged(pusher, pinged, 1);
    // Away, and so that another one is in its place before it is back.
    pusher.disconnect();
    await untilVacated(server.url);
    other = page(server.port);
    await until("its place taken", () => other.pusher.channel("news").subscribed);
    await publish(server.url, 2);
    await publish(server.url, 3);
    pusher.connect();
    await until("back", () => pusher.connection.state === "connected" && pusher.channel("news").subscribed);
    await publish(server.url, 4);
    await until("the last", () => heard.at(-1) === 4);
    const placeOf = (socketId) => socketId.split(".")[0];
    assert.notEqual(placeOf(pusher.connection.socket_id), placeOf(first), "it is in the same Hub");
    assert.deepEqual(heard, [1, 2, 3, 4]);
  } finally {
    pusher.disconnect();
    other?.pusher.disconnect();
    await server.stop();
  }
});

test("a tab that is cut in the middle of what it missed is unsure of one window", async (t) => {
  const server = await start({
    apps: appsWith({ channels: [{ prefix: "", history: { size: 1000, ttl: 600 } }] }),
  });
  const { pusher, heard } = page(server.port);
  const channel = pusher.channel("news");
  try {
    await until("subscribed", () => channel.subscribed);
    pusher.disconnect();
    const all = Array.from({ length: 300 }, (_, nth) => nth + 1);
    for (const nth of all) await publish(server.url, nth);
    const cuts = [100, 200];
    channel.bind("tick", (nth) => {
      if (cuts.includes(nth)) pusher.connection.connection.transport.socket.close();
    });
    pusher.connect();
    await until("the last", () => heard.includes(300));
    const ticks = heard.filter((one) => typeof one === "number");
    const gaps = heard.filter((one) => typeof one !== "number");
    t.diagnostic(JSON.stringify(gaps));
    const seq = (position) => Number(position.split(":")[1]);
    const ranges = gaps.map(({ after, position }) => [seq(after), seq(position)]);
    for (const [after, position] of ranges)
      assert.ok(position - after <= 64, `${position - after} are uncertain`);
    const isSaid = (nth) => ranges.some(([after, position]) => after < nth && nth <= position);
    assert.deepEqual(
      all.filter((nth) => ticks.includes(nth) || isSaid(nth)),
      all,
    );
    assert.deepEqual(
      ticks,
      [...new Set(ticks)].sort((a, b) => a - b),
    );
    assert.ok(gaps.length > 0 && ticks.length >= 300 - 64 * cuts.length, `${ticks.length} have come`);
  } finally {
    pusher.disconnect();
    await server.stop();
  }
});

test("a quiet tab lets its Hub sleep, and loses nothing by it", async () => {
  const server = await startAsleep({ apps: appsWith() });
  const hub = hubName(0, { region: "pusher-enam" });
  const { pusher, heard } = page(Number(new URL(server.url).port));
  try {
    await until("subscribed", () => pusher.channel("news").subscribed);
    await publish(server.url, 1);
    await until("the first", () => heard.length === 1);
    // What the runtime refuses to evict is not running; and it lets an object that does nothing stay awake for 10 s.
    await sleep(14_000);
    assert.equal(await server.evictHub(hub), false, "the Hub was kept awake");
    await publish(server.url, 2);
    await until("the second", () => heard.length === 2);
    assert.equal(await server.evictHub(hub), true);
    pusher.connection.connection.transport.socket.close();
    await until("away", () => pusher.connection.state !== "connected");
    await publish(server.url, 3);
    await until("the third", () => heard.includes(3));
    const seen = heard.filter((one) => typeof one === "number");
    assert.deepEqual(seen, [1, 2, 3]);
  } finally {
    pusher.disconnect();
    await server.stop();
  }
});

test("what a quiet channel gets after a loss is replayed, though its Hub has slept since", async () => {
  const server = await startAsleep({ apps: appsWith() });
  const hub = hubName(0, { region: "pusher-enam" });
  const port = Number(new URL(server.url).port);
  const [lost, other] = [page(port), page(port, undefined, "more")];
  const { pusher, heard } = lost;
  try {
    await until("subscribed", () => pusher.channel("news").subscribed);
    await until("the other one", () => other.pusher.channel("more").subscribed);
    const pinged = pings(pusher, heard);
    await publish(server.url, 1);
    await acknowledged(pusher, pinged, 1);
    const before = other.pusher.connection.socket_id;
    // All sockets are lost. The other one is back, and sleeps.
    assert.equal(await server.evictHub(hub, { webSockets: "close" }), true);
    pusher.disconnect();
    await until("back", () => other.pusher.connection.socket_id !== before);
    await until("subscribed again", () => other.pusher.channel("more").subscribed);
    assert.equal(await server.evictHub(hub), true);
    await publish(server.url, 2);
    const bounds = async () => (await server.reached(hub)).filter(({ channel }) => channel === "news");
    for (const end = Date.now() + 10_000; !(await bounds()).every(({ bound }) => bound); await sleep(10))
      assert.ok(Date.now() < end, JSON.stringify(await bounds()));
    await publish(server.url, 3);
    pusher.connect();
    await until("the last", () => heard.length > 1 && pusher.channel("news").subscribed);
    await publish(server.url, 4);
    await until("what comes", () => heard.at(-1) === 4);
    const told = heard.map((one) =>
      typeof one === "number" ? one : `${one.reason} ${one.position.split(":")[1]}`,
    );
    assert.deepEqual(told, [1, "unconfirmed 2", 3, 4]);
  } finally {
    pusher.disconnect();
    other.pusher.disconnect();
    await server.stop();
  }
});

test("a second connection with the same id ends the first, which may come back", async () => {
  const server = await start({ apps: appsWith() });
  const path = `/r/${randomUUID()}/app/${key}?protocol=7`;
  const comes = async () => {
    const client = new Listener(server, path);
    await until("a connection", () => client.frames[0]?.event === "pusher:connection_established");
    return client;
  };
  try {
    let last = await comes();
    for (let nth = 0; nth < 2; nth += 1) {
      const next = await comes();
      assert.equal((await within("the end of the earlier one", last.ended)).code, 4100);
      last = next;
    }
    await last.close();
  } finally {
    await server.stop();
  }
});

test("an id that is none is refused for good", async () => {
  const server = await start({ apps: appsWith() });
  const { pusher } = page(server.port, "/r/short");
  try {
    const codes = [];
    pusher.connection.bind("error", ({ data, error }) => codes.push((data ?? error?.data)?.code));
    await until("refused", () => ["disconnected", "failed"].includes(pusher.connection.state));
    assert.ok(codes.includes(4006), JSON.stringify(codes));
  } finally {
    pusher.disconnect();
    await server.stop();
  }
});
