// The transcripts in which a Hub has a part, against the runtime.

import { isOfHubs, playAll } from "./transcripts.mjs";

await playAll(isOfHubs);
