// Webhooks on the real runtime, verified by Pusher's own SDK: every event, a target that is away, slow, redirects or fails, and a SIGKILL in between.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { build } from "../../tools/build.mjs";
import { inSeconds, join, Listener, published, token, until } from "../clients/client.mjs";
import { start } from "../workerd.mjs";
import { Origin } from "./origin.mjs";

const origin = new Origin();
let server;

before(async () => {
  await build();
  await origin.up();
  const hook = (path, more) => ({ url: origin.url(path), ...more });
  const apps = [
    {
      id: "1",
      key: "dev-key",
      secrets: ["dev-secret", "another-secret-of-it"],
      channels: [
        { prefix: "", publish: true, client_rate: 1000 },
        { prefix: "hub", publish: true, connections: 0 },
      ],
      webhooks: [
        hook("/all", { suffix: "-all" }),
        hook("/batch", { suffix: "-batch", batch: true }),
        hook("/some", { prefix: "some-", events: ["client_event", "channel_vacated"], batch: true }),
        hook("/slow", { suffix: "-slow", events: ["client_event"] }),
        hook("/moved", { suffix: "-moved", events: ["client_event"] }),
        hook("/broken", { suffix: "-broken", events: ["client_event"] }),
        hook("/kill", { suffix: "-kill", events: ["client_event", "channel_occupied"] }),
        hook("/beside", { suffix: "-slow", events: ["client_event"] }),
      ],
    },
  ];
  server = await start({ apps });
});

after(async () => {
  await server?.stop();
  await origin.down();
});

const say = (listener, data) => listener.send({ type: "publish", event: "client-said", data });
const namesOf = (events) => events.map((event) => event.name);
const member = (user, channel) =>
  `?token=${token({ sub: user, exp: inSeconds(600), channels: { [channel]: ["sub", "pub"] } })}`;

test("a request is one event, signed, typed and named", async () => {
  const listener = await join(server, "one-all");
  say(listener, { a: "é\n" });
  await listener.close();
  const events = await origin.has("/all", "one-all", 3);
  assert.deepEqual(events, [
    { name: "channel_occupied", channel: "one-all" },
    {
      name: "client_event",
      channel: "one-all",
      event: "client-said",
      data: '{"a":"é\\n"}',
      socket_id: listener.welcome.connection,
    },
    { name: "channel_vacated", channel: "one-all" },
  ]);
  const requests = origin.taken("/all");
  assert.ok(requests.every(({ valid, events }) => valid && events.length === 1));
  assert.equal(new Set(requests.map(({ id }) => id)).size, requests.length);
  for (const { headers, time } of requests) {
    assert.equal(headers["content-type"], "application/json");
    assert.equal(headers["x-pusher-key"], "dev-key");
    assert.ok(Math.abs(Date.now() - time) < 30_000);
  }
  // What the app publishes is no client's event.
  await published(server, { channel: "one-all", data: "app" });
  const again = await join(server, "one-all");
  await origin.has("/all", "one-all", 4);
  assert.equal(origin.events("/all", "one-all").at(-1).name, "channel_occupied");
  await again.close();
});

test("a page that is loaded again is no change, here or in a Hub", async () => {
  for (const channel of ["back-all", "hub-back-all"]) {
    const first = await join(server, channel);
    await origin.has("/all", channel, 1);
    await first.close();
    const second = await join(server, channel);
    say(second, 1);
    await second.has("message");
    await second.close();
    const left = Date.now();
    const events = await origin.has("/all", channel, 3, 20_000);
    assert.deepEqual(namesOf(events), ["channel_occupied", "client_event", "channel_vacated"]);
    console.log(`${channel}: vacated ${Date.now() - left} ms after the last one left`);
  }
});

test("members come and go once, however many tabs they have", async () => {
  const channel = "presence-team-batch";
  const tabs = [
    await join(server, channel, { query: member("u", channel) }),
    await join(server, channel, { query: member("u", channel) }),
    await join(server, channel, { query: member("v", channel) }),
  ];
  const many = new Listener(server, `/connect${member("w", channel)}`);
  await many.has("welcome");
  many.send({ type: "subscribe", channel });
  await many.has("subscribed");
  say(tabs[2], "hi");
  const before = await origin.has("/batch", channel, 5);
  assert.deepEqual(before, [
    { name: "channel_occupied", channel },
    { name: "member_added", channel, user_id: "u" },
    { name: "member_added", channel, user_id: "v" },
    { name: "member_added", channel, user_id: "w" },
    {
      name: "client_event",
      channel,
      event: "client-said",
      data: '"hi"',
      socket_id: tabs[2].welcome.connection,
      user_id: "v",
    },
  ]);
  for (const listener of [...tabs, many]) await listener.close();
  const events = (await origin.has("/batch", channel, 9, 20_000)).slice(5);
  const left = events.slice(0, 3).map(({ name, user_id: user }) => `${name} ${user}`);
  assert.deepEqual(left.sort(), ["member_removed u", "member_removed v", "member_removed w"]);
  assert.deepEqual(events[3], { name: "channel_vacated", channel });
});

