import { fileURLToPath } from "node:url";
import { sleep } from "../../workerd.mjs";
import { startClients } from "../crowd.mjs";
import { key, passOf, startDormouse } from "../load.mjs";
import { monotonicMs, processorSeconds } from "../processes.mjs";
import { isRight, read, startPublisher } from "./parts.mjs";

const sockets = 5000;
const parts = Array.from({ length: 100 }, (_, nth) => `presence-${nth}`);
// Some have their first message after the crash: their epoch is not in a log then.
const quiet = 10;
const common = "common";
const tokens = Array.from({ length: sockets }, (_, nth) => passOf(`user-${nth}`));
const clients = 2;
const jitterMs = 5000;
const commonPauseMs = 500;
const partPauseMs = 50;

const members = sockets / parts.length;
const counting = fileURLToPath(new URL("../counted.js", import.meta.url));
const wants = Array.from({ length: sockets }, (_, nth) => [common, parts[nth % parts.length]]);

async function storm({ server, crowd, publisher }) {
  const loud = parts.slice(quiet);
  await crowd.mayBreak("crash", jitterMs);
  const live = Promise.all([publisher.live([common], commonPauseMs), publisher.live(loud, partPauseMs)]);
  // It is awaited late: until then a failure must not end the process.
  live.catch(() => {});
  try {
    await sleep(2000);
    const killed = monotonicMs();
    await server.kill9();
    await server.restart();
    const up = monotonicMs() - killed;
    const { backAt, tries, refusals } = await crowd.back("crash");
    const counted = await read(server, "/counted");
    const told = await crowd.know("crash", members);
    await isRight(server, parts, members);
    const right = monotonicMs() - killed;
    const processor = processorSeconds(server.pid);
    await sleep(1000);
    publisher.isOver = true;
    await live;
    const after = backAt.map((at) => at - killed).sort((a, b) => a - b);
    return { up, after, tries, refusals, processor, right, told, counted };
  } finally {
    publisher.isOver = true;
    await live.catch(() => {});
  }
}

/** The server is killed, and everybody comes back at once to where they were, while publishing goes on. */
export async function crash({ home, rounds, say }) {
  const results = [];
  const problems = [];
  for (let round = 0; round < Math.ceil(rounds / 3); round++) {
    const server = await startDormouse(`${home}/${round}`, [], { entry: counting });
    const crowd = startClients("subscribers.mjs", clients);
    const publisher = startPublisher(server);
    try {
      await crowd.open(server, { name: "crash", path: `/connect?key=${key}`, wants, tokens, atOnce: 20 });
      await crowd.know("crash", members);
      await isRight(server, parts, members);
      await publisher.once([common, ...parts.slice(quiet)]);
      await crowd.reach("crash", publisher.goals);
      const { up, after, tries, refusals, processor, right, told, counted } = await storm({
        server,
        crowd,
        publisher,
      });
      await publisher.once([common, ...parts]);
      await crowd.reach("crash", publisher.goals);
      await crowd.end("crash");
      const [most, all] = [after[Math.ceil(after.length * 0.99) - 1] / 1000, after.at(-1) / 1000];
      results.push({ most, all, right: right / 1000 });
      say(
        `round ${round + 1}: up after ${(up / 1000).toFixed(1)} s, 99 % of ${sockets} back after ${most.toFixed(1)} s, half after ${(after[after.length >> 1] / 1000).toFixed(1)} s, all after ${all.toFixed(1)} s`,
      );
      const messages = Object.values(publisher.goals).reduce((sum, number) => sum + number, 0);
      say(
        `  members and directory right after ${(right / 1000).toFixed(1)} s, told by ${told.lists} lists and ${told.changes} changes; requests until all were back: ${JSON.stringify(counted)}`,
      );
      say(
        `  ${tries} connections, subscriptions refused: ${JSON.stringify(refusals)}, ${messages} messages, ${publisher.repeated} publishes repeated, ${processor.toFixed(1)} s of processor`,
      );
    } catch (error) {
      problems.push(`hubs, crash: ${error.stack}\n${server.log.slice(-2000)}`);
    } finally {
      crowd.stop();
      if (server.isRunning) await server.stop();
    }
  }
  if (results.length === 0) return { rows: [], problems };
  const title = `SIGKILL, ${sockets} sockets come back within ${jitterMs / 1000} s`;
  const rows = [
    { title: `${title}: 99 % resumed`, unit: "s", values: results.map(({ most }) => most), atMost: 30 },
    {
      title: `${title}: members and directory right`,
      unit: "s",
      values: results.map(({ right }) => right),
      atMost: 65,
    },
    { title: `${title}: all resumed`, unit: "s", values: results.map(({ all }) => all) },
  ];
  return { rows, problems };
}
