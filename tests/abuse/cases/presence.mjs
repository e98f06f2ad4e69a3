// Presence channels: who may not join, what a member may not show, and who may not read the list.
import { basic, inSeconds, token } from "../../clients/client.mjs";
import { open, shut } from "../server.mjs";
import { frame } from "../wire.mjs";

const [secret] = open.secrets;
const claims = { sub: "u", exp: inSeconds(3600), channels: { "presence-a": ["sub"] } };
const make = (more, options) => token({ ...claims, ...more }, { secret, ...options });
const good = make();
const named = make({ info: { name: "U" } });
const quoted = (count) => `"${"x".repeat(count - 2)}"`;

const doors = [
  ["no token", "", "unauthorized"],
  ["a token of another app", `&token=${make({}, { secret: shut.secrets[0] })}`, "unauthorized"],
  ["a token that has expired", `&token=${make({ exp: 1 })}`, "expired"],
  ["a token without a user", `&token=${make({ sub: undefined })}`, "forbidden"],
  ["a token for nothing", `&token=${make({ channels: {} })}`, "forbidden"],
  ["a token for another channel", `&token=${make({ channels: { "presence-b": ["sub"] } })}`, "forbidden"],
  ["a token that only lets publish", `&token=${make({ channels: { "presence-a": ["pub"] } })}`, "forbidden"],
  ["an empty user", `&token=${make({ sub: "" })}`, "unauthorized"],
  ["a user of 129 characters", `&token=${make({ sub: "u".repeat(129) })}`, "unauthorized"],
  ["a user of 129 mice", `&token=${make({ sub: "🐭".repeat(129) })}`, "unauthorized"],
  ["a user that is a number", `&token=${make({ sub: 7 })}`, "unauthorized"],
  ["a user that is a list", `&token=${make({ sub: ["u"] })}`, "unauthorized"],
];

const shows = [
  ["data of 1,025 bytes", `&token=${good}&data=${encodeURIComponent(quoted(1025))}`, "too_large"],
  ["data of 342 mice", `&token=${good}&data=${encodeURIComponent(`"${"🐭".repeat(342)}"`)}`, "too_large"],
  ["data of 1,025 spaces", `&token=${good}&data=${"%20".repeat(1025)}`, "too_large"],
  ["data of 7,000 brackets", `&token=${good}&data=${"[".repeat(7000)}`, "too_large"],
  ["data in the token and the query", `&token=${named}&data=1`, "invalid_field"],
  ["the same data in the token and the query", `&token=${named}&data={"name":"U"}`, "invalid_field"],
  ["info of 1,025 bytes", `&token=${make({ info: "x".repeat(1023) })}`, "too_large"],
  ["bad data beside a token with info", `&token=${named}&data=x`, "invalid_field"],
  ...[
    "",
    " ",
    "x",
    "{",
    "{}{}",
    "{}x",
    "[1,]",
    "'x'",
    "undefined",
    "NaN",
    "01",
    '"a\nb"',
    '"\\ud8"',
    '{"a":}',
    "\0",
    "[".repeat(1024),
  ].map((data) => [
    `data=${JSON.stringify(data.slice(0, 20))}`,
    `&token=${good}&data=${encodeURIComponent(data)}`,
    "invalid_field",
  ]),
];

const statuses = {
  unauthorized: 401,
  expired: 401,
  forbidden: 403,
  too_large: 413,
  invalid_field: 400,
};
const refused = (code, more) => ({
  expected: `${more?.ws ? 4000 + statuses[code] : statuses[code]} ${code}`,
});

const rooms = [...doors, ...shows].flatMap(([name, query, code]) => {
  const at = (path, more) => ({
    request: { path: `${path}key=open-key${query.replaceAll('"', "%22")}`, ...more },
  });
  return [
    {
      name: `a presence room with ${name}`,
      ...at("/rooms/presence-a?", { ws: true }),
      ...refused(code, { ws: true }),
    },
    {
      name: `a stream of a presence room with ${name}`,
      ...at("/rooms/presence-a?", { sse: true }),
      ...refused(code),
    },
    {
      name: `a stream of a public and a presence channel with ${name}`,
      ...at("/events?channels=lobby,presence-a&", { sse: true }),
      ...refused(code),
    },
  ];
});

