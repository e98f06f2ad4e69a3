/** The Python programs beside this file, with lines of JSON going in and coming out. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { at } from "../../tools/common.mjs";
import { python } from "../../tools/python.mjs";
import { until, within } from "./client.mjs";

/** A running program: `lines` has what it printed so far. */
export class Program {
  lines = [];
  errors = "";

  constructor(script, args) {
    assert.ok(
      existsSync(python),
      `${python} is missing: \`npm test\` makes it, with the packages that this needs`,
    );
    this.child = spawn(python, ["-u", at("tests/clients", script), ...args.map(String)]);
    this.child.stderr.setEncoding("utf8").on("data", (text) => {
      this.errors += text;
    });
    createInterface({ input: this.child.stdout }).on("line", (line) => this.lines.push(JSON.parse(line)));
    this.ended = new Promise((resolve) => this.child.once("close", resolve));
  }

  /** Waits for so many lines that have this key, and returns what they have there. */
  async has(key, count = 1) {
    const found = () => this.lines.filter((line) => key in line).map((line) => line[key]);
    const missing = () => `${count} × ${key} from Python: ${JSON.stringify(this.lines)} ${this.errors}`;
    await until(missing, () => found().length >= count || this.child.exitCode > 0, 20_000);
    assert.ok(found().length >= count, missing());
    return found();
  }

  /** Sends a line, and waits for the one that answers it. */
  async ask(line) {
    const before = this.lines.length;
    this.child.stdin.write(`${JSON.stringify(line)}\n`);
    const missing = () => `an answer from Python: ${this.errors}`;
    await until(missing, () => this.lines.length > before || this.child.exitCode > 0, 20_000);
    assert.ok(this.lines.length > before, missing());
    return this.lines.at(-1);
  }

  /** Waits for its end, and throws if that was not a good one. */
  async finish() {
    this.child.stdin.end();
    assert.equal(await within("Python's end", this.ended), 0, this.errors);
  }

  kill() {
    this.child.kill();
  }
}
