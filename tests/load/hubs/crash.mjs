import { fileURLToPath } from "node:url";
import { sleep } from "../../workerd.mjs";
import { startPoster, startSubscribers } from "../crowd.mjs";
import { credentials, key, passOf, startDormouse } from "../load.mjs";
import { numbered } from "../numbers.mjs";
import { monotonicMs, processorSeconds } from "../processes.mjs";

const sockets = 5000;
const parts = Array.from({ length: 100 }, (_, nth) => `presence-${nth}`);
// Some have their first message after the crash: their epoch is not in a log then.
const quiet = 10;
const common = "common";
const tokens = Array.from({ length: sockets }, (_, nth) => passOf(`user-${nth}`));
const clients = 2;
const jitterMs = 5000;
const retryMs = 100;
const commonPauseMs = 500;
const partPauseMs = 50;

const members = sockets / parts.length;
const counting = fileURLToPath(new URL("../counted.js", import.meta.url));
const authorization = `Basic ${Buffer.from(credentials).toString("base64")}`;
const wants = Array.from({ length: sockets }, (_, nth) => [common, parts[nth % parts.length]]);

const read = async (server, path) => (await fetch(server.url + path, { headers: { authorization } })).json();

/** Waits until the list of members and the Directory say what is true; with what they said last if they do not. */
async function isRight(server, limitMs = 120_000) {
  const whole = (channel) => channel.members === members && channel.connections === members;
  for (const end = Date.now() + limitMs; ; await sleep(200)) {
    const { channels } = await read(server, "/channels?prefix=presence-");
    if (channels.length === parts.length && channels.every(whole)) break;
    if (Date.now() > end)
      throw new Error(`the directory is wrong: ${JSON.stringify(channels).slice(0, 500)}`);
  }
  for (const channel of parts) {
    const page = await read(server, `/channels/${channel}/members?limit=1000`);
    if (page.count !== members || page.members.length !== members)
      throw new Error(`${channel} has ${page.count} members`);
  }
}

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
    const counted = await read(server, "/counted");
    const told = await crowd.know("crash", members);
    await isRight(server);
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
    const crowd = startSubscribers(clients);
    const publisher = startPublisher(server);
    try {
      await crowd.open(server, { name: "crash", path: `/connect?key=${key}`, wants, tokens, atOnce: 20 });
      await crowd.know("crash", members);
      await isRight(server);
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
        `  members and directory right after ${(right / 1000).toFixed(1)} s, told by ${told.members} lists and ${told.presence} changes; requests until all were back: ${JSON.stringify(counted)}`,
      );
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
