/** A Room that never answers, as after a trap: a Hub's calls to it end all the same. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Listener } from "../clients/client.mjs";
import { start } from "../harness.mjs";

// The next call to a Room with the path that `POST /silence` names is taken, and no answer ever comes.
const entry = `
import worker, { Directory, Hub, Room as Speaking } from "./src/entry.js";
let silenced;
export { Directory, Hub };
export class Room {
  constructor(state, env) {
    this.room = new Speaking(state, env);
  }
  fetch(request) {
    if (!silenced || !request.url.endsWith(silenced)) return this.room.fetch(request);
    silenced = undefined;
    return new Promise(() => {});
  }
  alarm() {
    return this.room.alarm();
  }
}
export default {
  async fetch(request, env, ctx) {
    if (!request.url.endsWith("/silence")) return worker.fetch(request, env, ctx);
    silenced = await request.text();
    return new Response(null, { status: 204 });
  },
};
`;
// CALL_MS, and as long again for a slow machine.
const patienceMs = 30_000;

let server;
before(async () => {
  server = await start({ entry });
});
after(() => server.stop());

const silence = (path) => fetch(`${server.url}/silence`, { method: "POST", body: path });

async function connect() {
  const listener = new Listener(server, "/connect?key=dev-key");
  await listener.has("welcome");
  return listener;
}

test("a publish that is never answered fails, and those after it are sent", async () => {
  const listener = await connect();
  listener.send({ type: "subscribe", channel: "a" });
  await listener.has("subscribed");
  await silence("/publish");
  listener.send({ type: "publish", channel: "a", data: 1, id: "one" });
  listener.send({ type: "publish", channel: "a", data: 2, id: "two" });
  const [{ code, id }] = await listener.has("error", 1, patienceMs);
  assert.deepEqual([code, id], ["overloaded", "one"]);
  assert.equal((await listener.has("ack"))[0].id, "two");
  await listener.close();
});

test("a channel whose Room does not answer can be asked for again", async () => {
  const listener = await connect();
  await silence("/follow");
  listener.send({ type: "subscribe", channel: "b" });
  const [{ code, channel }] = await listener.has("error", 1, patienceMs);
  assert.deepEqual([code, channel], ["overloaded", "b"]);
  listener.send({ type: "subscribe", channel: "b" });
  await listener.has("subscribed");
  await listener.close();
});
