// A process that has sockets which say what pusher-js 8.6 says, byte for byte, and come back when it would.
import { WebSocket } from "ws";
import { escapedNumberIn } from "./numbers.mjs";
import { help, monotonicMs } from "./processes.mjs";
import { pathOf, ping, pong, signOf, subscribe } from "./pusher-bytes.mjs";

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const stallSeconds = 60;
const settleMs = 300;
// Of pusher-js: src/core/connection/connection_manager.ts, strategies/sequential_strategy.ts, defaults.ts.
const backOffMs = 1000;
const attemptMs = { first: 15_000, most: 60_000 };
const activityMs = 120_000;
const pongMs = 30_000;

/** One client: it wants its channels until the group ends. */
class Client {
  live = 0;

  constructor(group, channels, user) {
    this.group = group;
    this.user = user;
    this.channels = new Map(channels.map((channel) => [channel, { last: 0, isLive: false }]));
    this.connect(attemptMs.first);
  }

  /** One try: until it is connected, or the time for it is over; also when it has failed long before. */
  connect(ms) {
    const { job } = this.group;
    this.group.tries++;
    const url = `ws://127.0.0.1:${job.port}${pathOf(job.key)}`;
    const socket = new WebSocket(url, { perMessageDeflate: false });
    this.socket = socket;
    this.attempt = setTimeout(() => {
      socket.removeAllListeners("close").terminate();
      this.group.late++;
      this.connect(Math.min(ms * 2, attemptMs.most));
    }, ms);
    socket.on("message", (bytes) => this.hear(bytes));
    socket.on("error", () => {});
    socket.on("unexpected-response", (_, { statusCode }) => this.group.answered(statusCode));
    socket.on("close", (code, reason) => this.closed(code, reason));
  }

  closed(code, reason) {
    const { group } = this;
    clearTimeout(this.activity);
    // Before it is connected, the time of the attempt goes by.
    if (group.isEnding || !this.isConnected) return;
    this.isConnected = false;
    if (!group.mayBreak) return group.fail(`a socket was closed: ${code} ${reason}`);
    if (this.live === this.channels.size) group.back--;
    group.lost(this);
    for (const state of this.channels.values()) state.isLive = false;
    this.live = 0;
    setTimeout(() => this.connect(attemptMs.first), backOffMs);
  }

  /** As long as something comes, nothing has to be asked. */
  watch(ms) {
    this.activity = setTimeout(() => {
      const left = this.heardAt + this.activityMs - performance.now();
      if (left > 0) return this.watch(left);
      this.socket.send(ping);
      this.activity = setTimeout(() => {
        if (this.heardAt + pongMs < performance.now()) this.group.fail("a ping was not answered");
        else this.watch(this.activityMs);
      }, pongMs);
    }, ms);
  }

  hear(bytes) {
    this.heardAt = performance.now();
    const number = escapedNumberIn(bytes);
    if (number !== undefined) return this.take(bytes, number);
    const frame = JSON.parse(bytes.toString());
    const state = this.channels.get(frame.channel);
    switch (frame.event) {
      case "pusher:connection_established":
        return this.connected(JSON.parse(frame.data));
      case "pusher_internal:subscription_succeeded":
        return this.subscribed(state, JSON.parse(frame.data));
      case "pusher_internal:member_added":
        return this.changed(state, "add", frame);
      case "pusher_internal:member_removed":
        return this.changed(state, "delete", frame);
      case "pusher_internal:subscription_count":
        return;
      case "pusher:ping":
        return this.socket.send(pong);
      case "pusher:pong":
        return;
      default:
        return this.group.fail(bytes.toString());
    }
  }

  connected({ socket_id: socketId, activity_timeout: seconds }) {
    clearTimeout(this.attempt);
    this.isConnected = true;
    this.activityMs = Math.min(activityMs, seconds * 1000);
    this.watch(this.activityMs);
    const { key, secret } = this.group.job;
    for (const channel of this.channels.keys()) {
      const sign = (text) => signOf({ key, secret }, text);
      this.socket.send(subscribe({ channel, socketId, sign, user: this.user }));
    }
  }

  subscribed(state, { presence }) {
    if (state.isLive) this.group.fail("subscribed twice");
    state.isLive = true;
    if (presence) {
      state.members = new Set(presence.ids);
      this.group.told.lists++;
    }
    this.live++;
    this.group.subscriptions++;
    if (this.live === this.channels.size) this.group.isBack(this);
  }

