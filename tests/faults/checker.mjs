/**
 * Judges a recorded history: what was acknowledged, what was stored, and what every client saw. Pure: it has the history, and nothing else.
 *
 *     history = {
 *       sizes:   { [channel]: messages that its history keeps },
 *       sent:    [{ channel, id }]                                     what anybody tried to publish
 *       acks:    [{ channel, id, position, duplicate, retried, publisher }]   in the order in which each publisher sent
 *       stores:  { [channel]: [{ position, id }] }                     what the recorder read, in the order of reading
 *       rereads: { [channel]: [{ position, id }] }                     what was read again later
 *       recorderGaps: [{ channel, after, position, reason }]           what the recorder came too late for
 *       clients: [{ name, channel, sessions: [{ presented, frames }] }]
 *     }
 *
 * A session is one connection; `presented` is the position with which it came, if any. A frame is
 * `{ type: "welcome", position, resumed }`, `{ type: "gap", after, position, reason }`, or `{ type: "message", position, id, broken }`.
 */

/** What can be wrong, and what it means. */
export const kinds = {
  acked_lost: "acknowledged, but not stored under that position",
  unanswered: "sent, but never acknowledged",
  moved: "one id, acknowledged with two positions",
  false_duplicate: "answered as a duplicate, although it was new",
  publisher_order: "stored in another order than its publisher sent it",
  stored_twice: "one id, stored twice",
  not_contiguous: "a hole or a repetition in the store",
  rewritten: "a stored message that changed later",
  unrecorded: "the recorder of the store was answered with a gap",
  unsent: "stored, but nobody sent it",
  seen_unstored: "seen by a client, but not stored like that",
  out_of_order: "a message came twice, or after a later one",
  silent_gap: "messages were left out, and no gap said so",
  wrong_welcome: "a welcome that does not fit what the client presented",
  wrong_gap: "a gap that does not say exactly what is missing, or has no reason",
  wrong_position: "the client did not come back with the position that it had",
  unfinished: "a client did not get to the end of the store",
};

const examplesPerKind = 20;

class Findings {
  byKind = {};
  examples = [];
  total = 0;

  add(kind, where, text) {
    if (!(kind in kinds)) throw new Error(`there is no kind ${kind}`);
    this.total += 1;
    this.byKind[kind] = (this.byKind[kind] ?? 0) + 1;
    if (this.byKind[kind] <= examplesPerKind)
      this.examples.push(`${kind} (${kinds[kind]}): ${where}: ${text}`);
  }
}

/** Takes a position apart. */
export function parsePosition(position) {
  const colon = position.indexOf(":");
  return { epoch: position.slice(0, colon), seq: Number(position.slice(colon + 1)) };
}

const show = (place) => (place ? `${place.epoch}:${place.seq}` : "nothing");
const same = (a, b) => a !== undefined && b !== undefined && a.epoch === b.epoch && a.seq === b.seq;

/** The store of one channel as a table: id by position and the reverse, and the last position of each epoch. */
class Store {
  byPosition = new Map();
  byId = new Map();
  heads = new Map();
  /** The last position of all. */
  end = undefined;

  constructor(channel, messages, findings) {
    for (const { position, id } of messages) {
      const place = parsePosition(position);
      const expected = (this.heads.get(place.epoch) ?? 0) + 1;
      if (place.seq !== expected)
        findings.add("not_contiguous", channel, `${position} where ${place.epoch}:${expected} was expected`);
      if (this.byId.has(id))
        findings.add("stored_twice", channel, `${id} at ${this.byId.get(id)} and ${position}`);
      this.heads.set(place.epoch, place.seq);
      this.byPosition.set(position, id);
      this.byId.set(id, position);
      this.end = place;
    }
  }
}

function checkRecording(history, stores, findings) {
  for (const { channel, after, position, reason } of history.recorderGaps)
    findings.add("unrecorded", channel, `after ${after} up to ${position}: ${reason}`);
  for (const [channel, messages] of Object.entries(history.rereads)) {
    for (const { position, id } of messages) {
      const before = stores[channel]?.byPosition.get(position);
      if (before !== id) findings.add("rewritten", channel, `${position} was ${before}, and is ${id}`);
    }
  }
}

function checkSent(history, stores, findings) {
  const sent = new Set(history.sent.map(({ channel, id }) => `${channel} ${id}`));
  for (const [channel, store] of Object.entries(stores)) {
    for (const [id, position] of store.byId) {
      if (!sent.has(`${channel} ${id}`)) findings.add("unsent", channel, `${id} at ${position}`);
    }
  }
  const acked = new Set(history.acks.map(({ channel, id }) => `${channel} ${id}`));
  for (const one of sent) if (!acked.has(one)) findings.add("unanswered", ...one.split(" "));
}

