// A process that has sockets which say what pusher-js 8.6 says, byte for byte, and come back when it would.
import { WebSocket } from "ws";
import { serveClients } from "./group.mjs";
import { escapedNumberIn } from "./numbers.mjs";
import { pathOf, ping, pong, signOf, subscribe } from "./pusher-bytes.mjs";

// Of pusher-js: src/core/connection/connection_manager.ts, strategies/sequential_strategy.ts, defaults.ts.
const backOffMs = 1000;
const attemptMs = { first: 15_000, most: 60_000 };
const activityMs = 120_000;
const pongMs = 30_000;

/** One client: it wants its channels until the group ends. */
class Client {
  live = 0;

  constructor(group, nth, channels) {
    this.group = group;
    this.user = group.job.users?.[nth];
    this.channels = channels;
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
      if (this.group.isEnding) return;
      this.group.late++;
      this.connect(Math.min(ms * 2, attemptMs.most));
    }, ms);
    socket.on("message", (bytes) => this.hear(bytes));
    socket.on("error", () => {});
    socket.on("unexpected-response", (_, { statusCode }) => this.group.isRefused(statusCode));
    socket.on("close", (code, reason) => this.closed(code, reason));
  }

  closed(code, reason) {
    const { group } = this;
    clearTimeout(this.activity);
    // Before it is connected, the time of the attempt goes by.
    if (group.isEnding || !this.isConnected) return;
    this.isConnected = false;
    if (group.isLost(this, code, reason)) setTimeout(() => this.connect(attemptMs.first), backOffMs);
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
      state.count = state.members.size;
      this.group.told.lists++;
    }
    this.group.isLive(this);
  }

  changed(state, how, { event, channel, data }) {
    const user = JSON.parse(data).user_id;
    if (!state.members) return this.group.fail(`${event} in ${channel} before its members`);
    if (state.members.has(user) === (how === "add")) this.group.fail(`${event} of ${user} again`);
    state.members[how](user);
    state.count = state.members.size;
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
    this.group.take(state, number);
    this.group.last = bytes;
  }
}

const mark = Buffer.from('"channel":"');

/** The name of the channel in a frame; no parsing: hundreds of thousands are looked at. */
function channelIn(bytes) {
  const begin = bytes.indexOf(mark) + mark.length;
  return bytes.latin1Slice(begin, bytes.indexOf('"', begin));
}

serveClients(Client);
