import { fork } from "node:child_process";
import {
  closeSync,
  fdatasyncSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ticksPerSecond = 100;

/** Milliseconds on the clock that all processes of a machine share. */
export const monotonicMs = () => Number(process.hrtime.bigint()) / 1e6;

/** Seconds of processor that a process has used. */
export function processorSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Bytes of memory that a process has. */
export function residentBytes(pid) {
  return Number(readFileSync(`/proc/${pid}/status`, "utf8").match(/VmRSS:\s+(\d+)/)[1]) * 1024;
}

/** Databases of objects that a process has open: the runtime closes an object's when it puts the object to sleep. */
export function openDatabases(pid) {
  const folder = `/proc/${pid}/fd`;
  const target = (name) => {
    try {
      return readlinkSync(join(folder, name));
    } catch {
      // It was closed meanwhile.
      return "";
    }
  };
  return readdirSync(folder).filter((name) => /[0-9a-f]{64}\.sqlite$/.test(target(name))).length;
}

/** How many files a process that is started by this one may have open. */
export function openFilesMax() {
  return Number(readFileSync("/proc/self/limits", "utf8").match(/Max open files\s+(\d+)/)?.[1] ?? Infinity);
}

/** How long the disk beneath a folder takes to make a page durable, in milliseconds: the median of some. */
export function diskDelay(folder) {
  const path = join(folder, `probe-${process.pid}`);
  const file = openSync(path, "w");
  const page = Buffer.alloc(4096, 1);
  const delays = Array.from({ length: 21 }, (_, nth) => {
    writeSync(file, page, 0, page.length, nth * page.length);
    const began = performance.now();
    fdatasyncSync(file);
    return performance.now() - began;
  });
  closeSync(file);
  rmSync(path);
  return delays.sort((a, b) => a - b)[10];
}

/**
 * Starts one of the modules beside this one as a process, which answers one call at a time: it gets a job, may say `{ event }` on
 * the way, and says `{ result }` or `{ problem }`.
 */
export function startHelper(name) {
  const child = fork(fileURLToPath(new URL(name, import.meta.url)));
  const call = (job, onEvent) =>
    new Promise((resolve, reject) => {
      const settle = (finish, value) => {
        child.off("message", listen).off("exit", fail);
        finish(value);
      };
      const fail = (code) => settle(reject, new Error(`${name} has ended (${code}).`));
      const listen = (said) => {
        if (said.event) onEvent?.(said.event, said);
        if (said.problem) settle(reject, new Error(said.problem));
        if (said.result) settle(resolve, said.result);
      };
      child.on("message", listen).on("exit", fail);
      child.send(job);
    });
  return { call, stop: () => child.disconnect() };
}

/** The other side of `startHelper`. */
export function help(work) {
  const tell = (event, more) => process.send({ event, ...more });
  process.on("message", (job) => {
    Promise.resolve(work(job, tell)).then(
      (result) => process.send({ result }),
      (error) => process.send({ problem: error.stack }),
    );
  });
  process.on("disconnect", () => process.exit());
}
