// The least that a durable publish can be: one row, one answer. No credentials, no ids, no positions, no readers.
import { DurableObject } from "cloudflare:workers";

export class Room extends DurableObject {
  constructor(state, env) {
    super(state, env);
    this.sql = state.storage.sql;
    this.sql.exec("CREATE TABLE IF NOT EXISTS m(id INTEGER PRIMARY KEY, body TEXT)");
  }

  async fetch(request) {
    const body = await request.text();
    this.sql.exec("INSERT INTO m(body) VALUES(?)", body);
    return new Response('{"ok":true}', { headers: { "content-type": "application/json" } });
  }
}

export default {
  fetch(request, env) {
    return env.ROOM.getByName(new URL(request.url).pathname).fetch(request);
  },
};
