// Asking a server about its channels and connections, as an app's own server does.
import assert from "node:assert/strict";
import { basic, until } from "../clients/client.mjs";

const headersWith = (authorization) => (authorization === null ? {} : { authorization });

async function ask(server, method, path, authorization = basic()) {
  const response = await fetch(server.url + path, { method, headers: headersWith(authorization) });
  const text = await response.text();
  return { status: response.status, json: text.startsWith("{") ? JSON.parse(text) : undefined, text };
}

/** `GET /channels`: status and JSON of the answer. */
export const channelsOf = (server, query = "", authorization) =>
  ask(server, "GET", `/channels${query}`, authorization);

/** Names and numbers of the channels that have connections and whose names begin so. */
export async function occupied(server, prefix, more = "") {
  const { status, json, text } = await channelsOf(server, `?prefix=${encodeURIComponent(prefix)}${more}`);
  assert.equal(status, 200, text);
  return Object.fromEntries(json.channels.map(({ channel, connections }) => [channel, connections]));
}

/** Waits until these are all the channels that have connections and whose names begin so. */
export async function lists(server, prefix, expected) {
  let last;
  const right = async () => {
    last = await occupied(server, prefix);
    try {
      assert.deepEqual(last, expected);
      return true;
    } catch {
      return false;
    }
  };
  await until(() => `${JSON.stringify(expected)}, there is ${JSON.stringify(last)}`, right, 20_000);
}

/** `DELETE /connections/{id}`. */
export const closeConnection = (server, id, authorization) =>
  ask(server, "DELETE", `/connections/${encodeURIComponent(id)}`, authorization);

/** `DELETE /users/{id}/connections`. */
export const closeUser = (server, user, authorization) =>
  ask(server, "DELETE", `/users/${encodeURIComponent(user)}/connections`, authorization);
