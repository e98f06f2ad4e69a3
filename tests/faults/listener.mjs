/** Clients that follow a channel, lose their connections, and come back with the position that they have. */
import { Agent, get } from "node:http";
import WebSocket from "ws";
import { sleep } from "../workerd.mjs";
import { contentsOf } from "./publisher.mjs";
import { key } from "./record.mjs";

const pingMs = 1000;
const silentMs = 4000;

class Listener {
  /** The position of the last welcome, gap or message. */
  position = undefined;
  #run;
  #random;
  #url;
  #away;
  #sessions = [];

  constructor({ name, run, url, channel, random, away }) {
    this.#run = run;
    this.#random = random;
    this.#url = url;
    this.#away = away;
    this.channel = channel;
    run.history.clients.push({ name, channel, sessions: this.#sessions });
  }

  /** Follows the channel until `stop` is called. */
  async listen() {
    while (!this.isStopped) {
      const session = { presented: this.position, frames: [] };
      this.#sessions.push(session);
      this.#run.counts.connections += 1;
      const leave = this.#leaving();
      await this.connect(this.#address(), session, leave);
      clearTimeout(leave.timer);
      const absent = this.#random.chance(0.3) && !this.#run.isOver ? this.#away : 0;
      if (!this.isStopped) await sleep(this.#random.between(20, 300) + this.#random.between(0, absent));
    }
  }

  stop() {
    this.isStopped = true;
    this.leave?.abort();
  }

  /** Some go by themselves, without a word. */
  #leaving() {
    const leave = new AbortController();
    this.leave = leave;
    if (this.isStopped) leave.abort();
    if (this.#random.chance(0.3) && !this.#run.isOver)
      leave.timer = setTimeout(() => leave.abort(), this.#random.between(200, 5000));
    return leave;
  }

  #address() {
    const query = new URLSearchParams({ key });
    if (this.position) query.set("position", this.position);
    return `${this.#url}/rooms/${this.channel}?${query}`;
  }

  take(session, frame) {
    const { counts } = this.#run;
    counts[frame.type] += 1;
    if (frame.type === "welcome" && frame.resumed !== undefined)
      counts[frame.resumed ? "resumed" : "notResumed"] += 1;
    session.frames.push(frame);
    this.position = frame.position;
  }

  refused(code) {
    const { refusals } = this.#run.counts;
    refusals[code] = (refusals[code] ?? 0) + 1;
  }
}

/** Has `end` called once nothing has come for too long: a half-open connection says nothing itself. */
function watch(end) {
  let heard = Date.now();
  const timer = setInterval(() => {
    if (Date.now() - heard > silentMs) end();
  }, pingMs);
  return {
    hear: () => {
      heard = Date.now();
    },
    stop: () => clearInterval(timer),
  };
}

export class SocketListener extends Listener {
  connect(url, session, leave) {
    return new Promise((done) => {
      const socket = new WebSocket(url, { perMessageDeflate: false, handshakeTimeout: silentMs });
      let isOpen = true;
      const watcher = watch(() => finish());
      const pinging = setInterval(() => {
        if (socket.readyState === WebSocket.OPEN) socket.send("ping");
      }, pingMs);
      const finish = () => {
        isOpen = false;
        watcher.stop();
        clearInterval(pinging);
        socket.terminate();
        done();
      };
      leave.signal.addEventListener("abort", finish);
      socket.on("error", () => {});
      socket.once("close", finish);
      socket.on("message", (bytes) => {
        watcher.hear();
        // What still comes after it has left is nothing that it has.
        if (isOpen) this.#hear(bytes.toString(), session);
      });
      if (leave.signal.aborted) finish();
    });
  }

  #hear(text, session) {
    if (text === "pong") return;
    const { type, position, resumed, after, reason, code, data } = JSON.parse(text);
    if (type === "error") this.refused(code);
    else if (type === "welcome") this.take(session, { type, position, resumed });
    else if (type === "gap") this.take(session, { type, after, position, reason });
    else this.take(session, { type, position, ...contentsOf(data) });
  }
}

export class StreamListener extends Listener {
  #agent = new Agent();

  connect(url, session, leave) {
    return new Promise((done) => {
      const headers = { accept: "text/event-stream" };
      // As a browser does it: the address stays as it was, and the header wins.
      if (this.position) headers["last-event-id"] = this.position;
      const asking = get(url, { agent: this.#agent, headers });
      let isOpen = true;
      const finish = () => {
        isOpen = false;
        watcher.stop();
        asking.destroy();
        done();
      };
      const watcher = watch(finish);
      leave.signal.addEventListener("abort", finish);
      asking.on("error", finish);
      asking.once("response", (response) => {
        if (response.statusCode !== 200) this.refused(response.statusCode);
        let rest = "";
        response.setEncoding("utf8").on("data", (text) => {
          watcher.hear();
          const events = (rest + text).split("\n\n");
          // What is not ended by an empty line is not an event.
          rest = events.pop();
          for (const event of events) if (isOpen && response.statusCode === 200) this.#hear(event, session);
        });
        response.on("error", finish);
        response.once("close", finish);
      });
      if (leave.signal.aborted) finish();
    });
  }

  #hear(text, session) {
    const fields = { data: [] };
    for (const line of text.split("\n")) {
      const colon = line.indexOf(": ");
      const [name, value] = [line.slice(0, colon), line.slice(colon + 2)];
      if (name === "data") fields.data.push(value);
      else fields[name] = value;
    }
    if (fields.data.length === 0) return;
    const data = JSON.parse(fields.data.join("\n"));
    const { id: position, event } = fields;
    if (event === "close") this.refused(data.code);
    else if (event === "welcome") this.take(session, { type: "welcome", position, resumed: data.resumed });
    else if (event === "gap")
      this.take(session, { type: "gap", after: data.after, position, reason: data.reason });
    else this.take(session, { type: "message", position, ...contentsOf(data) });
  }
}
