import { resolve } from "node:path";

// A file is reported like a test of its own name: one that has no tests must not pass for one.
const isFile = ({ name, nesting, file }) => nesting === 0 && file !== undefined && resolve(name) === file;

/** A reporter for `node --test` that yields one line of JSON: how many tests passed, failed and were skipped. */
export default async function* counts(source) {
  const sum = { passed: 0, failed: 0, skipped: 0 };
  for await (const { type, data } of source) {
    if (type !== "test:pass" && type !== "test:fail") continue;
    const broken = type === "test:fail";
    if (data.details?.type === "suite" && !broken) continue;
    if (isFile(data) && !broken) continue;
    if (data.skip !== undefined || data.todo !== undefined) sum.skipped += 1;
    else if (!broken) sum.passed += 1;
    // A test that failed because one inside it did is counted by that one.
    else if (data.details?.error?.failureType !== "subtestsFailed") sum.failed += 1;
  }
  yield `${JSON.stringify(sum)}\n`;
}
