/** Who was closed, and goes on as if nothing had happened: the close is never answered, and more is said by the old grants. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { basic, inSeconds, publish as post, token, until } from "../clients/client.mjs";
import { open, start } from "./server.mjs";
import { encode, exchange, frame, Wire } from "./wire.mjs";

const headers = { authorization: basic(open.key, open.secrets[0]) };

let server;
before(async () => {
  server = await start();
});
after(() => server.stop());

const granting = (sub, seconds) =>
  token(
    { sub, exp: inSeconds(seconds), channels: { "private-*": ["sub", "pub"] } },
    { secret: open.secrets[0] },
  );

/** Every message of a channel. */
async function stored(channel) {
  const { text } = await exchange(server, encode({ path: `/channels/${channel}/messages`, headers }));
  return JSON.parse(text).messages.map(({ data }) => data);
}

async function said(wire, type) {
  for (;;) {
    const { text } = await wire.next();
    if (text && JSON.parse(text).type === type) return;
  }
}

async function closed(wire) {
  for (;;) {
    const next = await wire.next();
    if (next.close) return next;
  }
}

const speaksJson = (wire, frames) => {
  for (const one of frames) wire.write(frame(JSON.stringify(one)));
};

const places = [
  {
    where: "a room",
    path: (channel) => `/rooms/${channel}`,
    begin: () => [],
    publish: (_, data) => [{ type: "publish", data }],
  },
  {
    where: "a hub",
    path: () => "/connect",
    begin: (channel) => [{ type: "subscribe", channel }],
    publish: (channel, data) => [{ type: "publish", channel, data }],
    more: (channel) => [{ type: "subscribe", channel }],
  },
];

const ends = [
  {
    by: "its user's connections were closed",
    seconds: 3600,
    code: 4403,
    end: (user) =>
      exchange(server, encode({ method: "DELETE", path: `/users/${user}/connections`, headers })),
  },
  // An alarm may be late.
  { by: "its token has expired", seconds: 3, code: 4401, end: () => {} },
];

for (const { where, path, begin, publish, more } of places) {
  for (const [nth, { by, seconds, code, end }] of ends.entries()) {
    test(`${where} does not hear who does not answer the close when ${by}`, async () => {
      const name = `${where.replace(" ", "-")}-${nth}`;
      const channel = `private-${name}`;
      const wire = new Wire(server);
      wire.answersClose = false;
      const query = `?key=${open.key}&token=${granting(name, seconds)}`;
      wire.write(encode({ path: path(channel) + query, ws: true }));
      assert.equal((await wire.answer()).status, 101);
      await said(wire, "welcome");
      speaksJson(wire, [...begin(channel), ...publish(channel, "before")]);
      await said(wire, "ack");
      await end(name);
      assert.equal((await closed(wire)).close, code);

      const other = `${channel}-other`;
      speaksJson(wire, publish(channel, "after"));
      if (more) speaksJson(wire, [...more(other), ...publish(other, "after")]);
      // Frames are read in order: when the runtime lets the connection go, it has read those before.
      const gone = once(wire.socket, "close");
      wire.write(frame(Buffer.from([3, 232]), { opcode: 8 }));
      wire.socket.end();
      await gone;
      assert.deepEqual(await stored(channel), ["before"]);
      if (more) assert.deepEqual(await stored(other), []);
    });
  }
}

/** How many connections a channel has. */
async function connectionsOf(channel) {
  const { text } = await exchange(server, encode({ path: `/channels?prefix=${channel}`, headers }));
  return JSON.parse(text).channels.find((one) => one.channel === channel)?.connections ?? 0;
}

for (const [where, path] of [
  ["a room", (channel) => `/rooms/${channel}?key=${open.key}`],
  ["a hub", (channel) => `/events?key=${open.key}&channels=${channel}`],
]) {
  test(`an event stream of ${where} that nobody reads is let go while its client stays connected`, async () => {
    const channel = `wide-${where.replace(" ", "-")}`;
    const wire = new Wire(server);
    wire.write(encode({ path: path(channel), sse: true, headers: { connection: "keep-alive" } }));
    assert.equal((await wire.answer()).status, 200);
    await until("the stream in the list", async () => (await connectionsOf(channel)) === 1);
    wire.socket.pause();
    const { authorization } = headers;
    const data = "x".repeat(200_000);
    // What the runtime and the machine take in its place comes before what waits in the Worker.
    const letGo = async () => {
      assert.equal((await post(server, { channel, data }, { authorization })).status, 200);
      return (await connectionsOf(channel)) === 0;
    };
    await until("the end of the connection", letGo, 60_000);
    assert.equal(wire.socket.destroyed, false);
    wire.end();
  });
}
