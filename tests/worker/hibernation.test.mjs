import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { join, published, stream, until } from "../clients/client.mjs";
import { start } from "../harness.mjs";

// How long the runtime lets an object that does nothing stay awake: 10 s. Nothing outside tells the moment.
const untilAsleepMs = 14_000;

let server;
before(async () => {
  server = await start();
});
after(() => server.stop());

// The runtime refuses to evict what is not running: so an eviction that was refused says that the object had been
// asleep already, and does not wake it.
const wasAwake = (channel) => server.evict(channel);

async function pings(listener, rounds) {
  for (let round = 1; round <= rounds; round += 1) {
    listener.send("ping");
    const pongs = () => listener.frames.filter((frame) => frame === "pong").length;
    await until(`pong ${round}`, () => pongs() === round, 2000);
    if (round < rounds) await pause(10_000);
  }
}

describe("rooms sleep", { concurrency: true }, () => {
  test("what has just been used is awake, and is put to sleep only once", async () => {
    const listener = await join(server, "awake");
    assert.equal(await wasAwake("awake"), true);
    assert.equal(await wasAwake("awake"), false);
    await listener.close();
  });

  test("a socket that pings for a minute does not keep its room awake", async () => {
    const listener = await join(server, "minute");
    const raw = await join(server, "minute", { query: "?raw=1" });
    const first = await published(server, { channel: "minute", data: "before" });
    await listener.has("message");
    // Seven pings, ten seconds between two: the last one comes a minute after the first.
    await pings(listener, 7);
    await pings(raw, 1);
    assert.equal(
      await wasAwake("minute"),
      false,
      "the object was kept awake by its sockets or by their pings",
    );

    const second = await published(server, { channel: "minute", data: "after" });
    const messages = await listener.has("message", 2);
    assert.deepEqual(
      messages.map(({ position, data }) => [position, data]),
      [
        [first, "before"],
        [second, "after"],
      ],
    );
    await until("the raw payload", () => raw.frames.includes("after"));
    assert.equal(await wasAwake("minute"), true, "nobody was awake to serve that publish");

    // The same again by the socket itself, and by nothing but a wait.
    await pause(untilAsleepMs);
    assert.equal(await wasAwake("minute"), false);
    listener.send({ type: "publish", data: "from a client", id: "1" });
    await listener.has("ack");
    await listener.has("message", 3);
    await Promise.all([listener.close(), raw.close()]);
  });

  test("an event stream does not keep its room awake", async () => {
    const events = await stream(server, "streamed");
    assert.equal(events.response.status, 200);
    await events.has("welcome");
    await published(server, { channel: "streamed", data: 1 });
    await events.has(undefined);
    await pause(untilAsleepMs);
    assert.equal(await wasAwake("streamed"), false, "the object was kept awake by an event stream");
    const second = await published(server, { channel: "streamed", data: { after: "sleep" } });
    const [, event] = await events.has(undefined, 2);
    assert.deepEqual(event, { id: second, data: '{"after":"sleep"}' });
    assert.equal(await wasAwake("streamed"), true);
    events.close();
  });

  test("an event stream gets a comment every 25 seconds, and its room sleeps on", async () => {
    const events = await stream(server, "silent");
    await events.has("welcome");
    const comments = () => events.events.filter(({ comment }) => comment).length;
    await until("a comment", () => comments() === 1, 30_000);
    await until("another comment", () => comments() === 2, 30_000);
    assert.equal(await wasAwake("silent"), false, "the object was woken by a comment");
    events.close();
  });

  test("a room that nobody is in sleeps, and its log is there when it wakes", async () => {
    const position = await published(server, { channel: "empty", data: "kept" });
    await pause(untilAsleepMs);
    assert.equal(await wasAwake("empty"), false);
    assert.equal((await server.storage("empty")).length, 1);
    const late = await join(server, "empty", { query: "?last=10" });
    const [message] = await late.has("message");
    assert.deepEqual([message.position, message.data], [position, "kept"]);
    await late.close();
  });
});
