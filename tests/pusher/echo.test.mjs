/** Laravel Echo on pusher-js, both unmodified. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import Echo from "laravel-echo";
import PusherJs from "pusher-js";
import { until } from "../clients/client.mjs";
import { start } from "../harness.mjs";
import { appId, key, secret, startBackend } from "./backend.mjs";
import { optionsFor } from "./client.mjs";

const apps = [{ id: appId, key, secrets: [secret], channels: [{ prefix: "", publish: true }] }];

let server;
let backend;
before(async () => {
  server = await start({ apps });
  backend = await startBackend(server);
});
after(async () => {
  await backend.close();
  await server.stop();
});

async function connect(user, broadcaster = "pusher") {
  const echo = new Echo({ broadcaster, key, Pusher: PusherJs, ...optionsFor(server, backend, { user }) });
  await until("a connection", () => echo.connectionStatus() === "connected");
  return echo;
}

/** Waits until Echo says that it is subscribed. */
const ready = (channel) => new Promise((done, failed) => channel.subscribed(done).error(failed));

for (const asleep of [false, true]) {
  const rest = async () => asleep && (await server.evictAll());
  const named = (name) => `${name}${asleep ? "-asleep" : ""}`;

  describe(asleep ? "with everybody asleep between any two steps" : "awake", () => {
    test("channel, private, encryptedPrivate: events of Laravel, by their names", async () => {
      const echo = await connect("anna");
      const heard = [];
      const keep = (where) => (data) => heard.push({ where, data });
      try {
        const [open, closed, secret] = ["orders", "orders", "orders"].map(named);
        const channels = [echo.channel(open), echo.private(closed), echo.encryptedPrivate(secret)];
        channels[0].listen("OrderShipped", keep("channel"));
        channels[1].listen(".order.shipped", keep("private"));
        channels[2].listen("OrderShipped", keep("encrypted"));
        await Promise.all(channels.map(ready));
        await rest();
        await backend.sdk.trigger(open, "App\\Events\\OrderShipped", { order: 1 });
        await until("the first", () => heard.length === 1);
        await rest();
        await backend.sdk.trigger(`private-${closed}`, "order.shipped", { order: 2 });
        await until("the second", () => heard.length === 2);
        await rest();
        await backend.sdk.trigger(`private-encrypted-${secret}`, "App\\Events\\OrderShipped", { order: 3 });
        await until("the third", () => heard.length === 3);
        assert.deepEqual(heard, [
          { where: "channel", data: { order: 1 } },
          { where: "private", data: { order: 2 } },
          { where: "encrypted", data: { order: 3 } },
        ]);
        assert.match(echo.socketId(), /^\d+\.\d+$/);
      } finally {
        echo.disconnect();
      }
    });

    test("join: here, joining, leaving, and whispers", async () => {
      const room = named("chat");
      const anna = await connect("anna");
      const ben = await connect("ben");
      const seen = [];
      try {
        const joined = anna
          .join(room)
          .here((users) => seen.push(["here", users]))
          .joining((user) => seen.push(["joining", user]))
          .leaving((user) => seen.push(["leaving", user]))
          .listenForWhisper("typing", (data) => seen.push(["whisper", data]));
        await ready(joined);
        assert.deepEqual(seen, [["here", [{ name: "anna 🐭" }]]]);
        await rest();
        const other = ben.join(room);
        await ready(other);
        await until("joining", () => seen.length === 2);
        await rest();
        other.whisper("typing", { name: "Ben" });
        await until("a whisper", () => seen.length === 3);
        await rest();
        ben.leave(room);
        await until("leaving", () => seen.length === 4, 15_000);
        assert.deepEqual(seen.slice(1), [
          ["joining", { name: "ben 🐭" }],
          ["whisper", { name: "Ben" }],
          ["leaving", { name: "ben 🐭" }],
        ]);
      } finally {
        anna.disconnect();
        ben.disconnect();
      }
    });

    test("notifications, whispers in private channels, and leaving", async () => {
      const channel = named("App.Models.User.7");
      const [one, two] = [await connect("7"), await connect("7", "reverb")];
      const heard = [];
      try {
        const mine = one.private(channel).notification((data) => heard.push(["notification", data]));
        mine.listenForWhisper("read", (data) => heard.push(["read", data]));
        const theirs = two.private(channel);
        await Promise.all([ready(mine), ready(theirs)]);
        await rest();
        const event = "Illuminate\\Notifications\\Events\\BroadcastNotificationCreated";
        await backend.sdk.trigger(`private-${channel}`, event, { id: "1", type: "Paid" });
        await until("the notification", () => heard.length === 1);
        await rest();
        theirs.whisper("read", { id: "1" });
        await until("the whisper", () => heard.length === 2);
        assert.deepEqual(heard, [
          ["notification", { id: "1", type: "Paid" }],
          ["read", { id: "1" }],
        ]);
        await rest();
        one.leave(channel);
        await until("nobody but the other", async () => {
          const path = `/channels/private-${channel}`;
          const answer = await backend.sdk.get({ path, params: { info: "subscription_count" } });
          return (await answer.json()).subscription_count === 1;
        });
      } finally {
        one.disconnect();
        two.disconnect();
      }
    });
  });
}
