import { Agent, request } from "node:http";
import { startHelper } from "./processes.mjs";

/** Sockets in a few processes, which do what they are told together. */
export function startCrowd(processes) {
  const helpers = Array.from({ length: processes }, () => startHelper("listeners.mjs"));
  const tell = (jobs) => Promise.all(helpers.map(({ call }, nth) => call(jobs(nth))));
  return {
    open: ({ port }, job) =>
      tell((nth) => {
        const sockets = Math.floor((job.sockets + nth) / processes);
        return { task: "open", port, ...job, sockets };
      }),
    /** Waits until every socket has that number; what they have received, in all since they were opened. */
    reach: (name, goal) => tell(() => ({ task: "reach", name, goal })),
    end: (name) => tell(() => ({ task: "end", name })),
    stop: () => {
      for (const { stop } of helpers) stop();
    },
  };
}

/** Returns a function that posts over one connection, one after the other; it resolves to status, text and milliseconds. */
export function startPoster({ port }, path, credentials) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const options = { agent, port, path, host: "127.0.0.1", method: "POST", auth: credentials };
  const post = (body) =>
    new Promise((resolve, reject) => {
      const began = performance.now();
      const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
      const asking = request({ ...options, headers }, (answer) => {
        const chunks = [];
        answer.on("data", (chunk) => chunks.push(chunk)).on("error", reject);
        answer.on("end", () => {
          const ms = performance.now() - began;
          resolve({ status: answer.statusCode, text: Buffer.concat(chunks).toString(), ms });
        });
      });
      asking.on("error", reject).end(body);
    });
  return { post, stop: () => agent.destroy() };
}
