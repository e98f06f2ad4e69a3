/** A TCP proxy that breaks connections in the ways networks do. */
import { connect, createServer } from "node:net";

const host = "127.0.0.1";

/**
 * The faults. Each is `{ kind, … }`, and holds for a connection or for all:
 * - `delay`, with `ms`: everything arrives that much later, in order.
 * - `cut`, with `bytes`: after so many bytes from the server both sides get a FIN, wherever in a frame that is.
 * - `reset`, with `bytes`: the same with a RST.
 * - `blackHole`: accepts, and swallows everything; the server is not even connected to. For connections that are new.
 * - `halfOpen`: reads and writes nothing any more, but closes nothing either.
 */
export const faultKinds = ["delay", "cut", "reset", "blackHole", "halfOpen"];

/** One client's connection through the proxy. */
class Link {
  #proxy;
  #fault;
  #passed = 0;
  #timers = new Set();
  #held = [];
  #isBroken = false;

  constructor(proxy, client, fault) {
    this.#proxy = proxy;
    this.#fault = fault;
    this.client = client;
    client.on("error", () => {});
    client.once("close", () => this.#closed());
    if (fault?.kind !== "blackHole") this.#open();
    else client.resume();
  }

  #open() {
    const { client } = this;
    this.server = connect({ port: this.#proxy.target, host, allowHalfOpen: true });
    this.server.on("error", () => client.resetAndDestroy());
    this.server.once("close", () => client.destroy());
    this.#carry(client, this.server, false);
    this.#carry(this.server, client, true);
    this.inject(this.#fault);
  }

  #carry(from, to, isAnswer) {
    from.on("data", (chunk) => {
      const kept = isAnswer ? this.#limit(chunk) : chunk;
      this.#write(to, kept, from);
      if (kept.length < chunk.length) this.#breakOff();
    });
    from.once("end", () => this.#later(() => to.end()));
  }

  #write(to, chunk, from) {
    this.#later(() => {
      if (to.destroyed || chunk.length === 0) return;
      if (to.write(chunk)) return;
      from.pause();
      to.once("drain", () => {
        if (this.#fault?.kind !== "halfOpen") from.resume();
      });
    });
  }

  /** Keeps the order: what is not delayed any more still waits for what was. */
  #later(deliver) {
    const ms = this.#fault?.kind === "delay" ? this.#fault.ms : 0;
    if (ms === 0 && this.#held.length === 0) return deliver();
    this.#held.push(deliver);
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#held.shift()();
    }, ms);
    this.#timers.add(timer);
  }

  #limit(chunk) {
    const { kind, bytes } = this.#fault ?? {};
    if (kind !== "cut" && kind !== "reset") return chunk;
    const room = Math.max(0, bytes - this.#passed);
    this.#passed += chunk.length;
    return chunk.subarray(0, room);
  }

  #breakOff() {
    // What still comes is swallowed.
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#proxy.count(this.#fault.kind);
    const sockets = [this.client, this.server];
    if (this.#fault.kind === "cut") return sockets.forEach((socket) => void socket.destroySoon());
    for (const socket of sockets) socket.pause();
    // A reader that finds the last bytes and the RST together takes it for an ordinary end.
    this.#timers.add(setTimeout(() => sockets.forEach((socket) => void socket.resetAndDestroy()), 10));
  }

  /** Has the connection break in that way from now on; `undefined` releases it. */
  inject(fault) {
    this.#fault = fault;
    this.#passed = 0;
    if (this.server) this.#stop(fault?.kind === "halfOpen");
    else if (!fault) this.client.resetAndDestroy();
  }

  #stop(stopped) {
    if (stopped) this.#proxy.count("halfOpen");
    for (const socket of [this.client, this.server]) {
      if (stopped) socket.pause();
      else socket.resume();
    }
  }

  #closed() {
    for (const timer of this.#timers) clearTimeout(timer);
    this.server?.destroy();
    this.#proxy.links.delete(this);
  }
}

class FaultProxy {
  #server;
  #fault;

  constructor(target) {
    this.target = target;
    /** The connections that are open. */
    this.links = new Set();
    /** How often each fault has happened. */
    this.happened = Object.fromEntries(faultKinds.map((kind) => [kind, 0]));
    /** Picks the fault of a new connection, unless there is one for all: `() => fault or undefined`. */
    this.choose = () => undefined;
    this.#server = createServer({ allowHalfOpen: true }, (client) => {
      const fault = this.#fault ?? this.choose();
      if (fault?.kind === "delay" || fault?.kind === "blackHole") this.count(fault.kind);
      this.links.add(new Link(this, client, fault));
    });
  }

  count(kind) {
    this.happened[kind] += 1;
  }

  async listen() {
    await new Promise((done, failed) => {
      this.#server.once("error", failed);
      this.#server.listen(0, host, done);
    });
    this.port = this.#server.address().port;
    this.url = `http://${host}:${this.port}`;
    return this;
  }

  /** A fault for all connections, those that are open and those to come. */
  injectAll(fault) {
    this.#fault = fault;
    for (const link of this.links) link.inject(fault);
  }

  /** No faults any more: what hangs is let go. */
  release() {
    this.choose = () => undefined;
    this.injectAll(undefined);
  }

  /** Ends everything. */
  async close() {
    for (const link of this.links) link.client.destroy();
    await new Promise((done) => this.#server.close(done));
  }
}

/** Starts a proxy before a port of this machine, on a port of its own: `proxy.port`, `proxy.url`. */
export const startProxy = (target) => new FaultProxy(target).listen();
