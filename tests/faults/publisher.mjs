/** A publisher that repeats every request, with the same ids, until it is answered with 2xx. */
import { Agent, request } from "node:http";
import { sleep } from "../workerd.mjs";

const answerWithinMs = 15_000;
const remembered = 50;

/** Sends a request and resolves to its status and body; rejects where the outcome is unknown. */
export function ask(agent, url, { method = "GET", headers, body, timeout = answerWithinMs } = {}) {
  return new Promise((resolve, reject) => {
    const asking = request(
      url,
      { method, headers, agent, signal: AbortSignal.timeout(timeout) },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk) => {
          text += chunk;
        });
        response.once("error", reject);
        response.once("end", () => {
          try {
            resolve({ status: response.statusCode, body: JSON.parse(text) });
          } catch (error) {
            reject(error);
          }
        });
        response.once("close", () => reject(new Error("cut off")));
      },
    );
    asking.once("error", reject);
    asking.end(body);
  });
}

/** What is published: enough to see that it arrived whole. */
export function contents(id, length) {
  const text = id.repeat(Math.ceil(length / id.length)).slice(0, length);
  return { id, length, text };
}

/** The id that a message's data says, and whether the data is what was published. */
export function contentsOf(data) {
  const { id, length, text } = data ?? {};
  const whole = typeof id === "string" && text === contents(id, length).text;
  return { id, broken: whole ? undefined : true };
}

export class Publisher {
  #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  #run;
  #url;
  #random;
  #batches;
  #requests = [];
  #messages = 0;

  constructor({ name, run, url, random, batches }) {
    this.name = name;
    this.#run = run;
    this.#url = `${url}/publish`;
    this.#random = random;
    this.#batches = batches;
  }

  /** Publishes one request after the other until the run is over. */
  async publish() {
    while (!this.#run.isOver) {
      const again = this.#requests.length > 0 && this.#random.chance(0.03);
      await this.#untilAnswered(again ? this.#random.pick(this.#requests) : this.#newRequest());
    }
    this.#agent.destroy();
  }

  #newMessage() {
    this.#messages += 1;
    const id = `${this.name}-${this.#messages}`;
    const length = this.#random.chance(0.01)
      ? this.#random.between(5_000, 30_000)
      : this.#random.between(10, 200);
    const event = this.#random.chance(0.3) ? { event: "tick" } : {};
    return { id, data: contents(id, length), ...event };
  }

  #newRequest() {
    const random = this.#random;
    const channel = () => random.pick(this.#run.published);
    const one = () => ({ channel: channel(), ...this.#newMessage() });
    let made;
    if (this.#batches && random.chance(0.7)) {
      const batch = Array.from({ length: 10 }, one);
      made = { body: JSON.stringify({ batch }), items: batch };
    } else if (random.chance(0.05)) {
      const message = { channels: [...new Set([channel(), channel()])], ...this.#newMessage() };
      const items = message.channels.map((name) => ({ channel: name, id: message.id }));
      made = { body: JSON.stringify(message), items };
    } else {
      const message = one();
      made = { body: JSON.stringify(message), items: [message] };
    }
    made.items = made.items.map(({ channel: name, id }) => ({
      channel: name,
      id,
      asked: false,
      acked: false,
    }));
    this.#run.history.sent.push(...made.items.map(({ channel: name, id }) => ({ channel: name, id })));
    this.#requests.push(made);
    if (this.#requests.length > remembered) this.#requests.shift();
    return made;
  }

  async #untilAnswered({ body, items }) {
    const { counts, headers } = this.#run;
    for (let attempt = 0; !this.#run.isAborted; attempt += 1) {
      if (attempt > 0) {
        counts.retried += 1;
        await sleep(this.#random.between(5, 100));
      }
      const answer = await ask(this.#agent, this.#url, { method: "POST", headers, body }).catch((error) => {
        if (error.name === "AbortError" || error.name === "TimeoutError") counts.unansweredPublishes += 1;
      });
      if (answer) this.#note(answer.body, items);
      for (const item of items) item.asked = true;
      if (answer?.status === 200) return;
      if (answer) counts.refusals[answer.status] = (counts.refusals[answer.status] ?? 0) + 1;
      if (answer && answer.status < 500 && answer.status !== 429)
        throw new Error(`${answer.status} for ${body}: ${JSON.stringify(answer.body)}`);
    }
  }

  #note(answer, items) {
    const { counts, history } = this.#run;
    for (const [nth, item] of items.entries()) {
      const outcome = answer.batch ? answer.batch[nth] : answer.channels?.[item.channel];
      if (!outcome?.position) continue;
      const { position, duplicate = false } = outcome;
      const { channel, id, asked: retried } = item;
      history.acks.push({ channel, id, position, duplicate, retried, publisher: this.name });
      if (item.acked) {
        counts.repeated += 1;
        continue;
      }
      item.acked = true;
      counts.acked += 1;
      if (retried && duplicate) counts.ambiguousDuplicates += 1;
    }
  }
}
