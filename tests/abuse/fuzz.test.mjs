import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { garbage, spoiltFrames, spoiltRequest } from "./fuzz.mjs";
import { many, seed } from "./many.mjs";
import { documented } from "./protocol.mjs";
import { open, start } from "./server.mjs";
import { encode, exchange, frame, Wire } from "./wire.mjs";

const atOnce = 12;

let server;
before(async () => {
  console.log(`ABUSE_SEED=${seed}`);
  server = await start();
});
after(() => server.stop());

// The runtime's own answers to what is no HTTP, or no WebSocket: it never reaches the Worker.
const byRuntime = new Set(["400", "414", "426", "501", "nothing"]);
// Bytes that follow the head of an upgrade are taken for frames, even of a socket that is being refused.
const isOfRuntime = (said) => byRuntime.has(said) || /^(1002|1009) /.test(said);
const isFault = (said) => /^4?5\d\d/.test(said) && said !== "501";

async function judge(bytes, succeeds) {
  const method = bytes.subarray(0, 5).equals(Buffer.from("HEAD ")) ? "HEAD" : undefined;
  const { said, text } = await exchange(server, bytes, { method, finish: true });
  const expected =
    !isFault(said) && (documented.has(said) || isOfRuntime(said) || succeeds({ said, text, method }));
  assert.ok(
    expected,
    `${said} ${text?.slice(0, 200)}, to ${JSON.stringify(bytes.toString("latin1").slice(0, 600))}`,
  );
  return said;
}

const isUp = ({ said, text, method }) => said === "200" && (method === "HEAD" || text === '{"status":"ok"}');

test("3,500 spoilt requests of somebody who has no credentials, and no object comes of any", async (t) => {
  const before = server.objects();
  await many(t, { count: 3500, offset: 0, atOnce }, (own) => judge(spoiltRequest(own, false), isUp));
  assert.deepEqual(server.objects(), before);
});

test("3,500 spoilt requests of somebody who has", async (t) => {
  // A raw socket says nothing when it is in. When we end our side, the runtime ends its own with 1000.
  const succeeds = ({ said }) => ["200", "live", "stream"].includes(said) || said.startsWith("1000 ");
  await many(t, { count: 3500, offset: 10_000, atOnce }, (own) => judge(spoiltRequest(own, true), succeeds));
});

test("500 times garbage", async (t) => {
  await many(t, { count: 500, offset: 20_000, atOnce }, (own) => judge(garbage(own), isUp));
});

async function enter(query) {
  const wire = new Wire(server);
  wire.write(encode({ path: `/rooms/chat?key=${open.key}${query}`, ws: true }));
  assert.equal((await wire.answer()).status, 101);
  if (!query) assert.match((await wire.next()).text, /^\{"type":"welcome"/);
  return wire;
}

// A raw socket gets what others publish, too: its pong is not to be taken for somebody's text.
const isPong = ({ text }) => text === "pong";

async function react(wire, frames, query) {
  for (const bytes of frames) wire.write(bytes);
  wire.write(frame("ping"));
  let said = "nothing";
  for (;;) {
    const next = await wire.next();
    if (!next) return "broken";
    if (next.close) return `${next.close} ${next.close === 1002 ? "" : next.reason}`.trim();
    if (isPong(next)) return said;
    if (query || !next.text) continue;
    const { type, code } = JSON.parse(next.text);
    if (type === "ack") said = "ack";
    if (type === "error") said = `error ${code}`;
  }
}

const codes = new Set([...documented].map((pair) => pair.split(" ")[1]));
const faults = new Set(["internal", "not_configured", "overloaded", "storage_full"]);

function isExpected(said) {
  if (["ack", "nothing", "broken", "1002", "1000"].includes(said)) return true;
  const [first, code] = said.split(" ");
  if (faults.has(code)) return false;
  return first === "error" ? codes.has(code) : documented.has(said);
}

for (const [query, count, offset] of [
  ["", 1800, 30_000],
  ["&raw=1", 700, 40_000],
]) {
  test(`${count} spoilt frames${query ? ", raw" : ""}`, async (t) => {
    const idle = [];
    await many(t, { count, offset, atOnce }, async (own) => {
      const wire = idle.pop() ?? (await enter(query));
      const frames = spoiltFrames(own);
      const said = await react(wire, frames, query);
      const text = Buffer.concat(frames).toString("base64").slice(0, 600);
      assert.ok(isExpected(said), `${said}, to the frames ${text}`);
      // One that is half way through a message has no use for another's.
      if (/^(ack|error|nothing)/.test(said)) idle.push(wire);
      else wire.end();
      return said;
    });
    for (const wire of idle) wire.end();
  });
}

test("the server is well after all of that, and has nothing to complain of", async () => {
  assert.equal((await exchange(server, encode({ path: "/up" }))).said, "200");
  assert.doesNotMatch(
    server.log(),
    /panic|RuntimeError|unreachable executed|Reinitializing|storage:|attachment:|accept:|alarm:/i,
  );
});
