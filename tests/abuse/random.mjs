/** Chance that can be had again: everything here is a function of a seed. */

/** Numbers from 0 to 1 (mulberry32). */
export function chance(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A whole number below a bound. */
export const below = (next, bound) => Math.floor(next() * bound);

/** One of a list. */
export const pick = (next, list) => list[below(next, list.length)];

/** Random bytes. */
export const noise = (next, length) => Buffer.from(Array.from({ length }, () => below(next, 256)));

// What parsers stumble over.
const words = [
  ...[
    '"',
    "\\",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "null",
    "true",
    "-",
    "1e999",
    "0",
    "99999999999999999999",
    '""',
    "[]",
    "{}",
  ],
  ...[
    "\\u0000",
    "\\ud800",
    "\\udc00\\ud800",
    "\u2028",
    "\ufeff",
    "🐭",
    "\0",
    "\x7f",
    "\x85",
    "\r",
    "\n",
    "\r\n",
    "\r\n\r\n",
    "\t",
    " ",
  ],
  ...[
    "%",
    "%00",
    "%2f",
    "%ff",
    "%F0%9F%90%AD",
    "..",
    "/",
    "//",
    "?",
    "&",
    "=",
    "#",
    ";",
    "+",
    "*",
    "<",
    "|",
    "^",
  ],
  ...[
    '"data":',
    '"channel":',
    '"channels":["a"],',
    '"batch":[',
    '"id":"x",',
    '"if_position":"9f2c41d07ab3:1",',
    '"__proto__":',
  ],
  ...[
    "Basic ",
    "Bearer ",
    "chunked",
    "gzip",
    "websocket",
    "key=",
    "token=",
    "raw=1",
    "last=",
    "position=",
    "auth_signature=",
  ],
].map((word) => Buffer.from(word));

const join = (bytes, at, removed, ...inserted) =>
  Buffer.concat([bytes.subarray(0, at), ...inserted, bytes.subarray(at + removed)]);

const changes = [
  (next, bytes, at) => join(bytes, at, 1, Buffer.from([(bytes[at] ?? 0) ^ (1 << below(next, 8))])),
  (next, bytes, at) => join(bytes, at, 1, noise(next, 1)),
  (next, bytes, at) => join(bytes, at, 0, pick(next, words)),
  (next, bytes, at) => join(bytes, at, below(next, 6), pick(next, words)),
  (next, bytes, at) => join(bytes, at, below(next, 12)),
  (next, bytes, at) => join(bytes, at, 0, bytes.subarray(at, at + below(next, 30))),
  (next, bytes, at) => join(bytes, at, 0, noise(next, below(next, 12))),
  (_next, bytes, at) => bytes.subarray(0, at),
  (next, bytes, at) => join(bytes, at, 0, Buffer.concat(Array(below(next, 2000)).fill(pick(next, words)))),
];

/** A few changes to some bytes. */
export function mutate(next, bytes) {
  let changed = Buffer.from(bytes);
  for (let left = 1 + below(next, 4); left > 0; left -= 1) {
    // The last change is a rare one, because it makes everything long.
    const most = next() < 0.03 ? changes.length : changes.length - 1;
    changed = changes[below(next, most)](next, changed, below(next, changed.length + 1));
  }
  return changed;
}
