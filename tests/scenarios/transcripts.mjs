// The transcripts of this folder, and how they are played against the runtime: once as it is, and once with all objects put to sleep between every two
// lines.

import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { start } from "../harness.mjs";
import { parse } from "./script.mjs";
import { play } from "./stage.mjs";

const folder = fileURLToPath(new URL(".", import.meta.url));
const names = readdirSync(folder).filter((name) => name.endsWith(".txt"));

/** Every transcript, `{ name, text }`, in the order of the names. */
export const transcripts = names
  .sort()
  .map((name) => ({ name, text: readFileSync(`${folder}${name}`, "utf8") }));

/** Runs something with a server. */
export async function withServer(apps, run) {
  const server = await start({ apps });
  try {
    return await run(server);
  } finally {
    await server.stop();
  }
}

/** Rethrows what does not go as it is written, with file and line. */
export async function located({ name, text }, run) {
  try {
    return await run();
  } catch (error) {
    if (error.line === undefined) throw error;
    const expected = text.split("\n")[error.line - 1];
    const message = `tests/scenarios/${name}:${error.line}\n  expected  ${expected}\n  got       ${error.message}`;
    // Where this program stood says nothing about the transcript.
    throw Object.assign(new Error(message), { stack: message });
  }
}

/** Whether it is of presence. Those are played by a file of their own, as are those of Hubs: each has its time. */
export const isOfPresence = ({ name }) => name.startsWith("presence-");

/** Whether Pusher's protocol is spoken in it. */
export const isOfPusher = ({ name }) => name.startsWith("pusher-");

/** Whether a Hub has a part in it. */
export const isOfHubs = ({ text }) => / (connects \/connect|streams \/events|is in a hub)/.test(text);

/** Makes tests of those transcripts for which `isIt` holds. */
export async function playAll(isIt) {
  for (const transcript of transcripts.filter(isIt)) {
    // A transcript that cannot be read has failed above.
    const script = await located(transcript, async () => parse(transcript.text)).catch(() => ({
      native: "?",
    }));
    if (script.native) continue;
    test(`${transcript.name}: ${script.title}`, async (t) => {
      const run = (asleep) =>
        located(transcript, () => withServer(script.apps, (server) => play(server, script, asleep)));
      await t.test("awake", () => run(false));
      if (script.awake) return;
      await t.test("asleep between every two lines", async (sub) => {
        sub.diagnostic(`${await run(true)} times asleep`);
      });
    });
  }
}
