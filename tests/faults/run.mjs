/** `npm run faults -- --kills 200 --messages 100000 --seed 7`: fails on any violation, and when the numbers were not reached. */
import { parseArgs } from "node:util";
import { duration, main, PlainError } from "../../tools/common.mjs";
import { kinds } from "./checker.mjs";
import { faultRun } from "./scenario.mjs";

const number = (value) => value.toLocaleString("en");

function options() {
  const { values } = parseArgs({
    options: {
      kills: { type: "string", default: "200" },
      messages: { type: "string", default: "100000" },
      seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 32)) },
    },
  });
  const numbers = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number(value)]));
  for (const [name, value] of Object.entries(numbers)) {
    if (!Number.isInteger(value) || value < 0) throw new PlainError(`--${name} has to be a whole number.`);
  }
  return numbers;
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

function print(result) {
  const table = rows(result);
  const width = Math.max(...table.map(([name]) => name.length));
  console.log(`\n${table.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join("\n")}\n`);
}

main(async () => {
  const { kills, messages, seed } = options();
  console.log(`${number(kills)} kills, ${number(messages)} messages, --seed ${seed}`);
  const result = await faultRun({ kills, messages, seed, onProgress: say });
  print(result);
  const { findings, counts } = result;
  if (findings.total > 0) {
    const text = `${findings.examples.join("\n")}\n\nThe storage is left in ${result.folder}.`;
    throw new PlainError(`${text}\n${result.log.slice(-4000)}`);
  }
  if (counts.kills < kills || counts.acked < messages) throw new PlainError("The numbers were not reached.");
  process.exit(0);
});
