// The transcripts in Pusher's protocol, against the runtime.

import { isOfPusher, playAll } from "./transcripts.mjs";

await playAll(isOfPusher);
