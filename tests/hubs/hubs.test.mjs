import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  inSeconds,
  join,
  Listener,
  publish,
  published,
  Stream,
  token,
  until,
  within,
} from "../clients/client.mjs";
import { start } from "../harness.mjs";

const channels = [
  { prefix: "", publish: true, client_rate: 100 },
  { prefix: "crowd", publish: true, connections: 1 },
  { prefix: "away", publish: true, connections: 0 },
  { prefix: "quiet", publish: false },
];
const apps = [{ id: "1", key: "dev-key", secrets: ["dev-secret"], hub_connections: 4, channels }];

let server;
before(async () => {
  server = await start({ apps });
});
after(() => server.stop());

async function connect(query = "") {
  const listener = new Listener(server, `/connect${query}`);
  await within("the handshake", listener.opened);
  await listener.has("welcome");
  return listener;
}

const about = (listener, type, channel) => listener.of(type).filter((frame) => frame.channel === channel);

async function subscribe(listener, channel, more = {}) {
  const before = about(listener, "subscribed", channel).length;
  listener.send({ type: "subscribe", channel, ...more });
  await until(
    () => `subscribed to ${channel}, there is ${JSON.stringify(listener.frames)}`,
    () => about(listener, "subscribed", channel).length > before,
  );
  return about(listener, "subscribed", channel).at(-1);
}

async function hears(listener, channel, expected) {
  const data = () => about(listener, "message", channel).map((frame) => frame.data);
  const missing = () => `${expected} in ${channel}, there is ${JSON.stringify(listener.frames)}`;
  await until(missing, () => data().length >= expected.length);
  assert.deepEqual(data(), expected);
}

