import { until } from "../../clients/client.mjs";
import { startClients, startPoster } from "../crowd.mjs";
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

/** Publishes into every channel, first while all sleep and then while all are awake, and waits until everybody has it. */
async function measure({ server, crowd, posters, round, say }) {
  const result = {};
  const states = ["asleep", "awake"];
  for (const state of states) result[state] = { ms: 0, processor: 0 };
  for (const [nth, channels] of portions.entries()) {
    await asleep(server);
    for (const [at, state] of states.entries()) {
      const number = round * states.length + at + 1;
      const [began, used] = [monotonicMs(), processorSeconds(server.pid)];
      await publishAll(posters, channels, number);
      const goals = Object.fromEntries(channels.map((name) => [name, number]));
      result[state].ms += (await crowd.reach(`portion-${nth}`, goals)).lastAt - began;
      result[state].processor += processorSeconds(server.pid) - used;
    }
  }
  const of = ({ ms, processor }) => ({ perSecond: (count * 1000) / ms, micros: (processor * 1e6) / count });
  const figures = { asleep: of(result.asleep), awake: of(result.awake) };
  const texts = states.map((state) => {
    const { perSecond, micros } = figures[state];
    return `${state} ${perSecond.toFixed(0)} messages/s until delivered, ${micros.toFixed(0)} µs of processor each`;
  });
  say(`round ${round + 1}: ${texts.join("; ")}`);
  return figures;
}

/** Many channels of few subscribers, on sockets that have many channels each. */
export async function channels({ home, rounds, say }) {
  const server = await startDormouse(home);
  const crowd = startClients("subscribers.mjs", 1);
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
    for (let round = 0; round < Math.ceil(rounds / 3); round++)
      results.push(await measure({ server, crowd, posters, round, say }));
    for (const nth of portions.keys()) await crowd.end(`portion-${nth}`);
    await server.stop();
    const followers = readFollowers(home);
    const hubs = new Set(followers.map(({ hub }) => hub)).size;
    say(`${followers.length} rows of followers, ${hubs} Hubs`);
    const title = `${count} channels, ${readers} subscribers each`;
    const figures = (state) => [
      { title: `${title}, ${state}`, unit: "messages/s", values: results.map((all) => all[state].perSecond) },
      { title: `${title}, ${state}`, unit: "µs/message", values: results.map((all) => all[state].micros) },
    ];
    const rows = [
      ...figures("asleep"),
      ...figures("awake"),
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
