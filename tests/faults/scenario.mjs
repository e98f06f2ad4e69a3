/** The run: publishers, listeners, a recorder for each channel, proxies that break connections, and a runtime that is killed again and again. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, sleep, start } from "../workerd.mjs";
import { check } from "./checker.mjs";
import { SocketListener, StreamListener } from "./listener.mjs";
import { startProxy } from "./proxy.mjs";
import { Publisher } from "./publisher.mjs";
import { Random } from "./random.mjs";
import { appsFor, Record } from "./record.mjs";
import { Recorder } from "./recorder.mjs";

/** Channels and how many messages each keeps. `brief` forgets so soon that whoever is away misses something, and has to be told. */
const sizes = { "deep-0": 10_000, "deep-1": 10_000, "deep-2": 10_000, "deep-3": 10_000, brief: 100 };
/** Most is published into the deep ones, so that the recorder is never late in the brief one. */
const published = [...Object.keys(sizes), ...Object.keys(sizes).filter((name) => name !== "brief")];
/** Of the four listeners of a channel two are in its room, the others in Hubs. */
const spread = { rule: { connections: 2 }, app: { hub_connections: 4 } };
const publishers = 16;
const listeners = 20;
const noProgressMs = 60_000;

class Run extends Record {
  clients = [];

  constructor({ kills, messages, seed }) {
    super(sizes, published);
    this.kills = kills;
    this.messages = messages;
    this.seed = seed;
    this.random = new Random(seed, "run");
  }

  /** Returns everything that happened. Throws if it comes to a standstill. */
  async perform(onProgress) {
    const began = Date.now();
    this.folder = mkdtempSync(join(tmpdir(), "dormouse-faults-"));
    const port = await freePort();
    this.server = await start({ folder: join(this.folder, "storage"), apps: appsFor(sizes, spread), port });
    this.proxies = [await startProxy(port), await startProxy(port)];
    const progress = setInterval(() => onProgress?.(this, Date.now() - began), 3000);
    try {
      await this.#act();
    } finally {
      clearInterval(progress);
      this.isOver = this.isAborted = true;
      for (const client of this.clients) client.stop();
      for (const proxy of this.proxies) await proxy.close();
      await this.server.stop();
    }
    const findings = check(this.history);
    if (findings.total === 0) rmSync(this.folder, { recursive: true, force: true });
    return { counts: this.#counted(), findings, ms: Date.now() - began, log: this.server.log };
  }

  async #act() {
    this.#breakConnections();
    const recorders = Object.keys(sizes).map(
      (channel) => new Recorder({ run: this, url: this.server.url, channel }),
    );
    const recording = recorders.map((recorder) => recorder.record());
    this.clients = Array.from({ length: listeners }, (_, nth) => this.#listener(nth));
    const listening = this.clients.map((client) => client.listen());
    const publishing = Array.from({ length: publishers }, (_, nth) => this.#publisher(nth).publish());
    // Whoever fails, fails the run at once.
    await Promise.race([
      this.#killAgainAndAgain(),
      ...this.#failures([...publishing, ...recording, ...listening]),
    ]);
    this.isOver = true;
    for (const proxy of this.proxies) proxy.release();
    await Promise.all([...publishing, ...recording]);
    for (const recorder of recorders) await recorder.finish();
    const ends = Object.fromEntries(
      recorders.map((recorder, nth) => [Object.keys(sizes)[nth], recorder.position]),
    );
    await this.#untilAllAreThere(ends);
    for (const client of this.clients) client.stop();
    await Promise.all(listening);
  }

  #failures(promises) {
    return promises.map((promise) => new Promise((_, reject) => void promise.catch(reject)));
  }

  /** A kill comes after a random number of messages, on average as many as let kills and messages end together. */
  async #killAgainAndAgain() {
    const { counts, random } = this;
    const perKill = this.messages / Math.max(1, this.kills);
    while (counts.kills < this.kills) {
      await this.#untilAcked(counts.acked + random.between(1, 2 * perKill));
      await sleep(random.between(0, 30));
      await this.#kill();
      while (random.chance(0.1)) {
        await this.server.restart({ wait: false });
        await sleep(random.between(0, 300));
        await this.#kill();
        counts.killsWhileStarting += 1;
      }
      await this.server.restart();
    }
    await this.#untilAcked(this.messages);
  }

