// The transcripts in which a Hub has a part, against the runtime.

import { isOfHubs, isOfPresence, playAll } from "./transcripts.mjs";

await playAll((transcript) => isOfHubs(transcript) && !isOfPresence(transcript));
