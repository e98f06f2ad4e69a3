/**
 * An entry point that counts the requests that Hubs get, by path, and can have Hubs fail. Worker and objects are in one isolate here, so they share what a module
 * remembers. `POST /hubs` reads the counts and begins anew; from then on, as its body says, the Hub with the name `broken` throws, and with `old` they
 * all do not know the call to hand something on, as before a deploy. A WebSocket at `/hubs/{name}` goes into the Hub of that name, and the Worker knows nothing of it.
 */
export const counting = `
import worker, { Directory, Hub as Counted, Room } from "./src/entry.js";
let counts = {};
let wanted = {};
const unknown = { error: { code: "not_found", message: "no such call" } };
export { Directory, Room };
export class Hub {
  constructor(state, env) {
    this.name = state.id.name;
    this.hub = new Counted(state, env);
  }
  fetch(request) {
    const path = request.url.slice(request.url.lastIndexOf("/"));
    counts[path] = (counts[path] ?? 0) + 1;
    if (this.name === wanted.broken) throw new Error("it is broken");
    if (wanted.old && path === "/relay") return Response.json(unknown, { status: 404 });
    return this.hub.fetch(request);
  }
  alarm() {
    return this.hub.alarm();
  }
  webSocketMessage(...event) {
    return this.hub.webSocketMessage(...event);
  }
  webSocketClose(...event) {
    return this.hub.webSocketClose(...event);
  }
  webSocketError(...event) {
    return this.hub.webSocketError(...event);
  }
}
export default {
  async fetch(request, env, ctx) {
    const [, hubs, name] = new URL(request.url).pathname.split("/");
    if (hubs !== "hubs") return worker.fetch(request, env, ctx);
    if (name) return env.HUB.getByName(name).fetch("https://hub/connect", request);
    const counted = counts;
    counts = {};
    wanted = await request.json();
    return Response.json(counted);
  },
};
`;
