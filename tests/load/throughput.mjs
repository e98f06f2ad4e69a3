import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { credentials, publishBody, startBaseline, startDormouse, startPublishers } from "./load.mjs";
import { diskDelay } from "./processes.mjs";
import { readLogs } from "./rows.mjs";

const loads = {
  calm: { publishers: 1, batch: 1, target: 0.8, rows: 1, title: "one publisher, waiting for each answer" },
  hot: { publishers: 64, batch: 1, target: 1.5, rows: 0.1, title: "64 publishers" },
  batches: { publishers: 64, batch: 10, target: 5, title: "64 publishers of batches of 10" },
};

function job({ name, load, round, seconds }) {
  const { publishers, batch } = loads[load];
  const channel = `${load}-${round}`;
  // A round has rooms of its own, so that it is known which rows are whose; the first one has to warm up the code too.
  const times = { publishers, seconds, warmUp: round === 0 ? 3 : 0.5 };
  if (name !== "dormouse") return { path: `/${channel}`, body: publishBody("x"), ...times };
  return {
    path: "/publish",
    credentials,
    body: publishBody(channel, batch > 1 ? batch : undefined),
    ...times,
  };
}

async function measure({ servers, publishers, name, load, round, seconds, say }) {
  const result = await publishers.load(servers[name], job({ name, load, round, seconds }));
  const messages = name === "dormouse" ? loads[load].batch : 1;
  const perSecond = result.perSecond * messages;
  const busy = `server ${(result.server * 100).toFixed(0)} %, client ${(result.client * 100).toFixed(0)} %`;
  const waits = `p50 ${result.p50.toFixed(2)} ms, p99 ${result.p99.toFixed(1)} ms`;
  const label = `  ${load.padEnd(8)} ${name.padEnd(9)}`;
  say(`${label} ${perSecond.toFixed(0).padStart(7)} messages/s   ${waits}   processor: ${busy}`);
  const epoch = result.last.match(/"position":"([0-9a-f]{12}):/)?.[1];
  return {
    load,
    name,
    round,
    perSecond,
    epoch,
    messages: result.answers * messages,
    ...costs(result, messages),
  };
}

const costs = (result, messages) => ({ cpuPerMessage: result.server / (result.perSecond * messages) });

async function rounds({ servers, publishers, folder, rounds, seconds, say }) {
  const results = [];
  const plan = [
    ["calm", ["dormouse", "bare"]],
    ["hot", ["dormouse", "bare", "grouped"]],
    ["batches", ["dormouse"]],
  ];
  for (let round = 0; round < rounds; round++) {
    say(
      `round ${round + 1} of ${rounds}: the disk makes a page durable in ${diskDelay(folder).toFixed(2)} ms`,
    );
    for (const [load, names] of plan) {
      // In turns who is first: whatever gets slower or faster meanwhile is shared.
      const order = round % 2 === 0 ? names : names.toReversed();
      for (const name of order)
        results.push(await measure({ servers, publishers, name, load, round, seconds, say }));
    }
  }
  return results;
}

function pairs(results, load, other, otherLoad = load, value = "perSecond") {
  const of = (name, which) => results.filter((result) => result.name === name && result.load === which);
  return of("dormouse", load).map((mine) => {
    const theirs = of(other, otherLoad).find((result) => result.round === mine.round);
    return mine[value] / theirs[value];
  });
}

/** Every answered message has to be there once, without a hole; whatever else is a failure. */
function countRows(results, logs) {
  const problems = [];
  const counts = {};
  for (const { load, round, epoch, messages } of results.filter(({ name }) => name === "dormouse")) {
    const log = logs.get(epoch);
    const isWhole = log?.messages === messages && log.last === messages;
    if (!isWhole)
      problems.push(`${load}, round ${round + 1}: ${messages} answered, ${JSON.stringify(log)} stored`);
    if (!log) continue;
    counts[load] ??= { rows: 0, messages: 0 };
    counts[load].rows += log.rows;
    counts[load].messages += log.messages;
  }
  return { problems, counts };
}

function report(results, { problems, counts }) {
  const rows = Object.entries(loads).map(([load, { target, title }]) => {
    const otherLoad = load === "batches" ? "hot" : load;
    return { title, unit: "× bare", values: pairs(results, load, "bare", otherLoad), atLeast: target };
  });
  rows.push({
    title: "64 publishers, against bare with group commit",
    unit: "× grouped",
    values: pairs(results, "hot", "grouped"),
  });
  for (const load of ["calm", "hot"])
    rows.push({
      title: `processor per message, ${loads[load].title}`,
      unit: "× bare",
      values: pairs(results, load, "bare", load, "cpuPerMessage"),
    });
  for (const [load, { rows: written, messages }] of Object.entries(counts))
    rows.push({
      title: `rows per message, ${loads[load].title}`,
      unit: "rows",
      values: [written / messages],
      atMost: loads[load].rows,
    });
  return { rows, problems };
}

/** Publishing into one room, against objects that do as little as can be done. */
export async function throughput({ folder = tmpdir(), say, ...options }) {
  const home = mkdtempSync(join(folder, "dormouse-load-"));
  const publishers = startPublishers();
  const servers = {};
  try {
    servers.dormouse = await startDormouse(join(home, "dormouse"));
    for (const name of ["bare", "grouped"]) servers[name] = await startBaseline(name, join(home, name));
    const results = await rounds({ servers, publishers, folder: home, say, ...options });
    await servers.dormouse.stop();
    return report(results, countRows(results, readLogs(join(home, "dormouse"))));
  } finally {
    publishers.stop();
    for (const server of Object.values(servers)) if (server.isRunning) await server.stop();
    if (existsSync(home)) rmSync(home, { recursive: true });
  }
}
