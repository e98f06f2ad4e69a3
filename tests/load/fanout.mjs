import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startCrowd, startPoster } from "./crowd.mjs";
import { credentials, key, startBaseline, startDormouse } from "./load.mjs";
import { numbered } from "./numbers.mjs";
import { processorSeconds } from "./processes.mjs";

const sockets = 1000;
const warmUp = 30;
const messagesPerSecond = 100;

const rivals = {
  dormouse: {
    start: startDormouse,
    path: "/publish",
    credentials,
    listen: `/rooms/fanout?key=${key}`,
    body: (number) => `{"channel":"fanout","data":${numbered(number)},"id":"id-${number}"}`,
  },
  bare: { path: "/sent", listen: "/sent", resumed: null, body: numbered },
  kept: { path: "/kept", listen: "/kept", resumed: null, body: numbered },
};

/** One of the three, with all its sockets: they stay for the whole run, and only one room at a time has anything to say. */
async function open(name, folder, crowd) {
  const rival = rivals[name];
  const server = await (rival.start?.(folder) ?? startBaseline("fanout", folder));
  const poster = startPoster(server, rival.path, rival.credentials);
  const { listen: path, resumed } = rival;
  return { name, server, poster, body: rival.body, path, resumed, sent: 0, crowd };
}

async function publish(room, messages) {
  for (let nth = 0; nth < messages; nth++) {
    const { status, text } = await room.poster.post(room.body(++room.sent));
    if (status !== 200) throw new Error(`${room.name} answered ${status}: ${text}`);
  }
  const reports = await room.crowd.reach(room.name, room.sent);
  return reports.reduce((sum, { received }) => sum + received, 0);
}

async function measure(room, messages, say) {
  const [used, began] = [processorSeconds(room.server.pid), performance.now()];
  const received = await publish(room, messages);
  const micros = ((processorSeconds(room.server.pid) - used) * 1e6) / (messages * sockets);
  const perSecond = (messages * sockets * 1000) / (performance.now() - began);
  const expected = room.sent * sockets;
  if (received !== expected) throw new Error(`${room.name}: ${received} delivered, not ${expected}`);
  const speed = `${perSecond.toFixed(0).padStart(7)} deliveries/s`;
  say(`  ${room.name.padEnd(9)} ${micros.toFixed(2).padStart(6)} µs of processor per delivery   ${speed}`);
  return { name: room.name, micros };
}

async function rounds(rooms, { rounds, seconds, say }) {
  const results = [];
  const messages = Math.max(1, Math.round(messagesPerSecond * seconds));
  for (const room of rooms) await publish(room, warmUp);
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}: ${messages} messages to ${sockets} sockets`);
    const order = round % 2 === 0 ? rooms : rooms.toReversed();
    for (const room of order) results.push({ round, ...(await measure(room, messages, say)) });
  }
  return results;
}

function report(results) {
  const of = (name) => results.filter((result) => result.name === name).sort((a, b) => a.round - b.round);
  const ratios = (other) => of("dormouse").map(({ micros }, round) => micros / of(other)[round].micros);
  const title = `processor per delivery, ${sockets} sockets`;
  const against = [
    { title: `${title}, against bare`, unit: "× bare", values: ratios("bare"), atMost: 1.2 },
    { title: `${title}, against bare with rows`, unit: "× kept", values: ratios("kept"), atMost: 1.2 },
  ];
  const alone = Object.keys(rivals).map((name) => ({
    title: `${title}, ${name}`,
    unit: "µs",
    values: of(name).map(({ micros }) => micros),
  }));
  return [...against, ...alone];
}

/** One room of many sockets, against objects that do nothing but send. */
export async function fanout({ folder = tmpdir(), ...options }) {
  const home = mkdtempSync(join(folder, "dormouse-load-"));
  const crowd = startCrowd(2);
  const rooms = [];
  try {
    for (const name of Object.keys(rivals)) {
      const room = await open(name, join(home, name), crowd);
      rooms.push(room);
      await crowd.open(room.server, { name, path: room.path, resumed: room.resumed, sockets, next: 1 });
    }
    const results = await rounds(rooms, options);
    for (const { name } of rooms) await crowd.end(name);
    return { rows: report(results), problems: [] };
  } catch (error) {
    return { rows: [], problems: [error.stack] };
  } finally {
    crowd.stop();
    for (const { poster, server } of rooms) {
      poster.stop();
      await server.stop();
    }
    rmSync(home, { recursive: true });
  }
}
