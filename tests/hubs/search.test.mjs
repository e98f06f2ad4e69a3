import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { join, Listener, within } from "../clients/client.mjs";
import { hubName, start } from "../harness.mjs";
import { counting } from "./counting.mjs";

const full = 20;
const channels = [{ prefix: "", connections: 0 }];
const apps = [{ id: "1", key: "dev-key", secrets: ["dev-secret"], hub_connections: 1, channels }];

let server;
before(async () => {
  server = await start({ apps, entry: counting });
});
after(() => server.stop());

const counts = async () => (await fetch(`${server.url}/hubs`, { method: "POST", body: "{}" })).json();

test("a Worker that knows nothing yet finds the first of many Hubs with room for its first client", async () => {
  const connect = JSON.stringify({ version: 1, format: "m" });
  const inHub = (nth) =>
    new Listener(server, `/hubs/${hubName(nth)}`, { headers: { "x-dormouse-connect": connect } });
  const others = Array.from({ length: full }, (_, nth) => inHub(nth));
  for (const listener of others) await listener.has("welcome");
  await counts();
  const first = await join(server, "a");
  // 0, 1, 2, 3 are full, and then it is asked: 5, 9, 17, 33, and back to 25, 21, 19.
  assert.deepEqual(await counts(), { "/connect": 5, "/look": 7 });
  assert.equal(
    (await within(
      "a refusal",
      inHub(full).opened.catch((error) => error.message),
    )) ?? "",
    "Unexpected server response: 503",
  );
  await counts();
  const second = await join(server, "a");
  assert.deepEqual(await counts(), { "/connect": 2 });
  for (const listener of [...others, first, second]) listener.socket.terminate();
});
