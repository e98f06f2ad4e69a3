import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { gzipSync } from "node:zlib";
import { paints, say } from "./board.mjs";
import { at, environment, root } from "./common.mjs";
import { cargoProgress, run } from "./process.mjs";
import { python } from "./python.mjs";
import { findChromium } from "./system.mjs";

// A fifth of what the free plan takes (3 MB). It was 500,000 before Pusher's protocol, its HTTP API and webhooks.
const maximumWasmBytes = 640_000;
const minute = 60;

const one = (passed, note) => ({ passed: passed ? 1 : 0, failed: passed ? 0 : 1, note });

function explain({ output, timedOut }, seconds) {
  if (output) say(output);
  if (timedOut) say(paints.red(`Ended after ${seconds} s: that is the limit for this step.`));
}

/** A check that passes when its command does. */
function check(name, needs, seconds, command, args) {
  return {
    name,
    needs,
    async run(task) {
      const result = await run(task, command, args, { env: environment(cargoProgress), seconds });
      const passed = result.code === 0 && !result.timedOut;
      if (!passed) explain(result, seconds);
      return one(passed);
    },
  };
}

const impure = /^(worker|js-sys|wasm-bindgen|web-sys|tokio|futures|getrandom)(-|$| )/;

async function checkPurity(task) {
  // Of every platform: what only the wasm build would pull in counts too.
  const args = ["tree", "-p", "dormouse-core", "-e", "normal", "--prefix", "none", "--target", "all"];
  const result = await run(task, "cargo", args, { seconds: 5 * minute });
  const found = result.output.split("\n").filter((line) => impure.test(line));
  if (result.code !== 0) explain(result);
  for (const line of new Set(found)) say(paints.red(`dormouse-core must not depend on ${line}`));
  return one(result.code === 0 && found.length === 0);
}

async function testCore(task) {
  const seconds = 20 * minute;
  const result = await run(task, "cargo", ["test", "-p", "dormouse-core", "--no-fail-fast"], {
    env: environment(cargoProgress),
    seconds,
  });
  const sums = [...result.output.matchAll(/^test result: .*?(\d+) passed; (\d+) failed; (\d+) ignored/gm)];
  const sum = (column) => sums.reduce((total, match) => total + Number(match[column]), 0);
  const broken = result.code !== 0 || result.timedOut;
  if (broken) explain(result, seconds);
  // A crash or a compiler's error leaves no count of its own.
  const failed = broken ? Math.max(1, sum(2)) : sum(2);
  return { passed: sum(1), failed, note: sum(3) > 0 ? `${sum(3)} ignored` : undefined };
}

async function runNodeTest(task, file) {
  const seconds = 15 * minute;
  const report = at(".tools", "reports", `${file.replaceAll(/[^\w.-]/g, "_")}.json`);
  mkdirSync(at(".tools/reports"), { recursive: true });
  rmSync(report, { force: true });
  const limits = ["--test-concurrency=1", `--test-timeout=${5 * minute * 1000}`];
  const reporters = [
    ["--test-reporter=spec", "--test-reporter-destination=stdout"],
    ["--test-reporter=./tools/counts-reporter.mjs", `--test-reporter-destination=${report}`],
  ];
  const colour = process.stdout.isTTY ? { FORCE_COLOR: "1" } : {};
  const env = environment({ CHROMIUM: findChromium() ?? "", PYTHON: python, ...colour });
  const args = ["--test", ...limits, ...reporters.flat(), file];
  const result = await run(task, "node", args, { env, seconds, echo: (line) => say(`    ${line}`) });
  if (result.timedOut) explain({ timedOut: true }, seconds);
  const { passed, failed, skipped } = readCounts(report);
  const broken = result.code !== 0 || result.timedOut;
  const bad = failed + skipped;
  // What is skipped is not known to work.
  return {
    passed,
    failed: broken ? Math.max(1, bad) : bad,
    note: skipped > 0 ? `${skipped} skipped` : undefined,
  };
}

function readCounts(report) {
  const text = existsSync(report) ? readFileSync(report, "utf8") : "";
  return text ? JSON.parse(text) : { passed: 0, failed: 0, skipped: 0 };
}

function nodeTestFiles(folder = at("tests")) {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { withFileTypes: true });
  const files = entries.flatMap((entry) => {
    if (entry.isDirectory())
      return entry.name === "node_modules" ? [] : nodeTestFiles(join(folder, entry.name));
    return entry.name.endsWith(".test.mjs") ? [relative(root, join(folder, entry.name))] : [];
  });
  return files.sort();
}

// Only what needs it waits for it to be compiled.
const usesRustSdk = /pusher\/servers\.test\.mjs$/;

function nodeTests() {
  const files = nodeTestFiles();
  // Tests that have got lost must not look like tests that pass.
  if (files.length === 0) return [{ name: "tests", needs: [], run: async () => ({ passed: 0, failed: 0 }) }];
  return files.map((file) => ({
    name: file,
    needs: [
      "packages",
      "wasm-bindgen",
      "chromium",
      "python",
      ...(usesRustSdk.test(file) ? ["rust sdk"] : []),
    ],
    after: "build",
    run: (task) => runNodeTest(task, file),
  }));
}

async function dryRun(task) {
  const folder = at(".wrangler/dry");
  rmSync(folder, { recursive: true, force: true });
  const seconds = 10 * minute;
  const args = ["deploy", "--dry-run", "--outdir", folder];
  const result = await run(task, "wrangler", args, { seconds });
  const modules = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".wasm")) : [];
  const sizes = modules.map((name) => gzipSync(readFileSync(join(folder, name))).length);
  const size = sizes.reduce((total, bytes) => total + bytes, 0);
  const deployable = result.code === 0 && size > 0;
  if (!deployable) explain(result, seconds);
  const note = `Wasm: ${size.toLocaleString("en")} bytes gzipped, of ${maximumWasmBytes.toLocaleString("en")} allowed`;
  return one(deployable && size <= maximumWasmBytes, note);
}

/** Returns everything that `npm test` does, in order. A step runs even if those before it have failed, but for the one it names as `after`. */
export function testSteps() {
  const rust = ["toolchain", "lint tools"];
  const clippy = (...what) => ["clippy", ...what, "--", "-D", "warnings"];
  const forCore = clippy("-p", "dormouse-core", "--all-targets");
  const forWasm = clippy("--target", "wasm32-unknown-unknown", "--workspace");
  return [
    check("format of Rust", rust, 2 * minute, "cargo", ["fmt", "--all", "--check"]),
    check("clippy, core", rust, 15 * minute, "cargo", forCore),
    check("clippy, wasm32", [...rust, "wasm target"], 15 * minute, "cargo", forWasm),
    check("biome", ["packages"], 2 * minute, "biome", ["check", "--error-on-warnings", "."]),
    { name: "purity of core", needs: ["toolchain"], run: checkPurity },
    { name: "core tests", needs: ["toolchain"], run: testCore },
    check("build", ["packages", "wasm-bindgen"], 30 * minute, "node", ["tools/build.mjs"]),
    ...nodeTests(),
    { name: "deploy, dry run", needs: ["packages", "wasm-bindgen"], after: "build", run: dryRun },
  ];
}
