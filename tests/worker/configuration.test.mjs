import assert from "node:assert/strict";
import { request } from "node:http";
import { test } from "node:test";
import { basic, join, Listener, publish, within } from "../clients/client.mjs";
import { start } from "../harness.mjs";

const good = { id: "1", key: "k", secrets: ["0123456789abcdef"] };

async function withServer(apps, run) {
  const server = await start({ apps });
  try {
    await run(server);
  } finally {
    await server.stop();
  }
}

/** A request that names another host than it goes to, as one through a real domain does. */
function ask(server, path, { host, method = "GET", headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server.url);
    const options = { hostname, port, path, method, headers: { ...headers, ...(host ? { host } : {}) } };
    const asking = request(options, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk) => {
        text += chunk;
      });
      response.on("end", () => resolve({ status: response.statusCode, error: JSON.parse(text).error }));
    });
    asking.on("error", reject).end(body);
  });
}

const routes = [
  ["/up", {}],
  ["/rooms/lobby", { headers: { accept: "text/event-stream" } }],
  ["/rooms/lobby", {}],
  ["/channels/lobby/messages", { headers: { authorization: basic("k", good.secrets[0]) } }],
  ["/publish", { method: "POST", body: '{"channel":"lobby","data":1}' }],
  ["/publish/lobby", { method: "POST", body: "text" }],
];

async function refusesEverything(server, message, host) {
  for (const [path, options] of routes) {
    const { status, error } = await ask(server, path, { ...options, host });
    assert.deepEqual([status, error?.code], [503, "not_configured"], path);
    assert.match(error.message, message, path);
  }
  const options = host ? { headers: { host } } : {};
  for (const query of ["", "?raw=1"]) {
    const socket = new Listener(server, `/rooms/lobby${query}`, options);
    assert.deepEqual(await within("the close", socket.ended), { code: 4503, reason: "not_configured" });
    assert.equal(socket.frames.length, query ? 0 : 1);
    if (!query) assert.match(socket.frames[0].message, message);
  }
  assert.deepEqual(await server.objects(), []);
}

test("without APPS nothing is served, and it is said what to do", async () => {
  await withServer(null, async (server) => {
    await refusesEverything(server, /APPS is not set.*wrangler secret put APPS/);
    // But for the page, so that there is something to look at meanwhile.
    const page = await fetch(`${server.url}/`);
    assert.equal(page.status, 200);
    assert.match(await page.text(), /<title>Dormouse/);
  });
});

test("an empty APPS is one that is not set", async () => {
  await withServer("", (server) => refusesEverything(server, /APPS is not set/));
});

const broken = [
  ["{", /^APPS/],
  ["{}", /^APPS: expected/],
  ["[]", /^APPS: 1 to/],
  [[{ ...good, secrets: ["hunter2"] }], /^APPS\[0\]\.secrets\[0\]: /],
  [[good, { ...good, id: 7 }], /^APPS\[1\]\.id: /],
  [[good, { ...good, id: "2" }], /^APPS\[1\]: has the id or key of \[0\]/],
  [[{ ...good, origins: ["https://example.com/"] }], /^APPS\[0\]\.origins\[0\]: /],
  [
    [{ ...good, channels: [{ prefix: "a", history: { size: 1e9 } }] }],
    /^APPS\[0\]\.channels\[0\]\.history\.size: /,
  ],
  [[{ ...good, channels: [{ prefix: "a", publsh: true }] }], /^APPS\[0\]\.channels\[0\].*publsh/],
];

for (const [apps, message] of broken) {
  const text = typeof apps === "string" ? apps : JSON.stringify(apps);
  test(`a broken APPS names the field: ${text.slice(0, 90)}`, async () => {
    await withServer(text, async (server) => {
      await refusesEverything(server, message);
      const { error } = await ask(server, "/up");
      assert.doesNotMatch(error.message, /hunter2|0123456789abcdef/);
    });
  });
}

test("the development secret is for this machine alone", async () => {
  await withServer(undefined, async (server) => {
    for (const host of [
      "example.com",
      "localhost.example.com",
      "127.0.0.1.example.com",
      "192.168.1.2:8787",
    ]) {
      await refusesEverything(server, /development secret/, host);
    }
    for (const host of ["localhost", "localhost:1234", "127.0.0.1", "[::1]:80", "my.localhost"]) {
      assert.equal((await ask(server, "/up", { host })).status, 200, host);
    }
    // One app that has it is one too many.
    assert.equal((await publish(server, { channel: "lobby", data: 1 })).status, 200);
  });
  const apps = [good, { id: "2", key: "l", secrets: ["fedcba9876543210", "dev-secret"] }];
  await withServer(apps, (server) => refusesEverything(server, /development secret/, "example.com"));
});

test("a secret of one's own is good under every name", async () => {
  await withServer([good], async (server) => {
    assert.equal((await ask(server, "/up", { host: "example.com" })).status, 200);
    const socket = await join(server, "lobby", { headers: { host: "example.com" } });
    const authorization = basic("k", good.secrets[0]);
    const answer = await publish(server, { channel: "lobby", data: 1 }, { authorization });
    assert.equal(answer.status, 200);
    await socket.has("message");
    await socket.close();
  });
});
