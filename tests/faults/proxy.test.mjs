import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { afterEach, beforeEach, test } from "node:test";
import { sleep } from "../workerd.mjs";
import { startProxy } from "./proxy.mjs";

let server;
let proxy;
let accepted;

beforeEach(async () => {
  accepted = [];
  server = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push(socket);
    socket.on("error", () => {});
    socket.on("data", (chunk) => socket.write(chunk));
    socket.once("end", () => socket.end());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  proxy = await startProxy(server.address().port);
});

afterEach(async () => {
  await proxy.close();
  for (const socket of accepted) socket.destroy();
  await new Promise((done) => server.close(done));
});

/** A connection that notes what happens to it. */
async function open() {
  const socket = connect({ port: proxy.port, host: "127.0.0.1" });
  const seen = { socket, text: "", ended: false, error: undefined };
  socket.setEncoding("utf8");
  socket.on("data", (text) => {
    seen.text += text;
  });
  socket.once("end", () => {
    seen.ended = true;
  });
  socket.once("error", (error) => {
    seen.error = error.code;
  });
  seen.closed = new Promise((done) => socket.once("close", done));
  await once(socket, "connect");
  return seen;
}

async function until(isSo, ms = 2000) {
  for (const end = Date.now() + ms; !isSo(); await sleep(5)) assert.ok(Date.now() < end, "not in time");
}

test("without a fault everything goes through, both ways and to the end", async () => {
  const seen = await open();
  seen.socket.end("x".repeat(1_000_000));
  await seen.closed;
  assert.equal(seen.text.length, 1_000_000);
  assert.equal(seen.error, undefined);
});

test("delay: later, and in order, also after it is released", async () => {
  proxy.choose = () => ({ kind: "delay", ms: 80 });
  const seen = await open();
  const began = Date.now();
  seen.socket.write("a");
  await until(() => seen.text === "a");
  assert.ok(Date.now() - began >= 150, "there and back");
  seen.socket.write("b");
  await sleep(20);
  proxy.release();
  seen.socket.write("c");
  await until(() => seen.text.length === 3);
  assert.equal(seen.text, "abc");
  assert.equal(proxy.happened.delay, 1);
});

test("cut: a FIN after exactly so many bytes", async () => {
  proxy.choose = () => ({ kind: "cut", bytes: 3 });
  const seen = await open();
  seen.socket.write("abcdef");
  await seen.closed;
  assert.deepEqual([seen.text, seen.ended, seen.error], ["abc", true, undefined]);
  assert.equal(proxy.happened.cut, 1);
  await until(() => accepted[0].destroyed || accepted[0].readableEnded);
});

test("reset: a RST, on both sides", async () => {
  proxy.choose = () => ({ kind: "reset", bytes: 3 });
  let reset;
  const seen = await open();
  await until(() => accepted.length === 1);
  accepted[0].once("error", (error) => {
    reset = error.code;
  });
  seen.socket.write("abcdef");
  await seen.closed;
  assert.deepEqual([seen.error, seen.ended], ["ECONNRESET", false]);
  await until(() => reset === "ECONNRESET");
  assert.equal(proxy.happened.reset, 1);
});

test("black hole: accepted, swallowed, never answered, and reset when released", async () => {
  proxy.choose = () => ({ kind: "blackHole" });
  const seen = await open();
  seen.socket.write("x".repeat(1_000_000));
  await until(() => seen.socket.writableLength === 0);
  await sleep(50);
  assert.deepEqual([seen.text, seen.ended, accepted.length], ["", false, 0]);
  assert.equal(proxy.happened.blackHole, 1);
  proxy.release();
  await seen.closed;
  assert.equal(seen.error, "ECONNRESET");
});

test("half-open: nothing passes and nothing closes, until it is released", async () => {
  const seen = await open();
  seen.socket.write("a");
  await until(() => seen.text === "a");
  proxy.injectAll({ kind: "halfOpen" });
  seen.socket.write("b");
  await sleep(80);
  assert.deepEqual([seen.text, seen.ended, seen.error], ["a", false, undefined]);
  assert.equal(proxy.happened.halfOpen, 1);
  proxy.release();
  await until(() => seen.text === "ab");
});

test("a connection is refused as it would be without the proxy", async () => {
  await new Promise((done) => server.close(done));
  const seen = await open();
  await seen.closed;
  assert.equal(seen.error, "ECONNRESET");
  server.listen(0, "127.0.0.1");
});
