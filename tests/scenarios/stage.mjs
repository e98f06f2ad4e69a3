// Plays a transcript against a server.

import { ask, basic, openSocket, openStream, signPath, signText, signToken } from "./clients.mjs";
import { compareBody, compareEvent, compareFrame } from "./compare.mjs";
import { laneOf, meaning } from "./lane.mjs";
import { LineError } from "./script.mjs";
import { payload, short, Values } from "./values.mjs";

/** What every live client gets after the last line: by it is known that nothing came before it. */
const end = "the end";

const describe = (item) => {
  if (item === undefined) return "nothing";
  if (item.bytes) return `hex:${item.bytes.toString("hex")}`;
  if (item.closed !== undefined) return item.closed === true ? "closed" : `closed ${item.closed}`;
  return short(item.text ?? item.event);
};

const patienceMs = 20_000;

/** Not as pusher-js writes it: this one the Hub answers. */
const otherPing = '{"event": "pusher:ping"}';

/** A channel that nobody has. */
const nowhere = "nobody-has-this";

/** `$#` is how manyeth it is. */
const numbered = (text, nth) => text?.replaceAll("$#", String(nth + 1));

function parseApps(text) {
  try {
    return JSON.parse(text);
  } catch {
    return [];
  }
}

class Stage {
  #server;
  #apps;
  #values = new Values();
  #clients = new Map();
  #answer;

  constructor(server, apps) {
    this.#server = server;
    this.#apps = parseApps(apps);
  }

