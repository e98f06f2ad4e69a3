/** Programs in other languages, with lines of JSON going in and coming out. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { until, within } from "./client.mjs";

/** A running program: `lines` has what it printed so far. */
export class Program {
  lines = [];
  errors = "";

  constructor(command, args) {
    this.child = spawn(command, args.map(String));
    this.child.stderr.setEncoding("utf8").on("data", (text) => {
      this.errors += text;
    });
    createInterface({ input: this.child.stdout }).on("line", (line) => this.lines.push(JSON.parse(line)));
    this.ended = new Promise((resolve) => this.child.once("close", resolve));
  }

  /** Waits for so many lines that have this key, and returns what they have there. */
  async has(key, count = 1) {
    const found = () => this.lines.filter((line) => key in line).map((line) => line[key]);
    const missing = () => `${count} × ${key}: ${JSON.stringify(this.lines)} ${this.errors}`;
    await until(missing, () => found().length >= count || this.child.exitCode > 0, 20_000);
    assert.ok(found().length >= count, missing());
    return found();
  }

  /** Sends a line, and waits for the one that answers it. */
  async ask(line) {
    const before = this.lines.length;
    this.child.stdin.write(`${JSON.stringify(line)}\n`);
    const missing = () => `an answer to ${JSON.stringify(line)}: ${this.errors}`;
    await until(missing, () => this.lines.length > before || this.child.exitCode > 0, 20_000);
    assert.ok(this.lines.length > before, missing());
    return this.lines.at(-1);
  }

  /** Waits for its end, and throws if that was not a good one. */
  async finish() {
    this.child.stdin.end();
    assert.equal(await within("the program's end", this.ended), 0, this.errors);
  }

  kill() {
    this.child.kill();
  }
}
