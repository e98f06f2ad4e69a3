/** What a client knows of who is there, from the frames that it was told: what any client has to keep. */
export function view(frames, channel) {
  let users;
  let count;
  const faults = [];
  for (const frame of frames.filter((frame) => frame.channel === channel)) {
    if (frame.type === "members") {
      users = new Set(frame.members.map((member) => member.user));
      count = frame.count;
    }
    if (frame.type !== "presence") continue;
    if (!users) {
      faults.push("a change before the list");
      users = new Set();
    }
    for (const user of frame.left ?? []) users.delete(user);
    for (const { user } of frame.joined ?? []) {
      if (users.has(user)) faults.push(`${user} joined twice`);
      users.add(user);
    }
    count = frame.count;
  }
  return { users: users && [...users].sort(), count, faults };
}
