import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { inSeconds, published, token } from "../clients/client.mjs";
import { developmentApps, start } from "../harness.mjs";
import { connect, execute, launch, openConsole, shown, untilShown, untilState } from "./chromium.mjs";

const apps = [
  {
    ...developmentApps[0],
    channels: [
      { prefix: "", publish: true },
      { prefix: "short", history: { size: 2 } },
    ],
  },
];

let server;
let browser;
const opened = [];
before(async () => {
  server = await start({ apps });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});
afterEach(async () => {
  for (const { page } of opened.splice(0)) await page.close();
});

async function open(options) {
  const one = await openConsole(browser, server, options);
  opened.push(one);
  return one;
}

const newest = (page, type = "message") =>
  page.$eval(`#log > li.entry[data-type=${type}]`, (entry) => entry.textContent);
const state = (page) => page.$eval("#state", (element) => element.dataset.state);
const text = (page, selector) => page.$eval(selector, (element) => element.textContent);

test("a page publishes over its socket and over HTTP, and another one sees both", async () => {
  const [one, two] = [await open(), await open()];
  assert.equal(await state(one.page), "idle");
  await connect(one.page, "pages");
  await connect(two.page, "pages");
  assert.match(await text(one.page, "#connection"), /^[0-9a-f]{32}:/);

  await one.page.fill("#publish-event", "by-socket");
  await one.page.fill("#publish-data", '{"from":"one 🐭"}');
  await one.page.click("#publish-socket");
  await two.page.waitForSelector("#log > li.entry[data-type=message]");
  const [first] = await shown(two.page);
  await untilShown(one.page, first);
  assert.match(await newest(two.page), /by-socket.*"from": "one 🐭"/s);

  assert.equal(await server.evict("pages"), true);
  await two.page.fill("#publish-event", "by-http");
  await two.page.fill("#publish-data", "[1,2]");
  await two.page.click("#publish-http");
  const second = `${first.split(":")[0]}:2`;
  await Promise.all([untilShown(one.page, second), untilShown(two.page, second)]);
  assert.match(await newest(one.page), /by-http/);
  assert.equal(await text(one.page, "#position"), second);
  assert.deepEqual([...one.complaints, ...two.complaints], []);
});

