import { spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const running = new Set();

process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

const text = (value) => JSON.stringify(value);

function configuration({ port, modules, variables, flags }) {
  const embedded = modules.map((path) => {
    const kind = path.endsWith(".wasm") ? "wasm" : "esModule";
    return `(name = ${text(basename(path))}, ${kind} = embed ${text(basename(path))})`;
  });
  const bindings = Object.entries(variables).map(
    ([name, value]) => `(name = ${text(name)}, text = ${text(value)})`,
  );
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "disk", disk = (path = "disk", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
const main :Workerd.Worker = (
  modules = [${embedded.join(", ")}],
  compatibilityDate = "2026-11-17",
  compatibilityFlags = ${text(flags)},
  bindings = [${[...bindings, '(name = "ROOM", durableObjectNamespace = "Room")'].join(", ")}],
  durableObjectNamespaces = [(className = "Room", uniqueKey = "room", enableSql = true)],
  durableObjectStorage = (localDisk = "disk"),
);
`;
}

async function untilListening(port, child) {
  for (const end = Date.now() + 20_000; Date.now() < end; ) {
    if (child.exitCode !== null) throw new Error(`workerd has ended (${child.exitCode}).`);
    const open = await new Promise((resolve) => {
      const socket = connect(port, "127.0.0.1", () => resolve(true)).once("error", () => resolve(false));
      socket.once("connect", () => socket.destroy());
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("workerd does not listen.");
}

/** Serves modules, of which the first is the main one, by a plain workerd whose objects are on the local disk. */
export async function serve(modules, { variables = {}, flags = ["no_web_socket_compression"] } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "dormouse-load-"));
  mkdirSync(join(folder, "disk"));
  for (const path of modules) copyFileSync(path, join(folder, basename(path)));
  const port = await freePort();
  writeFileSync(join(folder, "config.capnp"), configuration({ port, modules, variables, flags }));
  const binary = join(root, "node_modules/@cloudflare/workerd-linux-64/bin/workerd");
  const child = spawn(binary, ["serve", "config.capnp"], {
    cwd: folder,
    stdio: ["ignore", "inherit", "inherit"],
  });
  running.add(child);
  const exited = new Promise((resolve) => child.once("exit", resolve));
  await untilListening(port, child);
  const stop = async () => {
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), 3000);
    await exited;
    clearTimeout(late);
    running.delete(child);
  };
  return {
    port,
    pid: child.pid,
    folder,
    stop,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** The built Worker. */
export function serveDormouse(apps, build = join(root, "build")) {
  return serve([join(build, "index.js"), join(build, "index_bg.wasm")], {
    variables: { APPS: JSON.stringify(apps) },
  });
}

/** One of the scripts in `baselines`. */
export function serveBaseline(name) {
  return serve([join(dirname(fileURLToPath(import.meta.url)), "baselines", name)]);
}

const ticksPerSecond = 100;

/** Seconds of processor that a process has used. */
export function processorSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Bytes of memory that a process has. */
export function residentBytes(pid) {
  return Number(readFileSync(`/proc/${pid}/status`, "utf8").match(/VmRSS:\s+(\d+)/)[1]) * 1024;
}
