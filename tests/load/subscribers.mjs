// A process that has sockets of many channels, and looks at every message of every channel: number and position.
import { WebSocket } from "ws";
import { numberIn } from "./numbers.mjs";
import { help, monotonicMs } from "./processes.mjs";

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const stallSeconds = 60;
const settleMs = 300;

/** One connection: it wants its channels until the group ends, and comes back to where it was in each. */
class Subscriber {
  live = 0;

  constructor(group, channels, token) {
    this.group = group;
    this.path = token ? `${group.job.path}&token=${token}` : group.job.path;
    this.channels = new Map(channels.map((channel) => [channel, { next: undefined, isLive: false }]));
    this.connect();
  }

  connect() {
    this.group.tries++;
    this.socket = new WebSocket(`ws://127.0.0.1:${this.group.job.port}${this.path}`, {
      perMessageDeflate: false,
    });
    this.socket.on("message", (bytes) => this.hear(bytes));
    // Its close says it too.
    this.socket.on("error", () => {});
    this.socket.on("close", (code, reason) => this.lost(code, reason));
    if (this.group.job.bare) this.socket.on("open", () => this.socket.send(attachment(this.channels.keys())));
  }

  lost(code, reason) {
    const { group } = this;
    if (group.isEnding) return;
    if (group.jitterMs === undefined) return group.fail(`a socket was closed: ${code} ${reason}`);
    if (this.live === this.channels.size) group.back--;
    group.broken.add(this);
    for (const state of this.channels.values()) state.isLive = false;
    this.live = 0;
    setTimeout(() => this.connect(), Math.random() * group.jitterMs);
  }

  hear(bytes) {
    const text = bytes.toString();
    if (text === "ok") return this.isLive();
    const frame = JSON.parse(text);
    const state = this.channels.get(frame.channel);
    if (frame.type === "message") return this.take(frame, state, numberIn(bytes));
    if (frame.type === "members" || frame.type === "presence") return this.hearOf(frame, state);
    if (frame.type === "welcome") return this.subscribeAll();
    if (frame.type === "subscribed") return this.subscribed(frame, state);
    // Too much to do is no loss: it asks again.
    const isRefused = frame.code === "overloaded" || frame.code === "internal";
    if (!isRefused || !state || this.group.jitterMs === undefined) return this.group.fail(text);
    this.group.refusals++;
    const { socket } = this;
    setTimeout(() => this.subscribe(frame.channel, socket), Math.random() * this.group.jitterMs);
  }

  /** Members: how many there are, and how often that was told. */
  hearOf({ type, count }, state) {
    state.count = count;
    this.group.told[type]++;
  }

  subscribeAll() {
    for (const channel of this.channels.keys()) this.subscribe(channel, this.socket);
  }

  subscribe(channel, socket) {
    if (socket !== this.socket || socket.readyState !== WebSocket.OPEN) return;
    const { position } = this.channels.get(channel);
    socket.send(JSON.stringify({ type: "subscribe", channel, position }));
  }

  subscribed({ channel, position, resumed }, state) {
    if (state.isLive) this.group.fail(`subscribed to ${channel} twice`);
    if (state.position && (resumed !== true || position !== state.position))
      this.group.fail(`${channel} after ${state.position}: resumed ${resumed} at ${position}`);
    state.position = position;
    state.next ??= Number(position.split(":")[1]) + 1;
    state.isLive = true;
    this.isLive();
  }

  isLive() {
    this.group.subscriptions++;
    this.live = this.group.job.bare ? this.channels.size : this.live + 1;
    if (this.live === this.channels.size) this.group.isBack(this);
  }

  take({ channel, position }, state, number) {
    // The baseline numbers nothing.
    state.next ??= 1;
    const seq = position === undefined ? number : Number(position.split(":")[1]);
    if (number !== state.next || seq !== number)
      this.group.fail(`${channel}: message ${number} at ${position}, where ${state.next} should be`);
    state.next = number + 1;
    state.position = position;
    this.group.received++;
    this.group.lastAt = monotonicMs();
  }
}

