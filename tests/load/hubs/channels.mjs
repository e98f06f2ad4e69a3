import { until } from "../../clients/client.mjs";
import { startPoster, startSubscribers } from "../crowd.mjs";
import { credentials, key, startDormouse } from "../load.mjs";
import { numbered } from "../numbers.mjs";
import { monotonicMs, openDatabases, openFilesMax, processorSeconds } from "../processes.mjs";
import { readFollowers } from "../rows.mjs";

const count = 10_000;
const perSocket = 100;
const readers = 2;
const perPublish = 100;
const publishers = 4;
// A Room that is awake has three files open: if there are not enough, the next ones have to wait until these sleep.
const atOnce = 3 * count + 2000 < openFilesMax() ? count : count / 2;
const asleepMaxMs = 120_000;

const names = Array.from({ length: count }, (_, nth) => `channel-${nth}`);
const slices = (all, length) =>
  Array.from({ length: all.length / length }, (_, nth) => all.slice(nth * length, (nth + 1) * length));
const portions = slices(names, atOnce);

const asleep = ({ pid }) => until("the objects to sleep", () => openDatabases(pid) === 0, asleepMaxMs);

/** One message into each channel, a hundred of them with one request. */
async function publishAll(posters, channels, number) {
  const requests = slices(channels, perPublish);
  const work = async ({ post }) => {
    for (let some = requests.pop(); some; some = requests.pop()) {
      const body = `{"channels":${JSON.stringify(some)},"data":${numbered(number)},"id":"id-${number}"}`;
      const { status, text } = await post(body);
      if (status !== 200) throw new Error(`a publish was answered ${status}: ${text.slice(0, 500)}`);
    }
  };
  await Promise.all(posters.map(work));
}

/** Publishes into every channel, and waits until everybody has it. */
async function measure({ server, crowd, posters, number, say }) {
  const total = { ms: 0, processor: 0 };
  for (const [nth, channels] of portions.entries()) {
    await asleep(server);
    const [began, used] = [monotonicMs(), processorSeconds(server.pid)];
    await publishAll(posters, channels, number);
    const lastAt = await crowd.reach(
      `portion-${nth}`,
      Object.fromEntries(channels.map((name) => [name, number])),
    );
    total.ms += lastAt - began;
    total.processor += processorSeconds(server.pid) - used;
  }
  const result = { perSecond: (count * 1000) / total.ms, micros: (total.processor * 1e6) / count };
  say(
    `${result.perSecond.toFixed(0)} messages/s until delivered, ${result.micros.toFixed(0)} µs of processor each`,
  );
  return result;
}

/** Many channels of few subscribers, on sockets that have many channels each. All objects sleep before each round. */
export async function channels({ home, rounds, say }) {
  const server = await startDormouse(home);
  const crowd = startSubscribers(1);
  const posters = Array.from({ length: publishers }, () => startPoster(server, "/publish", credentials));
  try {
    let seconds = 0;
    for (const [nth, portion] of portions.entries()) {
      await asleep(server);
      const began = performance.now();
      const wants = Array(readers).fill(slices(portion, perSocket)).flat();
      await crowd.open(server, { name: `portion-${nth}`, path: `/connect?key=${key}`, wants, atOnce: 4 });
      seconds += (performance.now() - began) / 1000;
    }
    say(`${count} channels have ${readers} subscribers each after ${seconds.toFixed(1)} s`);
    const results = [];
    for (let number = 1; number <= Math.ceil(rounds / 3); number++)
      results.push(await measure({ server, crowd, posters, number, say }));
    for (const nth of portions.keys()) await crowd.end(`portion-${nth}`);
    await server.stop();
    const followers = readFollowers(home);
    const hubs = new Set(followers.map(({ hub }) => hub)).size;
    say(`${followers.length} rows of followers, ${hubs} Hubs`);
    const title = `${count} channels, ${readers} subscribers each`;
    const rows = [
      {
        title: `${title}, published and delivered`,
        unit: "/s",
        values: results.map(({ perSecond }) => perSecond),
      },
      { title: `${title}, processor per message`, unit: "µs", values: results.map(({ micros }) => micros) },
      { title: `${title}, subscribed`, unit: "s", values: [seconds] },
      {
        // One to the Room, and one to each Hub that follows.
        title: `${title}, requests per message`,
        unit: "requests",
        values: [1 + followers.length / count],
        atMost: 2,
      },
    ];
    return { rows, problems: [] };
  } catch (error) {
    throw new Error(`${error.stack}\n${server.log.slice(-2000)}`);
  } finally {
    crowd.stop();
    for (const { stop } of posters) stop();
    if (server.isRunning) await server.stop();
  }
}
