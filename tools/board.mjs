import { stripVTControlCharacters } from "node:util";
import { duration } from "./common.mjs";

const colour = process.stdout.isTTY && !process.env.NO_COLOR;
const paint = (code) => (text) => (colour ? `\x1b[${code}m${text}\x1b[0m` : text);

/** Colours for text, which leave it alone where colours are not wanted. */
export const paints = { green: paint(32), red: paint(31), dim: paint(2), bold: paint(1) };

const live = process.stdout.isTTY && !process.env.CI;
const spinner = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";
const tasks = new Set();
let timer;
let frame = 0;

const stateOf = (task) =>
  [task.name, task.detail, duration(Date.now() - task.since)].filter(Boolean).join("  ");

function drawLive() {
  frame = (frame + 1) % spinner.length;
  const text = `${spinner[frame]} ${[...tasks].map(stateOf).join("  |  ")}`;
  process.stdout.write(`\r\x1b[2K${text.slice(0, (process.stdout.columns ?? 80) - 1)}`);
}

function drawPlain() {
  for (const task of tasks) {
    // Whoever reads a log wants to know that it goes on, not each of ten steps a second.
    if (Date.now() - task.shown < 5000) continue;
    task.shown = Date.now();
    console.log(`  … ${stateOf(task)}`);
  }
}

function schedule() {
  if (tasks.size > 0) timer ??= setInterval(live ? drawLive : drawPlain, live ? 120 : 500);
  else timer = clearInterval(timer);
}

/** Prints lines without tearing the live line apart. */
export function say(text = "") {
  if (live && tasks.size > 0) process.stdout.write("\r\x1b[2K");
  console.log(text);
}

/** Prints what is under way: one live line on a terminal, a line every five seconds elsewhere. */
export function begin(name) {
  const task = { name, detail: "", since: Date.now(), shown: Date.now() };
  const end = (mark, note) => {
    tasks.delete(task);
    schedule();
    if (live) process.stdout.write("\r\x1b[2K");
    const line = `${mark} ${name}  ${paints.dim(duration(Date.now() - task.since))}`;
    console.log(note ? `${line}  ${note}` : line);
    return Date.now() - task.since;
  };
  tasks.add(task);
  schedule();
  return {
    update: (detail) => {
      task.detail = stripVTControlCharacters(detail).trim().slice(0, 70);
    },
    done: (note) => end(paints.green("✓"), note),
    fail: (note) => end(paints.red("✗"), note),
  };
}
