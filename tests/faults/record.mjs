/** What a run writes down, and what its actors share. */

const [id, key, secret] = ["faults", "faults", "faults-secret-of-this-machine"];

/** The app's public key. */
export { key };

/** `APPS` for channels that keep so many messages each; `rule` and `app` say more of both. */
export function appsFor(sizes, { rule, app } = {}) {
  const channels = Object.entries(sizes).map(([prefix, size]) => ({
    prefix,
    history: { size, ttl: 3600 },
    ...rule,
  }));
  return [{ id, key, secrets: [secret], channels, ...app }];
}

const counted = [
  [
    "acked",
    "retried",
    "ambiguousDuplicates",
    "repeated",
    "unansweredPublishes",
    "kills",
    "killsWhileStarting",
  ],
  ["connections", "welcome", "resumed", "notResumed", "gap", "message"],
].flat();

export class Record {
  /** From then on nobody begins anything new. */
  isOver = false;
  /** From then on nobody goes on either: the run has failed. */
  isAborted = false;
  headers = { authorization: `Basic ${btoa(`${key}:${secret}`)}` };
  counts = { ...Object.fromEntries(counted.map((name) => [name, 0])), refusals: {} };
  /** What `check` judges. */
  history = { sent: [], acks: [], stores: {}, rereads: {}, recorderGaps: [], clients: [] };

  /** `sizes` says what each channel keeps; `published` names channels as often as they shall be published into. */
  constructor(sizes, published = Object.keys(sizes)) {
    this.history.sizes = sizes;
    this.published = published;
  }
}
