// A process of its own: what it costs to ask must not be taken from whoever measures.

import { randomBytes } from "node:crypto";
import { connect } from "node:net";

const idLength = 36;
const idPlace = "-".repeat(idLength);

/** Requests that differ in their ids only, so that making one costs a few bytes written in place. */
function template({ path, credentials, body }) {
  const authorization = credentials
    ? `Authorization: Basic ${Buffer.from(credentials).toString("base64")}\r\n`
    : "";
  const head = `POST ${path} HTTP/1.1\r\nHost: bench\r\n${authorization}Content-Type: application/json\r\n`;
  const bytes = Buffer.from(`${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  const places = [];
  for (let at = bytes.indexOf(idPlace); at >= 0; at = bytes.indexOf(idPlace, at + idLength)) places.push(at);
  return { bytes, places };
}

const run = randomBytes(12).toString("hex");
let ids = 0;

class Publisher {
  constructor(job, tally) {
    const { bytes, places } = template(job);
    this.request = Buffer.from(bytes);
    this.places = places;
    this.tally = tally;
    this.rest = undefined;
    this.socket = connect({ port: job.port, host: "127.0.0.1", noDelay: true });
    this.socket.on("data", (chunk) => this.read(chunk));
    this.socket.on("error", (error) => tally.fail(error.message));
    this.socket.on("close", () => this.stopped?.());
  }

  ask() {
    for (const place of this.places)
      this.request.latin1Write(`${run}${String(ids++).padStart(12, "0")}`, place);
    this.began = process.hrtime.bigint();
    this.socket.write(this.request);
  }

  read(chunk) {
    const answer = this.rest ? Buffer.concat([this.rest, chunk]) : chunk;
    if (!isComplete(answer)) {
      this.rest = answer;
      return;
    }
    this.rest = undefined;
    this.tally.answered(answer, this.began);
    if (this.tally.ended) this.socket.end();
    else this.ask();
  }
}

function isComplete(answer) {
  const end = answer.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const head = answer.latin1Slice(0, end);
  const length = head.match(/content-length: (\d+)/i);
  if (length) return answer.length >= end + 4 + Number(length[1]);
  return answer.latin1Slice(-5) === "0\r\n\r\n";
}

class Tally {
  constructor() {
    this.ended = false;
    this.answers = 0;
    this.measured = 0;
    this.waits = [];
    this.problem = undefined;
  }

  answered(answer, began) {
    this.answers++;
    if (answer.latin1Slice(9, 12) !== "200") this.fail(answer.toString());
    this.last = answer;
    if (!this.measuring) return;
    this.measured++;
    if (this.measured % 16 === 0) this.waits.push(Number(process.hrtime.bigint() - began) / 1e6);
  }

  fail(problem) {
    this.problem ??= problem;
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];

async function publish(job) {
  const tally = new Tally();
  const publishers = Array.from({ length: job.publishers }, () => new Publisher(job, tally));
  const stopped = publishers.map((publisher) => new Promise((resolve) => (publisher.stopped = resolve)));
  for (const publisher of publishers) publisher.ask();
  await pause(job.warmUp * 1000);
  const [before, began] = [process.cpuUsage(), performance.now()];
  tally.measuring = true;
  process.send({ at: "measuring" });
  await pause(job.seconds * 1000);
  tally.measuring = false;
  const seconds = (performance.now() - began) / 1000;
  process.send({ at: "measured" });
  const used = process.cpuUsage(before);
  tally.ended = true;
  await Promise.race([Promise.all(stopped), pause(5000)]);
  const waits = tally.waits.sort((a, b) => a - b);
  return {
    answers: tally.answers,
    perSecond: tally.measured / seconds,
    processor: (used.user + used.system) / 1e6 / seconds,
    p50: at(waits, 0.5),
    p99: at(waits, 0.99),
    last: tally.last?.toString(),
    problem: tally.problem,
  };
}

process.on("message", async (job) => process.send({ at: "done", result: await publish(job) }));
process.on("disconnect", () => process.exit());
