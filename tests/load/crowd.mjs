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

/** Sockets of many channels in a few processes; `wants` has the names of each one's channels. */
export function startSubscribers(processes) {
  const helpers = Array.from({ length: processes }, () => startHelper("subscribers.mjs"));
  const tell = (jobs) => Promise.all(helpers.map(({ call }, nth) => call(jobs(nth))));
  return {
    open: ({ port }, { wants, tokens, ...job }) =>
      tell((nth) => {
        const mine = (list) => list?.filter((_, at) => at % processes === nth);
        return { task: "open", port, ...job, wants: mine(wants), tokens: mine(tokens) };
      }),
    /** Waits until everybody knows so many members in each presence channel; how many frames told it. */
    know: async (name, count) => {
      const reports = await tell(() => ({ task: "know", name, count }));
      const sum = (type) => reports.reduce((total, report) => total + report[type], 0);
      return { members: sum("members"), presence: sum("presence") };
    },
    /** Waits until everybody who wants a channel has the number that `goals` has for it; when the last message came. */
    reach: async (name, goals) => {
      const reports = await tell(() => ({ task: "reach", name, goals }));
      return Math.max(...reports.map(({ lastAt }) => lastAt));
    },
    /** From now on connections may break, and come back at random within so many milliseconds. */
    mayBreak: (name, jitterMs) => tell(() => ({ task: "mayBreak", name, jitterMs })),
    /** Waits until all have broken, and all are back with all of their channels: when each was, and what came in between. */
    back: async (name) => {
      const reports = await tell(() => ({ task: "back", name }));
      const sum = (what) => reports.reduce((total, report) => total + report[what], 0);
      return {
        backAt: reports.flatMap(({ backAt }) => backAt),
        tries: sum("tries"),
        refusals: sum("refusals"),
      };
    },
    end: (name) => tell(() => ({ task: "end", name })),
    stop: () => {
      for (const { stop } of helpers) stop();
    },
  };
}

/** Clients that speak as pusher-js does, in a few processes; `wants` has the names of each one's channels, `users` who it is. */
export function startPushers(processes) {
  const helpers = Array.from({ length: processes }, () => startHelper("pushers.mjs"));
  const tell = (jobs) => Promise.all(helpers.map(({ call }, nth) => call(jobs(nth))));
  const sum = (reports, what) => reports.reduce((total, report) => total + report[what], 0);
  return {
    open: ({ port }, { wants, users, ...job }) =>
      tell((nth) => {
        const mine = (list) => list?.filter((_, at) => at % processes === nth);
        return { task: "open", port, ...job, wants: mine(wants), users: mine(users) };
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
    /** From now on connections may break, and come back as they would. */
    mayBreak: (name) => tell(() => ({ task: "mayBreak", name })),
    /** Waits until all have broken, and all are back with all of their channels: when, and what was answered in between. */
    back: async (name) => {
      const reports = await tell(() => ({ task: "back", name }));
      const refusals = {};
      for (const [status, times] of reports.flatMap((report) => Object.entries(report.refusals)))
        refusals[status] = (refusals[status] ?? 0) + times;
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
