import { WebSocket as ReconnectingWebSocket } from "partysocket";

/** Closed with one of these, the request itself has to change: the same attempt again would end the same way. */
export const FINAL_CODES = new Set([4400, 4401, 4403, 4404, 4413]);

// Full jitter. After a deploy every client comes back at once; a delay drawn from the whole range spreads them evenly.
const fullJitter = (attempt) => Math.random() * Math.min(30_000, 1_000 * 2 ** attempt);

/**
 * Joins a room and stays in it. `room` is its wss:// address, `position` where an earlier visit ended.
 * `onframe(frame, position, text)` gets every frame once; `onwait(ms)` hears of each attempt before its delay.
 */
export function join(room, onframe, { position = "", onwait } = {}) {
  // partysocket's own delays are not random, but before each attempt it awaits this function: so the wait is here.
  const url = async () => {
    const delay = socket.retryCount > 0 ? fullJitter(socket.retryCount - 1) : 0;
    onwait?.(delay);
    await new Promise((resolve) => setTimeout(resolve, delay));
    const address = new URL(room);
    if (position) address.searchParams.set("position", position);
    return address.href;
  };
  const socket = new ReconnectingWebSocket(url, [], {
    minReconnectionDelay: 0,
    connectionTimeout: 10_000,
    shouldReconnectOnClose: (event) => !FINAL_CODES.has(event.code),
  });
  socket.addEventListener("message", ({ data }) => {
    if (data === "pong") return;
    const frame = JSON.parse(data);
    if (frame.type === "message" && seen(frame.position, position)) return;
    // An ack tells where one message went, not how far this client has read: others may still be on their way.
    if (frame.position && frame.type !== "ack") position = frame.position;
    onframe(frame, position, data);
  });
  return socket;
}

// A position is "epoch:seq". Across epochs nothing can be compared, so nothing counts as seen.
function seen(position, last) {
  const [epoch, seq] = position.split(":");
  const [lastEpoch, lastSeq] = last.split(":");
  return epoch === lastEpoch && Number(seq) <= Number(lastSeq);
}

/** Pings keep a quiet socket from being closed on the way; one left unanswered is the only sign of a line that died silently. */
export function keepAlive(socket, onpong) {
  let timer;
  let pingedAt = 0;
  const ping = () => {
    if (pingedAt) return socket.reconnect(4000, "no pong");
    pingedAt = performance.now();
    socket.send("ping");
  };
  socket.addEventListener("open", () => {
    clearInterval(timer);
    pingedAt = 0;
    timer = setInterval(ping, 25_000);
    ping();
  });
  socket.addEventListener("close", () => clearInterval(timer));
  socket.addEventListener("message", ({ data }) => {
    if (data !== "pong") return;
    onpong?.(performance.now() - pingedAt);
    pingedAt = 0;
  });
}
