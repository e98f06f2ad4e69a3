import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, afterEach, before, test } from "node:test";
import Pusher from "pusher";
import { curl } from "../browser/chromium.mjs";
import { start } from "../harness.mjs";
import { history, inSeconds, join, publish, published, signedPath, until } from "./client.mjs";
import { runPython } from "./python.mjs";

const key = "key-of-clients";
const secrets = ["the-new-secret-of-it", "the-old-secret-of-it"];
const apps = [{ id: "1", key, secrets, channels: [{ prefix: "", publish: true }] }];
const everyByte = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));

let server;
const programs = [];
before(async () => {
  server = await start({ apps });
});
after(() => server.stop());
afterEach(() => {
  for (const program of programs.splice(0)) program.kill();
});

function run(script, ...args) {
  const program = runPython(`tests/clients/${script}`, args);
  programs.push(program);
  return program;
}

const listen = (channel, count, query = "") =>
  run("listener.py", `${server.url.replace("http", "ws")}/rooms/${channel}${query}`, count);

/** Publishes a request that is signed by Pusher's own library for servers. */
function publishSigned(body, { secret = secrets[0], path = "/publish" } = {}) {
  const pusher = new Pusher({ appId: "1", key, secret, cluster: "none" });
  const text = JSON.stringify(body);
  const query = pusher.createSignedQueryString({ method: "POST", path, body: text });
  return publish(server, text, { path: `${path}?${query}`, authorization: null });
}

for (const evicting of [false, true]) {
  test(`Python, Node and curl hear each other${evicting ? ", though the room sleeps between any two" : ""}`, async () => {
    const channel = `clients-${evicting}`;
    const python = listen(channel, 6);
    const raw = listen(channel, 6, "?raw=1");
    await Promise.all([python.has("open"), raw.has("open"), python.has("text")]);
    const node = await join(server, channel);
    const publisher = run("publisher.py", server.url, key, secrets[0]);
    const old = run("publisher.py", server.url, key, secrets[1]);

    const position = ({ status, body }) => {
      assert.equal(status, 200, JSON.stringify(body));
      return body.channels[channel].position;
    };
    const steps = [
      async () => position(await publisher.ask({ json: { channel, event: "py", data: { mouse: "🐭é" } } })),
      async () => {
        const headers = { "content-type": "application/octet-stream" };
        return position(await publisher.ask({ channel, base64: everyByte.toString("base64"), headers }));
      },
      () => curl("-u", `${key}:${secrets[0]}`, `${server.url}/publish/${channel}`, "-d", "by curl"),
      async () => (await publishSigned({ channel, data: "signed" })).json.channels[channel].position,
      async () => position(await old.ask({ json: { channel, data: "by the old secret" } })),
      async () => {
        node.send({ type: "publish", data: ["by", "Node"], id: "n" });
        return (await node.has("ack"))[0].position;
      },
    ];
    const positions = [];
    for (const step of steps) {
      if (evicting) assert.equal(await server.evict(channel), true);
      positions.push(await step());
    }

    const expected = [
      { event: "py", data: { mouse: "🐭é" } },
      { data: everyByte.toString("base64"), encoding: "base64" },
      { data: "by curl" },
      { data: "signed" },
      { data: "by the old secret" },
      { data: ["by", "Node"] },
    ].map((message, nth) => ({ type: "message", channel, position: positions[nth], ...message }));
    assert.deepEqual(await node.has("message", 6), expected);
    await Promise.all([python.finish(), raw.finish()]);
    const texts = await python.has("text", 7);
    assert.deepEqual(texts.map(JSON.parse).slice(1), expected);
    assert.deepEqual(
      raw.lines.filter((line) => "text" in line || "base64" in line),
      [
        // As Python wrote it.
        { text: String.raw`{"mouse": "\ud83d\udc2d\u00e9"}` },
        { base64: everyByte.toString("base64") },
        { text: "by curl" },
        { text: "signed" },
        { text: "by the old secret" },
        { text: '["by","Node"]' },
      ],
    );
    await Promise.all([publisher.finish(), old.finish(), node.close()]);
  });
}

