/** Pusher's server SDKs, each in its own language, behind one set of calls. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { rustSdk } from "../../tools/setup.mjs";
import { Program } from "../clients/program.mjs";
import { runPython } from "../clients/python.mjs";
import { appId, key, masterKey, sdkFor, secret } from "./backend.mjs";

const infoOf = ({ info, prefix }) => ({
  ...(info ? { info: info.join(",") } : {}),
  ...(prefix ? { filter_by_prefix: prefix } : {}),
});

/** The SDK for Node: what others do with a line of JSON. */
function node(server, by = secret) {
  const sdk = sdkFor(server, { secret: by });
  const get = async (path, params) => (await sdk.get({ path, params })).json();
  const calls = {
    trigger: async ({ channels, name, data, socket_id: socket }) =>
      (await sdk.trigger(channels, name, data, socket ? { socket_id: socket } : undefined)).json(),
    batch: async ({ batch }) => (await sdk.triggerBatch(batch)).json(),
    channels: async (line) => (await get("/channels", infoOf(line))).channels,
    channel: (line) => get(`/channels/${line.channel}`, infoOf(line)),
    users: async ({ channel }) => (await get(`/channels/${channel}/users`)).users.map(({ id }) => id),
    send_to_user: async ({ user, name, data }) => (await sdk.sendToUser(user, name, data)).json(),
    authorize: ({ channel, socket_id: socket, data }) => sdk.authorizeChannel(socket, channel, data),
    user: ({ socket_id: socket, data }) => sdk.authenticateUser(socket, data),
    webhook({ key: of, signature, body }) {
      const headers = {
        "x-pusher-key": of,
        "x-pusher-signature": signature,
        "content-type": "application/json",
      };
      const hook = sdk.webhook({ headers, rawBody: body });
      return hook.isValid() ? hook.getEvents() : null;
    },
  };
  return {
    async ask({ do: call, ...line }) {
      try {
        return { ok: await calls[call](line) };
      } catch (error) {
        return { error: `${error.status} ${error.body ?? error.message}` };
      }
    },
    kill() {},
  };
}

const python = (server, by = secret) => {
  const { hostname, port } = new URL(server.url);
  return runPython("tests/pusher/sdk.py", [hostname, port, appId, key, by, masterKey]);
};

const rust = (server, by = secret) => {
  assert.ok(existsSync(rustSdk), `${rustSdk} is missing: \`npm test\` compiles it`);
  return new Program(rustSdk, [new URL(server.url).host, appId, key, by]);
};

/** How each is started, maybe with another secret, and what it has no call for. */
export const sdks = {
  Node: { start: node, lacks: [] },
  Python: { start: python, lacks: [] },
  Rust: { start: rust, lacks: ["batch", "send_to_user", "user", "encryption"] },
};

/** A function that asks an SDK, and throws what it throws. */
export function askerOf(program) {
  return async (line) => {
    const { ok, error } = await program.ask(line);
    if (error !== undefined) throw new Error(error);
    return ok;
  };
}
