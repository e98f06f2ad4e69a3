import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { arch, platform } from "node:os";
import { dirname, extname, join, relative } from "node:path";
import { begin, paints, say } from "./board.mjs";
import { at, environment, isMain, main, PlainError, root } from "./common.mjs";
import { exclusively } from "./lock.mjs";
import { cargoProgress, must } from "./process.mjs";

// None of these ends up in the Worker.
const leftOut = new Set(["target", "tests", "examples", "benches"]);

function filesIn(path) {
  if (!existsSync(path)) return [];
  if (statSync(path).isFile()) return [path];
  const entries = readdirSync(path, { withFileTypes: true }).filter((entry) => !leftOut.has(entry.name));
  return entries.flatMap((entry) => filesIn(join(path, entry.name))).sort();
}

function hashOf(paths) {
  const hash = createHash("sha256");
  for (const file of paths.map((path) => at(path)).flatMap(filesIn)) {
    const content = readFileSync(file);
    hash.update(`${relative(root, file)} ${content.length}\n`).update(content);
  }
  return hash.digest("hex");
}

const consoleSources = ["console", "tools/build.mjs"];
const workerSources = [
  "Cargo.toml",
  "rust-toolchain.toml",
  ".cargo",
  "src",
  "core",
  "durable",
  "tools/build.mjs",
];

// Somebody may have built by other means, so what was built is looked at as well.
function outputState(paths) {
  const states = paths.map((path) => statSync(at(path), { throwIfNoEntry: false }));
  return states.map((state) => (state ? `${state.size}:${state.mtimeMs}` : "none")).join(" ");
}

async function unlessDone({ name, sources, locks, outputs, build }) {
  const stamp = at(".tools", `${name.replace(" ", "-")}.stamp`);
  // What changes while it is built is built again, except for the lock file, which cargo may complete.
  const before = hashOf(sources);
  const state = () => `${before} ${hashOf(locks)} ${outputState(outputs)}`;
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === state()) {
    say(`${paints.green("✓")} ${name}  ${paints.dim("unchanged")}`);
    return;
  }
  const task = begin(name);
  try {
    await build(task);
  } catch (error) {
    task.fail();
    throw error;
  }
  writeFileSync(stamp, state());
  task.done();
}

function esbuildPath() {
  // esbuild comes with wrangler, wherever npm has put it.
  const inWrangler = createRequire(createRequire(at("package.json")).resolve("wrangler/package.json"));
  const inEsbuild = createRequire(inWrangler.resolve("esbuild/package.json"));
  return join(dirname(inEsbuild.resolve(`@esbuild/${platform()}-${arch()}/package.json`)), "bin/esbuild");
}

function toolPaths() {
  const paths = {
    WASM_BINDGEN_BIN: at(".tools/bin/wasm-bindgen"),
    WASM_OPT_BIN: at("node_modules/.bin/wasm-opt"),
  };
  try {
    paths.ESBUILD_BIN = esbuildPath();
  } catch {
    paths.ESBUILD_BIN = at("node_modules/.bin/esbuild");
  }
  const worker = at(".tools/bin/worker-build");
  // worker-build downloads, unasked and unchecked, whatever of these it does not find.
  const lacking = [worker, ...Object.values(paths)].filter((path) => !existsSync(path));
  if (lacking.length > 0) {
    throw new PlainError(`Not set up yet (${lacking.join(", ")}): run \`npm run build\`.`);
  }
  return paths;
}

async function buildWorker(task) {
  const env = environment({ ...cargoProgress, ...toolPaths() });
  await must(task, at(".tools/bin/worker-build"), ["--release"], { env, seconds: 1800 });
}

async function buildConsole(task) {
  const source = at("console");
  const target = at("dist/console");
  // wrangler watches the folder, so it stays and only what is in it goes.
  mkdirSync(target, { recursive: true });
  for (const entry of readdirSync(target)) rmSync(join(target, entry), { recursive: true });
  const isCopied = (path) => extname(path) !== ".js";
  cpSync(source, target, { recursive: true, filter: isCopied });
  const options = ["--bundle", "--format=esm", "--minify", "--target=es2022", "--log-level=warning"];
  const args = [join(source, "app.js"), ...options, `--outfile=${join(target, "app.js")}`];
  await must(task, toolPaths().ESBUILD_BIN, args, { seconds: 60 });
}

const parts = [
  {
    name: "console page",
    sources: consoleSources,
    locks: ["package-lock.json"],
    outputs: ["dist/console/index.html", "dist/console/app.js"],
    build: buildConsole,
  },
  {
    name: "Worker",
    sources: workerSources,
    locks: ["Cargo.lock", "package-lock.json"],
    outputs: ["build/index.js", "build/index_bg.wasm"],
    build: buildWorker,
  },
];

/** Builds the console page and the Worker, each only if something has changed since the last time. */
export function build() {
  return exclusively("build", async () => {
    for (const part of parts) await unlessDone(part);
  });
}

async function buildForServing() {
  await build().catch((error) => {
    console.error(`${error.message}\n\nStill serving what was built before.`);
  });
}

// A build that fails would leave wrangler holding every request back until one succeeds.
if (isMain(import.meta)) main(process.env.DORMOUSE_SERVING ? buildForServing : build);
