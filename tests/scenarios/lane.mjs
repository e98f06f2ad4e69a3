// The order of what comes over a connection of many channels: only what is of the same lane has one. As core/tests/scenario/lane.rs has it.

const answers = new Set(["ack", "error", "history"]);

const pusherAnswers = new Set([
  "pusher:pong",
  "pusher:error",
  "pusher:signin_success",
  "pusher_internal:subscription_succeeded",
]);

/** A frame, or an event whose lines are joined by ` / `, as what it means; nothing for what is not JSON. */
export function meaning(text) {
  const at = text.indexOf("data: ");
  const isEvent = at >= 0 && !text.slice(0, at).includes("{");
  const json = isEvent ? text.slice(at + 6).replaceAll(" / data: ", "\n") : text;
  try {
    return Object(JSON.parse(json));
  } catch {
    return {};
  }
}

/** The name of the lane: of what is about no channel, the close included; of what comes of a channel; or of the answers about one, which may overtake it. */
export function laneOf(text) {
  const { type, channel } = meaning(text ?? "");
  if (typeof channel !== "string") return "connection";
  return answers.has(type) ? `answers about ${channel}` : `channel ${channel}`;
}

/** Whether a frame answers one that was sent: each is answered once. */
export function isAnswer(text) {
  const { type, code, event } = meaning(text ?? "");
  if (event !== undefined) return pusherAnswers.has(event);
  return answers.has(type) || type === "subscribed" || (type === "unsubscribed" && code === undefined);
}
