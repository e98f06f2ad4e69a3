/**
 * Unmodified pusher-js through cuts of its connections and kills of the runtime, while messages are published: what its tabs see is judged against what was stored.
 * With `resume` they come with `wsPath: '/r/<uuid>'`; without, it is counted what is lost.
 */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Pusher from "pusher-js";
import { freePort, sleep, start } from "../workerd.mjs";
import { parsePosition } from "./checker.mjs";
import { startProxy } from "./proxy.mjs";
import { ask } from "./publisher.mjs";
import { Random } from "./random.mjs";
import { appsFor, key, Record } from "./record.mjs";

const channels = ["news-0", "news-1", "news-2", "news-3", "news-4"];
const perSecond = 20;
const settleMs = 60_000;

/** One page of a browser: it keeps its connection as pusher-js does, and writes down what its channels hear, in order. */
class Tab {
  /** By channel: `{ id }` or `{ after, position, reason }`. */
  heard = Object.fromEntries(channels.map((channel) => [channel, []]));
  connections = 0;

  constructor(port, resume) {
    const path = resume ? { wsPath: `/r/${randomUUID()}` } : {};
    this.pusher = new Pusher(key, {
      wsHost: "127.0.0.1",
      wsPort: port,
      forceTLS: false,
      enabledTransports: ["ws"],
      cluster: "",
      activityTimeout: 2000,
      pongTimeout: 1500,
      ...path,
    });
    this.pusher.connection.bind("connected", () => {
      this.connections += 1;
    });
    for (const name of channels) {
      const channel = this.pusher.subscribe(name);
      channel.bind("tick", ({ id }) => this.heard[name].push({ id, at: Date.now() }));
      channel.bind("dormouse:gap", (gap) => this.heard[name].push({ gap, at: Date.now() }));
    }
  }

  async subscribed() {
    while (!channels.every((name) => this.pusher.channel(name).subscribed)) await sleep(10);
  }
}

/** What one tab has seen of one channel, against what was stored: `{ problems, received, announced, gaps }`. */
export function judge(heard, stored) {
  const seqOf = new Map(stored.map(({ id, position }) => [id, parsePosition(position).seq]));
  const found = { problems: [], received: 0, announced: 0, spared: 0, gaps: [] };
  const [seen, announced] = [new Set(), new Set()];
  let upTo = 0;
  for (const { id, gap } of heard) {
    if (gap) {
      const after = /^0{12}:/.test(gap.after) ? 0 : parsePosition(gap.after).seq;
      const { seq } = parsePosition(gap.position);
      if (after > upTo) found.problems.push(`a gap after ${after}, and ${upTo} was the last`);
      for (let one = after + 1; one <= seq; one += 1) announced.add(one);
      found.gaps.push({ reason: gap.reason, messages: seq - after });
      upTo = Math.max(upTo, seq);
      continue;
    }
    const seq = seqOf.get(id);
    if (seq === undefined) found.problems.push(`${id} was never stored`);
    else if (seen.has(seq)) found.problems.push(`${id} (${seq}) came twice`);
    else if (seq <= upTo) found.problems.push(`${id} (${seq}) came after ${upTo}`);
    for (let one = upTo + 1; one < (seq ?? 0); one += 1)
      if (!announced.has(one)) found.problems.push(`${one} is missing, and nothing says so`);
    seen.add(seq);
    upTo = Math.max(upTo, seq ?? 0);
  }
  if (upTo < stored.length) found.problems.push(`${upTo} of ${stored.length} at the end`);
  found.received = seen.size;
  found.announced = announced.size;
  found.spared = [...announced].filter((seq) => seen.has(seq)).length;
  return found;
}

class Run extends Record {
  published = 0;
  kills = 0;
  /** What each channel has stored, in order. */
  stored = Object.fromEntries(channels.map((channel) => [channel, []]));

  constructor(options) {
    super(Object.fromEntries(channels.map((channel) => [channel, 10_000])));
    Object.assign(this, options);
    this.random = new Random(this.seed, "pusher");
  }

  get cuts() {
    return Object.values(this.proxy.happened).reduce((sum, times) => sum + times, 0);
  }

