/** pusher-js and Laravel Echo in Chromium, as pages load them. */
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { launch } from "../browser/chromium.mjs";
import { start } from "../harness.mjs";
import { appId, key, secret, startBackend } from "./backend.mjs";
import { optionsFor } from "./client.mjs";

const apps = [{ id: appId, key, secrets: [secret], channels: [{ prefix: "", publish: true }] }];

let server;
let backend;
let browser;
const pages = [];
before(async () => {
  server = await start({ apps });
  backend = await startBackend(server);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await backend?.close();
  await server?.stop();
});
afterEach(async () => {
  for (const page of pages.splice(0)) await page.close();
});

/** In a page: a client, and what it hears; `window.seen` has every frame. */
function connectInPage({ key, options }) {
  window.seen = [];
  window.states = [];
  window.pusher = new window.Pusher(key, options);
  window.pusher.connection.bind("message", (frame) => window.seen.push(frame));
  window.pusher.connection.bind("state_change", ({ current }) => window.states.push(current));
}

/** A page whose client is connected. */
async function open(user, more = {}) {
  const page = await browser.newPage();
  pages.push(page);
  await page.goto(`${backend.url}/`);
  await page.evaluate(connectInPage, { key, options: optionsFor(server, backend, { user, ...more }) });
  await page.waitForFunction(() => window.pusher.connection.state === "connected");
  return page;
}

const subscribe = async (page, ...names) => {
  for (const name of names) {
    await page.evaluate((name) => void window.pusher.subscribe(name), name);
    await page.waitForFunction((name) => window.pusher.channel(name).subscribed, name);
  }
};

/** Waits until a page has had so many events of a name, and returns their data. */
async function has(page, event, count = 1) {
  const found = ([event, count]) => {
    const frames = window.seen.filter((frame) => frame.event === event);
    return frames.length >= count && frames;
  };
  return (await page.waitForFunction(found, [event, count], { timeout: 15_000 })).jsonValue();
}

const sees = (page, channel, users) =>
  page.waitForFunction(
    ([channel, users]) => {
      const { members, count } = window.pusher.channel(channel).members;
      return count === users.length && Object.keys(members).sort().join() === users.join();
    },
    [channel, users],
    { timeout: 15_000 },
  );

test("pages in channels of every kind hear servers and each other, while objects sleep", async () => {
  const names = ["news", "private-desk", "presence-team", "private-encrypted-safe", "private-cache-last"];
  const [anna, ben] = [await open("anna"), await open("ben", { wsPath: "/behind/a/path" })];
  await subscribe(anna, ...names);
  await server.evictAll();
  await subscribe(ben, ...names);
  await sees(anna, "presence-team", ["anna", "ben"]);
  await anna.evaluate(() => {
    window.safe = [];
    window.pusher.channel("private-encrypted-safe").bind("secret", (data) => window.safe.push(data));
  });
  const socketId = await anna.evaluate(() => window.pusher.connection.socket_id);
  await server.evictAll();
  await backend.sdk.trigger(names.slice(0, 3), "told", { to: "all 🐭" });
  await backend.sdk.trigger("news", "told", { to: "ben" }, { socket_id: socketId });
  await backend.sdk.trigger("private-encrypted-safe", "secret", { gold: 1 });
  await server.evictAll();
  await anna.evaluate(
    () => void window.pusher.channel("presence-team").trigger("client-wave", { at: "ben" }),
  );
  assert.deepEqual(
    (await has(ben, "client-wave")).map(({ data, user_id }) => [data, user_id]),
    [[{ at: "ben" }, "anna"]],
  );
  assert.equal((await has(ben, "told", 4)).length, 4);
  await anna.waitForFunction(() => window.safe.length === 1);
  assert.deepEqual(await anna.evaluate(() => window.safe), [{ gold: 1 }]);
  await server.evictAll();
  await backend.sdk.trigger("news", "end", 1);
  await has(anna, "end");
  assert.equal((await has(anna, "told", 3)).length, 3, "not what was kept from it");
  const counts = await anna.evaluate(() => window.seen.filter(({ event }) => event === "client-wave").length);
  assert.equal(counts, 0);
});

