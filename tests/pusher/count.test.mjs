// How many subscribers there are, as Pusher's clients and webhooks are told it, on the real runtime: awake, and with everybody asleep between any two steps.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { join, Listener, published, until } from "../clients/client.mjs";
import { start } from "../harness.mjs";
import { Origin } from "./origin.mjs";

const origin = new Origin();
const event = "pusher_internal:subscription_count";
let server;

before(async () => {
  await origin.up();
  const channels = [
    { prefix: "", publish: true },
    { prefix: "counted", publish: true, subscription_count: true },
    { prefix: "presence-", subscription_count: true },
  ];
  const webhooks = [{ url: origin.url("/count"), events: ["subscription_count"] }];
  server = await start({ apps: [{ id: "1", key: "dev-key", secrets: ["dev-secret"], channels, webhooks }] });
});

after(async () => {
  await server?.stop();
  await origin.down();
});

const heard = (client, name) => client.frames.filter((frame) => frame.event === name);
const counts = (client, channel) =>
  heard(client, event)
    .filter((frame) => frame.channel === channel)
    .map(({ data }) => JSON.parse(data).subscription_count);
const told = (client, channel, count) =>
  until(
    () => `${count} subscribers of ${channel}, heard ${JSON.stringify(counts(client, channel))}`,
    () => counts(client, channel).at(-1) === count,
  );

const arrive = async (channel, more = {}) => {
  const client = new Listener(server, "/app/dev-key?protocol=7");
  await until("a connection", () => heard(client, "pusher:connection_established")[0]);
  client.send({ event: "pusher:subscribe", data: { channel, ...more } });
  return client;
};
const socketOf = (client) => JSON.parse(heard(client, "pusher:connection_established")[0].data).socket_id;

for (const asleep of [false, true]) {
  const rest = async () => asleep && (await server.evictAll());

  describe(asleep ? "asleep" : "awake", () => {
    test("everybody is told of every change, and everybody counts", async () => {
      const channel = `counted${asleep ? "-asleep" : ""}`;
      const one = await arrive(channel);
      await told(one, channel, 1);
      await rest();
      const other = await arrive(channel);
      for (const client of [one, other]) await told(client, channel, 2);
      await rest();
      const own = await join(server, channel);
      for (const client of [one, other]) await told(client, channel, 3);
      await rest();
      // A Hub of sockets that speak another dialect.
      const many = new Listener(server, "/connect");
      await many.has("welcome");
      many.send({ type: "subscribe", channel });
      for (const client of [one, other]) await told(client, channel, 4);
      await rest();
      await published(server, { channel, data: "still here" });
      await until("the message", () => heard(one, "message")[0]);
      await rest();
      await own.close();
      for (const client of [one, other]) await told(client, channel, 3);
      await rest();
      one.send({ event: "pusher:unsubscribe", data: { channel } });
      await told(other, channel, 2);
      await rest();
      await many.close();
      await told(other, channel, 1);
      assert.deepEqual(counts(other, channel), [2, 3, 4, 3, 2, 1], "each change once");
      await rest();
      await other.close();
      const last = () => origin.events("/count", channel).at(-1)?.subscription_count;
      await until("the last of them is gone", () => last() === 0);
      const numbers = origin.events("/count", channel).map((one) => one.subscription_count);
      assert.deepEqual(numbers, [1, 2, 3, 4, 3, 2, 1, 0]);
      assert.ok(
        !own.frames.concat(many.frames).some((frame) => JSON.stringify(frame).includes("subscription_count")),
      );
      await one.close();
    });
  });
}

test("many who come at once are told together, and more than a hundred not at every change", async () => {
  const channel = "counted-many";
  const first = await arrive(channel);
  await told(first, channel, 1);
  const begun = Date.now();
  const others = await Promise.all(Array.from({ length: 110 }, () => arrive(channel)));
  await told(first, channel, 111);
  const took = Date.now() - begun;
  const numbers = counts(first, channel);
  console.log(`111 subscribers: told ${JSON.stringify(numbers)} in ${took} ms`);
  const large = numbers.filter((count) => count > 100).length;
  assert.ok(large <= 2 + took / 5000, `${large} in ${took} ms`);
  assert.ok(numbers.length <= 3 + took / 200);
  await Promise.all([first, ...others].map((client) => client.close()));
});

test("without the rule, and in presence channels, nothing is said", async () => {
  const clients = [await arrive("plain"), await arrive("plain")];
  for (const user of ["u", "v"]) {
    const client = await arrive("counted-beside");
    const channel_data = JSON.stringify({ user_id: user });
    const { auth } = origin.pusher.authorizeChannel(socketOf(client), "presence-a", { user_id: user });
    client.send({ event: "pusher:subscribe", data: { channel: "presence-a", auth, channel_data } });
    clients.push(client);
  }
  const succeeded = (client) => heard(client, "pusher_internal:subscription_succeeded");
  await until("the presence channel", () =>
    clients.slice(2).every((client) => succeeded(client).length === 2),
  );
  await told(clients[2], "counted-beside", 2);
  for (const client of clients) {
    assert.deepEqual([...counts(client, "plain"), ...counts(client, "presence-a")], []);
  }
  assert.deepEqual(origin.events("/count", "plain").concat(origin.events("/count", "presence-a")), []);
  await Promise.all(clients.map((client) => client.close()));
});
