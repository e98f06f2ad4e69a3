import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's folder. */
export const root = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");

/** Returns an absolute path for one inside the repository. */
export const at = (...parts) => join(root, ...parts);

/** Something the person in front of the terminal can act upon, shown without a stack trace. */
export class PlainError extends Error {}

/** Returns the version that Cargo.lock holds of a crate. */
export function lockedVersion(crate) {
  const lock = readFileSync(at("Cargo.lock"), "utf8");
  const found = lock.match(new RegExp(`name = "${crate}"\\nversion = "([^"]+)"`));
  if (!found) throw new PlainError(`Cargo.lock does not name ${crate}.`);
  return found[1];
}

/** Returns the environment for everything the tooling starts, with extra variables on top. */
export function environment(extra = {}) {
  const path = [
    at("node_modules/.bin"),
    at(".tools/bin"),
    process.env.PATH ?? "",
    // A shell opened before rustup was installed does not have it.
    join(homedir(), ".cargo/bin"),
  ];
  return {
    ...process.env,
    PATH: path.join(delimiter),
    // wrangler: nothing is sent or asked that serving, testing or deploying does not need.
    WRANGLER_SEND_METRICS: "false",
    WRANGLER_SEND_ERROR_REPORTS: "false",
    WRANGLER_HIDE_BANNER: "true",
    WRANGLER_NO_SKILLS_UPDATE_PROMPTS: "true",
    WRANGLER_WRITE_LOGS: "false",
    CLOUDFLARE_CF_FETCH_ENABLED: "false",
    CARGO_NET_RETRY: "5",
    ...extra,
  };
}

/** Returns a number of milliseconds as people read it. */
export function duration(ms) {
  const seconds = ms / 1000;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
}

/** Runs a program's main function and turns what it throws into a message and exit code 1. */
export async function main(run) {
  try {
    await run();
  } catch (error) {
    console.error(error instanceof PlainError ? `\n${error.message}\n` : error);
    process.exit(1);
  }
}

/** Tells whether a module is the program being run, rather than one that was imported. */
export const isMain = (meta) => process.argv[1] === fileURLToPath(meta.url);
