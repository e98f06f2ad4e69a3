import { rmSync } from "node:fs";
import { startCrowd } from "./crowd.mjs";
import { key, startDormouse } from "./load.mjs";
import { residentBytes } from "./processes.mjs";
rmSync("/dev/shm/probe", { recursive: true, force: true });
const server = await startDormouse("/dev/shm/probe");
const crowd = startCrowd(3);
for (let n = 0; n < 30; n++) {
  try {
    await crowd.open(server, { name: `g${n}`, path: `/rooms/crowded?key=${key}`, sockets: 500, next: 1, atOnce: 50 });
    console.log(n, (n + 1) * 500, (residentBytes(server.pid) / 1e6).toFixed(0), server.isRunning);
  } catch (e) { console.log(e.message, server.isRunning, server.log); break; }
}
console.log(server.log);
crowd.stop(); await server.stop(); process.exit();
