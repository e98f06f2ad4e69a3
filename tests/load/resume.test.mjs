import assert from "node:assert/strict";
import { test } from "node:test";
import { describe, resumeStorm } from "./resume.mjs";

const [clients, messages] = [200, 1000];

test(`${clients} clients that missed ${messages} messages come back at once: whole, in order, while publishing goes on`, async (t) => {
  const storm = await resumeStorm({ clients, messages, perRow: 1 });
  assert.deepEqual(storm.problems, []);
  for (const line of describe(storm)) t.diagnostic(line);
  assert.equal(storm.caughtUp.length, clients);
  // Otherwise there was nothing live to mix with what was missed.
  assert.ok(storm.liveMeanwhile > 0);
});
