import { spawn } from "node:child_process";
import { stripVTControlCharacters } from "node:util";
import { environment, PlainError, root } from "./common.mjs";

const running = new Set();
const inForeground = new Set();

function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
    return true;
  } catch {
    return false;
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function within(ms, promise) {
  let timer;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function until(isDone, ms) {
  for (const end = Date.now() + ms; !isDone() && Date.now() < end; ) await pause(50);
}

async function endGroup(entry) {
  if (!signalGroup(entry.pid, "SIGTERM")) return;
  await until(() => entry.exited, 5000);
  // Not for long: the dead stay in their group until their new parent takes notice of them.
  await until(() => !signalGroup(entry.pid, 0), 300);
  signalGroup(entry.pid, "SIGKILL");
}

/** Ends everything that was started here, and whatever that has started in turn. */
export const endAll = () => Promise.all([...running].map(endGroup));

let ending = false;

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
]) {
  process.on(signal, async () => {
    // npm passes a Ctrl-C on that the terminal has delivered already.
    if (ending) return;
    ending = true;
    for (const { child } of inForeground) if (signal !== "SIGINT") child.kill(signal);
    const foreground = [...inForeground].map(({ exited }) => within(10_000, exited));
    await Promise.all([endAll(), ...foreground]);
    process.exit(code);
  });
}

if (process.env.npm_lifecycle_event) {
  const parent = process.ppid;
  // npm that is killed the hard way cannot pass it on.
  setInterval(() => process.ppid === parent || process.kill(process.pid, "SIGTERM"), 1000).unref();
}

function splitLines(onLine) {
  let rest = "";
  return {
    push(chunk) {
      // Cargo redraws its progress with carriage returns.
      const lines = (rest + chunk).split(/\r\n|\n|\r/);
      rest = lines.pop();
      lines.forEach(onLine);
    },
    flush() {
      if (rest) onLine(rest);
      rest = "";
    },
  };
}

/**
 * Starts a command in a process group of its own, so that it can be ended with all its children.
 * `finished` resolves to `{ code, timedOut }`, and never rejects.
 */
export function launch(command, args, { env, onLine, seconds } = {}) {
  const stdio = onLine ? ["ignore", "pipe", "pipe"] : ["ignore", "inherit", "inherit"];
  const child = spawn(command, args, { cwd: root, env: env ?? environment(), stdio, detached: true });
  const splitters = onLine ? [child.stdout, child.stderr].map((stream) => attach(stream, onLine)) : [];
  const entry = { pid: child.pid, exited: false };
  const closed = new Promise((resolve) => child.once("close", resolve));
  let timedOut = false;
  const finished = new Promise((resolve) => {
    let timer;
    const settle = async (code) => {
      entry.exited = true;
      clearTimeout(timer);
      // A child left behind could hold the port, or the pipe, for ever.
      if (entry.pid) await Promise.all([endGroup(entry), within(2000, closed)]);
      running.delete(entry);
      for (const splitter of splitters) splitter.flush();
      // Whoever waits would take the end of it for a failure.
      if (!ending) resolve({ code, timedOut });
    };
    child.once("error", (error) => {
      onLine?.(error.message);
      settle(127);
    });
    child.once("exit", (code, signal) => settle(code ?? `signal ${signal}`));
    if (entry.pid) running.add(entry);
    const stop = () => {
      timedOut = true;
      endGroup(entry);
    };
    if (seconds) timer = setTimeout(stop, seconds * 1000);
  });
  return { finished };
}

function attach(stream, onLine) {
  const splitter = splitLines(onLine);
  stream.setEncoding("utf8");
  stream.on("data", splitter.push);
  return splitter;
}

/**
 * Runs a command to its end with the terminal at its disposal, as what asks questions wants it, and returns
 * its exit code.
 */
export async function runInForeground(command, args) {
  const child = spawn(command, args, { cwd: root, env: environment(), stdio: "inherit" });
  const exited = new Promise((resolve) => {
    child.once("error", (error) => {
      console.error(error.message);
      resolve(127);
    });
    child.once("exit", (code) => resolve(code ?? 1));
  });
  const entry = { child, exited };
  inForeground.add(entry);
  const code = await exited;
  inForeground.delete(entry);
  return code;
}

const cargoBar = /^\s*Building \[[^\]]*\]\s+(\d+\/\d+)(?:: (.*))?$/;

/** Environment that has cargo report how many crates it has done, also where there is no terminal. */
export const cargoProgress = {
  CARGO_TERM_PROGRESS_WHEN: "always",
  CARGO_TERM_PROGRESS_WIDTH: "100",
  CARGO_TERM_COLOR: process.stdout.isTTY ? "always" : "never",
};

/**
 * Runs a command to its end beneath a task of the board, and returns `{ code, timedOut, output }`, where
 * `output` has neither progress bars nor the lines that `skip` picks out.
 */
export async function run(task, command, args, { env, seconds, echo, skip } = {}) {
  const output = [];
  const onLine = (line) => {
    const plain = stripVTControlCharacters(line);
    const bar = plain.match(cargoBar);
    if (bar) return task.update(`${bar[1]} ${bar[2] ?? ""}`);
    if (skip?.(plain)) return;
    output.push(line);
    echo?.(line);
    if (plain.trim()) task.update(plain);
  };
  const result = await launch(command, args, { env, seconds, onLine }).finished;
  return { ...result, output: output.join("\n") };
}

/** Runs a command as `run` does, and throws with all of its output if it fails. */
export async function must(task, command, args, options = {}) {
  const result = await run(task, command, args, options);
  if (result.code === 0 && !result.timedOut) return result.output;
  const why = result.timedOut ? `took longer than ${options.seconds} s` : `failed (${result.code})`;
  throw new PlainError(`${result.output}\n\n\`${command} ${args.join(" ")}\` ${why}.`);
}

/** Returns the first line a command prints, or undefined when it is not there or fails. */
export async function firstLine(command, args) {
  const lines = [];
  const { code } = await launch(command, args, { onLine: (line) => lines.push(line), seconds: 60 }).finished;
  return code === 0 ? (lines[0] ?? "") : undefined;
}
