//! Every limit, with its reason and what happens past it. `docs/limits.md` is the same list for users.

/// Length of a channel name in characters; Pusher's own bound. Past it: 400 `invalid_channel`.
pub const CHANNEL_NAME_MAX: usize = 164;
/// Length of an event name in characters; Pusher's own bound. Past it: 400 `invalid_field`.
pub const EVENT_NAME_MAX: usize = 200;
/// Length of a message id (idempotency key) in bytes: room for two UUIDs and a prefix. Past it: 400 `invalid_field`.
pub const MESSAGE_ID_MAX: usize = 128;
/// Random hexadecimal digits of a connection id: 128 bits, which nobody guesses.
pub const CONNECTION_RANDOM: usize = 32;
/// Length of a connection id in bytes: its random digits, a colon and the longest name of a channel. One of the runtime's tags has to hold it (256
/// characters). Past it: 400 `invalid_field`.
pub const CONNECTION_ID_MAX: usize = CONNECTION_RANDOM + 1 + CHANNEL_NAME_MAX;

/// Size of one message's data in bytes unless a channel rule says otherwise; what the WebSocket guides advise. Past it: 413.
pub const MESSAGE_BYTES_DEFAULT: usize = 64 * 1024;
/// The most that a channel rule may allow one message: several have to fit a row (2 MB at most). Past it: `APPS` is refused.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// What a client's frame may have around its data (type, event, id). Past data and envelope together: close 1009.
pub const FRAME_ENVELOPE_BYTES: usize = 2 * 1024;
/// The longest frame that is looked at at all, in bytes (for text: UTF-16 units). Past it: close 1009.
pub const FRAME_BYTES_MAX: usize = MESSAGE_BYTES_MAX + FRAME_ENVELOPE_BYTES;
/// Body of one publish request: a batch of ten messages of the default size, with their envelopes. Past it: 413.
pub const PUBLISH_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Body of one request to Pusher's HTTP API: the same batch, whose `data` is JSON inside JSON and grows by its quotes, to about 1.7 times. Past it: 413.
pub const PUSHER_BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Messages in one `batch`; Pusher's own bound. Past it: 400 `invalid_field`.
pub const BATCH_MAX: usize = 10;
/// Channels in one publish; Pusher's own bound, and one request between objects each. Past it: 400 `invalid_field`.
pub const CHANNELS_PER_PUBLISH_MAX: usize = 100;
/// Objects asked at the same time by one publish or one listing of channels: the runtime opens six connections per request and queues the rest.
pub const CALLS_AT_ONCE: usize = 6;

/// Age of a signed request in seconds, either way; Pusher's own window. Past it: 401 `expired`.
pub const SIGNATURE_WINDOW_S: u64 = 600;
/// Size of a token in bytes: it travels in a header. Past it: 413.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Channel patterns in one token: each is tried on connecting. Past it: 401 `unauthorized`.
pub const TOKEN_PATTERNS_MAX: usize = 100;
/// Length of a user id in characters; Pusher's own bound. Past it: 401 `unauthorized`.
pub const USER_ID_MAX: usize = 128;
/// How far ahead of ours a token issuer's clock may be in seconds when `nbf` is judged. `exp` has no leeway.
pub const TOKEN_SKEW_S: u64 = 60;

/// Apps in `APPS`: it is one secret, and secrets hold 5 KB. Past it: `APPS` is refused.
pub const APPS_MAX: usize = 100;
/// Live secrets of one app: the old and the new one while a secret is rotated.
pub const SECRETS_MAX: usize = 2;
/// Shortest secret in bytes: guessing 16 random characters is hopeless.
pub const SECRET_BYTES_MIN: usize = 16;
/// Allowed origins of one app.
pub const ORIGINS_MAX: usize = 100;
/// Channel rules of one app: each is tried when a channel is looked up.
pub const RULES_MAX: usize = 100;

