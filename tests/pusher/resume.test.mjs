import assert from "node:assert/strict";
import { test } from "node:test";
import { judge, pusherRun } from "../faults/pusher.mjs";

const seed = Math.floor(Math.random() * 2 ** 32);

test("what is missing, comes twice or in another order is found", () => {
  const at = (seq) => `000000000007:${seq}`;
  const stored = ["a", "b", "c", "d"].map((id, nth) => ({ id, position: at(nth + 1) }));
  const problems = (heard) => judge(heard, stored).problems.length;
  const [a, b, c, d] = stored.map(({ id }) => ({ id }));
  const gap = (after, position) => ({ gap: { after: at(after), position: at(position), reason: "lost" } });
  assert.equal(problems([a, b, c, d]), 0);
  assert.equal(problems([a, gap(1, 3), d]), 0);
  assert.equal(problems([a, b, gap(1, 3), d]), 0);
  assert.notEqual(problems([a, b, d]), 0);
  assert.notEqual(problems([a, b, b, c, d]), 0);
  assert.notEqual(problems([a, c, b, d]), 0);
  assert.notEqual(problems([a, b, c]), 0);
  assert.notEqual(problems([a, gap(2, 3), d]), 0);
  assert.notEqual(problems([a, b, gap(1, 1), b, c, d]), 0);
});

test("a tab that resumes gets every message once and in order, or is told of a gap", async (t) => {
  t.diagnostic(`seed ${seed}`);
  const run = await pusherRun({ cuts: 20, kills: 2, tabs: 3, seed });
  const { published, cuts, kills, connections, expected, received, announced, spared, lost, gaps } = run;
  t.diagnostic(
    JSON.stringify({ published, cuts, kills, connections, expected, received, announced, spared, lost }),
  );
  assert.deepEqual(run.problems, [], run.log.slice(-2000));
  assert.ok(cuts >= 20 && kills === 2 && connections > 20);
  // Gaps for everything would be no lie either.
  assert.ok(gaps.length > 0 && announced < expected / 2, `${announced} of ${expected} announced as gaps`);
});
