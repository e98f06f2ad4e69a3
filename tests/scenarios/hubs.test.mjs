// The transcripts in which a Hub has a part, against the runtime.

import { isOfHubs, isOfPresence, isOfPusher, playAll } from "./transcripts.mjs";

await playAll((one) => isOfHubs(one) && !isOfPresence(one) && !isOfPusher(one));