/// Messages that a channel keeps unless its rule says otherwise.
pub const HISTORY_SIZE_DEFAULT: u64 = 100;
/// The most messages that a rule may keep: the index of a channel's log is in memory.
pub const HISTORY_SIZE_MAX: u64 = 10_000;
/// How long a message is kept in seconds unless a channel rule says otherwise.
pub const HISTORY_TTL_S_DEFAULT: u64 = 600;
/// The longest that a rule may keep a message, in seconds (a week).
pub const HISTORY_TTL_S_MAX: u64 = 7 * 24 * 3600;
/// Bytes of messages that a channel keeps, whatever its count: a replay of all of them has to stay affordable.
/// Past it the oldest are out of the history (a `gap` says so).
pub const HISTORY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How long an id is remembered at least, in milliseconds: longer than any sane retry.
pub const ID_WINDOW_MS: u64 = 600_000;
/// Ids remembered per channel: 500,000 cost about 20 MB of memory. Past it the oldest are forgotten before their time
/// (at more than 830 messages with an id per second, for ten minutes).
pub const IDS_MAX: usize = 500_000;
/// Bytes of log on disk per channel, kept messages and remembered ids together. Past it the oldest ids are forgotten
/// before their time.
pub const LOG_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Rows of log per channel, kept messages and remembered ids together: about 100 bytes of memory each. Past it the oldest ids
/// are forgotten before their time.
pub const SEGMENTS_MAX: usize = 100_000;
/// Bytes of messages in one row of the log: a row holds 2 MB at most, and one message may be 256 KiB beyond.
pub const SEGMENT_BYTES_MAX: usize = 512 * 1024;

/// Publishes that may wait for the row before theirs. Past it: 503 `overloaded`.
pub const PENDING_MAX: usize = 2_048;
/// Bytes of messages that may wait for the row before theirs. Past it: 503 `overloaded`.
pub const PENDING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What a refused publisher is asked to wait, in seconds.
pub const RETRY_AFTER_S: u32 = 1;

/// Sockets in one object: the runtime allows 32,768. Past it: 503 `full`.
pub const SOCKETS_MAX: usize = 32_000;
/// Sockets that a channel's own object holds unless a rule says otherwise: a message is sent to all of them in one turn, in which nobody publishes; a Hub
/// costs it one request, however many sockets it has. Past it: 503 `full`, and the Worker goes on to a Hub.
pub const ROOM_SOCKETS_DEFAULT: usize = 4_000;
/// Frames per second and connection unless a rule says otherwise (Pusher's own bound for client events); bursts of
/// twice as many are let through. Past it: `rate_limited`, once for all in a row, and the frame is not looked at.
pub const CLIENT_RATE_DEFAULT: u32 = 10;
/// The highest rate that a rule may allow: one object does about 1,000 events per second for everyone together.
pub const CLIENT_RATE_MAX: u32 = 1_000;
/// Frames refused by rate, in a row, before the connection is closed with 4429.
pub const RATE_STRIKES_MAX: u32 = 100;

/// The newest messages that a first connection may ask for with `last`.
pub const LAST_MAX: u64 = 1_000;
/// What is replayed at once while connecting, in bytes of log. More is replayed in batches as the reader takes it.
pub const REPLAY_INLINE_BYTES: u64 = 16 * 1024;
/// One batch of a replay in bytes of log, and what is replayed in one turn to all readers together: between two turns what was
/// sent drains, and live messages get theirs. A whole round in one turn made publishes wait for seconds.
pub const REPLAY_BATCH_BYTES: usize = 64 * 1024;
/// Unsent bytes of one socket above which its next batch waits.
pub const REPLAY_SOCKET_BYTES: u32 = 64 * 1024;
/// Unsent bytes of all replays of an object above which none goes on: small frames cost ten times their bytes in the runtime's queues.
pub const REPLAY_TOTAL_BYTES: u64 = 8 * 1024 * 1024;
/// Pause in milliseconds when no reader can take anything.
pub const REPLAY_PAUSE_MS: u32 = 20;
/// How long a reader may take nothing of its replay, in milliseconds. Past it: close 4408.
pub const REPLAY_STALL_MS: u64 = 30_000;
/// When an interrupted replay is taken up again at the latest, in milliseconds, by alarm.
pub const REPLAY_LEASE_MS: u64 = 10_000;

