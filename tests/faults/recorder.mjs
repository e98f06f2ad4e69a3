/** Reads the log of one channel while it is being written, page by page, so that nothing leaves the history unread. */
import { Agent } from "node:http";
import { sleep } from "../workerd.mjs";
import { parsePosition } from "./checker.mjs";
import { ask, contentsOf } from "./publisher.mjs";

const pauseMs = 30;
const pageLimit = 1000;
/** How many messages before the end are read a second time after a break: what was stored has to be what is still stored. */
const overlap = 200;

export class Recorder {
  #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  #run;
  #url;
  #channel;
  #position;

  constructor({ run, url, channel }) {
    this.#run = run;
    this.#channel = channel;
    this.#url = `${url}/channels/${channel}/messages?limit=${pageLimit}`;
    run.history.stores[channel] = [];
    run.history.rereads[channel] = [];
  }

  /** Where the log ended when it was last read. */
  get position() {
    return this.#position;
  }

  /** Reads until `finish` is called for. */
  async record() {
    let broke = false;
    while (!this.#run.isOver) {
      try {
        if (broke) await this.#readAgain(this.#before(overlap));
        broke = false;
        if (await this.#read()) continue;
      } catch {
        broke = true;
      }
      await sleep(pauseMs);
    }
  }

  /** Reads what is left, when nobody publishes any more and the server stays, and then all that is kept once more. */
  async finish() {
    while (await this.#read());
    await this.#readAgain();
    this.#agent.destroy();
  }

  #before(count) {
    if (!this.#position) return undefined;
    const { epoch, seq } = parsePosition(this.#position);
    return `${epoch}:${Math.max(0, seq - count)}`;
  }

  async #page(after) {
    const { headers } = this.#run;
    const { status, body } = await ask(this.#agent, after ? `${this.#url}&after=${after}` : this.#url, {
      headers,
    });
    if (status !== 200) throw new Error(`${status}: ${JSON.stringify(body)}`);
    return body;
  }

  /** One page. Whether there is more. */
  async #read() {
    const page = await this.#page(this.#position);
    const isFirst = this.#position === undefined || parsePosition(this.#position).seq === 0;
    if (page.gap && !isFirst) this.#run.history.recorderGaps.push({ channel: this.#channel, ...page.gap });
    this.#run.history.stores[this.#channel].push(...page.messages.map(storedAs));
    this.#position = page.position;
    return page.more;
  }

  /** Reads what has been read already. */
  async #readAgain(from) {
    const end = this.#position && parsePosition(this.#position);
    for (let after = from, more = true; more; ) {
      const page = await this.#page(after);
      const known = ({ position }) => {
        const { epoch, seq } = parsePosition(position);
        return epoch !== end?.epoch || seq <= end.seq;
      };
      this.#run.history.rereads[this.#channel].push(...page.messages.filter(known).map(storedAs));
      ({ position: after, more } = page);
    }
  }
}

function storedAs({ position, id, data }) {
  const { id: said, broken } = contentsOf(data);
  return { position, id: id === said && !broken ? id : `${id} with the data of ${said}` };
}
