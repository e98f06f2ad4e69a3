// The least that waking can be: all attachments are read, and who wants the channel gets what is posted as it is.
import { DurableObject } from "cloudflare:workers";

export class Room extends DurableObject {
  async fetch(request) {
    if (request.headers.get("upgrade")) {
      const [client, server] = Object.values(new WebSocketPair());
      this.ctx.acceptWebSocket(server);
      return new Response(null, { status: 101, webSocket: client });
    }
    const body = await request.text();
    this.audiences ??= this.restore();
    for (const socket of this.audiences.get(JSON.parse(body).channel) ?? []) socket.send(body);
    return new Response('{"ok":true}', { headers: { "content-type": "application/json" } });
  }

  restore() {
    const audiences = new Map();
    for (const socket of this.ctx.getWebSockets()) {
      for (const { c: channel } of JSON.parse(socket.deserializeAttachment()).s) {
        const audience = audiences.get(channel);
        if (audience) audience.push(socket);
        else audiences.set(channel, [socket]);
      }
    }
    return audiences;
  }

  webSocketMessage(socket, text) {
    socket.serializeAttachment(text);
    socket.send("ok");
  }
}

export default {
  fetch(request, env) {
    // Whether it is up is asked before there are sockets: the object would remember that there are none.
    if (new URL(request.url).pathname === "/up") return new Response("ok");
    return env.ROOM.getByName("only").fetch(request);
  },
};
