/**
 * `npm run faults -- --kills 200 --messages 100000 --seed 7`: fails on any violation, and when the numbers were not reached.
 * `npm run faults -- --pusher --kills 20 --cuts 200`: the same with pusher-js that resumes, and once more without, to see what is lost then.
 */
import { parseArgs } from "node:util";
import { duration, main, PlainError } from "../../tools/common.mjs";
import { kinds } from "./checker.mjs";
import { pusherRun } from "./pusher.mjs";
import { faultRun } from "./scenario.mjs";

const number = (value) => value.toLocaleString("en");

function options() {
  const { values } = parseArgs({
    options: {
      kills: { type: "string" },
      messages: { type: "string", default: "100000" },
      seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 32)) },
      pusher: { type: "boolean", default: false },
      cuts: { type: "string", default: "200" },
    },
  });
  const { pusher, ...texts } = values;
  texts.kills ??= pusher ? "20" : "200";
  const numbers = Object.fromEntries(Object.entries(texts).map(([name, value]) => [name, Number(value)]));
  for (const [name, value] of Object.entries(numbers)) {
    if (!Number.isInteger(value) || value < 0) throw new PlainError(`--${name} has to be a whole number.`);
  }
  return { ...numbers, pusher };
}

function say({ counts, kills, messages }, ms) {
  const parts = [
    `${number(counts.kills)} of ${number(kills)} kills`,
    `${number(counts.acked)} of ${number(messages)} messages acknowledged`,
    `${number(counts.retried)} retries`,
    `${number(counts.connections)} connections`,
    `${number(counts.message)} messages seen`,
    `${number(counts.gap)} gaps`,
  ];
  console.log(`${duration(ms).padStart(12)}  ${parts.join(", ")}`);
}

function rows({ counts, findings, ms }) {
  const listed = (map) =>
    Object.entries(map)
      .map(([name, times]) => `${name} ${number(times)}`)
      .join(", ") || "none";
  return [
    ["messages acknowledged", number(counts.acked)],
    ["messages stored", number(counts.stored)],
    ["requests retried", number(counts.retried)],
    ["unknown outcomes that had been stored", number(counts.ambiguousDuplicates)],
    ["repetitions after the answer", number(counts.repeated)],
    ["publishes without an answer in time", number(counts.unansweredPublishes)],
    ["kills", `${number(counts.kills)}, ${number(counts.killsWhileStarting)} of them while starting`],
    ["connections broken by the proxies", listed(counts.happened)],
    ["reconnects", number(counts.reconnects)],
    ["resumed", `${number(counts.resumed)} true, ${number(counts.notResumed)} false`],
    ["gaps announced", number(counts.gap)],
    ["messages seen", number(counts.message)],
    ["refusals", listed(counts.refusals)],
    ["duration", duration(ms)],
    ...Object.entries(kinds).map(([kind, meaning]) => [meaning, number(findings.byKind[kind] ?? 0)]),
    ["violations", number(findings.total)],
  ];
}

function print(table) {
  const width = Math.max(...table.map(([name]) => name.length));
  console.log(`\n${table.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join("\n")}\n`);
}

function sayOfTabs({ published, kills, cuts, wantedKills, wantedCuts }, ms) {
  const parts = [
    `${number(cuts)} of ${number(wantedCuts)} cuts`,
    `${number(kills)} of ${number(wantedKills)} kills`,
    `${number(published)} messages`,
  ];
  console.log(`${duration(ms).padStart(12)}  ${parts.join(", ")}`);
}

function counted(names) {
  const counts = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

function rowsOfTabs({ gaps, ...run }, resume) {
  const sizes = gaps.map(({ messages }) => messages).sort((a, b) => a - b);
  const reasons = Object.entries(counted(gaps.map(({ reason }) => reason)));
  const listed = reasons.map(([reason, those]) => `${reason} ${number(those)}`).join(", ") || "none";
  const median = sizes[Math.floor(sizes.length / 2)] ?? 0;
  return [
    ["pusher-js", resume ? "with wsPath: '/r/<uuid>'" : "without it"],
    ["messages published", number(run.published)],
    ["connections cut, kills", `${number(run.cuts)}, ${number(run.kills)}`],
    ["connections made", number(run.connections)],
    ["messages for all tabs together", number(run.expected)],
    ["received", number(run.received)],
    ["not received", number(run.lost)],
    ["gaps announced", listed],
    ["messages in them", `${number(run.announced)}, of which ${number(run.spared)} came all the same`],
    ["messages in one", `${number(median)} in the median, ${number(sizes.at(-1) ?? 0)} at most`],
    ["lost without a word, twice, or out of order", number(run.problems.length)],
    ["duration", duration(run.ms)],
  ];
}

async function runOfTabs({ cuts, kills, seed }) {
  console.log(`pusher-js, ${number(cuts)} cuts, ${number(kills)} kills, --seed ${seed}`);
  for (const resume of [true, false]) {
    const run = await pusherRun({ cuts, kills, resume, seed }, sayOfTabs);
    print(rowsOfTabs(run, resume));
    if (resume && run.problems.length > 0)
      throw new PlainError(`${run.problems.slice(0, 20).join("\n")}\n${run.log.slice(-4000)}`);
    if (run.cuts < cuts || run.kills < kills) throw new PlainError("The numbers were not reached.");
  }
  process.exit(0);
}

main(async () => {
  const { kills, messages, seed, pusher, cuts } = options();
  if (pusher) return runOfTabs({ cuts, kills, seed });
  console.log(`${number(kills)} kills, ${number(messages)} messages, --seed ${seed}`);
  const result = await faultRun({ kills, messages, seed, onProgress: say });
  print(rows(result));
  const { findings, counts } = result;
  if (findings.total > 0) {
    const text = `${findings.examples.join("\n")}\n\nThe storage is left in ${result.folder}.`;
    throw new PlainError(`${text}\n${result.log.slice(-4000)}`);
  }
  if (counts.kills < kills || counts.acked < messages) throw new PlainError("The numbers were not reached.");
  process.exit(0);
});
