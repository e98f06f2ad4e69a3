import { begin, paints, say } from "./board.mjs";
import { duration, main, PlainError } from "./common.mjs";
import { trySetUp } from "./setup.mjs";
import { testSteps } from "./test-steps.mjs";

function select(steps, names) {
  if (names.length === 0) return steps;
  const chosen = steps.filter(({ name }) => names.some((part) => name.includes(part)));
  if (chosen.length === 0) {
    throw new PlainError(
      `No step has ${names.join(" or ")} in its name. There are:\n  ${steps.map(({ name }) => name).join("\n  ")}`,
    );
  }
  // A step asked for by name still has to have its build.
  const needed = new Set(chosen.map(({ after }) => after));
  return steps.filter((step) => chosen.includes(step) || needed.has(step.name));
}

const wording = ({ passed, failed }) =>
  [`${passed} passed`, failed > 0 && `${failed} failed`].filter(Boolean).join(", ");

async function runStep(step, obstacle) {
  say();
  const task = begin(step.name);
  let result = { passed: 0, failed: 1, note: obstacle };
  if (!obstacle) {
    result = await step.run(task).catch((error) => {
      say(error instanceof PlainError ? error.message : error.stack);
      return { passed: 0, failed: 1 };
    });
  }
  if (result.passed + result.failed === 0) result = { passed: 0, failed: 1, note: "ran no test" };
  const text = [wording(result), result.note].filter(Boolean).join("  ");
  const ms = result.failed > 0 ? task.fail(text) : task.done(text);
  return { ...result, name: step.name, text, ms };
}

function summary(results) {
  const width = Math.max(...results.map(({ name }) => name.length));
  const lines = results.map(({ name, failed, ms, text }) => {
    const mark = failed > 0 ? paints.red("✗") : paints.green("✓");
    return `${mark} ${name.padEnd(width)}  ${duration(ms).padStart(12)}  ${text}`;
  });
  return ["", paints.bold("Summary"), ...lines, ""].join("\n");
}

async function test() {
  const steps = select(testSteps(), process.argv.slice(2));
  const lacking = await trySetUp([...new Set(steps.flatMap(({ needs }) => needs))]);
  const results = [];
  const failedNames = new Set();
  for (const step of steps) {
    const lack = step.needs.find((need) => lacking.includes(need));
    const broken = failedNames.has(step.after) && step.after;
    const obstacle = (lack && `not run: no ${lack}`) || (broken && `not run: ${broken} failed`) || undefined;
    const result = await runStep(step, obstacle);
    if (result.failed > 0) failedNames.add(step.name);
    results.push(result);
  }
  console.log(summary(results));
  const sum = (key) => results.reduce((total, result) => total + result[key], 0);
  console.log(`${sum("passed")} passed, ${sum("failed")} failed`);
  process.exitCode = sum("failed") > 0 ? 1 : 0;
}

main(test);
