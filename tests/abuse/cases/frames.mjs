// Frames that are no publish, in a room where anybody may publish, and in others.
import { frame } from "../wire.mjs";

const J = "error invalid_json";
const F = "error invalid_field";
const good = '{"type":"publish","data":1}';
const brackets = (count) => "[".repeat(count) + "]".repeat(count);

const texts = [
  ["", J],
  [" ", J],
  ["\n", J],
  ["\0", J],
  ["PING", J],
  ["ping ", J],
  [" ping", J],
  ["ping\n", J],
  ['"ping"', J],
  ["pong", J],
  ["hello", J],
  ["null", J],
  ["true", J],
  ["0", J],
  ["[]", J],
  ["{}", J],
  ["{", J],
  [`[${good}]`, J],
  [`${good}${good}`, J],
  [`${good},`, J],
  [`\ufeff${good}`, J],
  ['{"type":"publish"}', J],
  ['{"data":1}', J],
  ['{"type":null,"data":1}', J],
  ['{"type":1,"data":1}', J],
  ['{"type":["publish"],"data":1}', J],
  ['{"type":"publish","data":}', J],
  ['{"type":"publish","data":undefined}', J],
  ['{"type":"publish","data":NaN}', J],
  ['{"type":"publish","data":01}', J],
  ['{"type":"publish","data":"a\nb"}', J],
  ['{"type":"publish","data":1,}', J],
  ['{"type":"publish","data":1,"data":2}', J],
  ['{"type":"publish","type":"publish","data":1}', J],
  ['{"type":"publish","data":1,"more":1}', J],
  ['{"type":"publish","data":1,"channel":"chat"}', J],
  ['{"type":"publish","data":1,"except":"x"}', J],
  ['{"type":"publish","data":1,"if_position":"9f2c41d07ab3:1"}', J],
  ['{"type":"publish","data":1,"__proto__":{}}', J],
  ['{"type":"publish","data":1,"event":1}', J],
  ['{"type":"publish","data":1,"event":{}}', J],
  ['{"type":"publish","data":1,"id":1}', J],
  ['{"type":"publish","data":1,"id":["a"]}', J],
  ['{"type":"publish","data":1,"id":"\\ud800"}', J],
  [`{"type":"publish","data":${"[".repeat(60_000)}`, J],
  ["[".repeat(60_000), J],
  ['{"a":'.repeat(10_000), J],
  ["x".repeat(66_000), J],
  ['{"type":"","data":1}', F],
  ['{"type":"Publish","data":1}', F],
  ['{"type":"subscribe","data":1}', F],
  ['{"type":"welcome","data":1}', F],
  ['{"type":"message","data":1}', F],
  ['{"type":"error","data":1}', F],
  ['{"type":"publish","data":1,"event":""}', F],
  ['{"type":"publish","data":1,"event":"a\\nb"}', F],
  ['{"type":"publish","data":1,"event":"a\\r\\ndata: x"}', F],
  [`{"type":"publish","data":1,"event":"${"e".repeat(201)}"}`, F],
  ['{"type":"publish","data":1,"id":""}', F],
  [`{"type":"publish","data":1,"id":"${"i".repeat(129)}"}`, F],
  [`{"type":"publish","data":"${"x".repeat(65_535)}"}`, "error too_large"],
  [`{"type":"publish","data":${brackets(33_000)}}`, "error too_large"],
  [`{"type":"publish","data":"${"x".repeat(70_000)}"}`, "1009 too_large"],
  ["x".repeat(67_585), "1009 too_large"],
  ["x".repeat(300_000), "1009 too_large"],
  ["🐭".repeat(20_000), "1009 too_large"],
  [`{"type":"publish","data":${brackets(100_000)}}`, "1009 too_large"],
  ["x".repeat(5_000_000), "1009 too_large"],
];

const byText = texts.map(([text, expected]) => ({
  name: `the text ${JSON.stringify(text.length > 70 ? `${text.slice(0, 50)}… (${text.length})` : text)}`,
  bytes: [frame(text)],
  expected,
}));

const binary = [
  ["no bytes", Buffer.alloc(0), J],
  ["a publish in bytes", Buffer.from(good), J],
  ["bytes", Buffer.from([0, 255, 254]), J],
  ["70,000 bytes", Buffer.alloc(70_000), "1009 too_large"],
].map(([name, bytes, expected]) => ({ name, bytes: [frame(bytes)], expected }));

const raw = [
  ["65,537 bytes of text, raw", "x".repeat(65_537), "1009 too_large"],
  ["65,537 bytes, raw", Buffer.alloc(65_537), "1009 too_large"],
  ["300,000 bytes, raw", Buffer.alloc(300_000), "1009 too_large"],
  ["16,385 mice, raw", "🐭".repeat(16_385), "1009 too_large"],
].map(([name, payload, expected]) => ({ name, bytes: [frame(payload)], query: "&raw=1", expected }));

