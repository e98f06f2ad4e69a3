import {
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { begin } from "./board.mjs";
import { at, PlainError } from "./common.mjs";

const patienceMs = 20 * 60 * 1000;
const heartbeatMs = 5000;
const silenceMs = 60_000;

function isHeld(file) {
  try {
    // After a restart of the machine the number may belong to an unrelated process.
    if (Date.now() - statSync(file).mtimeMs > silenceMs) return false;
    process.kill(Number(readFileSync(file, "utf8")), 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

function tryToTake(file) {
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, String(process.pid));
  try {
    // A link appears with its content, where a new file would be empty for a moment.
    linkSync(draft, file);
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    return false;
  } finally {
    rmSync(draft, { force: true });
  }
}

function clear(file) {
  const grave = `${file}.${process.pid}.old`;
  try {
    // Of two that find it abandoned, only one gets to move it away.
    renameSync(file, grave);
    rmSync(grave);
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
}

async function take(name, file) {
  const until = Date.now() + patienceMs;
  let waiting;
  while (!tryToTake(file)) {
    if (!isHeld(file)) clear(file);
    else waiting ??= begin(`waiting for another ${name} in this folder`);
    if (Date.now() > until) throw new PlainError(`Another ${name} has been holding ${file} for too long.`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  waiting?.done();
}

/** Runs a function while no other process of this clone runs one under the same name. */
export async function exclusively(name, run) {
  mkdirSync(at(".tools"), { recursive: true });
  const file = at(".tools", `${name}.lock`);
  await take(name, file);
  const heartbeat = setInterval(() => utimesSync(file, new Date(), new Date()), heartbeatMs);
  const release = () => rmSync(file, { force: true });
  process.once("exit", release);
  try {
    return await run();
  } finally {
    clearInterval(heartbeat);
    process.off("exit", release);
    release();
  }
}
