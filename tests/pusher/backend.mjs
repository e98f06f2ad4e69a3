/** What an application has beside Dormouse: a server that authorises its users with Pusher's SDK, and hears webhooks; with the pages that browsers load. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import Pusher from "pusher";
import { at } from "../../tools/common.mjs";

/** The app's id; a number, as Pusher's are: the SDK for Python takes nothing else. */
export const appId = "4711";
export const key = "pusher-key";
/** The secret by which local addresses may be told of events. */
export const secret = "dev-secret";
/** Of encrypted channels: Dormouse never sees it. */
export const masterKey = Buffer.alloc(32, "dormouse").toString("base64");

const url = (port) => `http://127.0.0.1:${port}`;

/** Pusher's own SDK for Node servers, with its host changed and nothing else. */
export const sdkFor = (server, more = {}) =>
  new Pusher({
    appId,
    key,
    secret,
    host: "127.0.0.1",
    port: new URL(server.url).port,
    useTLS: false,
    encryptionMasterKeyBase64: masterKey,
    ...more,
  });

const pages = {
  "/": ["text/html", () => "<!doctype html><title>Pusher</title><script src=/pusher.js></script>"],
  "/pusher.js": [
    "text/javascript",
    () => readFileSync(at("node_modules/pusher-js/dist/web/pusher-with-encryption.min.js")),
  ],
  "/echo.js": ["text/javascript", () => readFileSync(at("node_modules/laravel-echo/dist/echo.iife.js"))],
};

const headers = {
  "access-control-allow-origin": "*",
  "access-control-allow-headers": "*",
};

async function bodyOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/**
 * Starts it, on a free port unless one is named. `url`; `asked` has what clients wanted to be authorised for, `hooks` the webhooks that came, as the SDK takes them. Who a client is
 * it says itself, in `user`; a channel with `forbidden` in its name nobody may have. `answer` may replace the authorisation of a channel.
 */
export async function startBackend(server, port = 0) {
  const backend = { asked: [], hooks: [], hookStatus: 200, sdk: sdkFor(server), watchlists: {} };
  const routes = {
    "/pusher/auth"(form) {
      const [channel, socket, user] = ["channel_name", "socket_id", "user"].map((name) => form.get(name));
      backend.asked.push({ channel, socket, user });
      if (channel.includes("forbidden")) return [403, "Forbidden"];
      const data = channel.startsWith("presence-") && { user_id: user, user_info: { name: `${user} 🐭` } };
      const signed = backend.sdk.authorizeChannel(socket, channel, data || undefined);
      return [200, JSON.stringify(backend.answer?.(signed, { channel, socket, user }) ?? signed)];
    },
    "/pusher/user-auth"(form) {
      const [socket, user] = ["socket_id", "user"].map((name) => form.get(name));
      const watchlist = backend.watchlists[user];
      const data = { id: user, user_info: { name: `${user} 🐭` }, ...(watchlist ? { watchlist } : {}) };
      return [200, JSON.stringify(backend.sdk.authenticateUser(socket, data))];
    },
  };
  const http = createServer(async (request, response) => {
    const path = request.url.split("?")[0];
    const body = await bodyOf(request);
    if (path === "/hooks") {
      backend.hooks.push({ headers: request.headers, rawBody: body, status: backend.hookStatus });
      return response.writeHead(backend.hookStatus).end();
    }
    if (request.method === "OPTIONS") return response.writeHead(204, headers).end();
    const page = pages[path];
    if (page) return response.writeHead(200, { "content-type": page[0] }).end(page[1]());
    const route = routes[path];
    if (!route) return response.writeHead(404).end();
    const [status, text] = route(new URLSearchParams(body));
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(text);
  });
  await new Promise((done, failed) => http.once("error", failed).listen(port, "127.0.0.1", done));
  backend.url = url(http.address().port);
  backend.close = () => {
    http.closeAllConnections();
    return new Promise((done) => http.close(done));
  };
  return backend;
}
