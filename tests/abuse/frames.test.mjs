import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { basic, publish } from "../clients/client.mjs";
import { frames, runtimeFrames } from "./cases/frames.mjs";
import { subscribes } from "./cases/presence.mjs";
import { documented } from "./protocol.mjs";
import { open, start } from "./server.mjs";
import { encode, exchange, frame, Wire } from "./wire.mjs";

const authorization = basic(open.key, open.secrets[0]);

let server;
before(async () => {
  server = await start();
});
after(() => server.stop());

async function enter({ room = "chat", path = `/rooms/${room}`, query = "" }) {
  const wire = new Wire(server);
  wire.write(encode({ path: `${path}?key=${open.key}${query}`, ws: true }));
  const { status } = await wire.answer();
  assert.equal(status, 101);
  if (!query.includes("raw=1")) assert.match((await wire.next()).text, /^\{"type":"welcome"/);
  return wire;
}

/**
 * What a socket says to some frames, up to the pong for the ping that follows them: the last error, `"ack"`, or `"nothing"`, and the
 * socket lives on; or the code and reason of its close.
 */
async function react(one) {
  const wire = await enter(one);
  try {
    for (const bytes of one.bytes) wire.write(bytes);
    // To who closes, a frame too many comes back as a reset, and that may overtake the close.
    if (!/^\d/.test(one.expected)) wire.write(frame("ping"));
    let last = "nothing";
    for (;;) {
      const next = await wire.next();
      if (!next) return "broken";
      if (next.close) return `${next.close} ${next.reason}`.trim();
      if (next.text === "pong") return last;
      if (!next.text?.startsWith("{")) continue;
      const { type, code, message } = JSON.parse(next.text);
      if (type === "error") assert.ok(message.length > 0 && [...message].length <= 300, message);
      if (type === "error") last = `error ${code}`;
      if (type === "ack") last = "ack";
    }
  } finally {
    wire.end();
  }
}

async function check(cases, shorten = (said) => said) {
  const problems = [];
  for (const one of cases) {
    try {
      assert.equal(shorten(await react(one)), one.expected);
    } catch (error) {
      problems.push(`${one.name}\n      ${error.message.replaceAll("\n", "\n      ")}`);
    }
  }
  assert.equal(
    problems.length,
    0,
    `${problems.length} of ${cases.length} are answered otherwise:\n    ${problems.join("\n    ")}`,
  );
}

const all = [...frames, ...subscribes];

test(`${all.length} frames are refused, each with its code, and the socket lives on or is closed`, async () => {
  for (const { expected } of all) {
    // An error frame has the codes of HTTP; what closes has one of its own.
    const code = expected.split(" ")[1];
    assert.ok(
      [...documented].some(
        (pair) => pair === expected || (expected.startsWith("error") && pair.endsWith(` ${code}`)),
      ),
    );
  }
  await check(all);
});

test(`${runtimeFrames.length} frames that the runtime judges`, () =>
  check(runtimeFrames, (said) => (/^\d/.test(said) ? said.slice(0, 4) : said)));

const post = (body) => publish(server, { channel: "chat", ...body }, { authorization });

test("an id that was used for something else is a conflict, over HTTP and over a socket", async () => {
  assert.equal((await post({ data: 1, id: "once" })).status, 200);
  const { status, json } = await post({ data: 2, id: "once" });
  assert.deepEqual(
    [status, json.error.code, json.channels.chat.error.code],
    [409, "id_conflict", "id_conflict"],
  );
  const bytes = [frame('{"type":"publish","data":3,"id":"once"}')];
  assert.equal(await react({ bytes, expected: "error" }), "error id_conflict");
  const same = [frame('{"type":"publish","data":1,"id":"once"}')];
  assert.equal(await react({ bytes: same, expected: "ack" }), "ack");
});

test("a position that is not the last one refuses, and says which is", async () => {
  const [{ position }] = Object.values((await post({ data: "head" })).json.channels);
  const { status, json } = await post({ data: 1, if_position: "000000000000:0" });
  assert.deepEqual([status, json.error.code, json.error.position], [412, "position_changed", position]);
  assert.equal((await post({ data: 1, if_position: position })).status, 200);
  assert.equal((await post({ data: 1, if_position: position })).status, 412);
});

test("JSON of a hundred thousand brackets is stored, delivered and read back", async () => {
  const data = "[".repeat(100_000) + "]".repeat(100_000);
  const wire = await enter({ room: "wide" });
  const answer = await publish(server, `{"channel":"wide","data":${data}}`, { authorization });
  assert.equal(answer.status, 200);
  const { text } = await wire.next();
  assert.ok(text.endsWith(`"data":${data}}`));
  const page = await exchange(
    server,
    encode({ path: "/channels/wide/messages", headers: { authorization } }),
  );
  assert.equal(page.status, 200);
  assert.ok(page.text.includes(data));
  wire.end();
});

test("clients that go away in the middle, or never come to an end, hold up nobody", async () => {
  const before = server.objects();
  const head = { method: "POST", path: "/publish", headers: { authorization } };
  const halves = [
    "GET /up HT",
    "GET /up HTTP/1.1\r\nHost: a\r\nx: ",
    encode({ ...head, headers: { authorization, "content-length": "1000" }, body: '{"channel":"new",' }),
    [encode({ ...head, headers: { authorization, "transfer-encoding": "chunked" } }), '5\r\n{"cha'],
    encode({ path: "/rooms/private-a?key=open-key", ws: true }).subarray(0, -2),
  ];
  const wires = Array.from({ length: 200 }, (_, nth) => {
    const wire = new Wire(server);
    for (const bytes of [halves[nth % halves.length]].flat()) wire.write(bytes);
    return wire;
  });
  const healthy = async () => assert.equal((await exchange(server, encode({ path: "/up" }))).said, "200");
  await healthy();
  for (const [nth, wire] of wires.entries()) if (nth % 2) wire.socket.resetAndDestroy();
  await healthy();
  for (const wire of wires) wire.end();
  await healthy();
  assert.deepEqual(server.objects(), before);
});

test("nothing of all that is a fault of ours", () => {
  assert.doesNotMatch(server.log(), /panic|RuntimeError|unreachable executed|Reinitializing/i);
});
