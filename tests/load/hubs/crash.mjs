import { sleep } from "../../workerd.mjs";
import { startPoster, startSubscribers } from "../crowd.mjs";
import { credentials, key, startDormouse } from "../load.mjs";
import { numbered } from "../numbers.mjs";
import { monotonicMs, processorSeconds } from "../processes.mjs";

const sockets = 5000;
const parts = Array.from({ length: 100 }, (_, nth) => `part-${nth}`);
// Some have their first message after the crash: their epoch is not in a log then.
const quiet = 10;
const common = "common";
const clients = 2;
const jitterMs = 5000;
const retryMs = 100;
const commonPauseMs = 500;
const partPauseMs = 50;

const wants = Array.from({ length: sockets }, (_, nth) => [common, parts[nth % parts.length]]);

/** Publishes numbered messages; one that is not answered is repeated with its id until it is. */
function startPublisher(server) {
  const publisher = { goals: {}, repeated: 0, isOver: false };
  const publish = async ({ post }, channel) => {
    const number = (publisher.goals[channel] ?? 0) + 1;
    const body = `{"channel":"${channel}","data":${numbered(number)},"id":"id-${number}"}`;
    for (;;) {
      const answer = await post(body).catch(() => undefined);
      if (answer?.status === 200) break;
      if (answer && answer.status < 500)
        throw new Error(`${channel} was answered ${answer.status}: ${answer.text}`);
      publisher.repeated++;
      await sleep(retryMs);
    }
    publisher.goals[channel] = number;
  };
  publisher.once = async (channels) => {
    const poster = startPoster(server, "/publish", credentials);
    for (const channel of channels) await publish(poster, channel);
    poster.stop();
  };
  publisher.live = async (channels, pauseMs) => {
    const poster = startPoster(server, "/publish", credentials);
    for (let nth = 0; !publisher.isOver; nth++) {
      await publish(poster, channels[nth % channels.length]);
      await sleep(pauseMs);
    }
    poster.stop();
  };
  return publisher;
}

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
    const processor = processorSeconds(server.pid);
    await sleep(1000);
    publisher.isOver = true;
    await live;
    const after = backAt.map((at) => at - killed).sort((a, b) => a - b);
    return { up, after, tries, refusals, processor };
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
    const server = await startDormouse(`${home}/${round}`);
    const crowd = startSubscribers(clients);
    const publisher = startPublisher(server);
    try {
      await crowd.open(server, { name: "crash", path: `/connect?key=${key}`, wants, atOnce: 20 });
      await publisher.once([common, ...parts.slice(quiet)]);
      await crowd.reach("crash", publisher.goals);
      const { up, after, tries, refusals, processor } = await storm({ server, crowd, publisher });
      await publisher.once([common, ...parts]);
      await crowd.reach("crash", publisher.goals);
      await crowd.end("crash");
      const [most, all] = [after[Math.ceil(after.length * 0.99) - 1] / 1000, after.at(-1) / 1000];
      results.push({ most, all });
      say(
        `round ${round + 1}: up after ${(up / 1000).toFixed(1)} s, 99 % of ${sockets} back after ${most.toFixed(1)} s, half after ${(after[after.length >> 1] / 1000).toFixed(1)} s, all after ${all.toFixed(1)} s`,
      );
      const messages = Object.values(publisher.goals).reduce((sum, number) => sum + number, 0);
      say(
        `  ${tries} connections, ${refusals} subscriptions refused, ${messages} messages, ${publisher.repeated} publishes repeated, ${processor.toFixed(1)} s of processor`,
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
    { title: `${title}: all resumed`, unit: "s", values: results.map(({ all }) => all) },
  ];
  return { rows, problems };
}
