/** Readers who ask for everything that a channel has kept, and then take nothing of it. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { basic, published, until, within } from "../clients/client.mjs";
import { open, start } from "./server.mjs";
import { encode, Wire } from "./wire.mjs";

const authorization = basic(open.key, open.secrets[0]);
/** As many as the history has, and more than the kernel's buffers for one connection that nobody reads. */
const messages = 100;
const text = "x".repeat(100_000);
/** Each with 64 KiB and a batch unsent: half of them are more than `REPLAY_TOTAL_BYTES`. */
const stalling = 130;
/** `REPLAY_STALL_MS`, and for the rounds in which those come who had to wait for the first. */
const stallMs = 30_000;
const patienceMs = 4 * stallMs;
/** The close frame with 4408 and its reason, not masked. */
const tooSlow = Buffer.concat([Buffer.from([0x88, 10, 0x11, 0x38]), Buffer.from("too slow")]);

let server;
before(async () => {
  server = await start();
});
after(() => server.stop());

const path = (room) => `/rooms/${room}?key=${open.key}&last=${messages}`;

/** A socket that is in, and does not read. */
async function stalls(room) {
  const wire = new Wire(server);
  wire.write(encode({ path: path(room), ws: true }));
  assert.equal((await wire.answer()).status, 101);
  wire.socket.pause();
  return wire;
}

/** One that reads everything there is; how long that took, in milliseconds. */
async function reads(room) {
  const began = Date.now();
  const socket = new WebSocket(server.url.replace("http", "ws") + path(room));
  try {
    await within(
      "a reader's replay",
      new Promise((resolve, reject) => {
        let count = 0;
        socket.addEventListener("message", ({ data }) => {
          if (data.length > text.length && ++count === messages) resolve();
        });
        socket.addEventListener("close", ({ code }) => reject(new Error(`closed with ${code}`)));
      }),
      patienceMs,
    );
  } finally {
    socket.close();
  }
  return Date.now() - began;
}

/** Reads on, to the end: whether it was closed because it took nothing. */
async function wasClosed({ socket }) {
  let tail = Buffer.alloc(0);
  let bytes = 0;
  socket.removeAllListeners("data");
  socket.on("data", (chunk) => {
    bytes += chunk.length;
    tail = Buffer.concat([tail, chunk]).subarray(-100);
  });
  socket.resume();
  const closed = () => tail.includes(tooSlow);
  await until(
    () => `the end of a replay, after ${bytes} bytes`,
    () => closed() || bytes > messages * text.length || socket.destroyed,
  );
  return closed();
}

test("who takes nothing of its replay is closed, and does not stop the others'", async () => {
  const room = "wide-replay";
  for (let nth = 0; nth < messages; nth++)
    await published(server, { channel: room, data: text }, { authorization });
  const wires = await Promise.all(Array.from({ length: stalling }, () => stalls(room)));
  try {
    // For as long as they may take nothing, and once more.
    let longest = 0;
    let readers = 0;
    for (const end = Date.now() + 1.5 * stallMs; Date.now() < end; readers++)
      longest = Math.max(longest, await reads(room));
    let closed = 0;
    for (const wire of wires) if (await wasClosed(wire)) closed++;
    console.log(`${readers} readers, the slowest in ${longest} ms; ${closed} of ${stalling} were closed`);
    assert.ok(closed > stalling / 3, `${closed} of ${stalling} were closed`);
  } finally {
    for (const wire of wires) wire.end();
  }
});
