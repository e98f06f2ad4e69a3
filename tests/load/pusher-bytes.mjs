/** What pusher-js 8.6 says over the wire, byte for byte: tests/pusher/bytes.test.mjs compares. */
import { createHmac } from "node:crypto";

/** The address to which it connects, after scheme and host. */
export const pathOf = (key) => `/app/${key}?protocol=7&client=js&version=8.6.0&flash=false`;

const said = (event, data) => JSON.stringify({ event, data });

/** What it sends when nothing has come for a while. */
export const ping = said("pusher:ping", {});

/** What it answers to the server's ping. */
export const pong = said("pusher:pong", {});

/** What an app's own server returns to a page that asks whether it may have a channel. */
export const signOf = ({ key, secret }, text) =>
  `${key}:${createHmac("sha256", secret).update(text).digest("hex")}`;

/** How it subscribes; `sign` returns the signature of a text, `user` is who is there in a presence channel. */
export function subscribe({ channel, socketId, sign, user }) {
  if (!/^(private|presence)-/.test(channel)) return said("pusher:subscribe", { auth: "", channel });
  const data = channel.startsWith("presence-") ? JSON.stringify({ user_id: user }) : undefined;
  const text = [socketId, channel, ...(data === undefined ? [] : [data])].join(":");
  return said("pusher:subscribe", { auth: sign(text), channel_data: data, channel });
}

/** How it leaves a channel. */
export const unsubscribe = (channel) => said("pusher:unsubscribe", { channel });