test("a Python listener that was cut off comes back with its position and misses nothing", async () => {
  const publisher = run("publisher.py", server.url, key, secrets[0]);
  const python = listen("cut", 4);
  await python.has("text");
  const publishOne = (data) => publisher.ask({ json: { channel: "cut", data } });
  await publishOne(1);
  await python.has("text", 2);
  assert.equal(await server.evict("cut", { webSockets: "close" }), true);
  await publishOne(2);
  await publishOne(3);
  await python.has("open", 2);
  await publishOne(4);
  await python.finish();
  const frames = (await python.has("text", 6)).map(JSON.parse);
  assert.deepEqual(
    frames.filter(({ type }) => type === "message").map(({ data }) => data),
    [1, 2, 3, 4],
  );
  assert.equal(frames.filter(({ type }) => type === "welcome")[1].resumed, true);
  assert.deepEqual(await python.has("close"), [1006]);
});

test("a Python listener that is refused reads why", async () => {
  const python = listen("private-python", 1);
  assert.deepEqual(await python.has("close"), [4401]);
  const [text] = await python.has("text");
  assert.equal(JSON.parse(text).code, "unauthorized");
  await python.finish();
});

const body = JSON.stringify({ channel: "signed", data: { a: "ü" }, id: "once" });
const signed = (options) => signedPath("/publish", body, { key, secret: secrets[0], ...options });
const post = (path, text = body) => publish(server, text, { path, authorization: null });

test("a signed request is good, and good again within its time, without a second message", async () => {
  const listener = await join(server, "signed");
  const path = signed();
  const [first, again] = [await post(path), await post(path)];
  assert.deepEqual([first.status, again.status], [200, 200]);
  const [one, two] = [first, again].map(({ json }) => json.channels.signed);
  assert.deepEqual([two.position, two.duplicate, one.duplicate], [one.position, true, undefined]);
  const marker = await publishSigned({ channel: "signed", data: "end" }, { secret: secrets[1] });
  assert.equal(marker.status, 200);
  await until("the end", () => listener.of("message").some(({ data }) => data === "end"));
  assert.equal(listener.of("message").length, 2);
  await listener.close();
});

const sorted = (query) => query.split("&").sort().join("&");
const refusals = [
  ["after 601 seconds", signed({ auth_timestamp: inSeconds(-601) }), "expired"],
  ["from too far ahead", signed({ auth_timestamp: inSeconds(660) }), "expired"],
  ["with a wrong secret", signed({ secret: "another-secret-of-it" }), "unauthorized"],
  ["with an unknown key", signed({ key: "nobody" }), "unauthorized"],
  ["for another method", signed({ method: "GET" }), "unauthorized"],
  [
    "for another path",
    signedPath("/publish/signed", body, { key, secret: secrets[0] }).replace("/publish/signed", "/publish"),
    "unauthorized",
  ],
  [
    "with the MD5 of another body",
    signed({ body_md5: createHash("md5").update("x").digest("hex") }),
    "unauthorized",
  ],
  ["without the MD5 of its body", signedPath("/publish", "", { key, secret: secrets[0] }), "unauthorized"],
  ["with another version", signed({ auth_version: "2.0" }), "unauthorized"],
  ["without a timestamp", signed({ auth_timestamp: "" }), "unauthorized"],
  ["with a parameter that was not signed", `${signed()}&more=1`, "unauthorized"],
  ["with its signature cut", signed().slice(0, -2), "unauthorized"],
  ["without its signature", signed().replace(/&auth_signature=.*/, ""), "unauthorized"],
];
for (const [how, path, code] of refusals) {
  test(`a signed request is refused ${how}`, async () => {
    const { status, json } = await post(path);
    assert.deepEqual([status, json.error.code], [401, code]);
  });
}

test("a signed request covers its body and every parameter", async () => {
  assert.equal((await post(signed(), body.replace("once", "once more"))).status, 401);
  assert.equal((await post(signed({ extra: "1", another: "2" }))).status, 200);
  const [path, query] = signed().split("?");
  assert.equal((await post(`${path}?${sorted(query).split("&").reverse().join("&")}`)).status, 200);
});

test("history is read by a signed request as well", async () => {
  const position = await published(
    server,
    { channel: "read", data: 1 },
    {
      authorization: null,
      path: signedPath("/publish", '{"channel":"read","data":1}', { key, secret: secrets[0] }),
    },
  );
  const path = signedPath("/channels/read/messages", "", {
    key,
    secret: secrets[1],
    method: "GET",
    limit: "5",
  });
  const { status, json } = await history(server, "read", {
    query: `?${path.split("?")[1]}`,
    authorization: null,
  });
  assert.deepEqual([status, json.messages?.[0].position], [200, position]);
});
