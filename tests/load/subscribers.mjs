// A process that has sockets of many channels, and looks at every message of every channel: number and position.
import { WebSocket } from "ws";
import { serveClients } from "./group.mjs";
import { numberIn } from "./numbers.mjs";

/** One connection: it wants its channels until the group ends, and comes back to where it was in each. */
class Subscriber {
  live = 0;

  constructor(group, nth, channels) {
    const { path, tokens } = group.job;
    this.group = group;
    this.path = tokens ? `${path}&token=${tokens[nth]}` : path;
    this.channels = channels;
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
    if (group.isEnding || !group.isLost(this, code, reason)) return;
    setTimeout(() => this.connect(), Math.random() * group.jitterMs);
  }

  hear(bytes) {
    const text = bytes.toString();
    if (text === "ok") return this.group.isLive(this, this.channels.size);
    const frame = JSON.parse(text);
    const state = this.channels.get(frame.channel);
    if (frame.type === "message") return this.take(frame, state, numberIn(bytes));
    if (frame.type === "members" || frame.type === "presence") return this.hearOf(frame, state);
    if (frame.type === "welcome") return this.subscribeAll();
    if (frame.type === "subscribed") return this.subscribed(frame, state);
    // Too much to do is no loss: it asks again.
    const isRefused = frame.code === "overloaded" || frame.code === "internal";
    if (!isRefused || !state || !this.group.mayBreak) return this.group.fail(text);
    this.group.isRefused(frame.code);
    const { socket } = this;
    setTimeout(() => this.subscribe(frame.channel, socket), Math.random() * this.group.jitterMs);
  }

  /** Members: how many there are, and how often that was told. */
  hearOf({ type, count }, state) {
    state.count = count;
    this.group.told[type === "members" ? "lists" : "changes"]++;
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
    if (!state.position) state.last = Number(position.split(":")[1]);
    state.position = position;
    state.isLive = true;
    this.group.isLive(this);
  }

  take({ channel, position }, state, number) {
    // The baseline numbers nothing.
    const seq = position === undefined ? number : Number(position.split(":")[1]);
    if (number !== state.last + 1 || seq !== number)
      this.group.fail(`${channel}: message ${number} at ${position}, where ${state.last + 1} should be`);
    state.position = position;
    this.group.take(state, number);
  }
}

/** What the Worker's Hub would remember of a connection, in length and shape. */
function attachment(channels) {
  const stage = { l: "9f2c41d07ab3:0" };
  const s = [...channels].map((channel) => ({ c: channel, p: true, a: stage }));
  return JSON.stringify({ c: "5c0e9f2c41d07ab35c0e9f2c41d07ab3", f: "many", s });
}

serveClients(Subscriber);
