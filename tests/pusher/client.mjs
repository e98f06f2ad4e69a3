/** pusher-js in Node, unmodified, and what it has seen; and a socket on which one may say anything. */
import PusherJs from "pusher-js";
import { Listener, until, within } from "../clients/client.mjs";
import { pathOf } from "../load/pusher-bytes.mjs";
import { key } from "./backend.mjs";

// What it logs is a warning about every error that a test provokes.
PusherJs.log = () => {};

/** How pusher-js is told where Dormouse is. `user` is who the backend takes it for. */
export function optionsFor(server, backend, { user, ...more } = {}) {
  const params = { user };
  return {
    cluster: "",
    wsHost: "127.0.0.1",
    wsPort: Number(new URL(server.url).port),
    forceTLS: false,
    enabledTransports: ["ws"],
    channelAuthorization: { endpoint: `${backend.url}/pusher/auth`, transport: "ajax", params },
    userAuthentication: { endpoint: `${backend.url}/pusher/user-auth`, transport: "ajax", params },
    ...more,
  };
}

/** A client. `frames` has every event that came over its socket, `errors` what pusher-js took for one, `states` what it went through. */
export class Client {
  frames = [];
  errors = [];
  states = [];

  constructor(server, backend, { appKey = key, ...more } = {}) {
    this.pusher = new PusherJs(appKey, optionsFor(server, backend, more));
    this.pusher.connection.bind("message", (frame) => this.frames.push(frame));
    this.pusher.connection.bind("error", (error) => this.errors.push(error));
    this.pusher.connection.bind("state_change", ({ current }) => this.states.push(current));
  }

  get socketId() {
    return this.pusher.connection.socket_id;
  }

  /** The codes of the errors that it was told, in events or with a close. */
  get codes() {
    const codes = this.errors.map(({ data, error }) => (data ?? error?.data)?.code);
    return [...new Set(codes)].filter((code) => code !== undefined);
  }

  /** Waits until it is connected. */
  async connected(ms) {
    const what = () => `a connection; ${this.states} ${JSON.stringify(this.errors)}`;
    await until(what, () => this.pusher.connection.state === "connected", ms);
    return this;
  }

  /** The frames of an event, of one channel if it is named. */
  of(event, channel) {
    return this.frames.filter(
      (frame) => frame.event === event && (channel === undefined || frame.channel === channel),
    );
  }

  /** Waits until there are so many of them. */
  has(event, channel, count = 1, ms = 10_000) {
    const what = () =>
      `${count} × ${event} in ${channel}: ${JSON.stringify(this.frames).slice(-3000)} ${JSON.stringify(this.errors)}`;
    return until(what, () => this.of(event, channel).length >= count && this.of(event, channel), ms);
  }

  /** Subscribes, and waits until that is confirmed. */
  async subscribe(...names) {
    const channels = names.map((name) => this.pusher.subscribe(name));
    for (const channel of channels) {
      const what = () => `${channel.name}: ${JSON.stringify(this.frames).slice(-2000)}`;
      await until(what, () => channel.subscribed);
    }
    return channels[0];
  }

  /** Signs in, and waits until that is confirmed. */
  async signIn() {
    this.pusher.signin();
    await until("the signin", () => this.pusher.user.serverToUserChannel?.subscribed);
  }

  /** Who is there, as this client knows it. */
  members(name) {
    const { members } = this.pusher.channel(name);
    return { users: Object.keys(members.members).sort(), count: members.count };
  }

  /** Waits until it knows that these are there, and as many. */
  sees(name, users) {
    const what = () => `${users} in ${name}, there are ${JSON.stringify(this.members(name))}`;
    const expected = JSON.stringify({ users, count: users.length });
    return until(what, () => JSON.stringify(this.members(name)) === expected, 15_000);
  }

  close() {
    this.pusher.disconnect();
  }
}

/** A socket at Pusher's address, on which one may say anything. */
export class Wire extends Listener {
  constructor(server, { path = pathOf(key), ...more } = {}) {
    super(server, path, more);
  }

  /** Waits until it is connected. */
  async connected() {
    await within("the handshake", this.opened);
    const [{ data }] = await this.has("pusher:connection_established");
    this.socketId = JSON.parse(data).socket_id;
    return this;
  }

  of(event, channel) {
    return this.frames.filter(
      (frame) => frame.event === event && (channel === undefined || frame.channel === channel),
    );
  }

  has(event, count = 1, ms = 10_000) {
    const what = () => `${count} × ${event}, there is ${JSON.stringify(this.frames).slice(-2000)}`;
    return until(what, () => this.of(event).length >= count && this.of(event), ms);
  }

  say(event, data, channel) {
    this.send(JSON.stringify({ event, data, channel }));
  }

  /** Says something, and returns the error that answers it. */
  async refused(event, data, channel) {
    const before = this.of("pusher:error").length;
    this.say(event, data, channel);
    return (await this.has("pusher:error", before + 1)).at(-1).data;
  }

  /** Whether it is still there, after everything that it has said. */
  async isUp() {
    const before = this.of("pusher:pong").length;
    // Not the bytes that the runtime answers.
    this.send('{"event": "pusher:ping"}');
    await this.has("pusher:pong", before + 1);
    return true;
  }
}
