/** The lock that keeps two builds apart, when its holder went away or its machine slept. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { at } from "../../tools/common.mjs";
import { clear, exclusively } from "../../tools/lock.mjs";

// The greatest that there can be is less.
const nobody = "99999999";
const name = `test-${process.pid}`;
const file = at(".tools", `${name}.lock`);

test("of two that find a lock abandoned, the second gives back what the first has taken", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "lock-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const lock = join(folder, "lock");
  writeFileSync(lock, nobody);
  clear(lock, nobody);
  assert.deepEqual(readdirSync(folder), []);
  writeFileSync(lock, "1");
  clear(lock, nobody);
  assert.deepEqual(readdirSync(folder), ["lock"]);
  assert.equal(readFileSync(lock, "utf8"), "1");
});

test("what a process that has gone left behind is taken, and given back", async () => {
  writeFileSync(file, nobody);
  const during = await exclusively(name, () => readFileSync(file, "utf8"));
  assert.equal(during, String(process.pid));
  assert.throws(() => readFileSync(file), { code: "ENOENT" });
});

test("who has lost the lock leaves it to who has it now", async (t) => {
  t.after(() => rmSync(file, { force: true }));
  t.mock.timers.enable({ apis: ["setInterval"] });
  const before = new Date(0);
  await exclusively(name, () => {
    rmSync(file);
    t.mock.timers.tick(5000);
    writeFileSync(file, "1");
    utimesSync(file, before, before);
    t.mock.timers.tick(5000);
  });
  assert.equal(readFileSync(file, "utf8"), "1");
});