  changed(state, how, { event, channel, data }) {
    const user = JSON.parse(data).user_id;
    if (!state.members) return this.group.fail(`${event} in ${channel} before its members`);
    if (state.members.has(user) === (how === "add")) this.group.fail(`${event} of ${user} again`);
    state.members[how](user);
    this.group.told.changes++;
  }

  take(bytes, number) {
    const name = channelIn(bytes);
    const state = this.channels.get(name);
    if (!state?.isLive) return this.group.fail(`a message in ${name}, to which it is not subscribed`);
    const { mayBreak, job } = this.group;
    // What came while it was away is lost: pusher-js does not resume.
    const isNext = mayBreak ? number > state.last : number === (state.last || job.next - 1) + 1;
    if (!isNext) this.group.fail(`${name}: message ${number} after ${state.last}`);
    state.last = number;
    this.group.received++;
    this.group.lastAt = monotonicMs();
    this.group.last = bytes;
  }
}

const mark = Buffer.from('"channel":"');

/** The name of the channel in a frame; no parsing: hundreds of thousands are looked at. */
function channelIn(bytes) {
  const begin = bytes.indexOf(mark) + mark.length;
  return bytes.latin1Slice(begin, bytes.indexOf('"', begin));
}

/** Clients that were started together. */
class Group {
  back = 0;
  subscriptions = 0;
  received = 0;
  tries = 0;
  late = 0;
  refusals = {};
  told = { lists: 0, changes: 0 };
  broken = new Set();
  backAt = new Map();
  clients = [];

  constructor(job) {
    this.job = job;
    for (let nth = 0; nth < job.atOnce; nth++) this.addNext();
  }

  addNext() {
    const nth = this.clients.length;
    const channels = this.job.wants[nth];
    if (channels) this.clients.push(new Client(this, channels, this.job.users?.[nth]));
  }

  isBack(client) {
    this.back++;
    if (this.broken.has(client)) this.backAt.set(client, monotonicMs());
    else this.addNext();
  }

  lost(client) {
    this.broken.add(client);
    this.lostAt = Math.max(this.lostAt ?? 0, monotonicMs());
  }

  answered(status) {
    this.refusals[status] = (this.refusals[status] ?? 0) + 1;
  }

  fail(problem) {
    this.problem ??= problem;
  }

  /** Fails only if nothing comes any more, so that a slow machine is no failure. */
  async until(isDone, what) {
    let [seen, since] = [-1, 0];
    while (!isDone() && !this.problem) {
      const now = this.subscriptions + this.received + this.broken.size + this.told.lists + this.told.changes;
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

  get states() {
    return this.clients.flatMap(({ channels }) => [...channels]);
  }

  async end() {
    await pause(settleMs);
    this.isEnding = true;
    for (const { socket, attempt, activity } of this.clients) {
      clearTimeout(attempt);
      clearTimeout(activity);
      socket.terminate();
    }
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
  /** Waits until everybody who wants a channel has the number that `goals` has for it. */
  async reach({ name, goals }) {
    const group = groups.get(name);
    let open = group.states;
    const isDone = () => {
      open = open.filter(([channel, { last }]) => goals[channel] !== undefined && last < goals[channel]);
      return open.length === 0;
    };
    await group.until(isDone, () => `${open.length} lack something, one of them in ${open[0][0]}`);
    return { received: group.received, lastAt: group.lastAt ?? 0, last: group.last?.toString() };
  },
  async mayBreak({ name }) {
    groups.get(name).mayBreak = true;
    return {};
  },
  /** Waits until all have broken, and all are back with all of their channels. */
  async back({ name }) {
    const group = groups.get(name);
    const all = group.job.wants.length;
    await group.until(
      () => group.broken.size === all,
      () => `${group.broken.size} of ${all} have broken`,
    );
    await group.allBack();
    const { backAt, tries, late, refusals, lostAt } = group;
    return { backAt: [...backAt.values()], tries: tries - all, late, refusals, lostAt };
  },
  /** Waits until everybody knows so many members in each presence channel. */
  async know({ name, count }) {
    const group = groups.get(name);
    const present = group.states.filter(([channel]) => channel.startsWith("presence-"));
    await group.until(
      () => present.every(([, { members }]) => members?.size === count),
      () => `not everybody knows ${count} members`,
    );
    const { told } = group;
    group.told = { lists: 0, changes: 0 };
    return told;
  },
  async end({ name }) {
    await groups.get(name).end();
    groups.delete(name);
    return {};
  },
};

help((job) => tasks[job.task](job));