/// Unsent bytes of one socket past which it is closed with 4408: the send queue has no other bound, and a reader that is
/// this far behind keeps the object awake. It loses nothing: the log has it.
pub const UNSENT_BYTES_MAX: u32 = 1024 * 1024;
/// Bytes that any one socket may have been sent, with what frames cost beside them, between two looks at the unsent bytes of all: looking at every send
/// to all costs 15 % of it. Whatever is said counts: messages, answers, refusals.
pub const UNSENT_LOOK_BYTES: usize = 256 * 1024;

/// What a frame that waits to be sent costs in the runtime beside its bytes, about: 1,000 replays of small frames showed 2.4 KB each.
pub const FRAME_COST_BYTES: usize = 2 * 1024;

/// Hubs that follow one channel: 256 requests of 32 Hubs each for what is published. A follower takes about 300 bytes of its Room's memory, so all of them take less
/// than 3 MB of the 128 that the objects of an isolate share. Past it: 503 `overloaded`.
pub const FOLLOWERS_MAX: usize = 8_192;
/// Followers of a channel that its Room calls itself: a request takes it 0.3 to 0.5 ms, so these about 0.1 s, in which nobody publishes. Past it a delivery goes to
/// groups of Hubs, with one request each. Past so many requests that are on their way, who has answered gets what came meanwhile in a group again.
pub const RELAY_FOLLOWERS: usize = 256;
/// Hubs that get a delivery with one request of the Room, the one that is called among them: the called one makes 31 requests, about 0.01 s of its time.
pub const RELAY_GROUP: usize = 32;
/// Other Hubs that one call may have a Hub hand a delivery on to: twice as many as a Room of this version asks for. Past it: 400 `invalid_field`.
pub const RELAY_OTHERS_MAX: usize = 62;
/// Deliveries that a Hub is handing on, of all channels: each is in its memory, up to half a megabyte. Past it the Hub takes what is for itself, and the
/// others are answered for with `overloaded`: their Room calls them itself.
pub const RELAYS_MAX: usize = 32;
/// Calls to other Hubs that a Hub has under way: one group. The others wait their turn.
pub const RELAY_CALLS_AT_ONCE: usize = 32;
/// How long a Hub waits for another that it handed a delivery on to, in milliseconds: the whole group waits with it. Past it that one is answered for as one that failed.
pub const RELAY_CALL_MS: u32 = 5_000;
/// How long a Room waits for a Hub that it brings something, in milliseconds: as long as it does for a group. Past it the delivery has failed and is tried again; a Hub whose isolate has
/// fallen never answers, and nothing else is brought to it meanwhile.
pub const DELIVERY_MS: u32 = RELAY_MS;
/// How long a Room waits for the answer for a group, in milliseconds: three times what its slowest Hub may take. Past it all of the group have failed.
pub const RELAY_MS: u32 = 15_000;
/// Length of a Hub's name in bytes: an app's id (64), a region and a number. Past it: 400 `invalid_field`.
pub const HUB_NAME_MAX: usize = 128;
/// Bytes of messages after which a delivery to a Hub ends: the next one goes when this one has been answered.
pub const DELIVERY_BYTES: usize = 256 * 1024;
/// When a delivery that failed is tried again, in milliseconds; twice as long each time.
pub const DELIVERY_RETRY_MS: u64 = 1_000;
/// The longest pause between two tries of a delivery, in milliseconds.
pub const DELIVERY_RETRY_MAX_MS: u64 = 30_000;
/// Deliveries that are tried again in one turn: each is a request, and an event may make 10,000. Past it they wait a second more.
pub const DELIVERY_TRIES_AT_ONCE: usize = 1_000;
/// When a Room that has delivered looks whether everybody has everything, at the latest, in milliseconds (ten minutes): nothing is written for a delivery, so one that
/// fell between storing and delivering does not know. One row and one waking for that time of use.
pub const DELIVERY_LOOK_MS: u64 = 600_000;
/// Bytes of the newest messages that are in memory for Hubs whose delivery is on its way. Past it they come from the log; where an ephemeral channel
/// keeps none, a `gap` says so.
pub const TAIL_BYTES: usize = 256 * 1024;
/// The newest messages that are in memory for Hubs: small ones cost about 100 bytes beside their own. Past it as with `TAIL_BYTES`.
pub const TAIL_MESSAGES: usize = 1_024;

