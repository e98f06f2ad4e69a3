import { join } from "node:path";
import { startClients, startCrowd, startPoster } from "../crowd.mjs";
import { credentials, key, secret, startBaseline, startDormouse } from "../load.mjs";
import { numbered } from "../numbers.mjs";
import { processorSeconds } from "../processes.mjs";

const sizes = [1000, 4000];
const deliveriesPerRound = 120_000;
const warmUp = 10;
const clients = 2;
const channel = "crowded";
const event = "moved";

/** The frame that a Pusher socket gets of a message, to the letter. */
const frameOf = (number) => JSON.stringify({ event, channel, data: numbered(number) });

/** Clients that speak as pusher-js does, all in one channel: they are on a Hub. */
async function openDormouse(sockets, home) {
  const server = await startDormouse(home);
  const crowd = startClients("pushers.mjs", clients);
  const wants = Array.from({ length: sockets }, () => [channel]);
  await crowd.open(server, { name: "all", key, secret, wants, next: 1, atOnce: 50 });
  return {
    server,
    crowd,
    poster: startPoster(server, "/publish", credentials),
    body: (number) =>
      `{"channel":"${channel}","event":"${event}","data":${numbered(number)},"id":"id-${number}"}`,
    async reach(number) {
      const { received, last } = await crowd.reach("all", { [channel]: number });
      // Both send the same text.
      for (const text of last)
        if (text !== frameOf(number)) throw new Error(`not ${frameOf(number)}: ${text}`);
      return received;
    },
  };
}

/** The least that it can be: an object that sends the same text to every socket that it has. */
async function openBare(sockets, home) {
  const server = await startBaseline("fanout", home);
  const crowd = startCrowd(clients);
  const job = { name: "all", path: "/sent", resumed: null, sockets, next: 1, atOnce: 50, isEscaped: true };
  await crowd.open(server, job);
  return {
    server,
    crowd,
    poster: startPoster(server, "/sent", credentials),
    body: frameOf,
    reach: async (number) =>
      (await crowd.reach("all", number)).reduce((total, { received }) => total + received, 0),
  };
}

const rivals = { dormouse: openDormouse, bare: openBare };

async function publish(room, messages) {
  for (let nth = 0; nth < messages; nth++) {
    const { status, text } = await room.poster.post(room.body(++room.sent));
    if (status !== 200) throw new Error(`${room.name} answered ${status}: ${text}`);
  }
  const received = await room.reach(room.sent);
  const expected = room.sent * room.sockets;
  if (received !== expected) throw new Error(`${room.name}: ${received} delivered, not ${expected}`);
}

async function measure(room, say) {
  const messages = Math.round(deliveriesPerRound / room.sockets);
  const used = processorSeconds(room.server.pid);
  await publish(room, messages);
  const micros = ((processorSeconds(room.server.pid) - used) * 1e6) / (messages * room.sockets);
  const title = `${room.name.padEnd(9)} ${String(room.sockets).padStart(6)} sockets`;
  say(`  ${title} ${micros.toFixed(2)} µs of processor per delivery`);
  return { name: room.name, sockets: room.sockets, micros };
}

function report(results) {
  const of = (name, sockets) =>
    results
      .filter((result) => result.name === name && result.sockets === sockets)
      .sort((a, b) => a.round - b.round)
      .map(({ micros }) => micros);
  const title = (sockets) => `processor per delivery, ${sockets} Pusher sockets on a Hub`;
  const ratios = sizes.map((sockets) => ({
    title: `${title(sockets)}, against bare`,
    unit: "× bare",
    values: of("dormouse", sockets).map((micros, round) => micros / of("bare", sockets)[round]),
    atMost: 1.1,
  }));
  const alone = sizes.flatMap((sockets) =>
    Object.keys(rivals).map((name) => ({
      title: `${title(sockets)}, ${name}`,
      unit: "µs",
      values: of(name, sockets),
    })),
  );
  return [...ratios, ...alone];
}

/** Sockets of Pusher's clients in one channel, against a bare object that sends the same text to as many. */
export async function pusher({ home, rounds, say }) {
  const rooms = [];
  try {
    for (const sockets of sizes)
      for (const [name, open] of Object.entries(rivals)) {
        const room = { name, sockets, sent: 0, ...(await open(sockets, join(home, `${name}-${sockets}`))) };
        rooms.push(room);
        await publish(room, warmUp);
      }
    const results = [];
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1} of ${rounds}`);
      for (const room of round % 2 === 0 ? rooms : rooms.toReversed())
        results.push({ round, ...(await measure(room, say)) });
    }
    for (const { crowd } of rooms) await crowd.end("all");
    return { rows: report(results), problems: [] };
  } finally {
    for (const { crowd, poster, server } of rooms) {
      crowd.stop();
      poster.stop();
      await server.stop();
    }
  }
}