/** What the Worker's Hub would remember of a connection, in length and shape. */
function attachment(channels) {
  const stage = { l: "9f2c41d07ab3:0" };
  const s = [...channels].map((channel) => ({ c: channel, p: true, a: stage }));
  return JSON.stringify({ c: "5c0e9f2c41d07ab35c0e9f2c41d07ab3", f: "many", s });
}

/** Connections that were opened together. */
class Group {
  back = 0;
  subscriptions = 0;
  received = 0;
  tries = 0;
  refusals = 0;
  told = { members: 0, presence: 0 };
  broken = new Set();
  backAt = new Map();
  subscribers = [];

  constructor(job) {
    this.job = job;
    for (let nth = 0; nth < job.atOnce; nth++) this.addNext();
  }

  addNext() {
    const nth = this.subscribers.length;
    const channels = this.job.wants[nth];
    if (channels) this.subscribers.push(new Subscriber(this, channels, this.job.tokens?.[nth]));
  }

  isBack(subscriber) {
    this.back++;
    if (this.broken.has(subscriber)) this.backAt.set(subscriber, monotonicMs());
    else this.addNext();
  }

  fail(problem) {
    this.problem ??= problem;
  }

  /** Fails only if nothing comes any more, so that a slow machine is no failure. */
  async until(isDone, what) {
    let [seen, since] = [-1, 0];
    while (!isDone() && !this.problem) {
      const now =
        this.subscriptions + this.received + this.broken.size + this.told.members + this.told.presence;
      if (now !== seen) [seen, since] = [now, performance.now()];
      if (performance.now() - since > stallSeconds * 1000) this.fail(`nothing came any more: ${what()}`);
      await pause(5);
    }
    if (this.problem) throw new Error(this.problem);
  }

  allBack() {
    const all = this.job.wants.length;
    return this.until(
      () => this.back === all,
      () => `${this.back} of ${all} have all of their channels`,
    );
  }

  async reach(goals) {
    const states = this.subscribers.flatMap(({ channels }) => [...channels]);
    let open = states.filter(([channel]) => goals[channel] !== undefined);
    const isDone = () => {
      open = open.filter(([channel, { next = 1 }]) => next <= goals[channel]);
      return open.length === 0;
    };
    await this.until(isDone, () => `${open.length} lack something, one of them in ${open[0][0]}`);
  }

  /** Waits until everybody knows so many members in each presence channel. */
  know(count) {
    const states = this.subscribers.flatMap(({ channels }) => [...channels]);
    const present = states.filter(([channel]) => channel.startsWith("presence-"));
    const isDone = () => present.every(([, state]) => state.count === count);
    return this.until(isDone, () => `not everybody knows ${count} members`);
  }

  async end() {
    await pause(settleMs);
    this.isEnding = true;
    for (const { socket } of this.subscribers) socket.terminate();
    if (this.problem) throw new Error(this.problem);
  }
}

const groups = new Map();

const tasks = {
  async open(job) {
    const group = new Group(job);
    groups.set(job.name, group);
    await group.allBack();
    return {};
  },
  async reach({ name, goals }) {
    const group = groups.get(name);
    await group.reach(goals);
    return { lastAt: group.lastAt ?? 0 };
  },
  async mayBreak({ name, jitterMs }) {
    groups.get(name).jitterMs = jitterMs;
    return {};
  },
  async back({ name }) {
    const group = groups.get(name);
    const all = group.job.wants.length;
    await group.until(
      () => group.broken.size === all,
      () => `${group.broken.size} of ${all} have broken`,
    );
    await group.allBack();
    const { backAt, tries, refusals } = group;
    return { backAt: [...backAt.values()], tries: tries - all, refusals };
  },
  async know({ name, count }) {
    const group = groups.get(name);
    await group.know(count);
    const { told } = group;
    group.told = { members: 0, presence: 0 };
    return told;
  },
  async end({ name }) {
    await groups.get(name).end();
    groups.delete(name);
    return {};
  },
};

help((job) => tasks[job.task](job));
