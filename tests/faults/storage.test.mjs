/** A disk that is full, for real: the storage is on a file system of a few megabytes. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmdirSync, rmSync, statfsSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";
import { sleep, start } from "../workerd.mjs";
import { check } from "./checker.mjs";
import { SocketListener, StreamListener } from "./listener.mjs";
import { Publisher } from "./publisher.mjs";
import { Random } from "./random.mjs";
import { appsFor, key, Record } from "./record.mjs";
import { Recorder } from "./recorder.mjs";

const needed = `This test mounts a small tmpfs. It needs Linux, and either root with CAP_SYS_ADMIN or user namespaces (\`unshare -rm\`).`;
const inNamespace = "DORMOUSE_IN_NAMESPACE";
const cleanups = [];

function run(command, ...args) {
  const { status, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  return status === 0 ? undefined : `${command}: ${error?.message ?? stderr}`;
}

/** A file system of that size, with `fill` and `free`. Throws where that is not allowed. */
function smallDisk(size) {
  const folder = mkdtempSync(join(tmpdir(), "dormouse-full-"));
  const problem = run("mount", "-t", "tmpfs", "-o", `size=${size}`, "tmpfs", folder);
  if (problem) {
    rmdirSync(folder);
    throw new Error(problem);
  }
  const filler = join(folder, "filler");
  const left = () => {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  };
  return {
    folder: join(folder, "storage"),
    /** Leaves so many bytes, or a little less. */
    fill(bytes = 0) {
      const file = openSync(filler, "w");
      try {
        while (left() > bytes) writeSync(file, Buffer.alloc(4096));
      } catch (error) {
        if (error.code !== "ENOSPC") throw error;
      }
      closeSync(file);
    },
    free: () => rmSync(filler, { force: true }),
    remove() {
      run("umount", "-l", folder);
      rmdirSync(folder);
    },
  };
}

/** A server with its storage on a small disk; both go when the file's tests are over. */
async function served(size, sizes) {
  const disk = smallDisk(size);
  const server = await start({ folder: disk.folder, apps: appsFor(sizes) });
  cleanups.push(async () => {
    await server.stop();
    disk.remove();
  });
  return { disk, server };
}

after(async () => {
  for (const cleanup of cleanups) await cleanup();
});

const { headers } = new Record({});

async function publish(server, id, channel = "deep") {
  const body = JSON.stringify({ channel, id, data: id });
  const response = await fetch(`${server.url}/publish`, { method: "POST", headers, body });
  const answer = await response.json();
  return { status: response.status, code: answer.error?.code, ...answer.channels?.[channel] };
}

async function messages(server, channel = "deep") {
  const response = await fetch(`${server.url}/channels/${channel}/messages?limit=1000`, { headers });
  assert.equal(response.status, 200);
  return (await response.json()).messages;
}

/** A socket that notes its frames. */
function follow(server, position) {
  const query = position ? `&position=${position}` : "";
  const socket = new WebSocket(`${server.url}/rooms/deep?key=${key}${query}`);
  const frames = [];
  socket.on("message", (text) => frames.push(JSON.parse(text)));
  socket.on("error", () => {});
  cleanups.unshift(() => socket.terminate());
  return { frames, closed: new Promise((done) => socket.once("close", done)) };
}

async function until(isSo, ms = 5000) {
  for (const end = Date.now() + ms; !isSo(); await sleep(10)) assert.ok(Date.now() < end, "not in time");
}

const ids = (frames) => frames.filter(({ type }) => type === "message").map(({ data }) => data);

async function refusesWhatItCannotStore() {
  const { disk, server } = await served("2m", { deep: 1000 });
  const before = follow(server);
  await until(() => before.frames.length === 1);
  for (const id of ["a", "b"]) assert.equal((await publish(server, id)).status, 200);
  await until(() => ids(before.frames).length === 2);

  disk.fill();
  const refused = [];
  for (let nth = 0; refused.length < 5; nth += 1) {
    const answer = await publish(server, `c${nth}`);
    // What is left of the last page may hold one more.
    if (answer.status === 200) assert.ok(nth < 3 && refused.length === 0, "there is no room");
    else refused.push({ nth, ...answer });
  }
  for (const { status, code, position } of refused)
    assert.deepEqual({ status, code, position }, { status: 507, code: "storage_full", position: undefined });
  const kept = (await messages(server)).map(({ id }) => id);
  assert.equal(kept.length, 2 + refused[0].nth, "what was refused is not there, and reading goes on");
  // The runtime ends an object whose write has failed, and its sockets with it.
  await before.closed;
  assert.deepEqual(ids(before.frames), kept, "nobody was sent what is not stored");

  disk.free();
  const { position } = before.frames.at(-1);
  const then = follow(server, position);
  await until(() => then.frames.length === 1);
  for (const { nth } of refused) {
    const answer = await publish(server, `c${nth}`);
    assert.deepEqual([answer.status, answer.duplicate], [200, undefined], "it had not been stored");
  }
  await until(() => ids(then.frames).length === refused.length);
  const stored = await messages(server);
  assert.deepEqual(
    [...kept, ...ids(then.frames)],
    stored.map(({ id }) => id),
  );
  assert.deepEqual([then.frames[0].position, then.frames[0].resumed], [position, true]);
  const numbers = stored.map((message) => Number(message.position.split(":")[1]));
  assert.deepEqual(
    numbers,
    [...numbers.keys()].map((nth) => nth + 1),
  );
}