for (const asleep of [false, true]) {
  const rest = async () => asleep && (await server.evictAll());
  const named = (name) => `${name}${asleep ? "-asleep" : ""}`;

  describe(asleep ? "with everybody asleep between any two steps" : "awake", () => {
    test("two channels on one socket, each in its order, and one of them no longer", async () => {
      const [a, b] = [named("a"), named("b")];
      const one = await connect();
      await rest();
      await subscribe(one, a);
      await rest();
      await subscribe(one, b);
      for (const nth of [1, 2, 3]) {
        await rest();
        await published(server, { channel: a, data: `a${nth}` });
        await rest();
        await published(server, { channel: b, data: `b${nth}` });
      }
      await hears(one, a, ["a1", "a2", "a3"]);
      await hears(one, b, ["b1", "b2", "b3"]);
      await rest();
      one.send({ type: "unsubscribe", channel: a });
      await one.has("unsubscribed");
      await rest();
      await published(server, { channel: a, data: "not for it" });
      await published(server, { channel: b, data: "b4" });
      await hears(one, b, ["b1", "b2", "b3", "b4"]);
      assert.equal(about(one, "message", a).length, 3);
      await one.close();
    });

    test("who comes back with a position gets what it missed, and nothing twice", async () => {
      const channel = named("resumed");
      const first = await connect();
      const { position } = await subscribe(first, channel);
      await first.close();
      for (const nth of [1, 2, 3]) await published(server, { channel, data: nth });
      await rest();
      const back = await connect();
      const answer = await subscribe(back, channel, { position });
      assert.equal(answer.resumed, true);
      await rest();
      await published(server, { channel, data: 4 });
      await hears(back, channel, [1, 2, 3, 4]);
      const last = about(back, "message", channel).at(-1).position;
      const other = await connect();
      assert.equal((await subscribe(other, channel, { position: last })).resumed, true);
      const lost = await connect();
      assert.equal((await subscribe(lost, channel, { position: "000000000001:7" })).resumed, false);
      await lost.has("gap");
      await hears(lost, channel, [1, 2, 3, 4]);
      const late = await connect();
      await subscribe(late, channel, { last: 2 });
      await hears(late, channel, [3, 4]);
      for (const listener of [back, other, lost, late]) await listener.close();
    });

    test("a client publishes into its channels, in order, and is answered", async () => {
      const channel = named("spoken");
      const one = await connect();
      const room = await join(server, channel);
      await subscribe(one, channel);
      await rest();
      for (let nth = 1; nth <= 10; nth += 1) one.send({ type: "publish", channel, data: nth, id: `${nth}` });
      const acks = await one.has("ack", 10);
      assert.deepEqual(
        acks.map((ack) => [ack.id, ack.position.split(":")[1]]),
        acks.map((_, at) => [`${at + 1}`, `${at + 1}`]),
      );
      await hears(one, channel, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
      await hears(room, channel, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
      await rest();
      one.send({ type: "publish", channel, data: 10, id: "10" });
      const again = (await one.has("ack", 11)).at(-1);
      assert.equal(again.duplicate, true);
      one.send({ type: "history", channel, last: 3 });
      const [page] = await one.has("history");
      assert.deepEqual(
        page.messages.map((message) => message.data),
        [8, 9, 10],
      );
      await one.close();
      await room.close();
    });

    test("a room that is full sends the next ones to a Hub, and they notice nothing", async () => {
      const channel = named("crowd");
      const listeners = [await join(server, channel)];
      await rest();
      for (let nth = 0; nth < 3; nth += 1) listeners.push(await join(server, channel));
      const raw = await join(server, channel, { query: "?raw=1" });
      const shape = (listener) => Object.keys(listener.welcome);
      for (const listener of listeners) assert.deepEqual(shape(listener), shape(listeners[0]));
      for (const nth of [1, 2, 3]) {
        await rest();
        await published(server, { channel, data: nth });
      }
      for (const listener of listeners) await hears(listener, channel, [1, 2, 3]);
      await until("three texts", () => raw.frames.length >= 3);
      assert.deepEqual(raw.frames, ["1", "2", "3"]);
      await rest();
      listeners[3].send({ type: "publish", data: "mine", id: "m" });
      const [ack] = await listeners[3].has("ack");
      assert.deepEqual(Object.keys(ack), ["type", "id", "position"]);
      for (const listener of listeners) await hears(listener, channel, [1, 2, 3, "mine"]);
      for (const listener of [...listeners, raw]) await listener.close();
    });

    test("an event stream of two channels comes back to where it was in both", async () => {
      const [a, b] = [named("stream-a"), named("stream-b")];
      const path = `/events?channels=${a},${b}`;
      const first = await new Stream().open(server, path);
      await first.has("subscribed", 2);
      await rest();
      await published(server, { channel: a, data: "a1" });
      await rest();
      await published(server, { channel: b, data: "b1", event: "named" });
      await first.has(undefined);
      const [{ id, data }] = await first.has("named");
      assert.equal(JSON.parse(data).channel, b);
      first.close();
      await published(server, { channel: a, data: "a2" });
      await published(server, { channel: b, data: "b2" });
      await rest();
      const back = await new Stream().open(server, path, { "last-event-id": id });
      const messages = await back.has(undefined, 2);
      assert.deepEqual(messages.map((event) => JSON.parse(event.data).data).sort(), ["a2", "b2"]);
      const places = messages
        .at(-1)
        .id.split(",")
        .map((place) => place.split("=")[0]);
      assert.deepEqual(places, [a, b]);
      back.close();
    });
  });
}

test("hubs fill up one after another, and everybody gets everything", async () => {
  const before = (await server.objects()).length;
  const listeners = [];
  for (let nth = 0; nth < 10; nth += 1) listeners.push(await join(server, "away"));
  for (const nth of [1, 2, 3]) await published(server, { channel: "away", data: nth });
  for (const listener of listeners) await hears(listener, "away", [1, 2, 3]);
  const added = (await server.objects()).length - before;
  assert.ok(added >= 2, `ten sockets, four to a Hub, made ${added} objects`);
  for (const listener of listeners) await listener.close();
});

test("what one may not have is refused in words, and the connection goes on", async () => {
  const exp = inSeconds(3600);
  const one = await connect(`?token=${token({ sub: "u", exp, channels: { "private-mine": ["sub"] } })}`);
  const asks = [
    [{ type: "subscribe", channel: "private-other" }, "forbidden"],
    [{ type: "subscribe", channel: "private-other", token: "a.b.c" }, "unauthorized"],
    [
      {
        type: "subscribe",
        channel: "private-other",
        token: token({ sub: "v", exp, channels: { "*": ["sub"] } }),
      },
      "forbidden",
    ],
    [{ type: "subscribe", channel: "a b" }, "invalid_channel"],
    [{ type: "subscribe", channel: "a", position: "garbage" }, "invalid_json"],
    [{ type: "subscribe", channel: "a", last: 1e9 }, "invalid_field"],
    [{ type: "publish", channel: "a", data: 1, id: "1" }, "forbidden"],
    [{ type: "history", channel: "a" }, "invalid_field"],
    [{ type: "nonsense", channel: "a" }, "invalid_field"],
    ["{", "invalid_json"],
  ];
  for (const [nth, [ask, code]] of asks.entries()) {
    one.send(ask);
    const errors = await one.has("error", nth + 1);
    assert.equal(errors[nth].code, code, JSON.stringify([ask, errors[nth]]));
  }
  await subscribe(one, "private-mine");
  one.send({ type: "subscribe", channel: "private-mine" });
  assert.equal((await one.has("error", asks.length + 1)).at(-1).code, "invalid_field", "twice");
  one.send({ type: "publish", channel: "private-mine", data: 1 });
  assert.equal((await one.has("error", asks.length + 2)).at(-1).code, "forbidden", "no pub");
  await subscribe(one, "private-other", {
    token: token({ sub: "u", exp, channels: { "private-other": ["sub", "pub"] } }),
  });
  one.send({ type: "publish", channel: "private-other", data: 1, id: "1" });
  await one.has("ack");
  await one.close();
});

test("a user's channel reaches all of that user's connections, and nobody else", async () => {
  const exp = inSeconds(3600);
  const own = token({ sub: "7", exp });
  const other = token({
    sub: "8",
    exp,
    channels: { "*": ["sub", "pub"], "#server-to-user-*": ["sub", "pub"] },
  });
  const channel = "#server-to-user-7";
  const phone = new Listener(server, `/users/7?token=${own}`);
  await phone.has("welcome");
  const page = await connect(`?token=${own}`);
  await subscribe(page, channel);
  const late = await connect();
  await subscribe(late, channel, { token: own });
  const foreign = await connect(`?token=${other}`);
  const nobody = await connect();
  for (const [listener, code] of [
    [foreign, "forbidden"],
    [nobody, "unauthorized"],
  ]) {
    listener.send({ type: "subscribe", channel });
    const [error] = await listener.has("error");
    assert.equal(error.code, code);
  }
  for (const [query, code] of [
    ["", 4401],
    [`?token=${other}`, 4403],
  ])
    for (const path of ["/users/7", "/rooms/%23server-to-user-7"]) {
      const refused = new Listener(server, path + query);
      assert.equal((await within("the refusal", refused.ended)).code, code, path + query);
    }
  page.send({ type: "publish", channel, data: "mine", id: "1" });
  assert.equal((await page.has("error"))[0].code, "forbidden");
  await published(server, { channel, data: "for you" });
  for (const listener of [phone, page, late]) await hears(listener, channel, ["for you"]);
  for (const listener of [phone, page, late, foreign, nobody]) await listener.close();
});

test("a connection has a hundred channels, and its token's end is its own", async () => {
  const one = await connect();
  for (let nth = 0; nth < 101; nth += 1) one.send({ type: "subscribe", channel: `hundred-${nth}` });
  await one.has("subscribed", 100);
  const [error] = await one.has("error");
  assert.deepEqual([error.channel, error.code], ["hundred-100", "too_large"]);
  await one.close();
  const brief = await connect(`?token=${token({ exp: inSeconds(2) })}`);
  assert.equal((await within("the end", brief.ended, 15_000)).code, 4401);
});

test("a publish does not fail because of a Hub, and a Hub that has gone is forgotten", async () => {
  const one = await connect();
  await subscribe(one, "gone");
  await server.evictAll({ webSockets: "close" });
  await within("the end", one.ended);
  for (const nth of [1, 2]) assert.equal((await publish(server, { channel: "gone", data: nth })).status, 200);
  const back = await connect();
  await subscribe(back, "gone");
  await published(server, { channel: "gone", data: 3 });
  await hears(back, "gone", [3]);
  await back.close();
});