function checkAcks(history, stores, findings) {
  const first = new Map();
  const last = new Map();
  for (const { channel, id, position, duplicate, retried, publisher } of history.acks) {
    const stored = stores[channel]?.byPosition.get(position);
    if (stored !== id)
      findings.add(
        "acked_lost",
        channel,
        `${id} was acknowledged with ${position}, where ${stored ?? "nothing"} is`,
      );
    const before = first.get(`${channel} ${id}`);
    if (before !== undefined) {
      if (before !== position) findings.add("moved", channel, `${id}: ${before}, then ${position}`);
      if (!duplicate) findings.add("stored_twice", channel, `${id} was acknowledged as new a second time`);
      continue;
    }
    first.set(`${channel} ${id}`, position);
    if (duplicate && !retried) findings.add("false_duplicate", channel, `${id} at ${position}`);
    const place = parsePosition(position);
    const line = `${publisher} ${channel} ${place.epoch}`;
    if (place.seq <= (last.get(line) ?? 0))
      findings.add(
        "publisher_order",
        channel,
        `${id} of ${publisher} at ${position}, after ${last.get(line)}`,
      );
    last.set(line, place.seq);
  }
}

/** Follows one client through all its connections. */
class Reader {
  /** What it has everything up to: the position of the last welcome, gap or message. */
  #at;
  /** Until the gap has come that this connection's welcome made it expect. */
  #expectsGap = false;

  constructor(client, store, size, findings) {
    this.client = client;
    this.store = store;
    this.size = size;
    this.findings = findings;
  }

  #find(kind, text) {
    this.findings.add(kind, `${this.client.name} in ${this.client.channel}`, text);
  }

  follow() {
    for (const { presented, frames } of this.client.sessions) {
      const came = presented ? parsePosition(presented) : undefined;
      if (this.#at ? !same(came, this.#at) : came)
        this.#find("wrong_position", `came with ${show(came)}, had ${show(this.#at)}`);
      this.#session(came, frames);
    }
    const { end } = this.store;
    if (end && !same(this.#at, end)) this.#find("unfinished", `ended at ${show(this.#at)} of ${show(end)}`);
  }

  #session(came, frames) {
    for (const [nth, frame] of frames.entries()) {
      if ((frame.type === "welcome") !== (nth === 0))
        this.#find("wrong_welcome", `frame ${nth} is a ${frame.type}`);
      if (frame.type === "welcome") this.#welcome(came, frame);
      else if (frame.type === "gap") this.#gap(frame);
      else this.#message(frame);
    }
  }

  #welcome(came, { position, resumed }) {
    const place = parsePosition(position);
    if (came ? !same(place, came) : resumed !== undefined)
      this.#find("wrong_welcome", `${position}, resumed ${resumed}, for ${show(came)}`);
    this.#expectsGap = resumed === false;
    this.#at = place;
  }

  #gap({ after, position, reason }) {
    const [from, to] = [parsePosition(after), parsePosition(position)];
    const text = `after ${after} up to ${position}, ${reason}`;
    if (!same(from, this.#at)) this.#find("wrong_gap", `${text}: the client had ${show(this.#at)}`);
    else if (!this.#isFounded(from, to, reason)) this.#find("wrong_gap", `${text}: these could be had`);
    this.#expectsGap = false;
    this.#at = to;
  }

  /** Whether what the gap leaves out was out of reach. Where the store ended just then is not known, but it was not past its end. */
  #isFounded(from, to, reason) {
    const outOfHistory = to.seq === 0 || (this.store.heads.get(to.epoch) ?? 0) >= to.seq + this.size;
    if (reason === "expired") return from.epoch === to.epoch && to.seq > from.seq && outOfHistory;
    // An epoch in which nothing was ever stored may go.
    if (reason === "lost")
      return from.epoch !== to.epoch && !this.store.heads.has(from.epoch) && outOfHistory;
    return false;
  }

  #message({ position, id, broken }) {
    const place = parsePosition(position);
    const stored = this.store.byPosition.get(position);
    if (stored !== id || broken)
      this.#find(
        "seen_unstored",
        `${id} at ${position}, where ${stored ?? "nothing"} is${broken ? ", and broken" : ""}`,
      );
    const at = this.#at;
    if (this.#expectsGap) this.#find("silent_gap", `not resumed, and ${position} came without a gap`);
    this.#expectsGap = false;
    if (at?.epoch === place.epoch && place.seq <= at.seq) {
      // It stays where it is, so that one stray message is one finding.
      return this.#find("out_of_order", `${position} after ${show(at)}`);
    }
    if (at?.epoch !== place.epoch || place.seq !== at.seq + 1)
      this.#find("silent_gap", `${position} after ${show(at)}`);
    this.#at = place;
  }
}

/** Returns `{ total, byKind, examples }`: how many violations there are, of which kinds, and what the first ones are. */
export function check(history) {
  const findings = new Findings();
  const stores = {};
  for (const [channel, messages] of Object.entries(history.stores))
    stores[channel] = new Store(channel, messages, findings);
  checkRecording(history, stores, findings);
  checkSent(history, stores, findings);
  checkAcks(history, stores, findings);
  for (const client of history.clients) {
    const store = stores[client.channel] ?? new Store(client.channel, [], findings);
    new Reader(client, store, history.sizes[client.channel], findings).follow();
  }
  const { total, byKind, examples } = findings;
  return { total, byKind, examples };
}
