import { join } from "node:path";
import { until } from "../../clients/client.mjs";
import { startClients, startPoster } from "../crowd.mjs";
import { credentials, key, startBaseline, startDormouse } from "../load.mjs";
import { numbered } from "../numbers.mjs";
import { monotonicMs, openDatabases, residentBytes } from "../processes.mjs";

const rare = "rare";
const receivers = 3;
const cycles = 10;
// The runtime puts an object to sleep after ten seconds without events.
const asleepMaxMs = 60_000;
const megabyte = 1e6;
// From the third waking on: the first ones warm up the code and the heap.
const settledAfter = 2;
const growthMax = 150;

const sizes = [
  { sockets: 2000, perSocket: 1, title: "2,000 sockets of 1 channel" },
  { sockets: 4000, perSocket: 20, title: "4,000 sockets of 20 channels" },
];

/** Everybody wants channels that nobody publishes into; three want the one that is published into, too. */
function wantsOf({ sockets, perSocket }) {
  return Array.from({ length: sockets }, (_, nth) => {
    const others = Array.from({ length: perSocket }, (_, at) => `channel-${(nth + at * 53) % 1000}`);
    return nth % Math.floor(sockets / receivers) === 1 ? [...others.slice(1), rare] : others;
  });
}

const rivals = {
  dormouse: {
    start: startDormouse,
    post: "/publish",
    credentials,
    path: `/connect?key=${key}`,
    body: (number) => `{"channel":"${rare}","data":${numbered(number)},"id":"id-${number}"}`,
  },
  bare: {
    start: (folder) => startBaseline("waking", folder),
    post: "/",
    path: "/",
    bare: true,
    body: (number) => `{"type":"message","channel":"${rare}","data":${numbered(number)}}`,
  },
};

async function open({ name, size, home, crowd, say }) {
  const { start, post, credentials, path, bare } = rivals[name];
  const group = `${name}-${size.sockets}`;
  const server = await start(join(home, group));
  const poster = startPoster(server, post, credentials);
  const began = performance.now();
  await crowd.open(server, { name: group, path, bare, wants: wantsOf(size), atOnce: 20 });
  say(`${name}: ${size.title} after ${((performance.now() - began) / 1000).toFixed(1)} s`);
  return { name, size, group, server, poster, sent: 0, crowd, waits: [], awake: [], memory: [] };
}

async function once(hall) {
  const number = ++hall.sent;
  const began = monotonicMs();
  const { status, text } = await hall.poster.post(rivals[hall.name].body(number));
  if (status !== 200) throw new Error(`${hall.name} answered ${status}: ${text}`);
  return (await hall.crowd.reach(hall.group, { [rare]: number })).lastAt - began;
}

/** Everybody sleeps, and is woken by one message. */
async function cycle(halls, nth, say) {
  const isAsleep = () => halls.every(({ server }) => openDatabases(server.pid) === 0);
  await until("the objects to sleep", isAsleep, asleepMaxMs);
  for (const hall of nth % 2 === 0 ? halls : halls.toReversed()) {
    hall.waits.push(await once(hall));
    hall.awake.push(await once(hall));
    hall.memory.push(residentBytes(hall.server.pid) / megabyte);
  }
  const figures = halls.map(
    ({ group, waits, memory }) => `${group} ${waits.at(-1).toFixed(0)} ms (${memory.at(-1).toFixed(0)} MB)`,
  );
  say(`waking ${nth + 1} of ${cycles}: ${figures.join(", ")}`);
}

function report(halls) {
  const of = (name, size) => halls.find((hall) => hall.name === name && hall.size === size);
  return sizes.flatMap((size) => {
    const [mine, bare] = [of("dormouse", size), of("bare", size)];
    const title = `waking, ${size.title}`;
    return [
      { title, unit: "× bare", values: mine.waits.map((ms, nth) => ms / bare.waits[nth]), atMost: 3 },
      { title: `${title}, dormouse`, unit: "ms", values: mine.waits },
      { title: `${title}, bare`, unit: "ms", values: bare.waits },
      { title: `awake, ${size.title}, dormouse`, unit: "ms", values: mine.awake },
      { title: `memory growth, ${cycles} wakings, ${size.title}`, unit: "MB", values: [growth(mine)] },
      { title: `memory growth, ${cycles} wakings, ${size.title}, bare`, unit: "MB", values: [growth(bare)] },
    ];
  });
}

const growth = ({ memory }) => Math.max(...memory.slice(settledAfter)) - memory[settledAfter];

/** Hubs that sleep, and are woken by a message for three of their sockets. */
export async function waking({ home, say }) {
  const crowd = startClients("subscribers.mjs", 1);
  const halls = [];
  try {
    for (const size of sizes)
      for (const name of Object.keys(rivals)) halls.push(await open({ name, size, home, crowd, say }));
    for (let nth = 0; nth < cycles; nth++) await cycle(halls, nth, say);
    for (const { group } of halls) await crowd.end(group);
    const grown = halls.filter((hall) => hall.name === "dormouse" && growth(hall) > growthMax);
    const problems = grown.map(
      (hall) => `${hall.group}: memory grew by ${growth(hall).toFixed(0)} MB while it slept and woke`,
    );
    return { rows: report(halls), problems };
  } finally {
    crowd.stop();
    for (const { poster, server } of halls) {
      poster.stop();
      await server.stop();
    }
  }
}