  get #url() {
    return this.#server.url;
  }

  /** `key:secret` of an app, of the first one without a key. */
  #credentials(key) {
    const app = this.#apps.find((one) => key === undefined || one.key === key);
    return app?.secrets && `${app.key}:${app.secrets[0]}`;
  }

  #client(who) {
    const client = this.#clients.get(who);
    if (!client) throw new Error(`${who} has never connected`);
    return client;
  }

  #fill(headers) {
    return headers.map(([name, value]) => [name, this.#values.fill(value)]);
  }

  token({ name, secret, claims }) {
    this.#values.bind(name, signToken(secret ?? this.#credentials().split(":")[1], claims));
  }

  sign({ name, credentials, text }) {
    this.#values.bind(name, signText(credentials ?? this.#credentials(), this.#values.fill(text)));
  }

  async connect({ who, stream, path, headers }) {
    const former = this.#clients.get(who);
    if (former && !former.gone) throw new Error(`${who} is here already`);
    const open = stream ? openStream : openSocket;
    const client = await open(this.#url, this.#values.fill(path), this.#fill(headers));
    client.refused = client.answer.status >= 400;
    client.peers = this.#clients;
    this.#clients.set(who, client);
  }

  leave({ who }) {
    return this.#client(who).leave();
  }

  say({ who, times, payload: text }) {
    const client = this.#client(who);
    if (client.gone) throw new Error("it is not connected");
    for (let nth = 0; nth < times; nth++) client.send(payload(this.#values.fill(numbered(text, nth))));
  }

  async hear({ who, times, expected }) {
    for (let nth = 0; nth < times; nth++) {
      await this.#hearOne(this.#client(who), { ...expected, payload: numbered(expected.payload, nth) });
    }
  }

  async #hearOne(client, { nothing, closed, head, payload: text }) {
    if (head) {
      client.refused = false;
      return this.#checkHead(head, client.answer);
    }
    if (nothing) return this.#hearNothing(client);
    const item = await client.next(text && laneOf(text));
    const others = client.rest.slice(0, 3).map((other) => `\n      and ${describe(other)}`);
    const got = `${describe(item)}${others.join("")}`;
    try {
      if (closed !== undefined) {
        if (item?.closed !== closed) throw new Error("no such close");
        client.gone = true;
      } else if (item?.event !== undefined) compareEvent(text, item.event, this.#values);
      else if (item === undefined || "closed" in item) throw new Error("no frame");
      else compareFrame(text, item.text ?? item.bytes, client.raw, this.#values);
    } catch (error) {
      throw new Error(`${error.message}\n      in  ${got}`);
    }
  }

  /** The objects answer requests that come after what was said to them, and the socket or its Hub something that comes after its frames. */
  async #hearNothing(client) {
    if (client.isLive) {
      if (!client.send) throw new Error("a stream has no ping: the end of the transcript tells as much");
      for (const channel of client.channels) {
        const path = `/channels/${encodeURIComponent(channel)}/messages?limit=1`;
        await this.#request({ method: "GET", path }, client.key);
      }
      await this.#answersBriefly(client);
    }
    if (client.rest.length > 0) throw new Error(describe(client.rest[0]));
  }

  async #answersBriefly(client) {
    // The runtime answers a ping; this the Hub answers by itself, and after everything that it has said.
    const isOfMany = client.path.startsWith("/connect");
    const asked = isOfMany ? JSON.stringify({ type: "unsubscribe", channel: nowhere }) : "ping";
    client.send(client.isOfPusher ? otherPing : asked);
    const item = await client.next(isOfMany ? `channel ${nowhere}` : "connection");
    const { type, event } = meaning(item?.text ?? "");
    const isIt = isOfMany ? type === "unsubscribed" : event === "pusher:pong" || item?.text === "pong";
    if (!isIt) throw new Error(describe(item));
  }

  #request({ method, path, headers = [], body = "" }, key) {
    const authorization = ["authorization", basic(this.#credentials(key))];
    return ask(this.#url, { method, path, headers: [...headers, authorization], body });
  }

  async ask({ method, path, as, signed, at, headers, body }) {
    const request = { method, path: this.#values.fill(path), headers: this.#fill(headers) };
    request.body = Buffer.from(payload(this.#values.fill(body)));
    const credentials = as ?? (signed ? "nobody" : (this.#credentials() ?? "nobody"));
    if (credentials !== "nobody") request.headers.push(["authorization", basic(credentials)]);
    if (signed) request.path = signPath(request, signed, at);
    this.#answer = await ask(this.#url, request);
  }

  answer({ head }) {
    this.#checkHead(head, this.#answer);
  }

  #checkHead(expected, actual) {
    const got = `${actual.status} ${short(actual.body)}`;
    if (expected.status !== actual.status) throw new Error(got);
    for (const [name, value] of expected.headers) {
      this.#values.check(value, actual.headers[name] ?? "(no such header)");
    }
    if (actual.status === 101 && expected.body) throw new Error("an upgrade has no body");
    try {
      compareBody(expected.body, actual.body, this.#values);
    } catch (error) {
      throw new Error(`${error.message}\n      in  ${got}`);
    }
  }

  wait({ ms }) {
    return new Promise((resolve) => setTimeout(resolve, ms));
  }

  async #stored(what, { channel, count }) {
    const rows = await this.#server[what](channel, { app: this.#apps[0].id });
    if (rows.length !== count) throw new Error(`${rows.length} rows`);
  }

  rows(step) {
    return this.#stored("storage", step);
  }

  /** Hubs come and go a moment after their clients. */
  async followers(step) {
    for (const end = Date.now() + patienceMs; ; await this.wait({ ms: 20 })) {
      try {
        return await this.#stored("followers", step);
      } catch (error) {
        if (Date.now() > end) throw error;
      }
    }
  }

  /** From outside nobody can tell, except that there is one. */
  async inHub({ who }) {
    this.#client(who).isOfHub = true;
    if ((await this.#server.hubs()).length === 0) throw new Error("there is no hub");
  }

  /** Waits until no object waits for another on behalf of a client. */
  async answered() {
    await Promise.all([...this.#clients.values()].map((client) => client.answered()));
  }

  /** Nothing may have come that the transcript does not tell. */
  async finish() {
    await this.answered();
    const live = [...this.#clients.values()].filter((client) => client.isLive);
    const channels = new Map();
    for (const { channels: own, key } of live) {
      for (const channel of own) channels.set(`${channel} ${this.#credentials(key)}`, { channel, key });
    }
    for (const { channel, key } of channels.values()) {
      const headers = [["content-type", "text/plain"]];
      const publish = { method: "POST", path: `/publish/${encodeURIComponent(channel)}`, headers, body: end };
      const { status, body } = await this.#request(publish, key);
      if (status !== 200) throw new Error(`the end could not be published: ${body}`);
    }
    for (const [who, client] of this.#clients) {
      const fail = (item) => {
        throw new Error(`afterwards, ${who} still has ${describe(item)}`);
      };
      for (const channel of live.includes(client) ? client.channels : []) {
        const item = await client.next(`channel ${channel}`);
        if (!(item?.text ?? item?.event ?? "").includes(end)) fail(item);
      }
      if (client.rest.length > 0) fail(client.rest[0]);
      if (client.refused) throw new Error(`${who} was refused, and nobody said so: ${client.answer.body}`);
    }
  }

  stop() {
    for (const client of this.#clients.values()) client.stop();
  }
}

/**
 * Plays a script. With `asleep` all objects are put to sleep between every two lines; resolves to how many had been awake. An error is a
 * `LineError`.
 */
export async function play(server, script, asleep) {
  const stage = new Stage(server, script.apps);
  let evicted = 0;
  let last = 0;
  const at = async (line, run) => {
    last = line;
    try {
      if (asleep) {
        await stage.answered();
        evicted += await server.evictAll();
      }
      await run();
    } catch (error) {
      throw new LineError(line, error.message);
    }
  };
  try {
    for (const step of script.steps) await at(step.line, () => stage[step.kind](step));
    await at(last, () => stage.finish());
  } finally {
    stage.stop();
  }
  return evicted;
}
