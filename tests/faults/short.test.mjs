import assert from "node:assert/strict";
import { test } from "node:test";
import { faultRun } from "./scenario.mjs";

const [kills, messages] = [10, 3000];

test(`${kills} kills and broken connections lose, repeat and reorder nothing`, async (t) => {
  const seed = Math.floor(Math.random() * 2 ** 32);
  t.diagnostic(`node tests/faults/run.mjs --kills ${kills} --messages ${messages} --seed ${seed}`);
  const { counts, findings, log } = await faultRun({ kills, messages, seed });
  assert.equal(findings.total, 0, `${findings.examples.join("\n")}\n${log.slice(-4000)}`);
  assert.ok(counts.kills >= kills && counts.acked >= messages);
  // A run in which nothing went wrong would prove nothing.
  assert.ok(counts.retried > 0 && counts.ambiguousDuplicates > 0, JSON.stringify(counts));
  assert.ok(counts.resumed > kills, JSON.stringify(counts));
});
