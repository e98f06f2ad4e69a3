import { fileURLToPath } from "node:url";
import { sleep } from "../../workerd.mjs";
import { startClients } from "../crowd.mjs";
import { key, secret, startDormouse } from "../load.mjs";
import { monotonicMs, processorSeconds } from "../processes.mjs";
import { isRight, read, startPublisher } from "./parts.mjs";

const perPart = 50;
const common = "common";
const clients = 2;
const commonPauseMs = 500;
const counting = fileURLToPath(new URL("../counted.js", import.meta.url));
// pusher-js tries again after one second, and has 15 s for that; where no server was there yet it waits until they are over, and has 30 s for the next.
const allowedMs = { abort: 16_000, SIGKILL: 46_000 };

/** What clients subscribe to: one channel of all, and two of fifty, in one of which they see each other. */
function crowdOf(sockets) {
  const parts = Array.from({ length: sockets / perPart }, (_, nth) => `presence-${nth}`);
  const wants = Array.from({ length: sockets }, (_, nth) => [
    common,
    `private-${nth % parts.length}`,
    parts[nth % parts.length],
  ]);
  const users = Array.from({ length: sockets }, (_, nth) => `user-${nth}`);
  return { parts, wants, users };
}

/** How all connections are dropped at once, and what that resolves to when the server is there again. */
export const drops = {
  /** As a deploy does: every object is reset, and the server stays. */
  async abort(server) {
    const { aborted } = await read(server, "/abort");
    if (!aborted) throw new Error("there was no object to abort");
    return {};
  },
  async SIGKILL(server) {
    await server.kill9();
    await server.restart({ wait: false });
    return { ready: server.untilReady() };
  },
};

async function storm({ server, crowd, parts, publisher, drop }) {
  await crowd.mayBreak("crash");
  const live = publisher.live([common], commonPauseMs);
  // It is awaited late: until then a failure must not end the process.
  live.catch(() => {});
  try {
    await sleep(1000);
    const dropped = monotonicMs();
    const { ready } = await drops[drop](server);
    const restarted = ready?.then(() => monotonicMs() - dropped);
    const { backAt, ...back } = await crowd.back("crash");
    const up = (await restarted) ?? 0;
    const counted = await read(server, "/counted");
    const told = await crowd.know("crash", perPart);
    await isRight(server, parts, perPart);
    const right = monotonicMs() - dropped;
    const processor = processorSeconds(server.pid);
    publisher.isOver = true;
    await live;
    const after = backAt.map((at) => at - dropped).sort((a, b) => a - b);
    return { up, after, right, processor, told, counted, ...back };
  } finally {
    publisher.isOver = true;
    await live.catch(() => {});
  }
}

/**
 * So many clients that speak as pusher-js does, each with three channels, when all connections are dropped at once: how long each was away, how often they tried, and
 * what they were answered. Fails if presence, the directory or what is published afterwards is not right.
 */
export async function pusherStorm({ home, sockets, drop }) {
  const server = await startDormouse(home, [], { entry: counting });
  const crowd = startClients("pushers.mjs", clients);
  const publisher = startPublisher(server);
  try {
    const { parts, wants, users } = crowdOf(sockets);
    const job = { name: "crash", key, secret, wants, users, next: 1, atOnce: 20 };
    await crowd.open(server, job);
    await crowd.know("crash", perPart);
    await isRight(server, parts, perPart);
    await publisher.once([common, ...parts]);
    await crowd.reach("crash", publisher.goals);
    const result = await storm({ server, crowd, parts, publisher, drop });
    await publisher.once([common, ...parts]);
    await crowd.reach("crash", publisher.goals);
    await crowd.end("crash");
    return { ...result, log: server.log };
  } catch (error) {
    error.message += `\n${server.log.slice(-2000)}`;
    throw error;
  } finally {
    crowd.stop();
    if (server.isRunning) await server.stop();
  }
}

const seconds = (ms) => (ms / 1000).toFixed(1);

/** A run in a few lines. */
export function describe({ up, after, right, processor, told, tries, late, refusals, counted }) {
  const at = (share) => seconds(after[Math.ceil(after.length * share) - 1]);
  return [
    `up after ${seconds(up)} s; half of ${after.length} back after ${at(0.5)} s, 99 % after ${at(0.99)} s, all after ${at(1)} s`,
    `${tries} connections, ${late} of them given up, refused with ${JSON.stringify(refusals)}; ${processor.toFixed(1)} s of processor`,
    `members and directory right after ${seconds(right)} s, told by ${told.lists} lists and ${told.changes} changes; requests: ${JSON.stringify(counted)}`,
  ];
}

/** What must not be: that anybody is answered with 5xx. */
export function problemsOf({ refusals }) {
  const faults = Object.entries(refusals).filter(([status]) => Number(status) >= 500);
  return faults.map(([status, times]) => `${times} connections were answered ${status}`);
}

/** Five thousand clients of Pusher lose their connections at once: by a deploy, and by a kill. */
export async function pusherCrash({ home, rounds, say }) {
  const sockets = 5000;
  const results = { abort: [], SIGKILL: [] };
  const problems = [];
  for (let round = 0; round < Math.ceil(rounds / 3); round++)
    for (const drop of Object.keys(drops)) {
      const result = await pusherStorm({ home: `${home}/${drop}-${round}`, sockets, drop });
      results[drop].push(result);
      problems.push(...problemsOf(result).map((problem) => `hubs, pusher-crash, ${drop}: ${problem}`));
      const [first, ...more] = describe(result);
      say(`round ${round + 1}, ${drop}: ${first}`);
      for (const line of more) say(`  ${line}`);
    }
  return { rows: Object.entries(results).flatMap(([drop, runs]) => rowsOf(drop, sockets, runs)), problems };
}

function rowsOf(drop, sockets, runs) {
  const title = `${drop}, ${sockets} clients as pusher-js: `;
  const row = (what, unit, value, bound) => ({
    title: title + what,
    unit,
    values: runs.map(value),
    ...bound,
  });
  const share = (part) => (run) => run.after[Math.ceil(run.after.length * part) - 1] / 1000;
  return [
    row("99 % back", "s", share(0.99)),
    row("all back", "s", share(1), { atMost: allowedMs[drop] / 1000 }),
    row("attempts given up", "attempts", ({ late }) => late, drop === "abort" ? { atMost: 0 } : {}),
    row("members and directory right", "s", ({ right }) => right / 1000, { atMost: 65 }),
  ];
}
