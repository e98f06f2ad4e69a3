/** One seed for a whole file, and what is tried by it. */
import assert from "node:assert/strict";

/** ABUSE_SEED=<seed> has the same again. */
export const seed = Number(process.env.ABUSE_SEED ?? Math.floor(Math.random() * 1e9));

/** Runs so many, `atOnce` at a time; `one` returns what came of it in a word, or throws. */
export async function many(t, { count, offset, atOnce }, one) {
  const outcomes = new Map();
  const problems = [];
  let nth = 0;
  const work = async () => {
    while (nth < count && problems.length < 10) {
      const own = seed + offset + nth++;
      try {
        const said = await one(own);
        outcomes.set(said, (outcomes.get(said) ?? 0) + 1);
      } catch (error) {
        problems.push(`seed ${own}: ${error.message}`);
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  const sorted = [...outcomes].sort(([, one], [, other]) => other - one);
  t.diagnostic(sorted.map(([said, times]) => `${times} × ${said}`).join(", "));
  assert.equal(problems.length, 0, `with ABUSE_SEED=${seed}:\n    ${problems.join("\n    ")}`);
}