test("two tabs of one user are one member, and both are reached; a reload is no leave", async () => {
  const [one, two, other] = [await open("anna"), await open("anna"), await open("ben")];
  for (const page of [one, two, other]) {
    await subscribe(page, "presence-tabs");
    await server.evictAll();
  }
  for (const page of [one, two, other]) await sees(page, "presence-tabs", ["anna", "ben"]);
  for (const page of [one, two]) {
    await page.evaluate(() => {
      window.notes = [];
      window.pusher.user.bind("note", (data) => window.notes.push(data));
      window.pusher.signin();
    });
    await page.waitForFunction(() => window.pusher.user.serverToUserChannel?.subscribed);
  }
  await server.evictAll();
  await backend.sdk.sendToUser("anna", "note", { text: "for anna" });
  for (const page of [one, two]) await page.waitForFunction(() => window.notes.length === 1);
  await two.close();
  await one.reload();
  await one.evaluate(connectInPage, { key, options: optionsFor(server, backend, { user: "anna" }) });
  await one.waitForFunction(() => window.pusher.connection.state === "connected");
  await subscribe(one, "presence-tabs");
  await sees(one, "presence-tabs", ["anna", "ben"]);
  await other.evaluate(() => window.pusher.unsubscribe("presence-tabs"));
  await sees(one, "presence-tabs", ["anna"]);
  const changes = await other.evaluate(() => window.seen.filter(({ event }) => /member_/.test(event)).length);
  assert.equal(changes, 0, "neither the tabs nor the reload");
});

test("a page whose connection breaks is back a second later, in all of its channels", async () => {
  const page = await open("anna");
  await subscribe(page, "presence-back", "news-back");
  const before = await page.evaluate(() => window.pusher.connection.socket_id);
  assert.ok((await server.evictAll({ webSockets: "close" })) > 0);
  const isBack = (before) =>
    window.pusher.connection.state === "connected" &&
    window.pusher.connection.socket_id !== before &&
    window.pusher.channel("news-back").subscribed &&
    window.pusher.channel("presence-back").subscribed;
  await page.waitForFunction(isBack, before, { timeout: 20_000 });
  await sees(page, "presence-back", ["anna"]);
  await backend.sdk.trigger("news-back", "after", 1);
  await has(page, "after");
});

test("a page that is refused stays away", async () => {
  const page = await browser.newPage();
  pages.push(page);
  await page.goto(`${backend.url}/`);
  await page.evaluate(connectInPage, { key: "nobody", options: optionsFor(server, backend) });
  await page.waitForFunction(() => window.pusher.connection.state === "disconnected");
  assert.deepEqual(await page.evaluate(() => window.states), ["disconnected"]);
});

test("Laravel Echo in a page: here, joining, whispers", async () => {
  const page = await open("anna");
  const other = await open("ben");
  await page.addScriptTag({ url: "/echo.js" });
  await page.evaluate(
    (key) =>
      new Promise((done, failed) => {
        window.heard = [];
        const Echo = window.Echo.default ?? window.Echo;
        const echo = new Echo({ broadcaster: "pusher", key, client: window.pusher });
        echo
          .join("echo")
          .here((users) => done(window.heard.push(["here", users])))
          .error(failed)
          .joining((user) => window.heard.push(["joining", user]))
          .listenForWhisper("typing", (data) => window.heard.push(["typing", data]))
          .listen("OrderShipped", (data) => window.heard.push(["event", data]));
      }),
    key,
  );
  await server.evictAll();
  await subscribe(other, "presence-echo");
  await page.waitForFunction(() => window.heard.length === 2);
  await server.evictAll();
  await other.evaluate(
    () => void window.pusher.channel("presence-echo").trigger("client-typing", { by: "ben" }),
  );
  await page.waitForFunction(() => window.heard.length === 3);
  await server.evictAll();
  await backend.sdk.trigger("presence-echo", "App\\Events\\OrderShipped", { order: 1 });
  await page.waitForFunction(() => window.heard.length === 4);
  assert.deepEqual(await page.evaluate(() => window.heard), [
    ["here", [{ name: "anna 🐭" }]],
    ["joining", { name: "ben 🐭" }],
    ["typing", { by: "ben" }],
    ["event", { order: 1 }],
  ]);
});
