/** pusher-js in Node: who is there, what clients say to each other, and who is signed in. */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { until } from "../clients/client.mjs";
import { start } from "../harness.mjs";
import { sleep } from "../workerd.mjs";
import { appId, key, secret, startBackend } from "./backend.mjs";
import { Client } from "./client.mjs";

const channels = [
  { prefix: "", publish: true },
  { prefix: "counted", subscription_count: true },
];
const apps = [{ id: appId, key, secrets: [secret], watchlist: true, channels }];

let server;
let backend;
const clients = [];
before(async () => {
  server = await start({ apps });
  backend = await startBackend(server);
});
after(async () => {
  await backend.close();
  await server.stop();
});
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

/** A client that is connected. */
function connect(user, more) {
  const client = new Client(server, backend, { user, ...more });
  clients.push(client);
  return client.connected();
}

const presenceOf = (client, channel) =>
  client.frames
    .filter((frame) => frame.channel === channel && /member_(added|removed)$/.test(frame.event))
    .map(({ event, data }) => `${event.split("_").at(-1)} ${data.user_id}`);

for (const asleep of [false, true]) {
  const rest = async () => asleep && (await server.evictAll());
  const named = (name) => `${name}${asleep ? "-asleep" : ""}`;

  describe(asleep ? "with everybody asleep between any two steps" : "awake", () => {
    test("presence: who is there, who comes and who goes, whatever tabs and reloads there are", async () => {
      const channel = named("presence-room");
      const anna = await connect("anna");
      await anna.subscribe(channel);
      assert.deepEqual(anna.members(channel), { users: ["anna"], count: 1 });
      const { me } = anna.pusher.channel(channel).members;
      assert.deepEqual(me, { id: "anna", info: { name: "anna 🐭" } });
      await rest();
      const ben = await connect("ben");
      await ben.subscribe(channel);
      for (const client of [anna, ben]) await client.sees(channel, ["anna", "ben"]);
      assert.deepEqual(anna.pusher.channel(channel).members.get("ben").info, { name: "ben 🐭" });
      await rest();
      const tab = await connect("anna");
      await tab.subscribe(channel);
      assert.deepEqual(tab.members(channel), { users: ["anna", "ben"], count: 2 });
      await rest();
      tab.close();
      await rest();
      // A page that is loaded again.
      ben.close();
      const again = await connect("ben");
      await again.subscribe(channel);
      await rest();
      const carl = await connect("carl");
      await carl.subscribe(channel);
      await anna.sees(channel, ["anna", "ben", "carl"]);
      await rest();
      again.pusher.unsubscribe(channel);
      await rest();
      for (const client of [anna, carl]) await client.sees(channel, ["anna", "carl"]);
      assert.deepEqual(presenceOf(anna, channel), ["added ben", "added carl", "removed ben"]);
      await rest();
      const { users } = await (await backend.sdk.get({ path: `/channels/${channel}/users` })).json();
      assert.deepEqual(users.map(({ id }) => id).sort(), ["anna", "carl"]);
    });

    for (const kind of ["private", "presence"]) {
      test(`client events in ${kind} channels: to the others, never back`, async () => {
        const channel = named(`${kind}-typing`);
        const [one, two] = [await connect("a"), await connect("b")];
        const heard = [];
        await one.subscribe(channel);
        (await two.subscribe(channel)).bind("client-typing", (data, metadata) =>
          heard.push({ data, metadata }),
        );
        await rest();
        one.pusher.channel(channel).trigger("client-typing", { in: "box 🐭" });
        await two.has("client-typing", channel);
        await rest();
        two.pusher.channel(channel).trigger("client-typing", "a text");
        await one.has("client-typing", channel);
        const user = kind === "presence" ? (id) => ({ user_id: id }) : () => ({});
        assert.deepEqual(heard, [{ data: { in: "box 🐭" }, metadata: user("a") }]);
        const [{ data, ...frame }] = one.of("client-typing");
        assert.deepEqual([frame.user_id, data], [user("b").user_id, "a text"]);
        // Everybody has got the other's: what is echoed would have come before.
        assert.equal(one.of("client-typing").length, 1);
        assert.equal(two.of("client-typing").length, 1);
      });
    }

    test("the eleventh client event of a second is dropped with 4301, and the socket stays", async () => {
      const channel = named("private-fast");
      const [one, two] = [await connect("a"), await connect("b")];
      const subscription = await one.subscribe(channel);
      await two.subscribe(channel);
      await rest();
      for (let nth = 1; nth <= 30; nth += 1) subscription.trigger("client-fast", { nth });
      await until(
        () => `4301, there is ${JSON.stringify(one.errors)}`,
        () => one.codes.includes(4301),
      );
      // As soon as a second has gone by, more or less.
      await until("again", async () => {
        await sleep(200);
        subscription.trigger("client-later", {});
        return two.of("client-later").length > 0;
      });
      const got = two.of("client-fast", channel).map(({ data }) => data.nth);
      assert.ok(got.length >= 10 && got.length < 30, `${got}`);
      assert.deepEqual(got.slice(0, 10), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
      assert.deepEqual(one.states, ["connected"]);
    });

    test("a user who has signed in is reached wherever it is, and can be closed", async () => {
      const user = named("user");
      const tabs = [await connect(user), await connect(user)];
      const other = await connect(named("other"));
      const heard = [];
      for (const client of [...tabs, other]) {
        await rest();
        client.pusher.user.bind("note", (data) => heard.push({ client, data }));
        await client.signIn();
      }
      assert.equal(tabs[0].pusher.user.user_data.id, user);
      await rest();
      await backend.sdk.sendToUser(user, "note", { text: "for you 🐭" });
      await until("both", () => heard.length === 2);
      assert.deepEqual(
        heard.map(({ client, data }) => [tabs.includes(client), data]),
        [
          [true, { text: "for you 🐭" }],
          [true, { text: "for you 🐭" }],
        ],
      );
      await rest();
      const answer = await backend.sdk.terminateUserConnections(user);
      assert.deepEqual(await answer.json(), {});
      for (const client of tabs)
        await until(`closed for good, ${client.states}`, () => client.states.at(-1) === "disconnected");
      assert.deepEqual(
        tabs.map(({ codes }) => codes),
        [[4009], [4009]],
      );
      await backend.sdk.sendToUser(named("other"), "note", "still");
      await until("the other", () => heard.length === 3);
      assert.equal(heard[2].client, other);
    });

    test("a watchlist: who of them is online, and when that changes", async () => {
      const [watcher, one, two] = ["watcher", "one", "two"].map(named);
      backend.watchlists[watcher] = [one, two];
      const client = await connect(watcher);
      const events = [];
      for (const name of ["online", "offline"])
        client.pusher.user.watchlist.bind(name, ({ user_ids: ids }) => {
          for (const id of ids) events.push(`${name} ${id}`);
        });
      await client.signIn();
      const says = (...expected) =>
        until(
          () => `${expected}, there is ${events}`,
          () => JSON.stringify(events.slice(2)) === JSON.stringify(expected),
          20_000,
        );
      await until("both", () => events.length === 2);
      assert.deepEqual(events.toSorted(), [`offline ${one}`, `offline ${two}`]);
      await rest();
      const first = await connect(one);
      await first.signIn();
      await says(`online ${one}`);
      await rest();
      const tab = await connect(one);
      await tab.signIn();
      await rest();
      tab.close();
      await rest();
      first.close();
      await says(`online ${one}`, `offline ${one}`);
    });

    test("a presence channel takes the user who has signed in", async () => {
      const channel = named("presence-signed");
      const client = await connect("dora");
      backend.answer = ({ channel_data: _, ...rest }, { channel: asked, socket }) =>
        asked === channel ? backend.sdk.authorizeChannel(socket, asked) : rest;
      try {
        await client.signIn();
        await rest();
        await client.subscribe(channel);
        await client.sees(channel, ["dora"]);
        assert.equal(client.pusher.channel(channel).members.me.id, "dora");
      } finally {
        backend.answer = undefined;
      }
    });

    test("subscription_count: to everybody who is subscribed", async () => {
      const channel = named("counted");
      const all = [await connect(), await connect(), await connect()];
      for (const client of all) {
        await rest();
        await client.subscribe(channel);
      }
      const count = (client) => client.pusher.channel(channel).subscriptionCount;
      for (const client of all)
        await until(
          () => `3, there is ${count(client)}`,
          () => count(client) === 3,
          20_000,
        );
      await rest();
      all[2].pusher.unsubscribe(channel);
      for (const client of all.slice(0, 2))
        await until(
          () => `2, there is ${count(client)}`,
          () => count(client) === 2,
          20_000,
        );
    });
  });
}
