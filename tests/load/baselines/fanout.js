// The least that a fan-out can be: what is posted goes to every socket as it is. Rooms called `kept` write a row for each message first.
import { DurableObject } from "cloudflare:workers";

export class Room extends DurableObject {
  constructor(state, env) {
    super(state, env);
    this.keeps = state.id.name === "/kept";
    this.sql = state.storage.sql;
    if (this.keeps) this.sql.exec("CREATE TABLE IF NOT EXISTS m(id INTEGER PRIMARY KEY, body TEXT)");
  }

  async fetch(request) {
    if (request.headers.get("upgrade")) {
      const [client, server] = Object.values(new WebSocketPair());
      this.ctx.acceptWebSocket(server);
      return new Response(null, { status: 101, webSocket: client });
    }
    const body = await request.text();
    if (this.keeps) this.sql.exec("INSERT INTO m(body) VALUES(?)", body);
    for (const socket of this.ctx.getWebSockets()) socket.send(body);
    return new Response('{"ok":true}', { headers: { "content-type": "application/json" } });
  }
}

export default {
  fetch(request, env) {
    return env.ROOM.getByName(new URL(request.url).pathname).fetch(request);
  },
};
