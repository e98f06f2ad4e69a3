/**
 * A Dormouse for tests: the built Worker in a real workerd, on a free port of 127.0.0.1, with real sockets.
 *
 *     const server = await start({ apps });
 *     await fetch(`${server.url}/up`);
 *     await server.evict("lobby");
 *     await server.stop();
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { build } from "../tools/build.mjs";
import { at, environment } from "../tools/common.mjs";

Object.assign(process.env, environment());
const { createTestHarness } = await import("wrangler");

/** The app that servers have unless they are told otherwise: every client may publish in every channel. */
export const developmentApps = [
  { id: "1", key: "dev-key", secrets: ["dev-secret"], channels: [{ prefix: "", publish: true }] },
];

/** The name of a channel's object. */
export const objectName = (channel, app = "1") => `v1:${app}:${channel}`;

/** The name of a Hub's object. Where there is no platform that knows better, wrangler takes every client to be in Austin. */
export const hubName = (nth = 0, { app = "1", region = "enam" } = {}) => `v1:${app}:${region}:${nth}`;

const classes = ["Room", "Hub", "Directory"];

const isAsleep = (error) => /not currently running/.test(error?.message);

/**
 * A folder that has what `wrangler.toml` names and nothing else: a `.dev.vars` of whoever works here has no say.
 * The build command is done by `start`, because a file reached through a link does not take itself for the main one.
 */
function makeFolder(entry) {
  const folder = mkdtempSync(join(tmpdir(), "dormouse-"));
  const config = readFileSync(at("wrangler.toml"), "utf8");
  const main = entry ? config.replace(/^main = .*$/m, 'main = "entry.js"') : config;
  writeFileSync(join(folder, "wrangler.toml"), main.replace(/^command = .*$/m, ""));
  if (entry) writeFileSync(join(folder, "entry.js"), entry);
  for (const name of ["build", "dist", "node_modules", "package.json", "src"])
    symlinkSync(at(name), join(folder, name));
  return folder;
}

async function listen(folder, secrets) {
  const harness = createTestHarness({ root: folder, workers: [{ configPath: "wrangler.toml", secrets }] });
  const before = process.env.TMPDIR;
  // The runtime keeps its databases in the folder for temporary files: this way it is known where, and all of it goes.
  process.env.TMPDIR = folder;
  try {
    const { url } = await harness.listen();
    return { harness, url: url.href.replace(/\/$/, "") };
  } finally {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
  }
}

function databaseFile(folder, id) {
  const files = readdirSync(folder, { recursive: true });
  const found = files.find((file) => basename(file) === `${id}.sqlite`);
  return found && join(folder, found);
}

/** The rows of a table; none if there is no such table. */
async function readTable(file, table, order) {
  // Here, and not above: it warns of itself.
  const { DatabaseSync } = await import("node:sqlite");
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all();
    if (!tables.some(({ name }) => name === table)) return [];
    return database.prepare(`SELECT * FROM ${table} ORDER BY ${order}`).all();
  } finally {
    database.close();
  }
}

/**
 * Starts a server. `apps` is the value of the secret APPS: an array is written as JSON, a string is taken as it is, and
 * with `null` the secret does not exist. `entry` is the text of a module to be run in place of `src/entry.js`, which it can import as `./src/entry.js`.
 * It resolves to
 *
 * - `url`: where it listens, without a slash at its end;
 * - `evict(channel, { app, webSockets })`: puts the channel's object to sleep (`"hibernate"`, the sockets stay) or ends
 *   it (`"close"`, its sockets break with 1006). Resolves to whether it had been awake; who sleeps is left asleep, and
 *   keeps its sockets, whatever `webSockets` says;
 * - `evictHub(name, { webSockets })`: the same for a Hub, by the name of its object;
 * - `evictAll({ webSockets })`: the same for all objects; resolves to how many had been awake;
 * - `objects()`: the ids of all objects, Directories too, that have ever been constructed;
 * - `hubs()`: those of them that are Hubs;
 * - `storage(channel, { app })`: the rows of the object's log as they are on the disk, oldest first; none if there is
 *   no such object;
 * - `followers(channel, { app })`: the same for the Hubs that follow it;
 * - `reached(name)`: of a Hub, what the tabs that resume have of its channels, by channel and life;
 * - `directory({ app })`: the rows of the app's Directory as they are on the disk: `{ channels, hubs }`, each by name;
 * - `logs()`: what the Worker and the objects have written to the console, as `{ timestamp, level, message }`;
 * - `stop()`: ends it and removes everything it has stored.
 */
export async function start({ apps = developmentApps, entry } = {}) {
  await build();
  const folder = makeFolder(entry);
  const remove = () => rmSync(folder, { recursive: true, force: true });
  process.once("exit", remove);
  const secrets = apps === null ? {} : { APPS: typeof apps === "string" ? apps : JSON.stringify(apps) };
  const { harness, url } = await listen(folder, secrets);
  const worker = harness.getWorker("dormouse");
  const evictOne = async (className, object, webSockets) => {
    try {
      await worker.evictDurableObject(className, { ...object, webSockets });
      return true;
    } catch (error) {
      if (isAsleep(error)) return false;
      throw error;
    }
  };
  const objectsOf = async (className) => {
    const ids = await worker.listDurableObjectIds(className);
    return ids.map((id) => ({ className, id }));
  };
  const objects = async () => (await Promise.all(classes.map(objectsOf))).flat();
  const stored = async (channel, app, table, order) => {
    const { ROOM } = await worker.getEnv();
    const file = databaseFile(folder, ROOM.idFromName(objectName(channel, app)).toString());
    return file ? readTable(file, table, order) : [];
  };
  return {
    url,
    evict: (channel, { app, webSockets = "hibernate" } = {}) =>
      evictOne("Room", { name: objectName(channel, app) }, webSockets),
    evictHub: (name, { webSockets = "hibernate" } = {}) => evictOne("Hub", { name }, webSockets),
    async evictAll({ webSockets = "hibernate" } = {}) {
      const all = await objects();
      const awake = await Promise.all(
        all.map(({ className, id }) => evictOne(className, { id }, webSockets)),
      );
      return awake.filter(Boolean).length;
    },
    objects: async () => (await objects()).map(({ id }) => id),
    hubs: async () => (await objectsOf("Hub")).map(({ id }) => id),
    async reached(name) {
      const { HUB } = await worker.getEnv();
      const file = databaseFile(folder, HUB.idFromName(name).toString());
      return file ? readTable(file, "reached", "channel, life") : [];
    },
    storage: (channel, { app } = {}) => stored(channel, app, "log", "first"),
    followers: (channel, { app } = {}) => stored(channel, app, "followers", "hub"),
    async directory({ app = "1" } = {}) {
      const { DIRECTORY } = await worker.getEnv();
      const file = databaseFile(folder, DIRECTORY.idFromName(`v1:${app}`).toString());
      const read = async (table) =>
        file ? (await readTable(file, table, "name")).map((row) => ({ ...row })) : [];
      return { channels: await read("channels"), hubs: await read("hubs") };
    },
    logs: () => harness.getLogs(),
    async stop() {
      await harness.close();
      process.off("exit", remove);
      remove();
    },
  };
}
