import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { credentials } from "./cases/credentials.mjs";
import { http, queries, runtime } from "./cases/http.mjs";
import { presence } from "./cases/presence.mjs";
import { publish } from "./cases/publish.mjs";
import { routes } from "./cases/routes.mjs";
import { origins, tokens } from "./cases/tokens.mjs";
import { documented } from "./protocol.mjs";
import { start } from "./server.mjs";
import { encode, exchange } from "./wire.mjs";

let server;
before(async () => {
  server = await start();
});
after(() => server.stop());

/** What has to be true of a refusal besides its name. */
function checkForm({ said, status, headers, text, frames }, { request, protocol }) {
  if (status === 101) {
    // Payloads and nothing else come over the one, and over the other what Pusher's clients know.
    const isSilent = /[?&]raw=1(&|$)|\/app\//.test(request?.path);
    assert.equal(frames.length, isSilent ? 0 : 1, "the error frame comes once, before the close");
    if (isSilent) return;
    const frame = JSON.parse(frames[0]);
    assert.deepEqual([frame.type, frame.code], ["error", said.split(" ")[1]]);
    assert.ok(frame.message.length > 0 && [...frame.message].length <= 300, frame.message);
    assert.equal(headers["sec-websocket-protocol"], protocol);
    return;
  }
  if (!said.includes(" ")) return;
  const { error } = JSON.parse(text);
  assert.equal(headers["content-type"], "application/json");
  assert.ok(error.message.length > 0 && [...error.message].length <= 300, error.message);
  if (status === 405) assert.match(headers.allow, /^(GET|POST|DELETE)$/);
}

async function problemOf(one) {
  try {
    const bytes = one.bytes ?? encode(one.request);
    const answer = await exchange(server, bytes, one.request);
    assert.equal(answer.said, one.expected);
    checkForm(answer, one);
  } catch (error) {
    return `${one.name}\n      ${error.message.replaceAll("\n", "\n      ")}`;
  }
}

/** All cases of a family, a few at a time; says everything that is wrong with them at once. */
async function check(cases, ours = true) {
  assert.equal(new Set(cases.map(({ name }) => name)).size, cases.length, "two cases have one name");
  if (ours) {
    const strange = cases.filter(({ expected }) => !documented.has(expected) && expected !== "405");
    assert.deepEqual(strange, [], "docs/protocol.md does not have these");
  }
  const before = server.objects();
  const waiting = [...cases];
  const problems = [];
  const work = async () => {
    for (let one = waiting.shift(); one; one = waiting.shift()) problems.push(await problemOf(one));
  };
  await Promise.all(Array.from({ length: 8 }, work));
  const found = problems.filter(Boolean);
  assert.equal(
    found.length,
    0,
    `${found.length} of ${cases.length} are answered otherwise:\n    ${found.join("\n    ")}`,
  );
  assert.deepEqual(server.objects(), before, "what was refused has made an object");
}

const families = { routes, credentials, tokens, origins, publish, http, queries, presence };
for (const [name, cases] of Object.entries(families)) {
  test(`${name}: ${cases.length} refusals, each with its status and code, none with an object`, () =>
    check(cases));
}

test(`malformed HTTP: ${runtime.length} refusals that the runtime makes by itself`, () =>
  check(runtime, false));

test("there are five hundred of them", () => {
  const count = [...Object.values(families), runtime].flat().length;
  assert.ok(count >= 500, `${count}`);
});

test("the server is well after all of that", async () => {
  const { said } = await exchange(server, encode({ path: "/up" }));
  assert.equal(said, "200");
  assert.doesNotMatch(server.log(), /panic|RuntimeError|unreachable executed|Reinitializing/i);
});
