import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Listener, published, until } from "../clients/client.mjs";
import { hubName, start } from "../harness.mjs";
import { counting } from "./counting.mjs";

// More than `RELAY_FOLLOWERS`, one socket each. They cost this workerd about 1 MB each.
const hubs = 300;
const groups = Math.ceil(hubs / 32);
const ordinary = { "/relay": groups, "/deliver": hubs - groups };
const channels = [{ prefix: "", connections: 0 }];
const apps = [{ id: "1", key: "dev-key", secrets: ["dev-secret"], hub_connections: 1, channels }];

let server;
let sent = 0;
const listeners = [];
before(async () => {
  server = await start({ apps, entry: counting });
});
after(async () => {
  for (const { socket } of listeners) socket.terminate();
  await server.stop();
});

/** What Hubs were asked since it was asked for last; and how they are from now on. */
async function counts(wanted = {}) {
  const response = await fetch(`${server.url}/hubs`, { method: "POST", body: JSON.stringify(wanted) });
  return response.json();
}

const send = () => published(server, { channel: "wide", data: ++sent });

/** Waits until every socket has all that was sent, and looks whether each has each once, in order. */
async function allHaveAll() {
  const short = () => listeners.filter((listener) => listener.of("message").length < sent);
  const missing = () => `${sent} messages everywhere, ${short().length} sockets have fewer`;
  await until(missing, () => short().length === 0, 30_000);
  const expected = Array.from({ length: sent }, (_, nth) => nth + 1);
  for (const listener of listeners) {
    const heard = listener.of("message").map((frame) => frame.data);
    assert.deepEqual(heard, expected);
  }
}

test("a channel on 300 Hubs: a message is ten requests of its Room, and 290 of Hubs", async () => {
  const wants = [{ channel: "wide" }];
  const headers = { "x-dormouse-connect": JSON.stringify({ version: 1, format: "j", wants }) };
  for (let nth = 0; nth < hubs; nth += 1)
    listeners.push(new Listener(server, `/hubs/${hubName(nth)}`, { headers }));
  for (const listener of listeners) await listener.has("welcome", 1, 60_000);
  await counts();
  for (let nth = 0; nth < 3; nth += 1) {
    await send();
    await allHaveAll();
    assert.deepEqual(await counts(), ordinary);
  }
});

test("the same when everybody was asleep", async () => {
  await server.evictAll();
  await send();
  await allHaveAll();
  assert.deepEqual(await counts(), ordinary);
});

test("what comes while groups are on their way rides in their next", async () => {
  for (let nth = 0; nth < 20; nth += 1) await send();
  await allHaveAll();
  const { "/relay": relays, "/deliver": forwards } = await counts();
  assert.ok(relays <= 20 * groups && forwards <= 20 * (hubs - groups), `${relays} and ${forwards}`);
});

test("a Hub that fails is called alone, and the others of its group are not", async () => {
  const broken = hubName(7);
  await counts({ broken });
  await send();
  const behind = () => listeners.filter((listener) => listener.of("message").length < sent);
  await until("all others", () => behind().length === 1);
  // Once in its group, and then by itself. Had it been called for its group, all of them have been by then.
  let calls = 0;
  await until("more tries", async () => {
    for (const count of Object.values(await counts({ broken }))) calls += count;
    return calls > hubs + 1;
  });
  assert.equal(behind().length, 1);
  await counts();
  await allHaveAll();
});

test("Hubs that do not know of groups yet are called one by one a second later", async () => {
  await counts({ old: true });
  await send();
  await allHaveAll();
  assert.deepEqual(await counts(), { "/relay": groups, "/deliver": hubs });
  await send();
  await allHaveAll();
  assert.deepEqual(await counts(), ordinary);
});
