/** `docs/compatibility.md` names tests: they have to exist. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { at } from "../../tools/common.mjs";

const page = readFileSync(at("docs/compatibility.md"), "utf8");
const rows = page.split("\n").filter((line) => line.startsWith("| ") && !/^\|[ -]+\|/.test(line));
const named = [...page.matchAll(/`([\w/.-]+) › ([^`]+)`/g)].map(([, where, name]) => ({ where, name }));

const fileOf = (where) => {
  if (where.endsWith(".rs")) return where;
  return `${where.includes("/") ? where : `tests/pusher/${where}`}.test.mjs`;
};

/** What could be the name of a test in a file: its texts, in which `${…}` may be anything. */
function textsOf(source) {
  const plain = [...source.matchAll(/"((?:[^"\\\n]|\\.)*)"/g)].map(([, text]) => text);
  const templates = [...source.matchAll(/`((?:[^`\\]|\\.)*)`/g)].map(([, text]) => text);
  const patterns = templates.map((text) => {
    const parts = text.split(/\$\{[^}]*\}/).map((part) => part.replaceAll(/[.*+?^()|[\]{}\\]/g, "\\$&"));
    // A template of nothing but places proves nothing.
    return parts.join("").length >= 12
      ? new RegExp(`^(?:${parts.join(".+")}|${parts.join(".*").trim()})$`)
      : /^$/;
  });
  return { plain: new Set(plain), patterns };
}

const isIn = (source, { where, name }) => {
  if (where.endsWith(".rs")) return source.includes(`fn ${name}()`);
  const { plain, patterns } = textsOf(source);
  return plain.has(name) || patterns.some((pattern) => pattern.test(name) || pattern.test(` ${name}`));
};

test("every test that docs/compatibility.md names exists", () => {
  assert.ok(named.length > 80, `${named.length}`);
  const missing = named.filter((proof) => {
    const file = at(fileOf(proof.where));
    return !existsSync(file) || !isIn(readFileSync(file, "utf8"), proof);
  });
  assert.deepEqual(missing, []);
  const transcripts = [...page.matchAll(/`(tests\/scenarios\/[\w-]+\.txt)`/g)].map(([, file]) => file);
  assert.ok(transcripts.length > 0);
  for (const file of transcripts) assert.ok(existsSync(at(file)), file);
});

test("every row above what is different on purpose names one, or says why there is nothing to prove", () => {
  const [proven] = page.split("## Different on purpose");
  const bare = rows.filter(
    (row) =>
      proven.includes(row) &&
      !/`[^`]+`[^|]*\| *$/.test(row) &&
      !/\bnever\b|^\| *(\||event|kind|code)/.test(row),
  );
  assert.deepEqual(bare, []);
});

test("a name that no test has is found out", () => {
  const source = readFileSync(at("tests/pusher/channels.test.mjs"), "utf8");
  assert.equal(isIn(source, { where: "channels", name: "connects, at any path" }), true);
  assert.equal(
    isIn(source, {
      where: "channels",
      name: "private-cache-: the last event for who comes later, or that there is none",
    }),
    true,
  );
  assert.equal(isIn(source, { where: "channels", name: "connects, at no path" }), false);
});
