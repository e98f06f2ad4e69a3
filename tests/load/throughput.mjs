import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { processorSeconds } from "./workerd.mjs";

export const key = "bench-key";
export const secret = "bench-secret-0123456789";
export const apps = [
  {
    id: "1",
    key,
    secrets: [secret],
    channels: [{ prefix: "", publish: true, history: { size: 10_000, ttl: 3600 } }],
  },
];

// 100 bytes, as JSON.
const data = JSON.stringify({
  user: "u-1842",
  text: "The dormouse sleeps until it is poured tea upon. ".padEnd(73, "."),
});
const idPlace = "-".repeat(36);
const message = (channel) => `{"channel":"${channel}","data":${data},"id":"${idPlace}"}`;

/** One publish, or a batch of them. */
export function publishBody(channel, batch) {
  if (!batch) return message(channel);
  return `{"batch":[${Array.from({ length: batch }, () => message(channel)).join(",")}]}`;
}

/** Starts the process that publishes. `load(server, job)` resolves to what it measured. */
export function startPublishers() {
  const child = fork(fileURLToPath(new URL("publishers.mjs", import.meta.url)));
  async function load(server, job) {
    let [before, used] = [0, 0];
    const result = await new Promise((resolve, reject) => {
      child.once("exit", (code) => reject(new Error(`The publishers have ended (${code}).`)));
      child.on("message", (message) => {
        if (message.at === "measuring") before = processorSeconds(server.pid);
        if (message.at === "measured") used = processorSeconds(server.pid) - before;
        if (message.at === "done") resolve(message.result);
      });
      child.send({ port: server.port, ...job });
    });
    child.removeAllListeners();
    if (result.problem) throw new Error(`A publish was not answered as it should be: ${result.problem}`);
    return { ...result, server: used / job.seconds };
  }
  return { load, stop: () => child.disconnect() };
}
