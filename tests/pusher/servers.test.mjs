/** Pusher's SDKs for servers, in three languages, and what pusher-js gets of it. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { until } from "../clients/client.mjs";
import { start } from "../harness.mjs";
import { freePort } from "../workerd.mjs";
import { appId, key, secret, startBackend } from "./backend.mjs";
import { Client } from "./client.mjs";
import { askerOf, sdks } from "./sdks.mjs";

// Pusher's own bound for an event's data.
const channels = [{ prefix: "", publish: true, message_bytes: 10_240 }];

let server;
let backend;
const clients = [];
before(async () => {
  const port = await freePort();
  const webhooks = [{ url: `http://127.0.0.1:${port}/hooks`, prefix: "cache-hook" }];
  server = await start({ apps: [{ id: appId, key, secrets: [secret], channels, webhooks }] });
  backend = await startBackend(server, port);
});
after(async () => {
  await backend.close();
  await server.stop();
});
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

function connect(user) {
  const client = new Client(server, backend, { user });
  clients.push(client);
  return client.connected();
}

const data = { mouse: "🐭é", list: [1, null, { deep: true }], text: 'with "quotes" \\ and\n' };
// What is null there is what the answer did not have.
const known = (value) => Object.fromEntries(Object.entries(value).filter(([, field]) => field !== null));

for (const [language, { start: startSdk, lacks }] of Object.entries(sdks)) {
  describe(`the SDK for ${language}`, () => {
    let program;
    let ask;
    const named = (name) => `${name}-${language.toLowerCase()}`;
    const rest = () => server.evictAll();
    before(() => {
      program = startSdk(server);
      ask = askerOf(program);
    });
    after(() => program.kill());
    afterEach(() => {
      backend.answer = undefined;
    });

    test("triggers, into one channel and into several, and not to whom it excludes", async () => {
      const [red, green] = [named("red"), named("green")];
      const [one, two] = [await connect(), await connect()];
      for (const client of [one, two]) await client.subscribe(red, green);
      await rest();
      assert.deepEqual(known(await ask({ do: "trigger", channels: [red], name: "first", data })), {});
      await rest();
      await ask({ do: "trigger", channels: [red, green], name: "second", data });
      await rest();
      await ask({ do: "trigger", channels: [red], name: "third", data, socket_id: one.socketId });
      await rest();
      await ask({ do: "trigger", channels: [red, green], name: "fourth", data, socket_id: two.socketId });
      await two.has("third", red);
      for (const channel of [red, green]) await one.has("fourth", channel);
      const names = (client, channel) =>
        client.frames
          .filter((frame) => frame.channel === channel && !frame.event.startsWith("pusher"))
          .map(({ event }) => event);
      assert.deepEqual(names(one, red), ["first", "second", "fourth"]);
      assert.deepEqual(names(two, red), ["first", "second", "third"]);
      assert.deepEqual(names(one, green), ["second", "fourth"]);
      assert.deepEqual(names(two, green), ["second"]);
      for (const frame of one.of("first")) assert.deepEqual(frame.data, data);
    });

    if (!lacks.includes("batch")) {
      test("triggers a batch", async () => {
        const names = [named("batch-a"), named("batch-b")];
        const client = await connect();
        await client.subscribe(...names);
        await rest();
        const batch = names.map((channel, nth) => ({ channel, name: "batched", data: { nth } }));
        assert.deepEqual(await ask({ do: "batch", batch }), {});
        for (const [nth, name] of names.entries())
          assert.deepEqual((await client.has("batched", name))[0].data, { nth });
      });
    }

    if (!lacks.includes("encryption")) {
      test("encrypts, and its keys decrypt", async () => {
        const channel = named("private-encrypted-tea");
        const client = await connect();
        const signed = (socket) => ask({ do: "authorize", channel, socket_id: socket });
        const { shared_secret: shared } = await signed(client.socketId);
        assert.equal(
          shared,
          backend.sdk.authorizeChannel(client.socketId, channel).shared_secret,
          "all SDKs derive the same",
        );
        const read = [];
        client.pusher.subscribe(channel).bind("tea", (got) => read.push(got));
        await client.subscribe(channel);
        await rest();
        await ask({ do: "trigger", channels: [channel], name: "tea", data });
        await until("the tea", () => read.length === 1);
        assert.deepEqual(read, [data]);
      });
    }

    test("asks which channels there are, and about one", async () => {
      const prefix = named("presence-asked");
      const names = [`${prefix}-1`, `${prefix}-2`];
      const [anna, ben] = [await connect("anna"), await connect("ben")];
      await anna.subscribe(...names);
      await ben.subscribe(names[0]);
      await rest();
      const counted = { [names[0]]: 2, [names[1]]: 1 };
      await until("the directory", async () => {
        const channels = await ask({ do: "channels", prefix, info: ["user_count"] });
        const counts = Object.fromEntries(
          Object.entries(channels).map(([name, { user_count: users }]) => [name, users]),
        );
        return JSON.stringify(counts) === JSON.stringify(counted);
      });
      const channels = await ask({ do: "channels", prefix });
      assert.deepEqual(Object.keys(channels).sort(), names);
      for (const channel of Object.values(channels)) assert.deepEqual(known(channel), {});
      await rest();
      const info = ["user_count", "subscription_count"];
      const one = await ask({ do: "channel", channel: names[0], info: info.slice(0, 1) });
      assert.deepEqual(known(one), { occupied: true, user_count: 2 });
      assert.deepEqual((await ask({ do: "users", channel: names[0] })).sort(), ["anna", "ben"]);
      const open = named("asked-open");
      await anna.subscribe(open);
      await ben.subscribe(open);
      await rest();
      const public_ = await ask({ do: "channel", channel: open, info: info.slice(1) });
      assert.deepEqual(known(public_), { occupied: true, subscription_count: 2 });
      const nobody = await ask({ do: "channel", channel: named("asked-nobody") });
      assert.deepEqual(known(nobody), { occupied: false });
      const refused = await ask({ do: "users", channel: open }).catch(({ message }) => message);
      assert.match(refused, /400|BadRequest/);
    });

    test("signs for private and presence channels", async () => {
      const [secretly, together] = [named("private-signed"), named("presence-signed")];
      const client = await connect();
      const answers = {
        [secretly]: await ask({ do: "authorize", channel: secretly, socket_id: client.socketId }),
        [together]: await ask({
          do: "authorize",
          channel: together,
          socket_id: client.socketId,
          data: { user_id: "7", user_info: { name: "Ännchen 🐭" } },
        }),
      };
      backend.answer = (_, { channel }) => answers[channel];
      await rest();
      await client.subscribe(secretly, together);
      assert.deepEqual(client.pusher.channel(together).members.me, {
        id: "7",
        info: { name: "Ännchen 🐭" },
      });
    });

    if (!lacks.includes("user")) {
      test("signs users in, and sends to them", async () => {
        const user = named("user");
        const client = await connect(user);
        const signed = await ask({ do: "user", socket_id: client.socketId, data: { id: user, name: "é🐭" } });
        client.pusher.config.userAuthenticator = (_, callback) => callback(null, signed);
        await client.signIn();
        assert.deepEqual(client.pusher.user.user_data, { id: user, name: "é🐭" });
        const heard = [];
        client.pusher.user.bind("note", (got) => heard.push(got));
        await rest();
        await ask({ do: "send_to_user", user, name: "note", data });
        await until("the note", () => heard.length === 1);
        assert.deepEqual(heard, [data]);
      });
    }

    test("verifies webhooks", async () => {
      const channel = named("cache-hook");
      const client = await connect();
      await client.subscribe(channel);
      await rest();
      // An object that is put to sleep before it has read the answer asks again: with the same id.
      const hooks = () => {
        const mine = backend.hooks.filter(({ rawBody }) => rawBody.includes(`"${channel}"`));
        return [...new Map(mine.map((hook) => [hook.headers["x-dormouse-id"], hook])).values()];
      };
      await until("both", () => hooks().length >= 2, 20_000);
      const heard = [];
      for (const { headers, rawBody } of hooks()) {
        assert.equal(headers["content-type"], "application/json");
        const [of, signature] = ["x-pusher-key", "x-pusher-signature"].map((name) => headers[name]);
        heard.push(...(await ask({ do: "webhook", key: of, signature, body: rawBody })));
        const forged = rawBody.replace(channel, "another");
        const refused = await ask({ do: "webhook", key: of, signature, body: forged }).catch(() => null);
        assert.equal(refused, null);
      }
      const names = heard.map(({ name, channel: of }) => `${name} ${of}`);
      assert.deepEqual(names.toSorted(), [`cache_miss ${channel}`, `channel_occupied ${channel}`]);
    });

    test("reads what is refused, and why", async () => {
      const send = (line) => ask(line).catch(({ message }) => message);
      const line = { do: "trigger", channels: [named("refused")], name: "e" };
      // The SDK for Rust looks at the length itself.
      assert.match(await send({ ...line, data: "x".repeat(10_241) }), /413.*content of this event|10kb/s);
      const other = startSdk(server, "another-secret-than-its");
      try {
        const refused = await askerOf(other)({ ...line, data }).catch(({ message }) => message);
        assert.match(refused, /401|BadAuth/);
        assert.match(refused, /[Ii]nvalid signature/);
      } finally {
        other.kill();
      }
    });
  });
}
