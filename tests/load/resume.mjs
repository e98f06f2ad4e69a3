import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sleep } from "../workerd.mjs";
import { startCrowd, startPoster } from "./crowd.mjs";
import { credentials, key, startDormouse } from "./load.mjs";
import { numbered } from "./numbers.mjs";
import { processorSeconds, residentBytes } from "./processes.mjs";

const megabyte = 1e6;
const growthMax = 160;
const livePauseMs = 20;
const beforeMs = 2000;
const afterMs = 1000;
const channel = "resume";

const share = (values, part) => values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * part)];
const threeOf = (values) => [share(values, 0.5), share(values, 0.99), share(values, 1)];
const inMs = (values) => values.map((value) => value.toFixed(0)).join(" / ");

/** Publishes numbered messages into the room, one request after the other. */
function startPublisher(server) {
  const { post, stop } = startPoster(server, "/publish", credentials);
  const publisher = { last: 0, failures: [], stop };
  const message = (number) => `{"channel":"${channel}","data":${numbered(number)},"id":"id-${number}"}`;
  publisher.publish = async (count) => {
    const items = Array.from({ length: count }, () => message(++publisher.last));
    const answer = await post(count === 1 ? items[0] : `{"batch":[${items.join(",")}]}`);
    if (answer.status !== 200)
      publisher.failures.push(`a publish was answered ${answer.status}: ${answer.text}`);
    publisher.epoch ??= answer.text.match(/"position":"([0-9a-f]{12}):/)?.[1];
    return answer.ms;
  };
  /** Goes on until `isOver`; how long each took. */
  publisher.live = async (isOver) => {
    const waits = [];
    while (!isOver()) {
      waits.push(await publisher.publish(1));
      await sleep(livePauseMs);
    }
    return waits;
  };
  return publisher;
}

function watchMemory(pid) {
  const memory = { before: residentBytes(pid) / megabyte };
  memory.peak = memory.before;
  const look = () => {
    memory.after = residentBytes(pid) / megabyte;
    memory.peak = Math.max(memory.peak, memory.after);
  };
  const timer = setInterval(look, 20);
  memory.stop = () => {
    clearInterval(timer);
    look();
  };
  return memory;
}

async function storm({ server, publisher, crowd, clients, missedFrom, missedLast }) {
  const { epoch } = publisher;
  const [memory, used] = [watchMemory(server.pid), processorSeconds(server.pid)];
  let isOver = false;
  const live = publisher.live(() => isOver);
  // It is awaited late: until then a failure must not end the process.
  live.catch(() => {});
  try {
    const path = `/rooms/${channel}?key=${key}&position=${epoch}:${missedFrom - 1}`;
    const job = { name: channel, path, epoch, resumed: true, sockets: clients, next: missedFrom, missedLast };
    await crowd.open(server, job);
    const reports = await crowd.reach(channel, missedLast);
    const caughtUp = reports.flatMap((report) => report.caughtUp);
    // Live for a while, so that the change from replayed to live is in it.
    const end = Date.now() + afterMs;
    const replayed = publisher.last;
    isOver = true;
    const waits = await live;
    const processor = processorSeconds(server.pid) - used;
    await publisher.live(() => Date.now() > end);
    await crowd.reach(channel, publisher.last);
    await crowd.end(channel);
    return { memory, caughtUp, waits, processor, liveMeanwhile: replayed - missedLast };
  } finally {
    isOver = true;
    await live.catch(() => {});
    memory.stop();
  }
}

/** Clients that have missed messages come back at once, while publishing goes on. `perRow` messages are stored together. */
export async function resumeStorm({ clients, messages, perRow, folder = tmpdir() }) {
  const home = mkdtempSync(join(folder, "dormouse-load-"));
  const server = await startDormouse(home);
  const crowd = startCrowd(2);
  const publisher = startPublisher(server);
  try {
    const until = Date.now() + beforeMs;
    const calm = await publisher.live(() => Date.now() > until);
    const missedFrom = publisher.last + 1;
    for (let sent = 0; sent < messages; sent += perRow) await publisher.publish(perRow);
    const missedLast = publisher.last;
    const result = await storm({ server, publisher, crowd, clients, missedFrom, missedLast });
    const problems = [...publisher.failures];
    const growth = result.memory.peak - result.memory.before;
    if (growth > growthMax) problems.push(`memory grew by ${growth.toFixed(0)} MB, more than ${growthMax}`);
    return { ...result, calm, growth, problems };
  } catch (error) {
    return { problems: [`${error.stack}\n${server.log.slice(-2000)}`] };
  } finally {
    crowd.stop();
    publisher.stop();
    await server.stop();
    rmSync(home, { recursive: true });
  }
}

/** What a storm was like, in lines. */
export function describe({ memory, caughtUp, waits, calm, processor, liveMeanwhile }) {
  const replayed = caughtUp.length;
  return [
    `replayed after ms, p50 / p99 / max: ${inMs(threeOf(caughtUp))}   (${replayed} clients)`,
    `publish ms, p50 / p99 / max: before ${inMs(threeOf(calm))}, meanwhile ${inMs(threeOf(waits))} (${liveMeanwhile} published)`,
    `server: ${processor.toFixed(1)} s of processor; memory before ${memory.before.toFixed(0)}, peak ${memory.peak.toFixed(0)}, after ${memory.after.toFixed(0)} MB`,
  ];
}

const sizes = { clients: 1000, messages: 1000 };
const layouts = [
  { perRow: 1, title: "1 message a row" },
  { perRow: 10, title: "10 messages a row" },
];

function report(storms) {
  return layouts.flatMap(({ perRow, title }) => {
    const mine = storms.filter((storm) => storm.perRow === perRow && storm.caughtUp);
    if (mine.length === 0) return [];
    const row = (what, unit, value, atMost) => ({
      title: `${what}, ${title}`,
      unit,
      values: mine.map(value),
      atMost,
    });
    return [
      row("all replayed after", "s", ({ caughtUp }) => Math.max(...caughtUp) / 1000),
      row("processor", "s", ({ processor }) => processor),
      row("memory growth", "MB", ({ growth }) => growth, growthMax),
      row("publish meanwhile, p50", "ms", ({ waits }) => threeOf(waits)[0]),
      row("publish meanwhile, max", "ms", ({ waits }) => threeOf(waits)[2]),
    ];
  });
}

/** Everybody comes back at once with everything missed. */
export async function resume({ rounds, folder, say }) {
  const storms = [];
  for (let round = 0; round < Math.ceil(rounds / 3); round++) {
    for (const { perRow, title } of layouts) {
      const result = await resumeStorm({ ...sizes, perRow, folder });
      say(`round ${round + 1}, ${sizes.clients} clients that missed ${sizes.messages}, ${title}`);
      if (result.caughtUp) for (const text of describe(result)) say(`  ${text}`);
      storms.push({ ...result, perRow });
    }
  }
  return { rows: report(storms), problems: storms.flatMap(({ problems }) => problems) };
}