/// Channels of one event stream at `/events`: its `Last-Event-ID` says where it is in each of them, and headers have their own bounds.
/// Past it: 400 `invalid_field`.
pub const EVENTS_CHANNELS_MAX: usize = 20;
/// Hubs that are tried for one client, or asked whether they have room: each is a request. 31 find the first with room behind 10,000 that are full; the others are for what
/// changes meanwhile. Past it: 503 `full`, and the next client begins where this one stopped.
pub const HUBS_TRIED_MAX: u32 = 40;
/// How long a Worker remembers which Hubs are full, in milliseconds, before it begins with the first again: its sockets may have gone.
pub const HUB_MEMORY_MS: u64 = 60_000;
/// Apps and regions for which a Worker remembers that: all there can be are fewer. Past it everything is forgotten, and learned again.
pub const HUB_PLACES_MAX: usize = 1_000;
/// How long a Worker remembers that a channel's own object is full, in milliseconds: its clients go to a Hub without asking it.
pub const FULL_ROOM_MEMORY_MS: u64 = 10_000;
/// Channels for which a Worker remembers that. Past it everything is forgotten, and learned again.
pub const FULL_ROOMS_MAX: usize = 1_000;

/// Messages on one page of history.
pub const PAGE_MESSAGES_MAX: u64 = 1_000;
/// Messages on a page when no limit is asked for.
pub const PAGE_MESSAGES_DEFAULT: u64 = 100;
/// Bytes of messages after which a page ends.
pub const PAGE_BYTES: usize = 1024 * 1024;

/// How often a channel that has listeners, but nothing left to keep, looks whether it may go, in milliseconds (a day).
pub const IDLE_LOOK_MS: u64 = 24 * 3600 * 1000;
/// Seconds between two comment lines on an event stream: proxies close what is silent for a minute.
pub const STREAM_COMMENT_S: u32 = 25;
/// Length of a message about what is wrong: it may quote what came in.
pub const REFUSAL_MESSAGE_MAX: usize = 300;