  async #kill() {
    await this.server.kill9();
    this.counts.kills += 1;
  }

  async #untilAcked(goal) {
    let [before, since] = [this.counts.acked, Date.now()];
    while (this.counts.acked < goal) {
      if (this.isAborted) throw new Error("The run has failed.");
      if (this.counts.acked > before) [before, since] = [this.counts.acked, Date.now()];
      if (Date.now() - since > noProgressMs || !this.server.isRunning)
        throw new Error(`Nothing is acknowledged any more, at ${before} messages:\n${this.server.log}`);
      await sleep(5);
    }
  }

  /** Those who do not get there are found by the checker. */
  async #untilAllAreThere(ends) {
    const isThere = (client) => client.position === ends[client.channel];
    for (const end = Date.now() + noProgressMs; !this.clients.every(isThere) && Date.now() < end; )
      await sleep(50);
  }

  #publisher(nth) {
    const name = `p${nth}`;
    const random = new Random(this.seed, name);
    const url = nth % 3 === 0 ? this.proxies[0].url : this.server.url;
    return new Publisher({ name, run: this, url, random, batches: nth % 2 === 0 });
  }

  #listener(nth) {
    const names = Object.keys(sizes);
    const [Kind, kind] = nth % 10 < 3 ? [StreamListener, "stream"] : [SocketListener, "socket"];
    const channel = names[nth % names.length];
    const throughProxy = nth >= listeners / 2;
    const url = throughProxy ? this.proxies[1].url : this.server.url;
    const name = `${kind} ${nth}${throughProxy ? " through the proxy" : ""}`;
    const random = new Random(this.seed, name);
    return new Kind({ name, run: this, url, channel, random, away: channel === "brief" ? 8000 : 500 });
  }

  #breakConnections() {
    const [forPublishers, forListeners] = this.proxies;
    const { random } = this;
    const bytes = (most) => random.between(1, most);
    const pick = (most) =>
      random.pick([
        undefined,
        { kind: "delay", ms: random.between(1, 80) },
        { kind: "cut", bytes: bytes(most) },
        { kind: "cut", bytes: bytes(most) },
        { kind: "reset", bytes: bytes(most) },
        { kind: "reset", bytes: bytes(most) },
      ]);
    forPublishers.choose = () => pick(1_500);
    forListeners.choose = () => (random.chance(0.03) ? { kind: "blackHole" } : pick(200_000));
    const freezing = setInterval(() => {
      if (this.isOver) return clearInterval(freezing);
      const links = [...forListeners.links];
      if (links.length > 0) random.pick(links).inject({ kind: "halfOpen" });
    }, 1500);
  }

  #counted() {
    const { counts, history, proxies } = this;
    const happened = {};
    for (const proxy of proxies)
      for (const [kind, times] of Object.entries(proxy.happened))
        happened[kind] = (happened[kind] ?? 0) + times;
    const stored = Object.values(history.stores).reduce((sum, messages) => sum + messages.length, 0);
    return { ...counts, reconnects: counts.connections - listeners, stored, happened };
  }
}

/**
 * Kills the runtime so many times while so many messages are published, and returns `{ counts, findings, ms, log }`. `onProgress` is called every few
 * seconds with `{ counts, … }` and the milliseconds so far. When there are findings the storage is left in `run.folder`.
 */
export async function faultRun({ kills, messages, seed, onProgress }) {
  const run = new Run({ kills, messages, seed });
  const result = await run.perform(onProgress);
  return { ...result, folder: run.folder };
}
