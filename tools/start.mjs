import { existsSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { paints } from "./board.mjs";
import { build } from "./build.mjs";
import { at, duration, environment, main, PlainError } from "./common.mjs";
import { launch } from "./process.mjs";
import { forBuilding, setUp } from "./setup.mjs";

const host = "127.0.0.1";
const developmentApps = [
  { id: "1", key: "dev-key", secrets: ["dev-secret"], channels: [{ prefix: "", publish: true }] },
];

function portFromEnvironment() {
  const port = Number(process.env.PORT || 8787);
  if (Number.isInteger(port) && port > 0 && port < 65536) return port;
  throw new PlainError(`PORT is "${process.env.PORT}", but has to be a number from 1 to 65535.`);
}

function checkFree(port) {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", (error) => {
      const why =
        error.code === "EADDRINUSE" ? "is taken by another program" : `cannot be used (${error.code})`;
      reject(new PlainError(`Port ${port} ${why}. Choose another one: PORT=${port + 1} npm start`));
    });
    probe.listen(port, host, () => probe.close(resolve));
  });
}

function writeDevelopmentVariables() {
  const file = at(".dev.vars");
  if (existsSync(file)) return;
  writeFileSync(file, `APPS='${JSON.stringify(developmentApps)}'\n`, { mode: 0o600 });
}

function serve(port) {
  const place = ["--ip", host, "--port", String(port), "--inspector-ip", host];
  const env = environment({ DORMOUSE_SERVING: "1" });
  return launch("wrangler", ["dev", ...place, "--show-interactive-dev-session=false"], { env });
}

async function untilAnswering(port, hasEnded) {
  while (!hasEnded()) {
    const response = await fetch(`http://${host}:${port}/`).catch(() => undefined);
    if (response?.ok) return true;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return false;
}

function announcement(port, began) {
  const url = `http://${host}:${port}`;
  const curl = `curl -u dev-key:dev-secret ${url}/publish -d '{"channel":"lobby","data":"hello"}'`;
  return `
${paints.bold(paints.green(`Dormouse is serving ${url}`))}  ${paints.dim(`after ${duration(Date.now() - began)}`)}

  console   ${url}/
  publish   ${curl}
  apps      .dev.vars
  stop      Ctrl-C
`;
}

async function start() {
  const began = Date.now();
  const port = portFromEnvironment();
  await checkFree(port);
  await setUp(forBuilding);
  await build();
  writeDevelopmentVariables();
  const server = serve(port);
  let ended = false;
  server.finished.then(() => {
    ended = true;
  });
  if (await untilAnswering(port, () => ended)) console.log(announcement(port, began));
  const { code } = await server.finished;
  throw new PlainError(`wrangler has ended (${code}).`);
}

main(start);
