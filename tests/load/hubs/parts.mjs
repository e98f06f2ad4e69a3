/** What load tests that kill the server have in common. */
import { sleep } from "../../workerd.mjs";
import { startPoster } from "../crowd.mjs";
import { credentials } from "../load.mjs";
import { numbered } from "../numbers.mjs";

const retryMs = 100;
const authorization = `Basic ${Buffer.from(credentials).toString("base64")}`;

/** The JSON that the server answers to its app. */
export const read = async (server, path) =>
  (await fetch(server.url + path, { headers: { authorization } })).json();

/** Waits until the lists of members, and the Directory, say that each of `parts` has so many members, each with one connection; with what they said last if they do not. */
export async function isRight(server, parts, members, limitMs = 120_000) {
  const whole = (channel) => channel.members === members && channel.connections === members;
  for (const end = Date.now() + limitMs; ; await sleep(200)) {
    const { channels } = await read(server, "/channels?prefix=presence-");
    if (channels.length === parts.length && channels.every(whole)) break;
    if (Date.now() > end)
      throw new Error(`the directory is wrong: ${JSON.stringify(channels).slice(0, 500)}`);
  }
  for (const channel of parts) {
    const page = await read(server, `/channels/${channel}/members?limit=1000`);
    if (page.count !== members || page.members.length !== members)
      throw new Error(`${channel} has ${page.count} members`);
  }
}

/** Publishes numbered messages; one that is not answered is repeated with its id until it is. */
export function startPublisher(server) {
  const publisher = { goals: {}, repeated: 0, isOver: false };
  const publish = async ({ post }, channel) => {
    const number = (publisher.goals[channel] ?? 0) + 1;
    const body = `{"channel":"${channel}","data":${numbered(number)},"id":"id-${number}"}`;
    for (;;) {
      const answer = await post(body).catch(() => undefined);
      if (answer?.status === 200) break;
      if (answer && answer.status < 500)
        throw new Error(`${channel} was answered ${answer.status}: ${answer.text}`);
      publisher.repeated++;
      await sleep(retryMs);
    }
    publisher.goals[channel] = number;
  };
  publisher.once = async (channels) => {
    const poster = startPoster(server, "/publish", credentials);
    for (const channel of channels) await publish(poster, channel);
    poster.stop();
  };
  publisher.live = async (channels, pauseMs) => {
    const poster = startPoster(server, "/publish", credentials);
    for (let nth = 0; !publisher.isOver; nth++) {
      await publish(poster, channels[nth % channels.length]);
      await sleep(pauseMs);
    }
    poster.stop();
  };
  return publisher;
}
