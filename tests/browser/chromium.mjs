/** Chromium for tests, and what they do to the console page. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chromium } from "playwright-core";
import { findChromium } from "../../tools/system.mjs";

const switches = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Starts a browser. Without one this throws: a test that cannot be run has failed. */
export function launch() {
  const executablePath = findChromium();
  assert.ok(executablePath, "no Chromium: set CHROMIUM to its path, or let `npm test` set it up");
  return chromium.launch({ executablePath, args: switches });
}

/**
 * Opens the console page. `frames` has every text that came over its sockets, `complaints` what the browser had to
 * complain about: both grow.
 */
export async function openConsole(browser, server, { query = "", viewport, clock = false } = {}) {
  const page = await browser.newPage({ viewport });
  const frames = [];
  const complaints = [];
  let sockets = 0;
  page.on("websocket", (socket) => {
    sockets += 1;
    socket.on("framereceived", ({ payload }) => frames.push(payload));
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  if (clock) await page.clock.install();
  await page.goto(`${server.url}/${query}`);
  return { page, frames, complaints, sockets: () => sockets };
}

/** Waits until the page is in that state. */
export const untilState = (page, state, timeout = 15_000) =>
  page.waitForSelector(`#state[data-state=${state}]`, { timeout });

/** Connects to a channel. */
export async function connect(page, channel, { token } = {}) {
  await page.fill("#channel", channel);
  if (token !== undefined) await page.fill("#token", token);
  await page.click("#connect");
  await untilState(page, "live");
}

/** Waits until the page shows the message at a position. */
export const untilShown = (page, position, type = "message") =>
  page.waitForSelector(`#log > li.entry[data-type=${type}][data-position="${position}"]`, {
    timeout: 15_000,
  });

/** The positions of the messages on the page, oldest first. */
export const shown = (page, type = "message") =>
  page.$$eval(`#log > li.entry[data-type=${type}]`, (entries) =>
    entries.map((entry) => entry.dataset.position).reverse(),
  );

/** Runs a command to its end; resolves to what it printed, and throws if it failed. */
export function execute(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { timeout: 20_000 });
    let output = "";
    let errors = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      errors += text;
    });
    child.once("error", reject);
    child.once("close", (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${command} ended with ${code}: ${errors}`));
    });
  });
}

/** Publishes with curl; resolves to the message's position. */
export async function curl(...args) {
  const output = await execute("curl", ["--silent", "--show-error", "--fail-with-body", ...args]);
  return Object.values(JSON.parse(output).channels)[0].position;
}