/// Sockets of one Hub unless the app says otherwise: a message to all of them is one turn of 4,000 sends, and with twenty channels each it is awake and has sent
/// within about 0.1 s (measured with workerd, on two cores). Past it the Worker goes on to the next Hub.
pub const HUB_SOCKETS_DEFAULT: usize = 4_000;
/// Channels of one connection: they have to fit its attachment. Past it: 413 `too_large`.
pub const SUBSCRIPTIONS_MAX: usize = 100;
/// Bytes of an attachment: the runtime's own bound is 16,384, and its encoding takes a few. Past it: 413 `too_large`.
pub const ATTACHMENT_BYTES: usize = 16_000;
/// Frames per second that a connection of many channels may send, twice as many at once: it subscribes to all of its channels when it
/// comes. Publishing has the rule's own rate beside it. Past it: `rate_limited`, once for all in a row, and the frame is not looked at.
pub const HUB_FRAME_RATE: u32 = 100;
/// Calls to Rooms that a Hub has under way: after a crash it follows thousands of channels anew. The others wait their turn.
pub const HUB_CALLS_AT_ONCE: usize = 32;
/// Calls to Rooms that wait for their turn in a Hub: four for each of its sockets. Past it subscribing and asking for history are refused: `overloaded`.
pub const HUB_CALLS_MAX: usize = 16_000;
/// Pages of one channel's history that one connection waits for in a Hub: nobody reads faster than one after the other. Past it: `rate_limited`.
pub const HISTORY_ASKED_MAX: usize = 8;
/// How long anybody waits for an object's answer where nothing else is said, in milliseconds: an object asks nobody before it answers, so it is its start and its disk that are waited for, a few seconds at worst, while one whose isolate has fallen never answers. Past it the call has failed, though it may have been done: a publish that is repeated with its `id` is stored once.
pub const CALL_MS: u32 = 15_000;
/// How long the Worker waits for the Directory that has a user's connections closed, in milliseconds: that one asks others, as long as `CALL_MS`. Past it the order stands, and is carried out.
pub const CLOSE_USER_MS: u32 = 2 * CALL_MS;
/// Messages of clients that wait for the call before theirs, per channel. Past it: `overloaded`.
pub const HUB_PENDING_MAX: usize = 256;
/// Bytes of messages of clients that wait for the call before theirs, per channel. Past it: `overloaded`.
pub const HUB_PENDING_BYTES: usize = 1024 * 1024;
/// How long a Hub goes on following a channel that nobody wants, in milliseconds: a page that is loaded again is back by then, and
/// the Hub is still awake. As long as for members: webhooks tell that a channel is vacant with it.
pub const UNFOLLOW_MS: u64 = 3_000;
/// How often a Hub follows all of its channels anew, in milliseconds (a day): whatever went wrong with a Room's list of followers is right again then. It costs a
/// request for each channel, and wakes its Room.
pub const HUB_REVIEW_MS: u64 = 24 * 3600 * 1000;

/// Size of a member's data in bytes; Pusher's own bound for `user_info`. Past it: 413 `too_large`.
pub const MEMBER_DATA_BYTES: usize = 1024;
/// The longest that an app may leave connections in Pusher's protocol unauthorised when it asks for a bound, in seconds: an hour. Past it: `APPS` is refused.
pub const AUTHORIZE_WITHIN_MAX_S: u64 = 3_600;
/// Users on the watchlist of one connection; Pusher's own bound. Past it: in-band error 4302, and none of them is watched.
pub const WATCHLIST_MAX: usize = 100;

