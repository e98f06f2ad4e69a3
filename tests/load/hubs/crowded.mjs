import { join } from "node:path";
import { sleep } from "../../workerd.mjs";
import { startCrowd, startPoster } from "../crowd.mjs";
import { credentials, key, startBaseline, startDormouse } from "../load.mjs";
import { numbered } from "../numbers.mjs";
import { openFilesMax, processorSeconds, residentBytes } from "../processes.mjs";
import { readFollowers, readLogs } from "../rows.mjs";

const few = 1000;
// The runtime has two files open for each socket.
const many = Math.min(15_000, Math.floor((openFilesMax() - 500) / 1000) * 500);
const perObject = 4000;
const deliveriesPerRound = 150_000;
const warmUp = 10;
const clients = 3;
const atOnce = 50;
const megabyte = 1e6;
// Objects without sockets are put away after ten seconds, and what they held goes with the next collections of garbage.
const afterMs = 30_000;
// What a second crowd of the same size may need more than the first.
const growthMax = 1.25;

const message = (number) => `{"channel":"crowded","data":${numbered(number)},"id":"id-${number}"}`;

const rivals = {
  dormouse: {
    start: startDormouse,
    places: () => [{ post: "/publish", listen: `/rooms/crowded?key=${key}` }],
    credentials,
    body: message,
  },
  bare: {
    start: (folder) => startBaseline("fanout", folder),
    // As many objects as it takes; each is posted to.
    places: (sockets) =>
      Array.from({ length: Math.ceil(sockets / perObject) }, (_, nth) => ({
        post: `/sent-${nth}`,
        listen: `/sent-${nth}`,
      })),
    resumed: null,
    body: numbered,
  },
};

/** A server whose one channel has so many sockets, when it is filled. */
async function open(name, sockets, home, crowd) {
  const rival = rivals[name];
  const server = await rival.start(join(home, `${name}-${sockets}`));
  const places = rival.places(sockets).map(({ post, listen }, nth, { length }) => ({
    listen,
    group: `${name}-${sockets}-${nth}`,
    sockets: Math.floor((sockets + nth) / length),
    poster: startPoster(server, post, rival.credentials),
  }));
  return { name, sockets, server, places, rival, crowd, sent: 0 };
}

async function fill(room) {
  const began = performance.now();
  for (const { group, listen, sockets } of room.places) {
    const job = {
      name: group,
      path: listen,
      resumed: room.rival.resumed,
      sockets,
      next: room.sent + 1,
      atOnce,
    };
    await room.crowd.open(room.server, job);
  }
  room.before = room.sent;
  return (performance.now() - began) / 1000;
}

async function empty(room) {
  for (const { group } of room.places) await room.crowd.end(group);
}

async function publish(room, messages) {
  for (let nth = 0; nth < messages; nth++) {
    const body = room.rival.body(++room.sent);
    for (const { poster } of room.places) {
      const { status, text } = await poster.post(body);
      if (status !== 200) throw new Error(`${room.name} answered ${status}: ${text}`);
    }
  }
  let received = 0;
  for (const { group } of room.places)
    for (const report of await room.crowd.reach(group, room.sent)) received += report.received;
  const expected = (room.sent - room.before) * room.sockets;
  if (received !== expected) throw new Error(`${room.name}: ${received} delivered, not ${expected}`);
}

async function measure(room, say) {
  const messages = Math.round(deliveriesPerRound / room.sockets);
  const [used, began] = [processorSeconds(room.server.pid), performance.now()];
  await publish(room, messages);
  const micros = ((processorSeconds(room.server.pid) - used) * 1e6) / (messages * room.sockets);
  const seconds = (performance.now() - began) / 1000;
  const memory = residentBytes(room.server.pid) / megabyte;
  const title = `${room.name.padEnd(9)} ${String(room.sockets).padStart(6)} sockets`;
  say(
    `  ${title} ${micros.toFixed(2)} µs of processor per delivery, ${seconds.toFixed(1)} s, ${memory.toFixed(0)} MB`,
  );
  return { name: room.name, sockets: room.sockets, micros };
}

