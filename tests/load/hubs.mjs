import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { channels } from "./hubs/channels.mjs";
import { crash } from "./hubs/crash.mjs";
import { crowded } from "./hubs/crowded.mjs";
import { latency } from "./hubs/latency.mjs";
import { pusher } from "./hubs/pusher.mjs";
import { pusherCrash } from "./hubs/pusher-crash.mjs";
import { waking } from "./hubs/waking.mjs";

const parts = { crowded, latency, channels, crash, waking, pusher, "pusher-crash": pusherCrash };

/** What Hubs are for: a channel of more sockets than one object holds, and sockets of many channels. `part` is one of them only. */
export async function hubs({ folder = tmpdir(), part: only, say, ...options }) {
  const report = { rows: [], problems: [] };
  for (const [name, part] of Object.entries(parts)) {
    if (only && only !== name) continue;
    say(`\nhubs: ${name}`);
    const home = mkdtempSync(join(folder, "dormouse-load-"));
    try {
      const { rows, problems } = await part({ home, say, ...options });
      report.rows.push(...rows);
      report.problems.push(...problems);
    } catch (error) {
      report.problems.push(`hubs, ${name}: ${error.stack}`);
    } finally {
      rmSync(home, { recursive: true });
    }
  }
  return report;
}