/// Members of one channel, each with its data in the Room's memory while it is looked at: 20 MB at most. Past it: 503 `overloaded`.
pub const MEMBERS_MAX: usize = 20_000;
/// Members whom a newcomer is told at once: Pusher's own bound for a presence channel. Past it the count is told, and the list is paged over HTTP.
pub const MEMBERS_LISTED: usize = 100;
/// Joins and leaves in one frame: about 64 KB with small data. Past it there are several frames.
pub const MEMBERS_PER_FRAME: usize = 500;
/// Joins and leaves in one delivery to a Hub. Past it the others come with the next.
pub const MEMBERS_PER_DELIVERY: usize = 2_000;
/// How long the count of members may be too high in a client of Pusher's protocol when somebody has left a channel with more than `MEMBERS_LISTED` of them, in milliseconds:
/// it cannot take off whom it was not told of, so it is told anew who is there. One request of each of the channel's Hubs, and one row, for so much time in which somebody leaves.
pub const RELIST_MS: u64 = 10_000;
/// Members on one page of the list.
pub const MEMBERS_PAGE_MAX: u64 = 1_000;
/// Members on a page when no limit is asked for.
pub const MEMBERS_PAGE_DEFAULT: u64 = 100;
/// How long a member is kept after the last connection ended, in milliseconds: a page that is loaded again is no leave.
pub const LEAVE_GRACE_MS: u64 = 3_000;
/// How long members are kept whose connections vanished without a word (restart, deploy), in milliseconds: their clients are about to come back. With
/// `PRESENCE_LEASE_MS` it is less than a minute.
pub const LOST_GRACE_MS: u64 = 15_000;
/// How often an object that answers for members looks whether they are still there, in milliseconds: one waking and one row. A Hub always; a Room while it is followed.
pub const PRESENCE_LEASE_MS: u64 = 40_000;
/// How often a Room that has members of its own asks those who follow what they have, though nothing has changed for longer, in milliseconds (an hour; before that more and more seldom): it cannot tell whether it slept or
/// fell, and its alarm rings far more often. One or two requests to each.
pub const PRESENCE_LOOK_MS: u64 = 3600 * 1000;
/// Users whose coming or going waits in a Hub for the report before it, per channel. Past it the next report says who is there instead, and who has left is kept for
/// as long as one who vanished.
pub const REPORT_CHANGES_MAX: usize = 10_000;
/// The least time between two announcements of joins and leaves in a Room, in milliseconds: what happens meanwhile is announced together.
pub const MEMBERS_PAUSE_MS: u64 = 200;
/// The least time between two calls by which a Hub says how many sockets want a channel, in milliseconds, and between two announcements of the number of subscribers while
/// it is at most `COUNT_SMALL`. What happens meanwhile is told together.
pub const COUNT_PAUSE_MS: u64 = 200;
/// Subscribers of a channel up to which every change of their number is told at once: Pusher's own bound.
pub const COUNT_SMALL: u64 = 100;
/// The least time between two announcements of the number of subscribers above `COUNT_SMALL`, in milliseconds: Pusher's own pause.
pub const COUNT_LARGE_PAUSE_MS: u64 = 5_000;
/// When a Hub says again how many sockets want a channel, after a call that failed, in milliseconds: the Hub stays awake for it.
pub const COUNT_RETRY_MS: u64 = 5_000;
/// Rows of members who left, kept so that a Hub that is behind can be told of their leaving. Past it they go, and such a Hub gets the list anew.
pub const GONE_MAX: usize = 5_000;
/// How long an object waits before it tells the Directory that its last connection has gone, in milliseconds: a page that is loaded again is back by then, and
/// nothing was told.
pub const REPORT_PAUSE_MS: u64 = 3_000;
/// When a report to the Directory that failed is tried again, in milliseconds; twice as long each time.
pub const REPORT_RETRY_MS: u64 = 1_000;
/// The longest pause between two tries of a report, in milliseconds (five minutes).
pub const REPORT_RETRY_MAX_MS: u64 = 300_000;
/// Reports that fail in a row before the object is silent until something changes, or until it has slept: 40 minutes. The Directory is wrong about it for so long.
pub const REPORT_TRIES_MAX: u32 = 16;
/// Channels on one page of `GET /channels`: each costs a request to its Room. Past it: 400 `invalid_field`.
pub const CHANNELS_PAGE_MAX: u64 = 100;
/// Channels that the Directory names in one answer, about 100 KB. Past it there is another page.
pub const CHANNELS_NAMED_MAX: u64 = 1_000;
/// Channels in one answer of Pusher's listing, which has no pages: ten requests to the Directory, about half a megabyte. Past it: 400 `invalid_field`.
pub const CHANNELS_LISTED_MAX: usize = 10_000;
/// Channels whose Rooms one of Pusher's listings asks, six at a time: 4 s with workerd on two busy cores, and longer where they have to be woken. Past it the others are listed as the Directory has them, and may have been emptied
/// by a crash; where numbers are asked for: 400 `invalid_field`.
pub const CHANNELS_ASKED_MAX: usize = 500;
/// Requests to Hubs for one answer about channels, each about up to 100 of them: the runtime allows a request 10,000 of its own, and Rooms are asked as well. More than can follow
/// one channel. Past it: 503 `overloaded`, and after a publish the numbers are left out.
pub const HUBS_ASKED_MAX: usize = 9_000;
/// Objects that the Directory remembers to have struck out, so that a report that was overtaken does not bring one back. Past it that is forgotten, and the next listing
/// strikes it out again.
pub const STRUCK_MAX: usize = 1_000;
/// Hubs and Rooms that the Directory calls at the same time to close a user's connections. The others wait their turn.
pub const ORDER_CALLS_AT_ONCE: usize = 32;
/// Hubs and Rooms that an order reads at a time; after as many that failed it reads no more, and they come first when it goes on.
pub const ORDER_TARGETS: usize = 256;
/// Users whose connections are being closed, per app. Past it: 503 `overloaded`.
pub const ORDERS_MAX: usize = 100;
/// How long `DELETE /users/{id}/connections` waits for every object, in milliseconds. Past it the answer is `"done":false`, and it goes on.
pub const ORDER_ANSWER_MS: u64 = 10_000;
/// When objects that did not answer are called again, in milliseconds; twice as long each time.
pub const ORDER_RETRY_MS: u64 = 2_000;
/// The longest pause between two such tries, in milliseconds.
pub const ORDER_RETRY_MAX_MS: u64 = 300_000;
/// How long an order to close a user's connections is tried, in milliseconds (an hour). Past it it is given up, which is logged.
pub const ORDER_AGE_MAX_MS: u64 = 3_600_000;
/// When an order that a crash interrupted is taken up again at the latest, in milliseconds, by alarm.
pub const ORDER_LEASE_MS: u64 = 15_000;

