import { startCrowd, startPoster } from "../crowd.mjs";
import { credentials, key, startDormouse } from "../load.mjs";
import { numbered } from "../numbers.mjs";
import { monotonicMs } from "../processes.mjs";

// What a thousand sockets take is mostly the client's; one socket shows what the Hub adds.
const sizes = [1000, 1];
const perRound = 40;
const warmUp = 100;
// Nobody is let into the Room itself.
const rules = [{ prefix: "far", connections: 0 }];
const places = ["near", "far"];

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** Publishes one message, and waits until the last socket has it: after how many milliseconds it had. */
async function once({ channel, sockets, poster, crowd, state }) {
  const number = ++state.sent;
  const began = monotonicMs();
  const { status, text } = await poster.post(
    `{"channel":"${channel}","data":${numbered(number)},"id":"${number}"}`,
  );
  if (status !== 200) throw new Error(`${channel} was answered ${status}: ${text}`);
  const [{ received, lastAt }] = await crowd.reach(channel, number);
  const expected = number * sockets;
  if (received !== expected) throw new Error(`${channel}: ${received} delivered, not ${expected}`);
  return lastAt - began;
}

/** The medians of a round, in turns. */
async function measure(sides) {
  const waits = sides.map(() => []);
  for (let nth = 0; nth < perRound; nth++)
    for (const [at, side] of sides.entries()) waits[at].push(await once(side));
  return waits.map(median);
}

async function compare({ server, crowd, poster, sockets, rounds, say }) {
  const sides = [];
  for (const place of places) {
    const channel = `${place}-${sockets}`;
    sides.push({ channel, sockets, poster, crowd, state: { sent: 0 } });
    const atOnce = Math.min(50, sockets);
    await crowd.open(server, {
      name: channel,
      path: `/rooms/${channel}?key=${key}`,
      sockets,
      next: 1,
      atOnce,
    });
  }
  for (let nth = 0; nth < warmUp; nth++) for (const side of sides) await once(side);
  const medians = [];
  for (let round = 0; round < rounds; round++) {
    medians.push(await measure(sides));
    const [near, far] = medians.at(-1).map((ms) => ms.toFixed(2));
    say(`round ${round + 1} of ${rounds}: the last of ${sockets} after ${near} ms, through a Hub ${far} ms`);
  }
  for (const { channel } of sides) await crowd.end(channel);
  const title = `publish until the last of ${sockets} has it`;
  const atMost = sockets > 1 ? 1.3 : undefined;
  const ratios = medians.map(([near, far]) => far / near);
  return [
    { title: `${title}, Hub against Room`, unit: "×", values: ratios, atMost },
    { title: `${title}, Room`, unit: "ms", values: medians.map(([near]) => near) },
    { title: `${title}, Hub`, unit: "ms", values: medians.map(([, far]) => far) },
  ];
}

/** From publishing to the last socket that has it: through a Hub, and from the Room itself. */
export async function latency({ home, rounds, say }) {
  const server = await startDormouse(home, rules);
  const crowd = startCrowd(1);
  const poster = startPoster(server, "/publish", credentials);
  try {
    const rows = [];
    for (const sockets of sizes)
      rows.push(...(await compare({ server, crowd, poster, sockets, rounds, say })));
    return { rows, problems: [] };
  } finally {
    crowd.stop();
    poster.stop();
    await server.stop();
  }
}
