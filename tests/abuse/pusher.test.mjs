/** Sockets of Pusher's protocol, and what chance makes of their frames and addresses. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, test } from "node:test";
import { many, seed } from "./many.mjs";
import { below, chance, mutate, noise, pick } from "./random.mjs";
import { open, start } from "./server.mjs";
import { encode, exchange, frame, Wire } from "./wire.mjs";

const atOnce = 8;
const ownPing = '{"event":"pusher:ping","data":{"own":1}}';

let server;
before(async () => {
  console.log(`ABUSE_SEED=${seed}`);
  server = await start();
});
after(() => server.stop());

const sign = (text) => `${open.key}:${createHmac("sha256", open.secrets[0]).update(text).digest("hex")}`;

/** Frames that are good. */
function goodFrames(socketId) {
  const signed = (channel, data) => ({
    event: "pusher:subscribe",
    data: {
      auth: sign([socketId, channel, ...(data ? [data] : [])].join(":")),
      ...(data ? { channel_data: data } : {}),
      channel,
    },
  });
  const user = '{"id":"anna","watchlist":["ben"],"channels":{"private-*":["sub"]}}';
  return [
    { event: "pusher:ping", data: {} },
    { event: "pusher:pong", data: {} },
    { event: "pusher:subscribe", data: { auth: "", channel: "chat" } },
    signed("private-x"),
    signed("private-x", '{"user_id":"1"}'),
    signed("presence-x", '{"user_id":10,"user_info":{"name":"🐭"}}'),
    signed("private-encrypted-x"),
    { event: "pusher:subscribe", data: { auth: "", channel: "cache-x" } },
    { event: "pusher:unsubscribe", data: { channel: "chat" } },
    { event: "pusher:signin", data: { auth: sign(`${socketId}::user::${user}`), user_data: user } },
    { event: "pusher:subscribe", data: { auth: "", channel: "#server-to-user-anna" } },
    { event: "client-typing", channel: "private-x", data: { any: ["json", 1, null] } },
    { event: "client-typing", channel: "presence-x", data: "text" },
  ].map((good) => Buffer.from(JSON.stringify(good)));
}

const values = [
  "1",
  "null",
  "true",
  "{}",
  "[]",
  '""',
  '"x"',
  '"\\ud800"',
  "1e999",
  '{"channel":"chat"}',
  '"{}"',
];
const names = ["event", "data", "channel", "auth", "channel_data", "user_data", "user_id", "more"];
const events = ["pusher:subscribe", "pusher:signin", "pusher:unsubscribe", "pusher:ping", "client-x", "x"];

/** JSON that may be a frame: names that are known, with values that may not belong there. */
function composed(next) {
  const members = Array.from(
    { length: below(next, 4) },
    () => `"${pick(next, names)}":${pick(next, values)}`,
  );
  return Buffer.from(`{${[`"event":"${pick(next, events)}"`, ...members].join(",")}}`);
}

function spoilt(next, socketId) {
  const payload = pick(next, [
    () => noise(next, below(next, 2000)),
    ...Array(3).fill(() => composed(next)),
    ...Array(6).fill(() => mutate(next, pick(next, goodFrames(socketId)))),
  ])();
  const opcode = pick(next, [...Array(12).fill(1), 2, 0, 9, 10, 3]);
  return frame(opcode > 7 ? payload.subarray(0, 125) : payload, { opcode });
}

async function enter() {
  const wire = new Wire(server);
  wire.write(encode({ path: `/app/${open.key}?protocol=7&client=js&version=8.6.0&flash=false`, ws: true }));
  assert.equal((await wire.answer()).status, 101);
  const { event, data } = JSON.parse((await wire.next()).text);
  assert.equal(event, "pusher:connection_established");
  wire.socketId = JSON.parse(data).socket_id;
  return wire;
}

const known =
  /^pusher:(error|pong|signin_success|cache_miss)$|^pusher_internal:(subscription_succeeded|member_added|member_removed|subscription_count|watchlist_events)$|^client-/;

/** What comes of a frame: the events that are told until a ping of one's own is answered, or how the connection ends. */
async function react(wire, bytes) {
  wire.write(bytes).write(frame(ownPing));
  let said = "nothing";
  for (;;) {
    const next = await wire.next();
    if (!next) return "broken";
    if (next.close) return `closed ${next.close}`;
    const { event, data } = JSON.parse(next.text);
    assert.match(event, known);
    if (event === "pusher:pong") return said;
    if (event === "pusher:error") {
      assert.ok(data.code === null || [4301, 4302].includes(data.code), next.text);
      assert.equal(typeof data.message, "string");
      said = "error";
    } else if (said !== "error") said = event.replace(/^client-.*/s, "client event");
  }
}

// A close of the runtime's own: no frame, bytes that are no UTF-8. Or of the client's: its frame may be one. Never 4300 and more.
const ends = new Set(["closed 1000", "closed 1002", "closed 1005", "closed 1007", "closed 4100", "broken"]);

test("1,500 spoilt frames: an error in-band, or nothing, and the socket stays", async (t) => {
  const idle = [];
  await many(t, { count: 1500, offset: 0, atOnce }, async (own) => {
    const next = chance(own);
    const wire = idle.pop() ?? (await enter());
    const bytes = spoilt(next, wire.socketId);
    const said = await react(wire, bytes);
    if (/^(closed|broken)/.test(said)) {
      assert.ok(ends.has(said), `${said}, to ${bytes.toString("base64").slice(0, 600)}`);
      wire.end();
    } else if (next() < 0.9) idle.push(wire);
    else wire.end();
    return said;
  });
  for (const wire of idle) wire.end();
});

test("300 spoilt addresses: a code that pusher-js understands", async (t) => {
  const closes = /^(4001|4006|4007|4009|1000|1002|live)\b/;
  // What is no WebSocket any more, or another's address.
  const others = /^(400|401|404|405|414|426|501|44\d\d|nothing)\b/;
  await many(t, { count: 300, offset: 10_000, atOnce }, async (own) => {
    const next = chance(own);
    const path = `/app/${open.key}?protocol=7&client=js&version=8.6.0`;
    const text = mutate(next, Buffer.from(path.slice(1)))
      .toString("latin1")
      .replaceAll(/[\r\n]/g, "");
    const inPercent = (character) => `%${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
    const bytes = encode({ path: `/${text.replaceAll(/[^!-~]/g, inPercent)}`, ws: true });
    const { said } = await exchange(server, bytes, { finish: true });
    assert.ok(closes.test(said) || others.test(said), `${said}, to /${text.slice(0, 400)}`);
    return said.split(" ")[0];
  });
});

test("the server is well after all of that, and has nothing to complain of", async () => {
  assert.equal((await exchange(server, encode({ path: "/up" }))).said, "200");
  assert.doesNotMatch(
    server.log(),
    /panic|RuntimeError|unreachable executed|Reinitializing|storage:|attachment:|accept:|alarm:/i,
  );
});