test("the curl line that the page shows can be run, and copied", async () => {
  const { page, complaints } = await open();
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await connect(page, "curled");
  await page.fill("#publish-event", "it's");
  await page.fill("#publish-data", `{"quote":"it's \\"one\\" $HOME \`id\` 🐭"}`);
  const line = await text(page, "#curl");
  assert.match(line, /^curl -u dev-key:dev-secret http:\/\/127\.0\.0\.1:/);
  await page.click("#copy-curl");
  await page.waitForFunction(async (line) => (await navigator.clipboard.readText()) === line, line);

  const answer = JSON.parse(await execute("sh", ["-c", `${line} --silent`]));
  await untilShown(page, answer.channels.curled.position);
  assert.match(await newest(page), /it's/);
  assert.match(await newest(page), /"quote": "it's \\"one\\" \$HOME `id` 🐭"/);
  assert.deepEqual(complaints, []);
});

test("a page whose socket is cut comes back by itself with all that it missed", async () => {
  const { page, sockets } = await open({ clock: true });
  await connect(page, "cut");
  const before = await published(server, { channel: "cut", data: "before" });
  await untilShown(page, before);
  // The page's clock stands still, and with it the delay before the next attempt.
  await page.clock.pauseAt(new Date(Date.now() + 1000));
  assert.equal(await server.evict("cut", { webSockets: "close" }), true);
  await untilState(page, "reconnecting");
  assert.match(await text(page, "#state-detail"), /1006/);
  const missed = [];
  for (const data of ["one", "two", "three"]) missed.push(await published(server, { channel: "cut", data }));
  assert.equal(await server.evict("cut"), true);
  assert.deepEqual(await shown(page), [before]);
  assert.equal(sockets(), 1);

  await page.clock.resume();
  await untilState(page, "live");
  await untilShown(page, missed.at(-1));
  const later = await published(server, { channel: "cut", data: "after" });
  await untilShown(page, later);
  assert.deepEqual(await shown(page), [before, ...missed, later]);
  assert.match(await newest(page, "welcome"), /resumed/);
  assert.equal(sockets(), 2);
});

test("a page is told what it cannot have any more", async () => {
  const { page } = await open({ clock: true });
  await connect(page, "short");
  await page.clock.pauseAt(new Date(Date.now() + 1000));
  await published(server, { channel: "short", data: 0 });
  assert.equal(await server.evict("short", { webSockets: "close" }), true);
  await untilState(page, "reconnecting");
  const missed = [];
  for (let data = 1; data <= 5; data += 1) missed.push(await published(server, { channel: "short", data }));
  await page.clock.resume();
  await untilShown(page, missed.at(-1));
  const [gap] = await shown(page, "gap");
  assert.equal(gap, missed[2]);
  assert.match(await newest(page, "gap"), /older than the history/);
  assert.deepEqual((await shown(page)).slice(-2), missed.slice(3));
});

test("a page that is refused says why, and does not try again", async () => {
  const { page, sockets } = await open();
  await page.fill("#channel", "private-closed");
  await page.click("#connect");
  await untilState(page, "closed");
  assert.match(await text(page, "#state-detail"), /4401.*token/s);
  assert.match(await newest(page, "error"), /unauthorized/);
  await page.fill("#token", token({ exp: inSeconds(60), channels: { "private-other": ["sub"] } }));
  await page.click("#connect");
  await page.waitForFunction(() => /4403/.test(document.querySelector("#state-detail").textContent));
  assert.equal(await state(page), "closed");
  assert.equal(sockets(), 2);
});

test("a page whose token expires says so within seconds, though its room sleeps", async () => {
  const { page, sockets } = await open();
  const exp = inSeconds(4);
  await connect(page, "private-brief", { token: token({ exp, channels: { "private-brief": ["sub"] } }) });
  assert.equal(await server.evict("private-brief"), true);
  // The browser gives the server two seconds to let go of the connection before it tells the page.
  await untilState(page, "closed", exp * 1000 - Date.now() + 8000);
  assert.ok(Date.now() >= exp * 1000);
  assert.match(await text(page, "#state-detail"), /4401 expired/);
  assert.equal(sockets(), 1);
});

test("a page that disconnects goes on later where it was", async () => {
  const { page } = await open();
  await connect(page, "pause");
  const first = await published(server, { channel: "pause", data: 1 });
  await untilShown(page, first);
  await page.click("#connect");
  await untilState(page, "closed");
  const second = await published(server, { channel: "pause", data: 2 });
  await connect(page, "pause");
  await untilShown(page, second);
  assert.deepEqual(await shown(page), [first, second]);
});

test("a page shows what it gets, however deep or long it is", async () => {
  const { page, complaints } = await open();
  await connect(page, "odd");
  const bodies = [
    `${"[".repeat(30_000)}${"]".repeat(30_000)}`,
    `"${"x".repeat(65_000)}"`,
    '{"a":1,"a":2,"__proto__":{"b":1}}',
    '"<img src=x onerror=alert(1)>"',
    "1e999",
  ];
  for (const data of bodies)
    await untilShown(page, await published(server, `{"channel":"odd","data":${data}}`));
  assert.equal((await shown(page)).length, bodies.length);
  assert.deepEqual(complaints, []);
});

for (const viewport of [
  { width: 1280, height: 800 },
  { width: 360, height: 740 },
]) {
  test(`nothing sticks out of a window of ${viewport.width} x ${viewport.height}`, async () => {
    const { page, complaints } = await open({ viewport });
    const wide = () => page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);
    assert.ok((await wide()) <= 0);
    await connect(page, "n".repeat(164));
    const data = { long: "x".repeat(3000), list: Array(200).fill(1) };
    await untilShown(
      page,
      await published(server, { channel: "n".repeat(164), event: "e".repeat(200), data }),
    );
    assert.ok((await wide()) <= 0);
    assert.deepEqual(complaints, []);
  });
}