  async perform(onProgress) {
    const began = Date.now();
    const folder = mkdtempSync(join(tmpdir(), "dormouse-pusher-"));
    const port = await freePort();
    this.server = await start({ folder: join(folder, "storage"), apps: appsFor(this.history.sizes), port });
    this.proxy = await startProxy(port);
    const progress = setInterval(() => onProgress?.(this, Date.now() - began), 3000);
    try {
      this.tabs = Array.from({ length: this.tabCount }, () => new Tab(this.proxy.port, this.resume));
      await Promise.all(this.tabs.map((tab) => tab.subscribed()));
      const publishing = channels.map((channel, nth) => this.#publish(channel, nth));
      await Promise.race([
        this.#breakThings(),
        ...publishing.map((one) => one.then(() => new Promise(() => {}))),
      ]);
      this.isOver = true;
      await Promise.all(publishing);
      await this.#settle();
    } finally {
      clearInterval(progress);
      this.isOver = this.isAborted = true;
      for (const tab of this.tabs ?? []) tab.pusher.disconnect();
      await this.proxy.close();
      await this.server.stop();
      rmSync(folder, { recursive: true, force: true });
    }
    return this.#result(Date.now() - began);
  }

  /** One message after the other; together the channels get so many a second, as far as the server is there. */
  async #publish(channel, nth) {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const pause = (1000 * channels.length) / perSecond;
    await sleep((nth * 1000) / perSecond);
    for (let count = 0, due = Date.now(); !this.isOver; count += 1, due += pause) {
      await this.#untilStored(agent, channel, `${channel}-${count}`);
      await sleep(Math.max(0, due - Date.now()));
      due = Math.max(due, Date.now() - pause);
    }
    agent.destroy();
  }

  async #untilStored(agent, channel, id) {
    const body = JSON.stringify({ channel, event: "tick", data: { id }, id });
    const request = { method: "POST", headers: this.headers, body, timeout: 3000 };
    while (!this.isAborted) {
      const answer = await ask(agent, `${this.server.url}/publish`, request).catch(() => undefined);
      const position = answer?.body.channels?.[channel]?.position ?? answer?.body.position;
      if (position) {
        this.stored[channel].push({ id, position });
        this.published += 1;
        return;
      }
      if (answer && answer.status < 500) throw new Error(`${answer.status}: ${JSON.stringify(answer.body)}`);
      await sleep(30);
    }
  }

  /** Cuts at random times, some connections that hang, and kills spread over the cuts. */
  async #breakThings() {
    const { random, proxy } = this;
    for (let beat = 1; this.cuts < this.wantedCuts || this.kills < this.wantedKills; beat += 1) {
      await sleep(random.between(200, 800));
      const links = [...proxy.links];
      const kind = random.pick(["cut", "cut", "reset"]);
      // The time is by chance, and the place in a frame.
      if (links.length > 0 && this.cuts < this.wantedCuts)
        random
          .pick(links)
          .inject(beat % 10 === 0 ? { kind: "halfOpen" } : { kind, bytes: random.between(1, 400) });
      const isTime = this.cuts >= ((this.kills + 1) * this.wantedCuts) / (this.wantedKills + 1);
      if (this.kills < this.wantedKills && isTime) {
        await sleep(random.between(0, 1500));
        await this.server.kill9();
        this.kills += 1;
        await sleep(random.between(0, 500));
        await this.server.restart();
      }
    }
    proxy.release();
  }

  /** A last message for each channel shows who lacks something; then everybody has time to get there. */
  async #settle() {
    await Promise.all(this.tabs.map((tab) => tab.subscribed()));
    const agent = new Agent({ keepAlive: true });
    for (const channel of channels) await this.#untilStored(agent, channel, `${channel}-last`);
    agent.destroy();
    const isThere = (tab, channel) => tab.heard[channel].at(-1)?.id === `${channel}-last`;
    const areThere = () => this.tabs.every((tab) => channels.every((channel) => isThere(tab, channel)));
    for (const end = Date.now() + settleMs; !areThere() && Date.now() < end; ) await sleep(50);
  }

  #result(ms) {
    const counts = { published: this.published, cuts: this.cuts, kills: this.kills, connections: 0 };
    const sums = { expected: 0, received: 0, announced: 0, spared: 0, gaps: [] };
    const problems = [];
    for (const [nth, tab] of this.tabs.entries()) {
      counts.connections += tab.connections;
      for (const channel of channels) {
        const found = judge(tab.heard[channel], this.stored[channel]);
        problems.push(...found.problems.map((problem) => `tab ${nth}, ${channel}: ${problem}`));
        sums.expected += this.stored[channel].length;
        for (const name of ["received", "announced", "spared"]) sums[name] += found[name];
        sums.gaps.push(...found.gaps);
      }
    }
    return { ...counts, ...sums, lost: sums.expected - sums.received, problems, ms, log: this.server.log };
  }
}

/**
 * Runs it: `{ cuts, kills, tabs, resume, seed }`. Returns `{ published, cuts, kills, connections, expected, received, announced, spared, lost, gaps, problems, ms, log }`:
 * `announced` messages are inside of a gap, of which `spared` came all the same. `onProgress` is called every few seconds.
 */
export function pusherRun({ cuts, kills, tabs = 4, resume = true, seed }, onProgress) {
  return new Run({ wantedCuts: cuts, wantedKills: kills, tabCount: tabs, resume, seed }).perform(onProgress);
}