/** Fills the large one, empties it, and fills it again: what it needs must not add up. */
async function memoryOf(room, say) {
  const megabytes = () => residentBytes(room.server.pid) / megabyte;
  const memory = { filled: megabytes() };
  await empty(room);
  memory.left = megabytes();
  await sleep(afterMs);
  memory.after = megabytes();
  await fill(room);
  await publish(room, warmUp);
  memory.again = megabytes();
  const texts = Object.entries(memory).map(([when, value]) => `${when} ${value.toFixed(0)}`);
  say(`  memory of ${room.name} with ${room.sockets} sockets, MB: ${texts.join(", ")}`);
  return memory;
}

function ratios(results, isMine, isOther) {
  const others = results.filter(isOther);
  return results.filter(isMine).map(({ micros }, round) => micros / others[round].micros);
}

function report(results, memory, { hubs, rowsPerMessage }) {
  const is = (name, sockets) => (result) => result.name === name && result.sockets === sockets;
  const title = "processor per delivery";
  const rows = [
    {
      title: `${title}, ${many} sockets against ${few}`,
      unit: "×",
      values: ratios(results, is("dormouse", many), is("dormouse", few)),
      atMost: 1.1,
    },
    {
      title: `${title}, ${many} sockets against ${few}, bare objects`,
      unit: "×",
      values: ratios(results, is("bare", many), is("bare", few)),
    },
  ];
  for (const sockets of [few, many])
    rows.push({
      title: `${title}, ${sockets} sockets, against bare`,
      unit: "× bare",
      values: ratios(results, is("dormouse", sockets), is("bare", sockets)),
    });
  for (const sockets of [few, many])
    for (const name of Object.keys(rivals))
      rows.push({
        title: `${title}, ${sockets} sockets, ${name}`,
        unit: "µs",
        values: results.filter(is(name, sockets)).map(({ micros }) => micros),
      });
  const perSocket = (name) => ((memory[name].filled - memory[name].before) * 1000) / many;
  for (const name of Object.keys(rivals))
    rows.push({
      title: `memory per socket, ${many} sockets, ${name}`,
      unit: "KB",
      values: [perSocket(name)],
    });
  const { filled, after, before, again } = memory.dormouse;
  rows.push(
    { title: `memory that stays when ${many} sockets have left`, unit: "MB", values: [after - before] },
    {
      title: `memory with ${many} sockets for the second time, against the first`,
      unit: "×",
      values: [again / filled],
      atMost: growthMax,
    },
    { title: `rows per message, ${hubs} Hubs following`, unit: "rows", values: [rowsPerMessage], atMost: 1 },
  );
  return rows;
}

/** One channel of more sockets than one object holds: the others are on Hubs. */
export async function crowded({ home, rounds, say }) {
  const crowd = startCrowd(clients);
  const rooms = [];
  const problems = [];
  const memory = {};
  try {
    for (const sockets of [few, many])
      for (const name of Object.keys(rivals)) {
        const room = await open(name, sockets, home, crowd);
        rooms.push(room);
        const before = residentBytes(room.server.pid) / megabyte;
        const seconds = await fill(room);
        if (sockets === many) memory[name] = { before };
        say(`${name}: ${sockets} sockets have been let in within ${seconds.toFixed(1)} s`);
        await publish(room, warmUp);
      }
    // Later they follow no longer.
    const hubs = readFollowers(join(home, `dormouse-${many}`)).length;
    const results = [];
    for (let round = 0; round < rounds; round++) {
      say(`round ${round + 1} of ${rounds}`);
      for (const room of round % 2 === 0 ? rooms : rooms.toReversed()) results.push(await measure(room, say));
    }
    for (const room of rooms) {
      if (room.sockets === many) Object.assign(memory[room.name], await memoryOf(room, say));
      await empty(room);
    }
    const { again, filled } = memory.dormouse;
    if (again > filled * growthMax)
      problems.push(
        `crowded: ${again.toFixed(0)} MB for the second crowd, ${filled.toFixed(0)} for the first`,
      );
    const large = rooms.find(({ name, sockets }) => name === "dormouse" && sockets === many);
    await large.server.stop();
    const logs = [...readLogs(join(home, `dormouse-${many}`)).values()];
    if (logs.length !== 1 || logs[0].messages !== large.sent)
      problems.push(`crowded: ${large.sent} answered, ${JSON.stringify(logs)} stored`);
    return { rows: report(results, memory, { hubs, rowsPerMessage: logs[0].rows / large.sent }), problems };
  } finally {
    crowd.stop();
    for (const { places, server } of rooms) {
      for (const { poster } of places) poster.stop();
      if (server.isRunning) await server.stop();
    }
  }
}
