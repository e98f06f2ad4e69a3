// The Worker, and a count of the requests that its objects get, by class and path: `GET /counted`. One isolate has them all here.
import worker, { Directory, Hub, Room } from "./src/entry.js";

const counts = {};

const counted = (name, Class) =>
  class {
    constructor(state, env) {
      this.object = new Class(state, env);
    }
    fetch(request) {
      const path = `${name} ${new URL(request.url).pathname}`;
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

export default {
  fetch(request, env, ctx) {
    if (new URL(request.url).pathname === "/counted") return Response.json(counts);
    return worker.fetch(request, env, ctx);
  },
};
