// What the processes that have many connections share: connections that are opened together, and wait for something together.
import { help, monotonicMs } from "./processes.mjs";

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const stallSeconds = 60;
const settleMs = 300;

/** Connections that were opened together. `progress` counts whatever comes, `sockets` are those that are open. */
export class Group {
  constructor(job) {
    this.job = job;
  }

  fail(problem) {
    this.problem ??= problem;
  }

  /** Fails only if nothing comes any more, so that a slow machine is no failure. */
  async until(isDone, what) {
    let [seen, since] = [-1, 0];
    while (!isDone() && !this.problem) {
      if (this.progress !== seen) [seen, since] = [this.progress, performance.now()];
      if (performance.now() - since > stallSeconds * 1000) this.fail(`nothing came any more: ${what()}`);
      await pause(5);
    }
    if (this.problem) throw new Error(this.problem);
  }

  /** What comes too much comes by then. */
  async end() {
    await pause(settleMs);
    this.isEnding = true;
    for (const socket of this.sockets) socket.terminate();
    if (this.problem) throw new Error(this.problem);
  }
}

/**
 * Clients of many channels each, which come back when their connection breaks. A client is made of its group, its number and the states of its channels by name; a state has
 * the number of the `last` message, and in presence channels the `count` of members.
 */
export class Clients extends Group {
  /** Clients that have all of their channels. */
  back = 0;
  subscriptions = 0;
  received = 0;
  tries = 0;
  /** Attempts that were given up. */
  late = 0;
  /** Refusals, by code. */
  refusals = {};
  told = { lists: 0, changes: 0 };
  broken = new Set();
  backAt = new Map();
  clients = [];

  constructor(job, Client) {
    super(job);
    this.Client = Client;
    for (let nth = 0; nth < job.atOnce; nth++) this.#addNext();
  }

  get progress() {
    return this.subscriptions + this.received + this.broken.size + this.told.lists + this.told.changes;
  }

  get sockets() {
    return this.clients.map(({ socket }) => socket);
  }

  get states() {
    return this.clients.flatMap(({ channels }) => [...channels]);
  }

  #addNext() {
    const nth = this.clients.length;
    const channels = this.job.wants[nth]?.map((channel) => [channel, { last: 0, isLive: false }]);
    if (channels) this.clients.push(new this.Client(this, nth, new Map(channels)));
  }

  /** A client has one more of its channels, or all of them. */
  isLive(client, number = 1) {
    this.subscriptions++;
    client.live += number;
    if (client.live !== client.channels.size) return;
    this.back++;
    if (this.broken.has(client)) this.backAt.set(client, monotonicMs());
    else this.#addNext();
  }

  /** A connection has ended; whether it may. */
  isLost(client, code, reason) {
    if (!this.mayBreak) {
      this.fail(`a socket was closed: ${code} ${reason}`);
      return false;
    }
    if (client.live === client.channels.size) this.back--;
    client.live = 0;
    for (const state of client.channels.values()) state.isLive = false;
    this.broken.add(client);
    this.lostAt = monotonicMs();
    return true;
  }

  isRefused(code) {
    this.refusals[code] = (this.refusals[code] ?? 0) + 1;
  }

  /** A message has come in a channel. */
  take(state, number) {
    state.last = number;
    this.received++;
    this.lastAt = monotonicMs();
  }

  ready() {
    return this.allBack();
  }

  allBack() {
    const all = this.job.wants.length;
    return this.until(
      () => this.back === all,
      () => `${this.back} of ${all} have all of their channels`,
    );
  }

  allBroken() {
    const all = this.job.wants.length;
    return this.until(
      () => this.broken.size === all,
      () => `${this.broken.size} of ${all} have broken`,
    );
  }

  allHave(goals) {
    let open = this.states;
    const isDone = () => {
      open = open.filter(([channel, { last }]) => last < goals[channel]);
      return open.length === 0;
    };
    return this.until(isDone, () => `${open.length} lack something, one of them in ${open[0][0]}`);
  }

  allKnow(count) {
    const present = this.states.filter(([channel]) => channel.startsWith("presence-"));
    return this.until(
      () => present.every(([, state]) => state.count === count),
      () => `not everybody knows ${count} members`,
    );
  }
}

/** Does what `crowd` tells this process: `open` makes a group of a job, and the others are its tasks. */
export function serve(open, others) {
  const groups = new Map();
  const tasks = {
    async open(job) {
      const group = open(job);
      groups.set(job.name, group);
      await group.ready();
      return {};
    },
    async end({ name }) {
      await groups.get(name).end();
      groups.delete(name);
      return {};
    },
  };
  help((job) => (tasks[job.task] ? tasks[job.task](job) : others[job.task](groups.get(job.name), job)));
}

/** The same for clients of many channels. */
export function serveClients(Client) {
  serve((job) => new Clients(job, Client), {
    async reach(group, { goals }) {
      await group.allHave(goals);
      return { received: group.received, lastAt: group.lastAt ?? 0, last: group.last?.toString() };
    },
    async mayBreak(group, { jitterMs }) {
      group.mayBreak = true;
      group.jitterMs = jitterMs;
      return {};
    },
    async back(group) {
      await group.allBroken();
      await group.allBack();
      const { backAt, tries, late, refusals, lostAt } = group;
      return { backAt: [...backAt.values()], tries: tries - group.job.wants.length, late, refusals, lostAt };
    },
    async know(group, { count }) {
      await group.allKnow(count);
      const { told } = group;
      group.told = { lists: 0, changes: 0 };
      return told;
    },
  });
}