async function refusesTheFirstOfAChannel() {
  const { disk, server } = await served("2m", { deep: 1000, other: 1000 });
  assert.equal((await publish(server, "a", "other")).status, 200);
  disk.fill();
  for (const id of ["a", "b"]) {
    const { status, position } = await publish(server, id);
    // Where the runtime cannot even open the object's database it does not say why.
    assert.ok(status === 507 || status === 503, `${status}`);
    assert.equal(position, undefined);
  }
  disk.free();
  for (const [nth, id] of ["b", "a"].entries()) {
    const { status, position, duplicate } = await publish(server, id);
    assert.deepEqual([status, position.split(":")[1], duplicate], [200, `${nth + 1}`, undefined]);
  }
}

/** Publishers, listeners and recorders, as in the kill run but fewer. */
function actors(record, { url }, seed) {
  const actor = (name) => ({ name, run: record, url, random: new Random(seed, name), away: 300 });
  return {
    recorders: record.published.map((channel) => new Recorder({ run: record, url, channel })),
    listeners: [SocketListener, SocketListener, StreamListener, StreamListener].map(
      (Kind, nth) => new Kind({ ...actor(`listener ${nth}`), channel: record.published[nth % 2] }),
    ),
    publishers: Array.from(
      { length: 8 },
      (_, nth) => new Publisher({ ...actor(`p${nth}`), batches: nth % 2 === 0 }),
    ),
  };
}

async function fillAgainAndAgain(disk, server, random) {
  for (let cycle = 0; cycle < 12; cycle += 1) {
    await sleep(random.between(50, 400));
    disk.fill(random.between(0, 100_000));
    await sleep(random.between(100, 500));
    if (cycle % 4 === 3) {
      await server.kill9();
      await server.restart();
      await sleep(random.between(100, 300));
    }
    disk.free();
  }
}

async function keepsItsPromisesWhileFull(t) {
  const sizes = { "deep-0": 10_000, "deep-1": 10_000 };
  const { disk, server } = await served("24m", sizes);
  const record = new Record(sizes);
  const seed = Math.floor(Math.random() * 2 ** 32);
  const { recorders, listeners, publishers } = actors(record, server, seed);
  try {
    const acting = [...recorders.map((one) => one.record()), ...publishers.map((one) => one.publish())];
    const listening = listeners.map((one) => one.listen());
    await Promise.race([fillAgainAndAgain(disk, server, new Random(seed, "disk")), Promise.all(acting)]);
    record.isOver = true;
    await Promise.all(acting);
    for (const recorder of recorders) await recorder.finish();
    const ends = Object.fromEntries(recorders.map(({ position }, nth) => [record.published[nth], position]));
    await until(() => listeners.every(({ channel, position }) => position === ends[channel]), 15_000);
    for (const listener of listeners) listener.stop();
    await Promise.all(listening);
  } finally {
    record.isOver = record.isAborted = true;
    for (const listener of listeners) listener.stop();
  }
  const { total, examples } = check(record.history);
  assert.equal(total, 0, `seed ${seed}\n${examples.join("\n")}\n${server.log.slice(-2000)}`);
  assert.ok(record.counts.refusals[507] > 0 && record.counts.acked > 100, JSON.stringify(record.counts));
  t.diagnostic(JSON.stringify(record.counts));
}

function define() {
  test(
    "what cannot be stored is refused, not sent, and can be published again when there is room",
    refusesWhatItCannotStore,
  );
  test("a channel whose first message cannot be stored begins when there is room", refusesTheFirstOfAChannel);
  test("a disk that is full again and again loses, repeats and reorders nothing", keepsItsPromisesWhileFull);
}

function mayMount() {
  try {
    smallDisk("64k").remove();
    return true;
  } catch {
    return false;
  }
}

/** Whoever is not root may be it in a namespace of its own. */
function runInNamespace() {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const args = ["-rm", process.execPath, "--test-reporter=spec", fileURLToPath(import.meta.url)];
  const { status, stdout, stderr, error } = spawnSync("unshare", args, {
    env: { ...env, [inNamespace]: "1" },
    encoding: "utf8",
  });
  assert.equal(status, 0, `${needed}\n${error?.message ?? `${stdout}\n${stderr}`}`);
}

if (mayMount()) define();
else if (process.env[inNamespace]) test("a small disk can be mounted", () => assert.fail(needed));
else test("storage failures, in a namespace", runInNamespace);
