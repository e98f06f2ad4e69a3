// The transcripts of presence, in rooms and Hubs, against the runtime.

import { isOfPresence, playAll } from "./transcripts.mjs";

await playAll(isOfPresence);
