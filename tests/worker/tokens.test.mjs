import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { inSeconds, join, Listener, published, stream, token, until, within } from "../clients/client.mjs";
import { start } from "../harness.mjs";

// "Within a few seconds": an alarm may be late, and a slow machine later.
const latenessMs = 6000;

let server;
before(async () => {
  server = await start();
});
after(() => server.stop());

const expiring = (seconds, claims) =>
  token({ sub: "u", exp: inSeconds(seconds), channels: { "private-*": ["sub", "pub"] }, ...claims });

async function endsInTime(what, ended, exp) {
  const end = await within(what, ended, exp * 1000 - Date.now() + latenessMs);
  assert.ok(Date.now() >= exp * 1000, `${what} came before its time`);
  return end;
}

for (const asleep of [false, true]) {
  const room = asleep ? "a sleeping room" : "a room";

  test(`${room} closes a socket with 4401 when its token expires, and keeps the others`, async () => {
    const channel = `private-socket-${asleep}`;
    const exp = inSeconds(4);
    const short = expiring(0, { exp });
    const listener = await join(server, channel, { protocols: ["dormouse", `bearer.${short}`] });
    assert.equal(listener.socket.protocol, "dormouse");
    const raw = await join(server, channel, { query: `?raw=1&token=${short}` });
    const other = await join(server, channel, { query: `?token=${expiring(600)}` });
    if (asleep) assert.equal(await server.evict(channel), true);

    const [end, rawEnd] = await Promise.all([
      endsInTime("the close", listener.ended, exp),
      endsInTime("the raw close", raw.ended, exp),
    ]);
    assert.deepEqual(end, { code: 4401, reason: "expired" });
    assert.equal(rawEnd.code, 4401);
    assert.equal(listener.frames.at(-1).type, "error");
    assert.equal(listener.frames.at(-1).code, "expired");
    assert.deepEqual(raw.frames, []);
    await published(server, { channel, data: "later" });
    await other.has("message");
    assert.deepEqual(listener.of("message"), []);
    await other.close();
  });

  test(`${room} ends an event stream with a close event when its token expires`, async () => {
    const channel = `private-stream-${asleep}`;
    const exp = inSeconds(4);
    const events = await stream(server, channel, { query: `?token=${expiring(0, { exp })}` });
    await events.has("welcome");
    if (asleep) assert.equal(await server.evict(channel), true);
    await endsInTime("the end of the stream", events.ended, exp);
    const last = events.events.at(-1);
    assert.equal(last.event, "close");
    assert.equal(JSON.parse(last.data).code, 4401);
  });
}

test("a token that has expired is refused, and one that is good for later", async () => {
  for (const [claims, code] of [
    [{ exp: inSeconds(-1) }, "expired"],
    [{ nbf: inSeconds(3600), exp: inSeconds(7200) }, "expired"],
    [{ exp: inSeconds(60), channels: { "private-b": ["sub"] } }, "forbidden"],
    [{ exp: inSeconds(60), channels: { "private-a": ["pub"] } }, "forbidden"],
    [{ exp: inSeconds(60), channels: {} }, "forbidden"],
    [{ exp: undefined }, "unauthorized"],
  ]) {
    const refused = new Listener(server, `/rooms/private-a?token=${expiring(60, claims)}`);
    const end = await within("the close", refused.ended);
    const status = code === "forbidden" ? 4403 : 4401;
    assert.deepEqual(end, { code: status, reason: code }, JSON.stringify(claims));
    assert.deepEqual(
      refused.frames.map(({ type, code }) => [type, code]),
      [["error", code]],
    );
  }
});

test("who may only listen may not publish, and the token has to say more", async () => {
  const query = (...grants) => `?token=${token({ exp: inSeconds(60), channels: { "private-r": grants } })}`;
  const reader = await join(server, "private-r", { query: query("sub") });
  const writer = await join(server, "private-r", { query: query("sub", "pub") });
  reader.send({ type: "publish", data: 1 });
  const [error] = await reader.has("error");
  assert.equal(error.code, "forbidden");
  writer.send({ type: "publish", data: 2, id: "x" });
  const [ack] = await writer.has("ack");
  const [message] = await reader.has("message");
  assert.deepEqual([message.data, message.position], [2, ack.position]);
  const raw = await join(server, "private-r", { query: `${query("sub")}&raw=1` });
  raw.send("no");
  assert.equal((await within("the close", raw.ended)).code, 4403);
  await Promise.all([reader.close(), writer.close()]);
});

test("`except` leaves one connection out, whatever it speaks, awake or asleep", async () => {
  const one = await join(server, "except");
  const two = await join(server, "except");
  const events = await stream(server, "except");
  const [welcome] = await events.has("welcome");
  const streamed = JSON.parse(welcome.data).connection;
  await published(server, { channel: "except", data: "not one", except: one.welcome.connection });
  assert.equal(await server.evict("except"), true);
  await published(server, { channel: "except", data: "not two", except: two.welcome.connection });
  await published(server, { channel: "except", data: "not stream", except: streamed });
  await published(server, { channel: "except", data: "all", except: "somebody-else" });
  const data = (listener) => listener.of("message").map((message) => message.data);
  await until("the last message", () => [one, two].every((each) => data(each).includes("all")));
  const events4 = await events.has(undefined, 3);
  assert.deepEqual(data(one), ["not two", "not stream", "all"]);
  assert.deepEqual(data(two), ["not one", "not stream", "all"]);
  assert.deepEqual(
    events4.map((event) => JSON.parse(event.data)),
    ["not one", "not two", "all"],
  );
  events.close();
  await Promise.all([one.close(), two.close()]);
});
