// A process of its own, and no library between it and the socket: what it costs to ask must not limit what is asked.
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { help } from "./processes.mjs";

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const run = randomBytes(12).toString("hex");
let ids = 0;

/** A request, and where in it the ids stand: making the next one is writing a few bytes in place. */
function template({ path, credentials, body, idPlace }) {
  const proof = credentials ? `Authorization: Basic ${Buffer.from(credentials).toString("base64")}\r\n` : "";
  const head = `POST ${path} HTTP/1.1\r\nHost: bench\r\n${proof}Content-Type: application/json\r\n`;
  const bytes = Buffer.from(`${head}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
  const places = [];
  let at = bytes.indexOf(idPlace);
  for (; at >= 0; at = bytes.indexOf(idPlace, at + idPlace.length)) places.push(at);
  return { bytes, places };
}

function isComplete(answer) {
  const end = answer.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const length = answer.latin1Slice(0, end).match(/content-length: (\d+)/i);
  return length ? answer.length >= end + 4 + Number(length[1]) : answer.latin1Slice(-5) === "0\r\n\r\n";
}

class Tally {
  answers = 0;
  measured = 0;
  waits = [];
  isMeasuring = false;
  isEnding = false;

  add(answer, wait) {
    this.answers++;
    this.last = answer;
    if (answer.latin1Slice(9, 12) !== "200") this.problem ??= answer.toString();
    if (!this.isMeasuring) return;
    this.measured++;
    this.waits.push(wait);
  }

  wait(share) {
    return this.waits.toSorted((a, b) => a - b)[Math.floor(this.waits.length * share)];
  }
}

class Publisher {
  constructor(job, tally) {
    const { bytes, places } = template(job);
    this.request = bytes;
    this.places = places;
    this.tally = tally;
    this.socket = connect({ port: job.port, host: "127.0.0.1", noDelay: true });
    this.socket.on("data", (chunk) => this.read(chunk));
    this.ended = new Promise((resolve) => {
      this.socket.on("error", (error) => {
        tally.problem ??= error.message;
      });
      this.socket.on("close", resolve);
    });
    this.ask();
  }

  ask() {
    for (const place of this.places)
      this.request.latin1Write(`${run}${String(ids++).padStart(12, "0")}`, place);
    this.began = performance.now();
    this.socket.write(this.request);
  }

  read(chunk) {
    const answer = this.rest ? Buffer.concat([this.rest, chunk]) : chunk;
    this.rest = isComplete(answer) ? undefined : answer;
    if (this.rest) return;
    this.tally.add(answer, performance.now() - this.began);
    if (this.tally.isEnding || this.tally.problem) this.socket.end();
    else this.ask();
  }
}

help(async (job, tell) => {
  const tally = new Tally();
  const publishers = Array.from({ length: job.publishers }, () => new Publisher(job, tally));
  await pause(job.warmUp * 1000);
  const [used, began] = [process.cpuUsage(), performance.now()];
  tally.isMeasuring = true;
  tell("begin");
  await pause(job.seconds * 1000);
  tally.isMeasuring = false;
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(used);
  tell("end");
  tally.isEnding = true;
  await Promise.race([Promise.all(publishers.map(({ ended }) => ended)), pause(10_000)]);
  if (publishers.some(({ socket }) => !socket.closed)) tally.problem ??= "A publish was not answered.";
  if (tally.problem) throw new Error(tally.problem);
  return {
    answers: tally.answers,
    perSecond: tally.measured / seconds,
    seconds,
    client: (user + system) / 1e6 / seconds,
    p50: tally.wait(0.5),
    p99: tally.wait(0.99),
    last: tally.last.toString(),
  };
});
