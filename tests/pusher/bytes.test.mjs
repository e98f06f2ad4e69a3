/** What pusher-js says, byte for byte: the load tests say the same, and the runtime answers those bytes by itself. */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { after, before, test } from "node:test";
import Pusher from "pusher-js";
import { WebSocketServer } from "ws";
import { until } from "../clients/client.mjs";
import { pathOf, ping, pong, signOf, subscribe, unsubscribe } from "../load/pusher-bytes.mjs";
import { freePort } from "../workerd.mjs";

const key = "bytes-key";
const secret = "bytes-secret-0123456789";
const socketId = "123.456";
const established = (seconds) =>
  JSON.stringify({
    event: "pusher:connection_established",
    data: JSON.stringify({ socket_id: socketId, activity_timeout: seconds }),
  });

let server;
let port;
const connections = [];
before(async () => {
  port = await freePort();
  server = new WebSocketServer({ host: "127.0.0.1", port });
  server.on("connection", (socket, { url }) => {
    const connection = { url, heard: [], socket, at: performance.now() };
    connections.push(connection);
    socket.on("message", (bytes) => connection.heard.push(bytes.toString()));
    socket.send(established(1));
  });
});
after(() => server.close());

const sign = (text) => createHmac("sha256", secret).update(text).digest("hex");

function open(more) {
  const customHandler = ({ socketId, channelName }, callback) => {
    const data = channelName.startsWith("presence-") ? JSON.stringify({ user_id: "anna" }) : undefined;
    const text = [socketId, channelName, ...(data ? [data] : [])].join(":");
    callback(null, { auth: `${key}:${sign(text)}`, channel_data: data });
  };
  return new Pusher(key, {
    wsHost: "127.0.0.1",
    wsPort: port,
    forceTLS: false,
    cluster: "",
    enabledTransports: ["ws"],
    channelAuthorization: { customHandler },
    ...more,
  });
}

test("the address, and every frame", async () => {
  const pusher = open();
  try {
    const channels = ["public", "private-a", "presence-a", "cache-a", "private-encrypted-a"];
    for (const channel of channels.slice(0, 4)) pusher.subscribe(channel);
    const [{ url, heard, socket }] = await until("a connection", () => connections.length > 0 && connections);
    assert.equal(url, pathOf(key));
    await until("subscriptions", () => heard.length >= 4);
    const expected = channels
      .slice(0, 4)
      .map((channel) =>
        subscribe({ channel, socketId, sign: (text) => signOf({ key, secret }, text), user: "anna" }),
      );
    assert.deepEqual(heard.toSorted(), expected.toSorted());
    const added = (count) => until("more", () => heard.length >= 4 + count && heard.slice(4));
    socket.send('{"event":"pusher:ping","data":{}}');
    assert.deepEqual(await added(1), [pong]);
    // It is subscribed only when that is confirmed.
    socket.send('{"event":"pusher_internal:subscription_succeeded","channel":"public","data":"{}"}');
    await until("the subscription", () => pusher.channel("public").subscribed);
    pusher.unsubscribe("public");
    assert.deepEqual(await added(2), [pong, unsubscribe("public")]);
    // The server said one second.
    assert.deepEqual(await added(3), [pong, unsubscribe("public"), ping]);
  } finally {
    pusher.disconnect();
  }
});

test("it comes back one second after it was cut off", async () => {
  const before = connections.length;
  const pusher = open();
  try {
    await until("a connection", () => connections.length > before);
    await until("that it knows", () => pusher.connection.state === "connected");
    const cut = performance.now();
    connections.at(-1).socket.terminate();
    await until("another", () => connections.length > before + 1);
    const ms = connections.at(-1).at - cut;
    assert.ok(ms >= 990 && ms < 3000, `${ms} ms`);
  } finally {
    pusher.disconnect();
  }
});
