// A process that has many sockets, and looks at every message: which number it says that it has.
import { WebSocket } from "ws";
import { escapedNumberIn, numberIn, positionIn } from "./numbers.mjs";
import { help, monotonicMs } from "./processes.mjs";

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const stallSeconds = 45;
const settleMs = 300;

/** Sockets of one room. Each has to get every number once, in order, from `next` on. */
class Group {
  open = 0;
  welcomed = 0;
  received = 0;
  finished = 0;
  goal = Number.POSITIVE_INFINITY;
  caughtUp = [];

  constructor(job) {
    this.job = job;
    this.nexts = new Array(job.sockets).fill(job.next);
    this.began = performance.now();
    this.sockets = [];
    // Thousands of handshakes at once would overflow the queue of those that are not accepted yet.
    for (let nth = 0; nth < (job.atOnce ?? job.sockets); nth++) this.connectNext();
  }

  connectNext() {
    if (this.sockets.length < this.nexts.length) this.sockets.push(this.connect(this.sockets.length));
  }

  connect(nth) {
    const url = `ws://127.0.0.1:${this.job.port}${this.job.path}`;
    const options = { perMessageDeflate: false, skipUTF8Validation: true };
    const socket = new WebSocket(url, options);
    socket.on("open", () => {
      this.open++;
      this.connectNext();
    });
    socket.on("message", (bytes) => this.take(nth, bytes));
    socket.on("error", (error) => this.fail(`socket ${nth}: ${error.message}`));
    socket.on("close", (code, reason) => {
      if (!this.isEnding) this.fail(`socket ${nth} was closed: ${code} ${reason}`);
    });
    return socket;
  }

  fail(problem) {
    this.problem ??= problem;
  }

  take(nth, bytes) {
    const number = this.job.isEscaped ? escapedNumberIn(bytes) : numberIn(bytes);
    if (number === undefined) return this.hear(nth, bytes.toString());
    const expected = this.nexts[nth]++;
    const position = this.job.epoch ? positionIn(bytes, this.job.epoch) : number;
    if (number !== expected || position !== expected)
      this.fail(`socket ${nth}: message ${number} at ${position}, where ${expected} should be`);
    this.received++;
    // Everybody has everything so far.
    if (this.received % this.nexts.length === 0) this.lastAt = monotonicMs();
    if (number === this.job.missedLast) this.caughtUp.push(performance.now() - this.began);
    if (number === this.goal) this.finished++;
  }

  hear(nth, text) {
    const frame = JSON.parse(text);
    if (frame.type !== "welcome" || frame.resumed !== this.job.resumed) this.fail(`socket ${nth}: ${text}`);
    if (this.nexts[nth] !== this.job.next) this.fail(`socket ${nth}: a welcome after messages`);
    this.welcomed++;
  }

  /** Fails only if nothing comes any more, so that a slow machine is no failure. */
  async until(isDone, what) {
    let [seen, since] = [-1, 0];
    while (!isDone() && !this.problem) {
      const now = this.open + this.welcomed + this.received;
      if (now !== seen) [seen, since] = [now, performance.now()];
      if (performance.now() - since > stallSeconds * 1000)
        this.fail(
          `nothing came any more: ${what()} (sockets are at ${Math.min(...this.nexts) - 1} and further)`,
        );
      await pause(5);
    }
    if (this.problem) throw new Error(this.problem);
  }

  async ready() {
    const { sockets, resumed } = this.job;
    const welcomes = resumed === null ? 0 : sockets;
    const isDone = () => this.open === sockets && this.welcomed === welcomes;
    await this.until(isDone, () => `${this.open} open, ${this.welcomed} welcomed`);
  }

  async reach(goal) {
    this.goal = goal;
    this.finished = this.nexts.filter((next) => next > goal).length;
    await this.until(
      () => this.finished === this.nexts.length,
      () => `${this.finished} have ${goal}`,
    );
  }

  async end() {
    await pause(settleMs);
    this.isEnding = true;
    for (const socket of this.sockets) socket.terminate();
    if (this.problem) throw new Error(this.problem);
  }
}

const groups = new Map();

const tasks = {
  async open(job) {
    // `resumed` is null where there are no welcomes, and left out where a welcome has none.
    const group = new Group(job);
    groups.set(job.name, group);
    await group.ready();
    return {};
  },
  async reach({ name, goal }) {
    const group = groups.get(name);
    await group.reach(goal);
    return { received: group.received, caughtUp: group.caughtUp, lastAt: group.lastAt };
  },
  async end({ name }) {
    await groups.get(name).end();
    groups.delete(name);
    return {};
  },
};

help((job) => tasks[job.task](job));
