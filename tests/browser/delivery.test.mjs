import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { after, before, test } from "node:test";
import { stream, until } from "../clients/client.mjs";
import { start } from "../harness.mjs";
import { connect, curl, launch, openConsole, shown, untilShown } from "./chromium.mjs";

const everyByte = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
const awkwardText = 'one\ntwo\r\nthree\t"quoted" \\ \u2028 ümläut 🐭\u0000 end';
// Its spaces, escapes, and numbers that no double holds have to arrive as they are.
const awkwardJson =
  '{ "mouse" : "🐭 \\u00e9\\n", "big":12345678901234567890, "f" : 1.0e5,\t"none":null, "deep":[[[{}]]] }';

let server;
let browser;
let folder;
before(async () => {
  server = await start();
  browser = await launch();
  folder = mkdtempSync(joinPath(tmpdir(), "dormouse-browser-"));
});
after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const user = ["-u", "dev-key:dev-secret"];
const file = (name, content) => {
  writeFileSync(joinPath(folder, name), content);
  return `@${joinPath(folder, name)}`;
};
const raw = (channel, type, name, content) =>
  curl(
    ...user,
    `${server.url}/publish/${channel}`,
    "-H",
    `content-type: ${type}`,
    "--data-binary",
    file(name, content),
  );
const json = (channel, event, data) => {
  const body = `{"channel":"${channel}","event":"${event}","data":${data}}`;
  return curl(...user, `${server.url}/publish`, "--data-binary", file("body.json", body));
};

/** What is published, and what has to arrive: the `data` of a JSON frame, of an event stream, and a raw frame. */
const posts = [
  {
    post: (channel) => raw(channel, "text/plain; charset=utf-8", "text", awkwardText),
    data: JSON.stringify(awkwardText),
    raw: { text: awkwardText },
  },
  {
    post: (channel) => json(channel, "mouse", awkwardJson),
    event: "mouse",
    data: awkwardJson,
    raw: { text: awkwardJson },
  },
  {
    post: (channel) => raw(channel, "application/octet-stream", "bytes", everyByte),
    event: "binary",
    isBinary: true,
    data: everyByte.toString("base64"),
    raw: { bytes: [...everyByte] },
  },
  {
    post: (channel) => raw(channel, "application/json", "json", awkwardJson),
    data: awkwardJson,
    raw: { text: awkwardJson },
  },
  {
    post: (channel) => raw(channel, "text/plain", "bytes2", Buffer.from([0xff, 0xfe, 0x00])),
    event: "binary",
    isBinary: true,
    data: "//4A",
    raw: { bytes: [0xff, 0xfe, 0x00] },
  },
  {
    post: (channel) => json(channel, "greeting", '"the last one"'),
    event: "greeting",
    data: '"the last one"',
    raw: { text: "the last one" },
  },
];

/** A frame as text, to the last byte: what is between `position` and the end was not parsed and printed again. */
const frameOf = (channel, position, { event, isBinary, data }) => {
  const named = event && !isBinary ? `,"event":${JSON.stringify(event)}` : "";
  const contents = isBinary ? `"${data}","encoding":"base64"` : data;
  return `{"type":"message","channel":"${channel}","position":"${position}"${named},"data":${contents}}`;
};

/** In a page: an EventSource and a raw WebSocket, which write down what they get. */
function listenInPage(channel) {
  const seen = { events: [], rawEvents: [], raw: [], open: 0 };
  window.seen = seen;
  const opened = () => {
    seen.open += 1;
  };
  const source = new EventSource(`/rooms/${channel}`);
  const keep = ({ lastEventId, type, data }) => seen.events.push({ id: lastEventId, event: type, data });
  for (const name of ["message", "binary", "mouse", "greeting", "gap", "close"])
    source.addEventListener(name, keep);
  source.addEventListener("welcome", opened);
  const rawSource = new EventSource(`/rooms/${channel}?raw=1`);
  const keepRaw = ({ data }) => seen.rawEvents.push(data);
  for (const name of ["message", "binary", "mouse", "greeting"]) rawSource.addEventListener(name, keepRaw);
  rawSource.addEventListener("open", opened);
  const socket = new WebSocket(`${location.origin.replace("http", "ws")}/rooms/${channel}?raw=1`);
  socket.binaryType = "arraybuffer";
  socket.addEventListener("open", opened);
  socket.addEventListener("message", ({ data }) => {
    seen.raw.push(typeof data === "string" ? { text: data } : { bytes: [...new Uint8Array(data)] });
  });
}

async function listeners(channel) {
  const consoles = [await openConsole(browser, server), await openConsole(browser, server)];
  for (const { page } of consoles) await connect(page, channel);
  const page = await browser.newPage();
  // Any page of that origin would do, but the console's policy is its own business.
  await page.goto(`${server.url}/up`);
  await page.evaluate(listenInPage, channel);
  await page.waitForFunction(() => window.seen.open === 3);
  const events = await stream(server, channel);
  await events.has("welcome");
  return { consoles, page, events };
}

async function check(channel, positions, { consoles, page, events }) {
  for (const { page, frames, complaints } of consoles) {
    await untilShown(page, positions.at(-1));
    assert.deepEqual(await shown(page), positions);
    const messages = frames.filter((frame) => frame.startsWith('{"type":"message"'));
    assert.deepEqual(
      messages,
      posts.map((post, nth) => frameOf(channel, positions[nth], post)),
    );
    assert.deepEqual(complaints, []);
  }
  await page.waitForFunction((count) => window.seen.events.length >= count, posts.length);
  await page.waitForFunction((count) => window.seen.raw.length >= count, posts.length);
  await page.waitForFunction((count) => window.seen.rawEvents.length >= count, posts.length);
  const seen = await page.evaluate(() => window.seen);
  const expected = posts.map(({ event, data }, nth) => ({
    id: positions[nth],
    event: event ?? "message",
    data,
  }));
  assert.deepEqual(seen.events, expected);
  assert.deepEqual(
    seen.raw,
    posts.map((post) => post.raw),
  );
  // An event stream knows one line break only.
  const line = (text) => text.replaceAll(/\r\n?/g, "\n");
  assert.deepEqual(
    seen.rawEvents.map(line),
    posts.map(({ raw, data }) => (raw.text === undefined ? data : line(raw.text))),
  );
  await until("the last event in Node", () => events.events.length > posts.length);
  assert.deepEqual(
    events.events.filter(({ comment, event }) => !comment && event !== "welcome"),
    posts.map(({ event, data }, nth) => ({ id: positions[nth], ...(event ? { event } : {}), data })),
  );
}

for (const evicting of [false, true]) {
  const when = evicting ? "with the objects evicted between every two steps" : "in a room that stays awake";

  test(`pages, event streams and raw sockets get every byte in order, ${when}`, async () => {
    const channel = `bytes-${evicting}`;
    const everybody = await listeners(channel);
    const positions = [];
    for (const { post } of posts) {
      if (evicting) assert.equal(await server.evict(channel), true);
      positions.push(await post(channel));
    }
    if (evicting) assert.equal(await server.evict(channel), true);
    const [epoch] = positions[0].split(":");
    assert.deepEqual(
      positions,
      posts.map((_, nth) => `${epoch}:${nth + 1}`),
    );
    await check(channel, positions, everybody);
    everybody.events.close();
    await Promise.all([...everybody.consoles.map(({ page }) => page.close()), everybody.page.close()]);
  });
}