/// Webhooks of one app: an event is a row for each that wants it. Past it: `APPS` is refused.
pub const WEBHOOKS_MAX: usize = 10;
/// Length of a webhook's URL in bytes. Past it: `APPS` is refused.
pub const WEBHOOK_URL_BYTES_MAX: usize = 1_024;
/// Requests to webhooks that a Room has under way, one to each: the runtime opens six connections at a time, and Hubs need theirs. The others wait their turn.
pub const WEBHOOK_CALLS_AT_ONCE: usize = 4;
/// How long a webhook's answer is waited for, in milliseconds: nobody else waits meanwhile, but the object is awake. Past it the request has failed.
pub const WEBHOOK_MS: u32 = 5_000;
/// When a request to a webhook that a crash interrupted is made again at the latest, in milliseconds, by alarm. One row and one waking for that time of use.
pub const WEBHOOK_LEASE_MS: u64 = 10_000;
/// When a request to a webhook that failed is tried again, in milliseconds; twice as long each time, and up to a quarter more by chance: many channels have the same origin.
pub const WEBHOOK_RETRY_MS: u64 = 1_000;
/// The longest pause between two tries of a request to a webhook, in milliseconds, but for that quarter: one waking and one row a minute for a channel whose origin is away.
pub const WEBHOOK_RETRY_MAX_MS: u64 = 60_000;
/// How long an event is kept for a webhook that does not take it, in milliseconds (an hour; Pusher tries for five minutes). Past it it is dropped and counted, and the count is told.
pub const WEBHOOK_AGE_MAX_MS: u64 = 3_600_000;
/// Events that one channel keeps for one webhook: all members of a full presence channel, and some. Past it the oldest are dropped and counted, and the count is told.
pub const WEBHOOK_EVENTS_MAX: usize = 25_000;
/// Bytes of events that one channel keeps for one webhook. Past it as with `WEBHOOK_EVENTS_MAX`.
pub const WEBHOOK_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Events in one request to a webhook that takes several, and in one row: each new one writes the row anew. Past it the next row begins.
pub const WEBHOOK_ROW_EVENTS: usize = 50;
/// Bytes of events after which a row, and a request to a webhook, ends: as above; one event may be as large as a message's data in JSON.
pub const WEBHOOK_ROW_BYTES: usize = 32 * 1024;
/// How often a channel with connections of its own whose webhooks want to know of it looks whether they are still there, in milliseconds (an hour): the end of one that a crash took is not told.
/// One waking and one row.
pub const WEBHOOK_LOOK_MS: u64 = 3_600_000;