const elsewhere = [
  {
    name: "a publish where clients may not",
    room: "lobby",
    bytes: [frame(good)],
    expected: "error forbidden",
  },
  {
    name: "text where clients may not, raw",
    room: "lobby",
    query: "&raw=1",
    bytes: [frame("x")],
    expected: "4403 forbidden",
  },
  {
    name: "bytes where clients may not, raw",
    room: "lobby",
    query: "&raw=1",
    bytes: [frame(Buffer.from("x"))],
    expected: "4403 forbidden",
  },
  { name: "nonsense where clients may not", room: "lobby", bytes: [frame("{")], expected: J },
  {
    name: "eleven bytes where ten are allowed",
    room: "tiny",
    bytes: [frame('{"type":"publish","data":12345678901}')],
    expected: "error too_large",
  },
  {
    name: "eleven bytes where ten are allowed, raw",
    room: "tiny",
    query: "&raw=1",
    bytes: [frame("12345678901")],
    expected: "1009 too_large",
  },
  {
    name: "three at once where one a second is allowed",
    room: "slow",
    bytes: Array(3).fill(frame(good)),
    expected: "error rate_limited",
  },
  {
    name: "a hundred more of them",
    room: "slow2",
    bytes: Array(110).fill(frame(good)),
    expected: "4429 rate_limited",
  },
  {
    name: "a hundred more of them, raw",
    room: "slow3",
    query: "&raw=1",
    bytes: Array(110).fill(frame("x")),
    expected: "4429 rate_limited",
  },
];

const closing = (...bytes) => [frame(Buffer.from(bytes), { opcode: 8 })];
const begun = frame('{"type":"publish",', { fin: false });

// What the runtime makes of it, before anybody of ours sees it. A protocol error is 1002.
const runtime = [
  ["a compressed frame", [frame(good, { reserved: 4 })], "1002"],
  ["the second reserved bit", [frame(good, { reserved: 2 })], "1002"],
  ["the third reserved bit", [frame(good, { reserved: 1 })], "1002"],
  ["opcode 3", [frame(good, { opcode: 3 })], "1002"],
  ["opcode 7", [frame(good, { opcode: 7 })], "1002"],
  ["opcode 11", [frame("", { opcode: 11 })], "1002"],
  ["opcode 15", [frame("", { opcode: 15 })], "1002"],
  ["a ping in fragments", [frame("x", { opcode: 9, fin: false })], "1002"],
  ["a continuation of nothing", [frame(good, { opcode: 0 })], "1002"],
  ["a message within a message", [begun, frame(good)], "1002"],
  ["a length of 100 MB", [frame("x", { length: 100_000_000 })], "1009"],
  ["a length of 2^52", [frame("x", { length: 2 ** 52 })], "1009"],
  ["a close without a code", closing(), "1000"],
  ["a close of one byte", closing(3), "1000"],
  ["close 0", closing(0, 0), "1000"],
  ["close 999", closing(3, 0xe7), "1000"],
  ["close 1004", closing(3, 0xec), "1000"],
  ["close 1005", closing(3, 0xed), "1000"],
  ["close 1006", closing(3, 0xee), "1000"],
  ["close 1015", closing(3, 0xf7), "1000"],
  ["close 5000", closing(0x13, 0x88), "1000"],
  ["close 65535", closing(0xff, 0xff), "1000"],
  ["close 4999", closing(0x13, 0x87), "4999"],
  ["a close whose reason is no UTF-8", closing(3, 0xe8, 0xff, 0xfe), "1000"],
  ["a ping of the protocol", [frame("x", { opcode: 9 })], "nothing"],
  ["a pong that nobody asked for", [frame("x", { opcode: 10 })], "nothing"],
  ["text that is no UTF-8", [frame(Buffer.from([0xff, 0xfe]), { opcode: 1 })], J],
  [
    "a message in three parts and a ping",
    [
      begun,
      frame("", { opcode: 9 }),
      frame('"data"', { opcode: 0, fin: false }),
      frame(":1}", { opcode: 0 }),
    ],
    "ack",
  ],
  [
    "a message in five hundred parts",
    [
      frame(good[0], { fin: false }),
      ...Array.from(good.slice(1, -1), (c) => frame(c, { opcode: 0, fin: false })),
      ...Array(480).fill(frame("", { opcode: 0, fin: false })),
      frame("}", { opcode: 0 }),
    ],
    "ack",
  ],
].map(([name, bytes, expected]) => ({ name, bytes, expected }));

export const frames = [...byText, ...binary, ...raw, ...elsewhere];
export const runtimeFrames = runtime;
