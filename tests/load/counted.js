// The Worker, and a count of the requests that its objects get, by class and path: `GET /counted`. One isolate has them all here. `GET /abort` drops
// all Rooms and Hubs with their sockets, as a deploy does, and counts anew.
import worker, { Directory, Hub, Room } from "./src/entry.js";

let counts = {};
const ids = { ROOM: new Set(), HUB: new Set() };

const counted = (name, Class) =>
  class {
    constructor(state, env) {
      this.object = new Class(state, env);
      this.state = state;
      ids[name.toUpperCase()].add(state.id.toString());
    }
    fetch(request) {
      const { pathname } = new URL(request.url);
      if (pathname === "/abort") return this.state.abort("as a deploy does");
      const path = `${name} ${pathname}`;
      counts[path] = (counts[path] ?? 0) + 1;
      return this.object.fetch(request);
    }
    alarm() {
      const ring = `${name} alarm`;
      counts[ring] = (counts[ring] ?? 0) + 1;
      return this.object.alarm();
    }
    webSocketMessage(...event) {
      return this.object.webSocketMessage(...event);
    }
    webSocketClose(...event) {
      return this.object.webSocketClose(...event);
    }
    webSocketError(...event) {
      return this.object.webSocketError(...event);
    }
  };

const CountedRoom = counted("Room", Room);
const CountedHub = counted("Hub", Hub);

export { CountedHub as Hub, CountedRoom as Room, Directory };

async function abort(env) {
  const stubs = Object.entries(ids).flatMap(([binding, known]) =>
    [...known].map((id) => env[binding].get(env[binding].idFromString(id))),
  );
  // The call ends with its object.
  await Promise.allSettled(stubs.map((stub) => stub.fetch("http://object/abort")));
  counts = {};
  return Response.json({ aborted: stubs.length });
}

export default {
  fetch(request, env, ctx) {
    const { pathname } = new URL(request.url);
    if (pathname === "/counted") return Response.json(counts);
    if (pathname === "/abort") return abort(env);
    return worker.fetch(request, env, ctx);
  },
};
