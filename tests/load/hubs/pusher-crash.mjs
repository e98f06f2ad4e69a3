import { fileURLToPath } from "node:url";
import { sleep } from "../../workerd.mjs";
import { startPushers } from "../crowd.mjs";
import { key, secret, startDormouse } from "../load.mjs";
import { monotonicMs, processorSeconds } from "../processes.mjs";
import { isRight, read, startPublisher } from "./parts.mjs";

const perPart = 50;
const common = "common";
const clients = 2;
const commonPauseMs = 500;
const counting = fileURLToPath(new URL("../counted.js", import.meta.url));
// pusher-js is back after one second, if its first attempt succeeds; it has 15 s for that.
const backOffMs = 1000;
const attemptMs = 15_000;

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

async function storm({ server, crowd, parts, publisher }) {
  await crowd.mayBreak("crash");
  const live = publisher.live([common], commonPauseMs);
  // It is awaited late: until then a failure must not end the process.
  live.catch(() => {});
  try {
    await sleep(1000);
    const killed = monotonicMs();
    await server.kill9();
    await server.restart({ wait: false });
    const restarted = server.untilReady().then(() => monotonicMs() - killed);
    const { backAt, ...back } = await crowd.back("crash");
    const up = await restarted;
    const counted = await read(server, "/counted");
    const told = await crowd.know("crash", perPart);
    await isRight(server, parts, perPart);
    const right = monotonicMs() - killed;
    const processor = processorSeconds(server.pid);
    publisher.isOver = true;
    await live;
    const after = backAt.map((at) => at - killed).sort((a, b) => a - b);
    return { up, after, right, processor, told, counted, ...back };
  } finally {
    publisher.isOver = true;
    await live.catch(() => {});
  }
}

/**
 * So many clients that speak as pusher-js does, each with three channels, when the server is killed: how long each was away, how often they tried, and
 * what they were answered. Fails if presence, the directory or what is published afterwards is not right.
 */
export async function pusherStorm({ home, sockets }) {
  const server = await startDormouse(home, [], { entry: counting });
  const crowd = startPushers(clients);
  const publisher = startPublisher(server);
  try {
    const { parts, wants, users } = crowdOf(sockets);
    const job = { name: "crash", key, secret, wants, users, next: 1, atOnce: 20 };
    await crowd.open(server, job);
    await crowd.know("crash", perPart);
    await isRight(server, parts, perPart);
    await publisher.once([common, ...parts]);
    await crowd.reach("crash", publisher.goals);
    const result = await storm({ server, crowd, parts, publisher });
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

/** The server is killed under five thousand clients of Pusher. */
export async function pusherCrash({ home, rounds, say }) {
  const sockets = 5000;
  const results = [];
  const problems = [];
  for (let round = 0; round < Math.ceil(rounds / 3); round++) {
    const result = await pusherStorm({ home: `${home}/${round}`, sockets });
    results.push(result);
    problems.push(...problemsOf(result).map((problem) => `hubs, pusher-crash: ${problem}`));
    const [first, ...more] = describe(result);
    say(`round ${round + 1}: ${first}`);
    for (const line of more) say(`  ${line}`);
  }
  const title = `SIGKILL, ${sockets} clients as pusher-js: `;
  const rows = [
    {
      title: `${title}99 % back`,
      unit: "s",
      values: results.map(({ after }) => after[Math.ceil(after.length * 0.99) - 1] / 1000),
    },
    {
      title: `${title}all back`,
      unit: "s",
      values: results.map(({ after }) => after.at(-1) / 1000),
      atMost: (backOffMs + attemptMs) / 1000,
    },
    {
      title: `${title}first attempts given up`,
      unit: "attempts",
      values: results.map(({ late }) => late),
      atMost: 0,
    },
    {
      title: `${title}members and directory right`,
      unit: "s",
      values: results.map(({ right }) => right / 1000),
      atMost: 65,
    },
  ];
  return { rows, problems };
}
