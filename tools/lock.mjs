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

/** What a lock says, and whether whoever wrote that still holds it. */
function judge(file) {
  let holder;
  try {
    holder = readFileSync(file, "utf8");
    // After a restart of the machine the number may belong to an unrelated process.
    if (Date.now() - statSync(file).mtimeMs > silenceMs) return { holder, isHeld: false };
    process.kill(Number(holder), 0);
    return { holder, isHeld: true };
  } catch (error) {
    return { holder, isHeld: error.code === "EPERM" };
  }
}

const own = String(process.pid);

/** Does something with a lock that may be another's by now: a machine that slept for a minute has lost what it held. */
function ifOwn(file, act) {
  try {
    if (readFileSync(file, "utf8") === own) act();
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
}

function tryToTake(file) {
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, own);
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

/** Removes a lock that `holder` has abandoned. */
export function clear(file, holder) {
  const grave = `${file}.${process.pid}.old`;
  try {
    // Of two that find it abandoned, only one gets to move it away; the other may get the lock that the first has taken since, and gives it back.
    renameSync(file, grave);
    if (readFileSync(grave, "utf8") !== holder) linkSync(grave, file);
  } catch (error) {
    if (error.code !== "ENOENT" && error.code !== "EEXIST") throw error;
  } finally {
    rmSync(grave, { force: true });
  }
}

async function take(name, file) {
  const until = Date.now() + patienceMs;
  let waiting;
  while (!tryToTake(file)) {
    const { holder, isHeld } = judge(file);
    if (isHeld) waiting ??= begin(`waiting for another ${name} in this folder`);
    else if (holder !== undefined) clear(file, holder);
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
  const beat = () => ifOwn(file, () => utimesSync(file, new Date(), new Date()));
  const heartbeat = setInterval(beat, heartbeatMs);
  const release = () => ifOwn(file, () => rmSync(file, { force: true }));
  process.once("exit", release);
  try {
    return await run();
  } finally {
    clearInterval(heartbeat);
    process.off("exit", release);
    release();
  }
}
