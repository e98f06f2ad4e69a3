// As `bare.js`, but publishes that come while a row is on its way to the disk share the next one.
import { DurableObject } from "cloudflare:workers";

export class Room extends DurableObject {
  constructor(state, env) {
    super(state, env);
    this.storage = state.storage;
    this.storage.sql.exec("CREATE TABLE IF NOT EXISTS m(id INTEGER PRIMARY KEY, n INTEGER, body TEXT)");
    this.waiting = [];
    this.flushing = false;
  }

  async fetch(request) {
    const body = await request.text();
    await new Promise((resolve) => {
      this.waiting.push({ body, resolve });
      if (!this.flushing) this.flush();
    });
    return new Response('{"ok":true}', { headers: { "content-type": "application/json" } });
  }

  async flush() {
    this.flushing = true;
    while (this.waiting.length > 0) {
      const group = this.waiting;
      this.waiting = [];
      const bodies = JSON.stringify(group.map(({ body }) => body));
      this.storage.sql.exec("INSERT INTO m(n, body) VALUES(?, ?)", group.length, bodies);
      for (const { resolve } of group) resolve();
      await this.storage.sync();
    }
    this.flushing = false;
  }
}

export default {
  fetch(request, env) {
    return env.ROOM.getByName(new URL(request.url).pathname).fetch(request);
  },
};
