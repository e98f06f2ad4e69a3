import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { build } from "../../tools/build.mjs";
import { describe, drops, problemsOf, pusherStorm } from "./hubs/pusher-crash.mjs";

const sockets = 300;

for (const drop of Object.keys(drops))
  test(`${sockets} clients that speak as pusher-js does come back after ${drop}: no 5xx, and presence is right`, async (t) => {
    await build();
    const home = mkdtempSync(join(tmpdir(), "dormouse-load-"));
    try {
      const storm = await pusherStorm({ home, sockets, drop });
      for (const line of describe(storm)) t.diagnostic(line);
      assert.deepEqual(problemsOf(storm), []);
      assert.equal(storm.after.length, sockets);
      // Their first attempt, or, where the server was not there yet, the second one.
      assert.ok(storm.tries <= sockets * (drop === "abort" ? 1 : 2), `${storm.tries} attempts`);
    } finally {
      rmSync(home, { recursive: true });
    }
  });
