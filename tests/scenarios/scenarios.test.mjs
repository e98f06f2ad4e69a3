// The transcripts without Hubs against the runtime; and whether the runner notices what is not so.

import assert from "node:assert/strict";
import { test } from "node:test";
import { parse } from "./script.mjs";
import { play } from "./stage.mjs";
import {
  isOfHubs,
  isOfPresence,
  isOfPusher,
  located,
  playAll,
  transcripts,
  withServer,
} from "./transcripts.mjs";

async function readAll(t) {
  const scripts = [];
  for (const transcript of transcripts) {
    await located(transcript, async () => scripts.push({ ...transcript, script: parse(transcript.text) }));
  }
  const only = scripts.filter(({ script }) => script.native);
  t.diagnostic(`${scripts.length} transcripts, ${only.length} of them natively only`);
  for (const { name, script } of only) t.diagnostic(`${name}: ${script.native}`);
}

test("there are transcripts, and every line of them is understood", async (t) => {
  assert.notEqual(transcripts.length, 0);
  await readAll(t);
});

await playAll((one) => !isOfHubs(one) && !isOfPresence(one) && !isOfPusher(one));

test("what is not so is noticed", async () => {
  const alice = "alice connects /rooms/lobby";
  const welcome = 'alice < {"type":"welcome","connection":"$alice","channel":"lobby","position":"$e:0"}';
  const publish = 'http > POST /publish {"channel":"lobby","data":{"a": 1}}';
  const answer = 'http < 200 {"channels":{"lobby":{"position":"$e:1"}}}';
  const message = 'alice < {"type":"message","channel":"lobby","position":"$e:1","data":{"a": 1}}';
  const good = [alice, welcome, publish, answer, message];
  const many = [
    "alice connects /connect",
    'alice < {"type":"welcome","connection":"$alice"}',
    'alice > {"type":"subscribe","channel":"private-x"}',
    'alice > {"type":"subscribe","channel":"lobby"}',
    'alice < {"type":"subscribed","channel":"lobby","position":"$b:0"}',
    'alice < {"type":"error","channel":"private-x","code":"unauthorized","message":"…"}',
    'alice > 2 times {"type":"publish","channel":"lobby","data":$#}',
    'alice < 2 times {"type":"message","channel":"lobby","position":"$b:$#","data":$#}',
    'alice < 2 times {"type":"ack","channel":"lobby","position":"$b:$#"}',
    'alice > {"type":"unsubscribe","channel":"lobby"}',
    'alice < {"type":"unsubscribed","channel":"lobby"}',
    "alice < nothing",
  ];
  const without = (line) => many.filter((_, at) => at + 2 !== line);
  const changed = (line, before, after) =>
    many.map((text, at) => (at + 2 === line ? text.replace(before, after) : text));
  const wrong = [
    [3, [alice, welcome.replace('lobby"', 'hall"')]],
    [3, [alice, welcome.replace("$e:0", "$e:1")]],
    [3, [alice, welcome.replace("$e:0", "$alice:0")]],
    [3, [alice, welcome.replace(',"channel":"lobby"', "")]],
    [3, [alice, "alice < closed 1000"]],
    [3, [alice, "alice < nothing"]],
    [2, [alice]],
    [5, [alice, welcome, publish, answer.replace("200", "201")]],
    [5, [alice, welcome, publish, answer.replace("$e:1", "$f:1")]],
    [5, [alice, welcome, publish, answer]],
    [6, [alice, welcome, publish, answer, message.replace('"a": 1', '"a":1')]],
    [6, [alice, welcome, publish, answer, message.replace("alice", "bob")]],
    [4, [alice, "bob streams /rooms/private-x", welcome]],
    [3, [alice, "alices connects"]],
    [3, [alice, "~ sleep"]],
    [4, [alice, welcome, publish]],
    [2, ["only natively: because of this and that", alice]],
    [5, without(3)],
    [8, without(6)],
    [11, without(9)],
    [12, without(10)],
    [6, changed(6, "lobby", "hall")],
    [9, changed(9, '$#"', '2"')],
    [12, changed(12, "unsub", "sub")],
  ];
  await withServer(undefined, async (server) => {
    let runs = 0;
    const failsAt = async (lines) => {
      // Each in a channel of its own, so that one server does for all.
      runs += 1;
      const text = `# A transcript\n${lines.join("\n")}`.replaceAll(/\b(lobby|private-x)\b/g, `$1${runs}`);
      const run = async () => play(server, parse(text), false);
      return run().then(
        () => 0,
        (error) => error.line ?? error,
      );
    };
    assert.equal(await failsAt(good), 0);
    assert.equal(await failsAt(many), 0);
    for (const [line, lines] of wrong) assert.equal(await failsAt(lines), line, lines.join("\n"));
  });
});
