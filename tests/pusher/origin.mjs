// An app's own server, as webhooks see it: it believes what Pusher's SDK believes, and nothing else.
import { createServer } from "node:http";
import Pusher from "pusher";
import { until } from "../clients/client.mjs";
import { freePort } from "../workerd.mjs";

const bodyOf = async (request) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  return Buffer.concat(parts).toString();
};

/**
 * A server on 127.0.0.1. `requests` has every request, as `{ path, id, events, time, valid, headers, answered }`; what was answered with 200 counts as taken.
 * `answer[path]` is a status, or a function of the response; without one it is 200. `down()` and `up()` do what they say; the port stays.
 */
export class Origin {
  requests = [];
  answer = {};
  #sockets = new Set();

  constructor({ key = "dev-key", secret = "dev-secret" } = {}) {
    this.pusher = new Pusher({ appId: "1", key, secret, host: "127.0.0.1" });
  }

  async up() {
    this.port ??= await freePort();
    this.server = createServer((request, response) => this.#hear(request, response));
    this.server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
    await new Promise((done) => this.server.listen(this.port, "127.0.0.1", done));
    return this;
  }

  /** Nobody listens any more, and whoever was connected is not. */
  async down() {
    const closed = new Promise((done) => this.server.close(done));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  url(path) {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  async #hear(request, response) {
    const { headers, url: path, method } = request;
    const rawBody = await bodyOf(request);
    const webhook = this.pusher.webhook({ headers, rawBody });
    const valid = method === "POST" && webhook.isValid();
    const events = valid ? webhook.getEvents() : [];
    const entry = { path, headers, valid, events, id: headers["x-dormouse-id"], rawBody };
    if (valid) entry.time = webhook.getTime().getTime();
    this.requests.push(entry);
    const answer = this.answer[path] ?? 200;
    entry.answered = answer;
    if (typeof answer === "function") return answer(response);
    response.writeHead(answer).end("what is answered is not read");
  }

  /** The requests to a path that were taken. */
  taken(path) {
    return this.requests.filter((request) => request.path === path && request.answered === 200);
  }

  /** The events of a channel that were taken, each once. */
  events(path, channel) {
    const seen = new Set();
    const all = [];
    for (const { id, events } of this.taken(path)) {
      if (seen.has(id)) continue;
      seen.add(id);
      all.push(...events.filter((event) => event.channel === channel));
    }
    return all;
  }

  /** Waits until so many events of a channel were taken, and returns them. */
  has(path, channel, count, ms = 15_000) {
    const missing = () =>
      `${count} events of ${channel}, there is ${JSON.stringify(this.events(path, channel))}`;
    return until(missing, () => this.events(path, channel).length >= count && this.events(path, channel), ms);
  }
}
