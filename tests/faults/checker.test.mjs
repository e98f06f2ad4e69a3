import assert from "node:assert/strict";
import { test } from "node:test";
import { check, kinds } from "./checker.mjs";

const welcome = (position, resumed) => ({ type: "welcome", position, resumed });
const message = (seq, id = `m${seq}`) => ({ type: "message", position: `e:${seq}`, id });
const gap = (after, position, reason = "expired") => ({ type: "gap", after, position, reason });
const stored = (seq, id = `m${seq}`) => ({ position: `e:${seq}`, id });
const ack = (seq, more) => ({ channel: "c", id: `m${seq}`, position: `e:${seq}`, publisher: "p", ...more });
const numbers = [1, 2, 3, 4, 5, 6];

/** A history in which a client was away twice, once for too long. */
function good() {
  return {
    sizes: { c: 2 },
    sent: numbers.map((seq) => ({ channel: "c", id: `m${seq}` })),
    acks: [...numbers.map((seq) => ack(seq)), ack(2, { duplicate: true })],
    stores: { c: numbers.map((seq) => stored(seq)) },
    rereads: { c: [stored(5), stored(6)] },
    recorderGaps: [],
    clients: [
      {
        name: "reader",
        channel: "c",
        sessions: [
          { frames: [welcome("e:0"), message(1)] },
          { presented: "e:1", frames: [] },
          { presented: "e:1", frames: [welcome("e:1", true), message(2)] },
          { presented: "e:2", frames: [welcome("e:2", false), gap("e:2", "e:4"), message(5), message(6)] },
        ],
      },
    ],
  };
}

/** What is found in the good history after a change, and that it is nothing else. */
function finds(kind, change) {
  const history = good();
  change(history, history.clients[0].sessions);
  const { byKind, examples } = check(history);
  assert.deepEqual(Object.keys(byKind), kind ? [kind] : [], examples.join("\n"));
  covered.add(kind);
}

const covered = new Set();
const drop = (frames, seq) =>
  frames.splice(
    frames.findIndex((frame) => frame.position === `e:${seq}`),
    1,
  );

test("a good history has no violations", () => {
  finds(undefined, () => {});
  finds(undefined, (history) => {
    history.acks[3] = ack(4, { duplicate: true, retried: true });
  });
});

test("a client may begin anywhere, and an epoch without messages may go", () => {
  finds(undefined, (_, sessions) => {
    sessions.splice(0, 3, { frames: [welcome("e:2")] });
  });
  finds(undefined, (history, sessions) => {
    history.sizes.c = 6;
    const frames = [
      welcome("old:0", false),
      gap("old:0", "e:0", "lost"),
      ...numbers.map((seq) => message(seq)),
    ];
    sessions.splice(0, 4, { frames: [welcome("old:0")] }, { presented: "old:0", frames });
  });
});

test("acknowledged and not stored", () => {
  finds("acked_lost", (history) => history.acks.push({ ...ack(7), id: "m7", position: "e:7" }));
  finds("acked_lost", (history) => {
    history.acks[5] = ack(6, { position: "f:6" });
  });
});

test("sent and never acknowledged", () => {
  finds("unanswered", (history) => history.acks.splice(4, 1));
  finds("unanswered", (history) => history.sent.push({ channel: "c", id: "m9" }));
});

test("an id with two positions", () => {
  const history = good();
  history.acks.push(ack(3, { position: "e:5", duplicate: true }));
  assert.ok(check(history).byKind.moved);
  covered.add("moved");
  finds("stored_twice", (history) => {
    history.stores.c.push(stored(7, "m3"));
    history.clients[0].sessions[3].frames.push(message(7, "m3"));
  });
  finds("stored_twice", (history) => history.acks.push(ack(3)));
});

test("a duplicate of nothing", () => {
  finds("false_duplicate", (history) => {
    history.acks[3] = ack(4, { duplicate: true });
  });
});

test("a publisher's order", () => {
  finds("publisher_order", (history) => history.acks.splice(0, 2, ack(2), ack(1)));
});

test("holes in the store, and messages that change in it", () => {
  finds("not_contiguous", (history, sessions) => {
    history.stores.c.push(stored(8));
    history.sent.push({ channel: "c", id: "m8" });
    history.acks.push(ack(8));
    sessions.push({ presented: "e:6", frames: [welcome("e:6", false), gap("e:6", "e:8")] });
    history.sizes.c = 0;
  });
  finds("unrecorded", (history) =>
    history.recorderGaps.push({ channel: "c", ...gap("e:6", "e:5", "ahead") }),
  );
  finds("rewritten", (history) => {
    history.rereads.c[0].id = "m9";
  });
  finds("rewritten", (history) => history.rereads.c.push(stored(7)));
});

test("stored, and sent by nobody", () => {
  finds("unsent", (history, sessions) => {
    history.stores.c.push(stored(7));
    sessions[3].frames.push(message(7));
  });
});

test("seen, and not stored like that", () => {
  finds("seen_unstored", (_, sessions) => {
    sessions[3].frames[2].id = "m6";
  });
  finds("seen_unstored", (_, sessions) => {
    sessions[3].frames[2].broken = true;
  });
});

test("a message that comes twice, or too late", () => {
  finds("out_of_order", (_, sessions) => sessions[3].frames.push(message(6)));
  finds("out_of_order", (_, sessions) => sessions[3].frames.push(message(1)));
});

test("messages that are left out without a word", () => {
  finds("silent_gap", (_, sessions) => drop(sessions[3].frames, 5));
  finds("silent_gap", (_, sessions) => {
    sessions[0].frames[0].position = "e:0";
    sessions[0].frames[1] = message(2);
    sessions.splice(1, 2);
  });
  finds("silent_gap", (_, sessions) => {
    sessions[3].frames = [welcome("e:2", false), ...[3, 4, 5, 6].map((seq) => message(seq))];
  });
  finds("silent_gap", (_, sessions) => {
    sessions[3].frames = [welcome("e:2", true), message(5), message(6)];
  });
});

test("welcomes that do not fit", () => {
  finds("wrong_welcome", (_, sessions) => {
    sessions[2].frames[0].position = "e:0";
    sessions[2].frames.splice(1, 0, message(1));
  });
  finds("wrong_welcome", (_, sessions) => {
    sessions[0].frames[0].resumed = true;
  });
  finds("wrong_welcome", (_, sessions) => sessions[2].frames.shift());
});

test("gaps that say something else than what is missing", () => {
  finds("wrong_gap", (_, sessions) => {
    sessions[3].frames[1].after = "e:1";
  });
  finds("wrong_gap", (history) => {
    history.sizes.c = 3;
  });
  finds("wrong_gap", (_, sessions) => {
    sessions[3].frames[1] = gap("e:2", "e:4", "ahead");
  });
  finds("wrong_gap", (_, sessions) => {
    sessions[3].frames = [welcome("e:2", false), gap("e:2", "e:6", "lost")];
  });
});

test("a client that comes back with something else", () => {
  finds("wrong_position", (_, sessions) => {
    sessions[1].presented = "e:0";
  });
  finds("wrong_position", (_, sessions) => {
    delete sessions[1].presented;
  });
});

test("a client that does not get to the end", () => {
  finds("unfinished", (_, sessions) => drop(sessions[3].frames, 6));
  finds("unfinished", (_, sessions) => sessions.splice(0, 4));
});

test("every kind of violation has been found above", () => {
  assert.deepEqual([...covered].filter(Boolean).sort(), Object.keys(kinds).sort());
});
