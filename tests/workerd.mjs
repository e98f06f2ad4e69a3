/**
 * Runs the built Worker, or any small script, in plain workerd: the runtime alone, without wrangler before it. A process of
 * its own that can be killed, and started again over the same storage.
 *
 *     const server = await start({ folder, apps: [{ id: "1", key: "key", secrets: ["…"] }] });
 *     await fetch(`${server.url}/up`);
 *     await server.kill9();     // SIGKILL; waits until it is dead
 *     await server.restart();   // same port, same storage; waits until it answers
 *     await server.stop();      // SIGTERM, and its temporary files go; `folder` stays
 */
import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { arch, platform, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { at } from "../tools/common.mjs";

const host = "127.0.0.1";
const keptLogCharacters = 64 * 1024;

/** Milliseconds to wait. */
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

const running = new Set();
const homes = new Set();
const remove = (home) => {
  homes.delete(home);
  rmSync(home, { recursive: true, force: true });
};
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
  homes.forEach(remove);
});
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
]) {
  process.once(signal, () => process.exit(code));
}

function binary() {
  // workerd comes with wrangler, wherever npm has put it.
  const inWrangler = createRequire(createRequire(at("package.json")).resolve("wrangler/package.json"));
  const inWorkerd = createRequire(inWrangler.resolve("workerd/package.json"));
  const name = platform() === "win32" ? "windows" : platform();
  const packaged = inWorkerd.resolve(
    `@cloudflare/workerd-${name}-${arch() === "x64" ? "64" : arch()}/package.json`,
  );
  return join(dirname(packaged), "bin/workerd");
}

function isFree(port) {
  return new Promise((done) => {
    const probe = createServer();
    probe.once("error", () => done(false));
    probe.listen(port, host, () => probe.close(() => done(true)));
  });
}

/**
 * Returns a port that nobody listens on. Not one that the system gives to outgoing connections: while a server is down, a client
 * that keeps trying to reach it could be given the server's own port, and then be connected to itself.
 */
export async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    if (await isFree(port)) return port;
  }
}

const quoted = (text) => JSON.stringify(text);

function compatibility() {
  const toml = readFileSync(at("wrangler.toml"), "utf8");
  const date = toml.match(/^compatibility_date\s*=\s*"([^"]+)"/m)?.[1];
  const flags = toml.match(/^compatibility_flags\s*=\s*\[([^\]]*)\]/m)?.[1] ?? "";
  return { date, flags: [...flags.matchAll(/"([^"]+)"/g)].map((match) => match[1]) };
}