test("many events are one request where that is wanted, and filters hold", async () => {
  const [wanted, other] = [await join(server, "some-batch"), await join(server, "none-batch")];
  for (let nth = 0; nth < 200; nth += 1) {
    say(wanted, nth);
    if (nth % 4 === 0) say(other, nth);
  }
  const both = [origin.has("/some", "some-batch", 200), origin.has("/batch", "some-batch", 201)];
  for (const events of await Promise.all(both)) {
    const said = events.filter(({ name }) => name === "client_event");
    assert.deepEqual(
      said.map(({ data }) => Number(data)),
      [...Array(200).keys()],
    );
  }
  assert.ok(origin.taken("/some").length < 100, `${origin.taken("/some").length} requests`);
  assert.ok(origin.taken("/some").every(({ events }) => events.length <= 50));
  await origin.has("/batch", "none-batch", 51);
  assert.deepEqual(origin.events("/some", "none-batch"), []);
  await wanted.close();
  await other.close();
  const last = (await origin.has("/some", "some-batch", 201)).at(-1);
  assert.deepEqual(last, { name: "channel_vacated", channel: "some-batch" });
  assert.ok(!namesOf(origin.events("/some", "some-batch")).includes("channel_occupied"));
});

test("Pusher's clients: an empty cache, and what they say", async () => {
  const socket = new Listener(server, "/app/dev-key?protocol=7");
  const heard = (event) => until(event, () => socket.frames.find((frame) => frame.event === event));
  const established = await heard("pusher:connection_established");
  const { socket_id: id } = JSON.parse(established.data);
  const channel = "private-cache-a-all";
  const { auth } = origin.pusher.authorizeChannel(id, channel);
  socket.send({ event: "pusher:subscribe", data: { channel, auth } });
  await heard("pusher:cache_miss");
  socket.send({ event: "client-typing", channel, data: { a: 1 } });
  const events = await origin.has("/all", channel, 3);
  const order = namesOf(events);
  assert.deepEqual([...order].sort(), ["cache_miss", "channel_occupied", "client_event"]);
  assert.equal(order.at(-1), "client_event");
  const said = { name: "client_event", channel, event: "client-typing", data: '{"a":1}', socket_id: id };
  assert.deepEqual(events.at(-1), said);
  await socket.close();
  assert.equal((await origin.has("/all", channel, 4)).at(-1).name, "channel_vacated");
});

test("a target that is slow, redirects or fails holds nobody up, and is not followed", async () => {
  const paths = ["/slow", "/moved", "/broken"];
  origin.answer["/slow"] = () => {};
  origin.answer["/moved"] = (response) => response.writeHead(307, { location: "/elsewhere" }).end();
  origin.answer["/broken"] = 500;
  for (const path of paths) {
    const channel = `x-${path.slice(1)}`;
    const listener = await join(server, channel);
    const begun = Date.now();
    for (let nth = 0; nth < 20; nth += 1) {
      say(listener, nth);
      await listener.has("ack", nth + 1);
    }
    const took = Date.now() - begun;
    // All of them before one attempt could have been given up.
    assert.ok(took < 4000, `${path}: ${took} ms`);
    await until(`a request to ${path}`, () => origin.requests.some((request) => request.path === path));
    await listener.close();
  }
  await origin.has("/beside", "x-slow", 20);
  await until("another try", () => origin.requests.filter(({ path }) => path === "/broken").length >= 3);
  for (const path of paths) {
    const ids = new Set(origin.requests.filter((request) => request.path === path).map(({ id }) => id));
    assert.equal(ids.size, 1, `${path}: the first has to be taken before the next is sent`);
    delete origin.answer[path];
  }
  for (const path of paths) {
    const events = await origin.has(path, `x-${path.slice(1)}`, 20, 20_000);
    assert.deepEqual(
      events.map(({ data }) => Number(data)),
      [...Array(20).keys()],
    );
  }
  assert.ok(!origin.requests.some(({ path }) => path === "/elsewhere"));
});

test("nothing is lost while the target is down and the runtime is killed", async () => {
  const channels = ["a-kill", "b-kill", "c-kill"];
  let listeners = await Promise.all(channels.map((channel) => join(server, channel)));
  const said = Object.fromEntries(channels.map((channel) => [channel, []]));
  let next = 0;
  const sayAll = async (count) => {
    for (let nth = 0; nth < count; nth += 1) {
      for (const [at, listener] of listeners.entries()) {
        said[channels[at]].push(next);
        say(listener, next);
        next += 1;
      }
    }
    await Promise.all(listeners.map((listener) => listener.has("ack", count * said.rounds)));
  };
  said.rounds = 1;
  await sayAll(5);
  await origin.has("/kill", "a-kill", 6);
  await origin.down();
  for (let kill = 0; kill < 3; kill += 1) {
    said.rounds = kill === 0 ? 2 : 1;
    await sayAll(5);
    if (kill === 1) {
      // It comes back for a moment: requests are under way when the process dies.
      await origin.up();
      await until("a request", () => origin.taken("/kill").length > 12);
      await server.kill9();
      await origin.down();
    } else {
      await server.kill9();
    }
    await server.restart();
    listeners = await Promise.all(channels.map((channel) => join(server, channel)));
  }
  said.rounds = 1;
  await sayAll(5);
  await origin.up();
  for (const channel of channels) {
    const events = await origin.has("/kill", channel, said[channel].length + 1, 30_000);
    assert.equal(events[0].name, "channel_occupied");
    const data = events.filter(({ name }) => name === "client_event").map(({ data }) => Number(data));
    assert.deepEqual(data, said[channel]);
  }
  assert.ok(
    origin.requests.every(({ valid }) => valid),
    "every request is signed",
  );
  await Promise.all(listeners.map((listener) => listener.close()));
});
