import { readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

const sums = `SELECT printf('%012x', epoch) AS epoch, count(*) AS rows, sum(count) AS messages, max(first + count - 1) AS last
  FROM log GROUP BY epoch`;

/**
 * What the logs of a server that has been stopped hold, by epoch: rows and messages. Ids are remembered for ten minutes, and no row is
 * replaced while one of its ids is: until then every row that was ever written is there.
 */
export function readLogs(folder) {
  const files = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".sqlite"));
  const logs = new Map();
  for (const file of files) {
    const database = new DatabaseSync(join(folder, file));
    const hasLog = database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'log'").get();
    for (const { epoch, ...log } of hasLog ? database.prepare(sums).all() : []) logs.set(epoch, log);
    database.close();
  }
  return logs;
}

/** Who follows which Room, also of a server that runs. */
export function readFollowers(folder) {
  const files = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".sqlite"));
  return files.flatMap((file) => {
    const database = new DatabaseSync(join(folder, file), { readOnly: true });
    const isThere = database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'followers'").get();
    const followers = isThere ? database.prepare("SELECT hub FROM followers").all() : [];
    database.close();
    return followers.map(({ hub }) => ({ room: file, hub }));
  });
}
