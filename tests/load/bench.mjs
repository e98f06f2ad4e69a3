/**
 * Measures the built Worker against bare objects on the same runtime and machine, in turns; what counts is the ratio of each pair.
 *
 *     npm run bench -- [--only throughput|fanout|resume|hubs] [--part NAME] [--rounds 9] [--seconds 1] [--folder /dev/shm]
 *
 * `--folder` is where the databases go: on a disk that takes long to make a page durable, that is what is measured. Ends with 1
 * only if something was lost, repeated or wrong, or memory grew without bound: times are no pass or failure.
 */
import { parseArgs } from "node:util";
import { main, PlainError } from "../../tools/common.mjs";
import { fanout } from "./fanout.mjs";
import { hubs } from "./hubs.mjs";
import { resume } from "./resume.mjs";
import { throughput } from "./throughput.mjs";

const parts = { throughput, fanout, resume, hubs };

const say = (line) => console.log(line);

function verdict({ atLeast, atMost }, median) {
  if (atLeast === undefined && atMost === undefined) return ["", ""];
  const isMet = (atLeast === undefined || median >= atLeast) && (atMost === undefined || median <= atMost);
  return [atLeast === undefined ? `≤ ${atMost}` : `≥ ${atLeast}`, isMet ? "met" : "missed"];
}

function line({ title, unit, values, ...bounds }) {
  const sorted = values.toSorted((a, b) => a - b);
  const median = sorted[sorted.length >> 1];
  const [target, word] = verdict(bounds, median);
  const figures = [sorted[0], median, sorted.at(-1)].map((value) => value.toFixed(3).padStart(8)).join(" ");
  return `${title.padEnd(66)} ${figures}  ${unit.padEnd(10)} ${target.padEnd(7)} ${word}`;
}

main(async () => {
  const names = ["only", "part", "rounds", "seconds", "folder"];
  const { values } = parseArgs({
    options: Object.fromEntries(names.map((name) => [name, { type: "string" }])),
  });
  const { only, part: inside, rounds = 9, seconds = 1, folder } = values;
  if (only && !parts[only]) throw new PlainError(`--only ${Object.keys(parts).join("|")}`);
  const rows = [];
  const problems = [];
  for (const [name, part] of Object.entries(parts)) {
    if (only && name !== only) continue;
    say(`\n${name}`);
    const report = await part({
      rounds: Number(rounds),
      seconds: Number(seconds),
      folder,
      part: inside,
      say,
    });
    rows.push(...report.rows);
    problems.push(...report.problems);
  }
  say(`\n${"".padEnd(66)} ${["min", "median", "max"].map((word) => word.padStart(8)).join(" ")}`);
  for (const row of rows) say(line(row));
  for (const problem of problems) say(`\nWRONG: ${problem}`);
  if (problems.length > 0) process.exitCode = 1;
});
