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

/**
 * Clients of many channels in a few processes, of `subscribers.mjs` or `pushers.mjs`; `wants` has the names of each one's channels, `tokens` and `users` who it is.
 */
export function startClients(module, processes) {
  const helpers = Array.from({ length: processes }, () => startHelper(module));
  const tell = (jobs) => Promise.all(helpers.map(({ call }, nth) => call(jobs(nth))));
  const sum = (reports, what) => reports.reduce((total, report) => total + report[what], 0);
  return {
    open: ({ port }, { wants, tokens, users, ...job }) =>
      tell((nth) => {
        const mine = (list) => list?.filter((_, at) => at % processes === nth);
        const own = { wants: mine(wants), tokens: mine(tokens), users: mine(users) };
        return { task: "open", port, ...job, ...own };
      }),
    /** Waits until everybody knows so many members in each presence channel; by how many lists and changes. */
    know: async (name, count) => {
      const reports = await tell(() => ({ task: "know", name, count }));
      return { lists: sum(reports, "lists"), changes: sum(reports, "changes") };
    },
    /** Waits until everybody has the numbers of `goals`; how many messages there were in all, when the last came, and what it was. */
    reach: async (name, goals) => {
      const reports = await tell(() => ({ task: "reach", name, goals }));
      const lastAt = Math.max(...reports.map((report) => report.lastAt));
      return { received: sum(reports, "received"), lastAt, last: reports.map(({ last }) => last) };
    },
    /** From now on connections may break, and come back: as they would, or at random within so many milliseconds. */
    mayBreak: (name, jitterMs) => tell(() => ({ task: "mayBreak", name, jitterMs })),
    /** Waits until all have broken, and all are back with all of their channels: when, and what was answered in between. */
    back: async (name) => {
      const reports = await tell(() => ({ task: "back", name }));
      const refusals = {};
      for (const [code, times] of reports.flatMap((report) => Object.entries(report.refusals)))
        refusals[code] = (refusals[code] ?? 0) + times;
      return {
        backAt: reports.flatMap(({ backAt }) => backAt),
        lostAt: Math.max(...reports.map(({ lostAt }) => lostAt)),
        tries: sum(reports, "tries"),
        late: sum(reports, "late"),
        refusals,
      };
    },
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
