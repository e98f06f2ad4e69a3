// The runtime dies with everybody in it, and the directory is right again.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { build } from "../../tools/build.mjs";
import { join, Listener, within } from "../clients/client.mjs";
import { start } from "../workerd.mjs";
import { closeUser, lists } from "./directory.mjs";

const apps = [
  {
    id: "1",
    key: "dev-key",
    secrets: ["dev-secret"],
    channels: [{ prefix: "away", connections: 0 }],
  },
];

let server;
before(async () => {
  await build();
  server = await start({ apps });
});
after(() => server?.stop());

async function openAll() {
  const many = new Listener(server, "/connect");
  await many.has("welcome");
  many.send({ type: "subscribe", channel: "room-2" });
  await many.has("subscribed");
  return [many, await join(server, "room-1"), await join(server, "room-2"), await join(server, "away")];
}

const everything = { "room-1": 1, "room-2": 2, away: 1 };

test("after SIGKILL nobody is listed, and whoever comes back is", async () => {
  for (let round = 0; round < 3; round += 1) {
    const listeners = await openAll();
    await lists(server, "", everything);
    await server.kill9();
    for (const listener of listeners) await within("the end", listener.ended);
    await server.restart();
    // The first time the listing finds it out; then those that come back do, without one.
    if (round === 0) await lists(server, "", {});
    const back = await openAll();
    await lists(server, "", everything);
    assert.deepEqual((await closeUser(server, "nobody")).json, { closed: 0, done: true });
    for (const listener of back) await listener.close();
    await lists(server, "", {});
  }
});

test("killed while somebody comes, and again", async () => {
  for (let round = 0; round < 4; round += 1) {
    const opening = join(server, `coming-${round}`).catch(() => undefined);
    if (round % 2 === 0) await opening;
    await server.kill9();
    await opening;
    await server.restart();
    const back = await join(server, `coming-${round}`);
    await lists(server, "coming", { [`coming-${round}`]: 1 });
    await back.close();
    await lists(server, "coming", {});
  }
});
