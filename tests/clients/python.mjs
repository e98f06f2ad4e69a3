import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { at } from "../../tools/common.mjs";
import { python } from "../../tools/python.mjs";
import { Program } from "./program.mjs";

/** Runs a Python program of this repository, by its path in it. */
export function runPython(script, args) {
  assert.ok(
    existsSync(python),
    `${python} is missing: \`npm test\` makes it, with the packages that this needs`,
  );
  return new Program(python, ["-u", at(script), ...args]);
}