/// Shortest id by which a tab resumes (`/r/<id>/app/…`) in characters: 16 random ones are not guessed. Past it: 4006.
pub const RESUME_ID_MIN: usize = 16;
/// Longest id by which a tab resumes in characters: an UUID has 36. Past it: 4006.
pub const RESUME_ID_MAX: usize = 64;
/// Pause in milliseconds between two pings of the server to a connection that resumes, while messages are sent to it: what was sent since the last one that was answered is what
/// is uncertain when the connection breaks. Nothing is sent to it when nothing was.
pub const RESUME_PING_MS: u64 = 200;
/// Pongs per second that a Hub asks all of its connections that resume for together: half of what one object can hear. With more of them the pause between two pings grows.
pub const RESUME_PONGS_PER_S: u64 = 500;
/// Messages that a tab that catches up is sent beyond what it has acknowledged: as many are uncertain at most when its connection is cut meanwhile. Past it the rest waits for its
/// pong, and is asked for then: one request for each window. A larger one would make longer gaps, a smaller one more requests and round trips: with a round trip of 50 ms it
/// catches up with 1,000 messages in a second, and a channel in which more than 64 come in one is faster than it. Where the pause between two pings is longer than
/// `RESUME_PING_MS` because there are many tabs, it is larger in proportion: else a tab could be slower than its channel.
pub const RESUME_WINDOW_MESSAGES: u64 = 64;
/// Bytes of such a window: what the log gives at once (`REPLAY_BATCH_BYTES`). Past it, by one message at most, as with `RESUME_WINDOW_MESSAGES`.
pub const RESUME_WINDOW_BYTES: usize = REPLAY_BATCH_BYTES;
/// Windows per second after which the ping goes out at once, not `RESUME_PING_MS` after the last, for all tabs of a Hub together: half as many pongs as it asks for anyway. Past
/// it such a ping waits for its turn, but no longer than another would.
pub const RESUME_WINDOWS_PER_S: u64 = 250;
/// How long a ping may be unanswered when the next message comes, in milliseconds. Past it nothing more is sent to that connection until it answers: it gets from the log what it
/// missed.
pub const RESUME_STALL_MS: u64 = 1_000;
/// Pause in milliseconds between two rows that say what the tabs of a Hub have of a channel: after a crash what came since is uncertain. One row for each channel with such tabs
/// and that time of use.
pub const RESUME_SAVE_MS: u64 = 1_000;
/// How long after connecting a tab may subscribe to a channel that it had and get what it missed, in milliseconds: stock clients do it at once, and ask for signatures first. Past
/// it, as soon as it answers a ping that was sent later, such a channel begins with what comes.
pub const RESUME_CLAIM_MS: u64 = 60_000;
/// How long a Hub keeps what a tab had that is away, in milliseconds (a day). Past it the tab is taken for a new one.
pub const RESUME_KEEP_MS: u64 = 24 * 3600 * 1000;
/// How often a Hub looks for what it has kept long enough, in milliseconds (an hour), when its alarm rings.
pub const RESUME_SWEEP_MS: u64 = 3600 * 1000;
/// Tabs that a Hub keeps, each with about 1 KB: ten for each socket that it may have. Past it those that were away longest are dropped.
pub const RESUME_ROWS_MAX: usize = 40_000;
/// Connections of a tab that are remembered, for messages that are kept from one of them: a request that was sent before the last reconnects names an older one.
pub const RESUME_NAMES_MAX: usize = 3;
/// How long a Hub waits for the one where a tab was before, in milliseconds: the tab's channels wait with it. Past it what it has is lost, and it is told so.
pub const RESUME_LOOK_MS: u32 = 5_000;
