/** How a connection of Pusher's clients is kept, lost and had again. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { build } from "../../tools/build.mjs";
import { until } from "../clients/client.mjs";
import { start as startHarness } from "../harness.mjs";
import { pathOf, ping } from "../load/pusher-bytes.mjs";
import { start as startRuntime } from "../workerd.mjs";
import { appId, key, sdkFor, secret, startBackend } from "./backend.mjs";
import { Client, Wire } from "./client.mjs";

const apps = [{ id: appId, key, secrets: [secret], channels: [{ prefix: "", publish: true }] }];

describe("pings", () => {
  let server;
  before(async () => {
    server = await startHarness({ apps });
  });
  after(() => server.stop());

  const spellings = [
    ["pusher-js", ping],
    ["Java and Swift", '{"event": "pusher:ping"}'],
    ["Rust", '{"event":"pusher:ping"}'],
    ["data first", '{"data":{},"event":"pusher:ping"}'],
    ["data that is a text", '{"event":"pusher:ping","data":"{}"}'],
    ["data that is null", '{"event":"pusher:ping","data":null}'],
    ["spaces", ' { "event" : "pusher:ping" , "data" : { } } '],
  ];
  for (const [whose, text] of spellings)
    test(`of ${whose}, awake and asleep`, async () => {
      const wire = await new Wire(server).connected();
      wire.send(text);
      const [pong] = await wire.has("pusher:pong");
      assert.deepEqual(pong, { event: "pusher:pong", data: {} });
      await server.evictAll();
      wire.send(text);
      await wire.has("pusher:pong", 2);
      // Only the bytes of pusher-js wake nobody.
      assert.equal(await server.evictAll(), text === ping ? 0 : 1);
      wire.say("pusher:pong", {});
      assert.ok(await wire.isUp());
      assert.equal(wire.of("pusher:error").length, 0);
      await wire.close();
    });

  test("pusher-js asks by itself when nothing comes, and stays", async () => {
    const client = await new Client(server, { url: server.url }, { activityTimeout: 300 }).connected();
    let pongs = 0;
    client.pusher.connection.bind("message", ({ event }) => {
      pongs += event === "pusher:pong" ? 1 : 0;
    });
    await server.evictAll();
    await until("three pongs", () => pongs >= 3);
    assert.equal(await server.evictAll(), 0, "nobody was woken");
    assert.deepEqual(client.states, ["connected"]);
    client.close();
  });

  test("without an upgrade, and at the addresses of the fallbacks, there is nothing", async () => {
    const statusOf = async (path, init) => (await fetch(server.url + path, init)).status;
    assert.equal(await statusOf(pathOf(key)), 426);
    const xhr = `/pusher/app/${key}/123/abcdefgh/xhr_streaming?protocol=7`;
    assert.ok([404, 405].includes(await statusOf(xhr, { method: "POST" })));
  });
});

describe("a server that is gone and comes back", () => {
  let server;
  let backend;
  before(async () => {
    await build();
    server = await startRuntime({ apps });
    backend = await startBackend(server);
  });
  after(async () => {
    await backend.close();
    await server.stop();
  });

  test("after SIGKILL pusher-js has everything again by itself: channels, members, user", async () => {
    const names = ["public", "private-a", "presence-a", "cache-a", "private-encrypted-a"];
    const [anna, ben] = ["anna", "ben"].map((user) => new Client(server, backend, { user }));
    try {
      for (const client of [anna, ben]) {
        await client.connected();
        await client.subscribe(...names);
        await client.signIn();
      }
      await anna.sees("presence-a", ["anna", "ben"]);
      await backend.sdk.trigger("cache-a", "kept", 1);
      await anna.has("kept", "cache-a");
      const before = [anna.socketId, ben.socketId];
      await server.kill9();
      for (const client of [anna, ben])
        await until("that it notices", () => client.pusher.connection.state !== "connected");
      await server.restart();
      // It waits a second; if the server was not there yet, fifteen.
      for (const client of [anna, ben]) await client.connected(40_000);
      assert.notDeepEqual([anna.socketId, ben.socketId], before);
      for (const client of [anna, ben])
        for (const name of names) await until(`${name} again`, () => client.pusher.channel(name).subscribed);
      for (const client of [anna, ben]) await client.sees("presence-a", ["anna", "ben"]);
      await anna.has("kept", "cache-a", 2);
      const notes = [];
      for (const client of [anna, ben]) client.pusher.user.bind("note", (data) => notes.push(data));
      await until("signed in again", () =>
        [anna, ben].every(({ pusher }) => pusher.user.serverToUserChannel?.subscribed),
      );
      for (const name of names.slice(0, 4)) await backend.sdk.trigger(name, "after", { name });
      await backend.sdk.sendToUser("anna", "note", "for anna");
      for (const client of [anna, ben]) for (const name of names.slice(0, 4)) await client.has("after", name);
      await until("the note", () => notes.length > 0);
      assert.deepEqual(notes, ["for anna"]);
    } finally {
      anna.close();
      ben.close();
    }
  });

  test("pusher-js as most configure it, with ws and wss", async () => {
    const client = new Client(server, backend, { user: "carl", enabledTransports: ["ws", "wss"] });
    try {
      await client.connected();
      await client.subscribe("plain");
      await sdkFor(server).trigger("plain", "hello", 1);
      await client.has("hello", "plain");
    } finally {
      client.close();
    }
  });
});
