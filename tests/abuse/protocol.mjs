/** What `docs/protocol.md` says about refusals, read from there: the tests hold the server to its own page. */
import { readFileSync } from "node:fs";
import { at } from "../../tools/common.mjs";

const row = /^\| (\d{3}) \| (4\d{3})? *\| `(\w+)` \|/gm;
const page = readFileSync(at("docs/protocol.md"), "utf8");

/** The table: `{ status, close, code }`. */
export const refusals = [...page.matchAll(row)].map(([, status, close, code]) => ({ status, close, code }));

/** Every refusal as `exchange` words it, over HTTP (`"401 expired"`) and over a WebSocket (`"4401 expired"`). */
export const documented = new Set(
  refusals.flatMap(({ status, close, code }) => [
    `${status} ${code}`,
    ...(close ? [`${close} ${code}`] : []),
  ]),
);
// "Pusher's protocol", "What cannot be done".
for (const said of ["4001 not_found", "4006 invalid_field", "4007 invalid_field"]) documented.add(said);
// "Close codes without a status": a frame over the limit, told by the same error frame.
documented.add("1009 too_large");
