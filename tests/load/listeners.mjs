// A process that has many sockets, and looks at every message: which number it says that it has.
import { WebSocket } from "ws";
import { Group, serve } from "./group.mjs";
import { escapedNumberIn, numberIn, positionIn } from "./numbers.mjs";
import { monotonicMs } from "./processes.mjs";

/** Sockets of one room. `job.resumed` is null where there are no welcomes, and left out where a welcome has none. Each has to get every number once, in order, from `next` on. */
class Listeners extends Group {
  open = 0;
  welcomed = 0;
  received = 0;
  finished = 0;
  goal = Number.POSITIVE_INFINITY;
  caughtUp = [];

  constructor(job) {
    super(job);
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

  get progress() {
    return this.open + this.welcomed + this.received;
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
      () => `${this.finished} have ${goal}, and the last is at ${Math.min(...this.nexts) - 1}`,
    );
  }
}

serve((job) => new Listeners(job), {
  async reach(group, { goal }) {
    await group.reach(goal);
    return { received: group.received, caughtUp: group.caughtUp, lastAt: group.lastAt };
  },
});