/** The configuration, in which every file is one beside it: `embed` takes relative names only. The Worker reaches this machine, and nobody else. */
function configText({ port, folder, modules, namespaces, texts }) {
  const { date, flags } = compatibility();
  const classes = [...new Set(Object.values(namespaces))];
  const kind = (name) => (name.endsWith(".wasm") ? "wasm" : "esModule");
  const moduleList = modules.map((name) => `(name = ${quoted(name)}, ${kind(name)} = embed ${quoted(name)})`);
  const classList = classes.map(
    (name) => `(className = ${quoted(name)}, uniqueKey = ${quoted(`dormouse-${name}`)}, enableSql = true)`,
  );
  const bindings = [
    ...Object.entries(namespaces).map(
      ([name, className]) => `(name = ${quoted(name)}, durableObjectNamespace = ${quoted(className)})`,
    ),
    ...texts.map((name) => `(name = ${quoted(name)}, text = embed ${quoted(`${name}.txt`)})`),
  ];
  const storage = classes.length > 0 ? `durableObjectStorage = (localDisk = "storage"),` : "";
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "storage", disk = (path = ${quoted(folder)}, writable = true)),
    (name = "internet", network = (allow = ["local"])),
  ],
  sockets = [(name = "http", address = "${host}:${port}", http = (), service = "main")],
);
const main :Workerd.Worker = (
  modules = [${moduleList.join(", ")}],
  compatibilityDate = ${quoted(date)},
  compatibilityFlags = [${flags.map(quoted).join(", ")}],
  durableObjectNamespaces = [${classList.join(", ")}],
  ${storage}
  bindings = [${bindings.join(", ")}],
);
`;
}

class Workerd {
  #home;
  #isReady;
  #child;
  #exited;
  #log = "";

  constructor({ home, port, folder, isReady }) {
    this.#home = home;
    this.#isReady = isReady;
    this.port = port;
    this.folder = folder;
    this.url = `http://${host}:${port}`;
  }

  /** The process, or undefined while there is none. */
  get pid() {
    return this.#child?.pid;
  }

  /** Whether there is a process. */
  get isRunning() {
    return this.#child !== undefined;
  }

  /** The end of what all the processes so far have written, the Worker's console included. */
  get log() {
    return this.#log;
  }

  /** Starts the process again, on the same port and storage. With `wait: false` it may not be answering yet. */
  async restart({ wait = true } = {}) {
    if (this.#child) throw new Error("It is running: kill9() or stop() it first.");
    const child = spawn(binary(), ["serve", join(this.#home, "config.capnp")], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    running.add(child);
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        this.#log = (this.#log + text).slice(-keptLogCharacters);
      });
    }
    this.#exited = new Promise((done) => {
      child.once("error", (error) => {
        this.#log += `${error.message}\n`;
        done();
      });
      child.once("exit", () => done());
    }).then(() => {
      running.delete(child);
      if (this.#child === child) this.#child = undefined;
    });
    if (wait) await this.untilReady();
    return this;
  }

  /** Waits until it answers; throws with its output if it ends before, or takes longer than that. */
  async untilReady(ms = 30_000) {
    for (const end = Date.now() + ms; this.#child && Date.now() < end; await sleep(15)) {
      const request = fetch(`${this.url}/up`, { signal: AbortSignal.timeout(2000) });
      const status = await request.then(
        (response) => response.text().then(() => response.status),
        () => undefined,
      );
      if (status !== undefined && this.#isReady(status)) return;
    }
    throw new Error(`workerd ${this.#child ? "does not answer" : "has ended"}:\n${this.#log}`);
  }

  async #end(signal) {
    this.#child?.kill(signal);
    await this.#exited;
  }

  /** SIGKILL. Waits until the process is dead. */
  async kill9() {
    await this.#end("SIGKILL");
  }

  /** Ends it, and removes what was made for it but for the storage. */
  async stop() {
    const late = setTimeout(() => this.#child?.kill("SIGKILL"), 1000);
    await this.#end("SIGTERM");
    clearTimeout(late);
    remove(this.#home);
  }
}

async function serve({ folder, port, write, modules, namespaces, texts, isReady }) {
  const chosen = port ?? (await freePort());
  // Not in the storage folder: that may be tiny on purpose.
  const home = mkdtempSync(join(tmpdir(), "dormouse-workerd-"));
  homes.add(home);
  const storage = resolve(folder ?? join(home, "storage"));
  mkdirSync(storage, { recursive: true });
  write(home);
  for (const [name, text] of Object.entries(texts)) writeFileSync(join(home, `${name}.txt`), text);
  const config = { port: chosen, folder: storage, modules, namespaces, texts: Object.keys(texts) };
  writeFileSync(join(home, "config.capnp"), configText(config));
  const server = new Workerd({ home, port: chosen, folder: storage, isReady });
  try {
    return await server.restart();
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/**
 * Runs what `npm run build` has built, with the compatibility date and flags of wrangler.toml, and returns a `Workerd` once `/up` is
 * answered with 200. `apps` is the value of `APPS`, as JSON or not yet; without `folder` the storage is a temporary one; without `port` it is a free
 * one. The built files are copied, so that a build in the meantime changes nothing. `entry` is the path of a module to stand before the
 * Worker's own, which it imports as `./src/entry.js`.
 */
export function start({ folder, apps, port, entry }) {
  const built = ["src/entry.js", "build/index.js", "build/index_bg.wasm"];
  const modules = entry ? ["entry.js", ...built] : built;
  const missing = built.filter((name) => !existsSync(at(name)));
  if (missing.length > 0) throw new Error(`there is no ${missing.join(" and no ")}: npm run build`);
  return serve({
    folder,
    port,
    modules,
    namespaces: { ROOM: "Room", HUB: "Hub", DIRECTORY: "Directory" },
    texts: { APPS: typeof apps === "string" ? apps : JSON.stringify(apps) },
    write: (home) => {
      for (const name of built) cpSync(at(name), join(home, name));
      if (entry) cpSync(entry, join(home, "entry.js"));
    },
    isReady: (status) => status === 200,
  });
}

/**
 * Runs a small Worker: `script` is the text of an ES module, `namespaces` maps names of bindings to its Durable Object classes (`{ ROOM: "Room" }`), and
 * `texts` names of bindings to texts. Returns a `Workerd` once it answers anything.
 */
export function startScript({ script, folder, port, namespaces = {}, texts = {} }) {
  return serve({
    folder,
    port,
    modules: ["index.js"],
    namespaces,
    texts,
    write: (home) => writeFileSync(join(home, "index.js"), script),
    isReady: () => true,
  });
}
