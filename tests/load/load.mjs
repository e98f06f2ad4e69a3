import { readFileSync } from "node:fs";
import { inSeconds, token } from "../clients/client.mjs";
import { start, startScript } from "../workerd.mjs";
import { processorSeconds, startHelper } from "./processes.mjs";

/** The app's key. */
export const key = "bench-key";
/** Its secret. */
export const secret = "bench-secret-0123456789";
const rule = { prefix: "", publish: true, history: { size: 10_000, ttl: 3600 } };

// What stands for an id in a body, and as long as a UUID.
const idPlace = "-".repeat(36);
/** `Authorization`, as a user and a password. */
export const credentials = `${key}:${secret}`;

// 100 bytes of JSON.
const text = "The dormouse sleeps until tea is poured upon its nose. ".padEnd(75, ".");
const data = JSON.stringify({ user: "u-1842", text });

/** The body of a publish, or of a batch of them. */
export function publishBody(channel, batch) {
  const message = `{"channel":"${channel}","data":${data},"id":"${idPlace}"}`;
  return batch ? `{"batch":[${Array(batch).fill(message).join(",")}]}` : message;
}

/** The built Worker, with an app that keeps much; `rules` say what is different for some prefixes, and `more` what `start` takes beside. */
export function startDormouse(folder, rules = [], more = {}) {
  const channels = [rule, ...rules.map((other) => ({ ...rule, ...other }))];
  return start({ folder, apps: [{ id: "1", key, secrets: [secret], channels }], ...more });
}

/** A token for every `presence-` channel. */
export const passOf = (user) =>
  token({ sub: user, exp: inSeconds(24 * 3600), channels: { "presence-*": ["sub"] } }, { secret });

/** One of the scripts in `baselines`. */
export function startBaseline(name, folder) {
  const script = readFileSync(new URL(`baselines/${name}.js`, import.meta.url), "utf8");
  return startScript({ script, folder, namespaces: { ROOM: "Room" } });
}

/** Starts the process that publishes; its `load` also tells what share of a processor the server took. */
export function startPublishers() {
  const { call, stop } = startHelper("publishers.mjs");
  async function load(server, job) {
    let used = 0;
    const result = await call({ port: server.port, idPlace, ...job }, (event) => {
      used = processorSeconds(server.pid) - (event === "begin" ? 0 : used);
    });
    return { ...result, server: used / result.seconds };
  }
  return { load, stop };
}