const authorised = { headers: { authorization: basic(open.key, secret) } };
const asked = (name, query, expected, more) => ({
  name: `the members ${name}`,
  request: { path: `/channels/presence-a/members${query}`, ...more },
  expected,
});
const members = [
  asked("for nobody", "", "401 unauthorized"),
  asked("for the key alone", "?key=open-key", "401 unauthorized"),
  asked("for a wrong secret", "", "401 unauthorized", {
    headers: { authorization: basic(open.key, "wrong") },
  }),
  asked("for another app's secret", "", "401 unauthorized", {
    headers: { authorization: basic(open.key, shut.secrets[0]) },
  }),
  ...doors.map(([name, query, code]) =>
    asked(`with ${name}`, `?key=open-key${query}`, `${statuses[code]} ${code}`),
  ),
  asked("with a bad token beside good credentials", "?key=open-key&token=x", "401 unauthorized", authorised),
  asked(
    "from a page of elsewhere",
    `?key=shut-key&token=${make({}, { secret: shut.secrets[0] })}`,
    "403 forbidden",
    {
      headers: { origin: "https://evil.example" },
    },
  ),
  ...["0", "-1", "1001", "1e3", "1.5", "", " ", "ten", "0x10", "99999999999999999999", "+5"].map((limit) =>
    asked(`limit=${limit}`, `?limit=${encodeURIComponent(limit)}`, "400 invalid_field", authorised),
  ),
  ...["u".repeat(129), "🐭".repeat(129)].map((after) =>
    asked(
      `after=${after.slice(0, 4)}…`,
      `?after=${encodeURIComponent(after)}`,
      "400 invalid_field",
      authorised,
    ),
  ),
  asked("limit and after", "?limit=0&after=u", "400 invalid_field", authorised),
  ...[
    "lobby",
    "private-a",
    "Presence-a",
    "presence",
    "%23server-to-user-1",
    "presence-%00",
    "presence-a%2Fb",
  ].map((channel) => ({
    name: `the members of ${channel}`,
    request: { path: `/channels/${channel}/members`, ...authorised },
    expected: "400 invalid_channel",
  })),
  ...["POST", "PUT", "DELETE", "OPTIONS"].map((method) => ({
    name: `${method} the members`,
    request: { method, path: "/channels/presence-a/members", ...authorised },
    expected: "405 method_not_allowed",
  })),
  ...["members/", "members/u", "Members", "member"].map((end) => ({
    name: `GET /channels/presence-a/${end}`,
    request: { path: `/channels/presence-a/${end}`, ...authorised },
    expected: "404 not_found",
  })),
];

export const presence = [...rooms, ...members];

const subscribe = (more) => JSON.stringify({ type: "subscribe", channel: "presence-a", ...more });
const F = "error invalid_field";
const J = "error invalid_json";
const frames = [
  ["data for a public channel", good, subscribe({ channel: "lobby", data: 1 }), F],
  ["data for a private channel", good, subscribe({ channel: "private-a", data: 1 }), F],
  ["data for a user's channel", good, subscribe({ channel: "#server-to-user-u", data: 1 }), F],
  ["null for a public channel", good, subscribe({ channel: "lobby", data: null }), F],
  ["data of 1,025 bytes", good, subscribe({ data: "x".repeat(1023) }), "error too_large"],
  [
    "data of 30,000 brackets",
    good,
    `${subscribe().slice(0, -1)},"data":${"[".repeat(15_000)}${"]".repeat(15_000)}}`,
    "error too_large",
  ],
  ["data beside the token's info", named, subscribe({ data: 1 }), F],
  ["data beside the info of the subscription's token", good, subscribe({ data: 1, token: named }), F],
  [
    "info of 1,025 bytes with the subscription",
    good,
    subscribe({ token: make({ info: "x".repeat(1023) }) }),
    "error too_large",
  ],
  ["a token without a user", make({ sub: undefined }), subscribe(), "error forbidden"],
  ["another user's token", good, subscribe({ token: make({ sub: "v" }) }), "error forbidden"],
  [
    "a token with a user of 129 characters",
    good,
    subscribe({ token: make({ sub: "u".repeat(129) }) }),
    "error unauthorized",
  ],
  ["no token", undefined, subscribe(), "error unauthorized"],
  ["another channel", good, subscribe({ channel: "presence-b" }), "error forbidden"],
  ["data that is no JSON", good, `${subscribe().slice(0, -1)},"data":x}`, J],
  ["data twice", good, `${subscribe().slice(0, -1)},"data":1,"data":2}`, J],
  ["info in the frame", good, subscribe({ info: 1 }), J],
  ["a user in the frame", good, subscribe({ user: "v" }), J],
  ["data with an unsubscribe", good, subscribe({ type: "unsubscribe", data: 1 }), F],
  ["members as a type", good, subscribe({ type: "members" }), F],
  ["presence as a type", good, subscribe({ type: "presence" }), F],
];

/** Frames over a connection of many channels. */
export const subscribes = frames.map(([name, own, text, expected]) => ({
  name: `subscribing with ${name}`,
  path: "/connect",
  query: own ? `&token=${own}` : "",
  bytes: [frame(text)],
  expected,
}));
