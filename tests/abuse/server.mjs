/**
 * The server that is abused: the built Worker in workerd alone. The development server that `harness.mjs` runs has a proxy before it, which
 * answers malformed requests itself, with 500, and waits for the whole of a body that is refused for its length.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { build } from "../../tools/build.mjs";
import { start as startRuntime } from "../workerd.mjs";

/** The app whose rooms anybody may join who knows its key. */
export const open = { id: "1", key: "open-key", secrets: ["the-open-secret-new", "the-open-secret-old"] };
/** The app that serves pages of its own origins only. */
export const shut = { id: "2", key: "shut-key", secrets: ["the-shut-secret-one"] };

const apps = [
  {
    ...open,
    channels: [
      { prefix: "chat", publish: true, client_rate: 1000 },
      { prefix: "private-", publish: true },
      { prefix: "slow", publish: true, client_rate: 1 },
      { prefix: "tiny", publish: true, message_bytes: 10 },
      { prefix: "wide", publish: true, message_bytes: 262_144 },
    ],
  },
  { ...shut, origins: ["https://good.example", "http://localhost:3000"] },
];

/** Starts it: `url`, `objects()` (ids of all that were ever constructed), `log()` and `stop()`. */
export async function start() {
  await build();
  const runtime = await startRuntime({ apps });
  return {
    url: runtime.url,
    objects() {
      const files = ["dormouse-Room", "dormouse-Hub", "dormouse-Directory"].flatMap((name) =>
        readdirSync(join(runtime.folder, name), { recursive: true }),
      );
      return files.filter((name) => /^[0-9a-f]{64}\.sqlite$/.test(name)).sort();
    },
    log: () => runtime.log,
    stop: () => runtime.stop(),
  };
}
