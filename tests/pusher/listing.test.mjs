// Pusher's listing of channels, which has no pages, in an app with more of them than are looked at.
import assert from "node:assert/strict";
import { test } from "node:test";
import Pusher from "pusher";
import { Listener, until } from "../clients/client.mjs";
import { start } from "../harness.mjs";

const app = { id: "1", key: "app-key", secrets: ["the-secret-of-the-app"] };

// `POST /told` tells the Directory of channels as their Rooms would, who have died since: nobody is in them.
const entry = `
import worker, { Directory, Hub, Room } from "./src/entry.js";
export { Directory, Hub, Room };
export default {
  async fetch(request, env, ctx) {
    if (!request.url.endsWith("/told")) return worker.fetch(request, env, ctx);
    const directory = env.DIRECTORY.getByName("v1:1");
    for (const channel of await request.json()) {
      const report = { version: 1, of: { channel }, state: "held", at: Date.now() * 1000 };
      const answer = await directory.fetch("https://object/report", { method: "POST", body: JSON.stringify(report) });
      if (!answer.ok) return answer;
      await answer.text();
    }
    return new Response("done");
  },
};
`;

test("a listing has no pages, and bounds instead", async (t) => {
  const server = await start({ apps: [app], entry });
  t.after(() => server.stop());
  const { hostname, port } = new URL(server.url);
  const pusher = new Pusher({ appId: "1", key: app.key, secret: app.secrets[0], host: hostname, port });
  const get = async (params) => {
    const began = Date.now();
    const { channels } = await (await pusher.get({ path: "/channels", params })).json();
    t.diagnostic(`${Object.keys(channels).length} channels in ${Date.now() - began} ms`);
    return channels;
  };
  // The Directory names a thousand at a time. The first and the last one are there.
  const names = Array.from({ length: 1_010 }, (_, nth) => `many-${String(nth).padStart(4, "0")}`);
  const [first, last] = [names[0], names.at(-1)];
  const body = JSON.stringify(names.slice(1, -1));
  const told = await fetch(`${server.url}/told`, { method: "POST", body });
  assert.equal(await told.text(), "done");
  const listener = new Listener(server, `/connect?key=${app.key}`);
  for (const channel of [first, last]) {
    await listener.has("welcome");
    listener.send({ type: "subscribe", channel });
  }
  await listener.has("subscribed", 2);
  await until(
    "both in the directory",
    async () => (await server.directory()).channels.length === names.length,
  );

  const info = "subscription_count";
  const refused = await pusher.get({ path: "/channels", params: { info } }).catch((error) => error);
  assert.equal(refused.status, 400);
  assert.match(refused.body, /^more than 500 channels cannot be listed at once with info/);
  // Of 500 it is known that nobody is in them, and they are struck out; of the others nothing is known.
  assert.deepEqual(Object.keys(await get({})), [first, ...names.slice(500)]);
  await until(
    "499 struck out",
    async () => (await server.directory()).channels.length === names.length - 499,
  );
  const some = await get({ filter_by_prefix: "many-100", info });
  assert.deepEqual(some, { [last]: { subscription_count: 1 } });
  await listener.close();
});
