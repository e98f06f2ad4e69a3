// Reads a transcript, as core/tests/scenario/script.rs does. A line that is not understood is an error.

const development =
  '{"id":"1","key":"dev-key","secrets":["dev-secret"],"channels":[{"prefix":"","publish":true}]}';

const word = /^[a-z][a-z0-9]*$/;

/** An error at a line of a transcript. */
export class LineError extends Error {
  constructor(line, message) {
    super(message);
    this.line = line;
  }
}

const cut = (text) => {
  const at = text.indexOf(" ");
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
};

/** `[name: value] [name: value] rest`. */
function headersOf(text) {
  const headers = [];
  let rest = text;
  while (rest.startsWith("[")) {
    const found = rest.match(/^\[([^\]]*?): ([^\]]*)\](?: |$)/);
    if (!found) return undefined;
    headers.push([found[1].toLowerCase(), found[2]]);
    rest = rest.slice(found[0].length);
  }
  return { headers, rest };
}

function head(text) {
  const [status, after] = cut(text);
  const parts = /^\d{3}$/.test(status) ? headersOf(after) : undefined;
  return parts && { status: Number(status), headers: parts.headers, body: parts.rest };
}

function token(rest) {
  const found = rest.match(/^\$([a-z][a-z0-9]*) (?:signed (\S+) )?(.*)$/);
  return found && { kind: "token", name: found[1], secret: found[2], claims: found[3] };
}

function sign(rest) {
  const found = rest.match(/^\$([a-z][a-z0-9]*) (?:with (\S+) )?(.*)$/);
  return found && { kind: "sign", name: found[1], credentials: found[2], text: found[3] };
}

function stageDirection(rest) {
  const wait = rest.match(/^wait (\d+) s$/);
  if (wait) return { kind: "wait", ms: Number(wait[1]) * 1000 };
  const hub = rest.match(/^(\S+) is in a hub$/);
  if (hub) return { kind: "inHub", who: hub[1] };
  const stored = rest.match(/^(\S+) has (\d+) (rows|followers)$/);
  return stored && { kind: stored[3], channel: stored[1], count: Number(stored[2]) };
}

function ask(text) {
  const found = text.match(
    /^([A-Z]+) (\/\S*)(?: as (?<as>\S+)| signed (?<signed>\S+)(?: at (?<at>[+-]?\d+))?)?(?: (?<rest>.*))?$/,
  );
  const parts = found && headersOf(found.groups.rest ?? "");
  if (!parts) return undefined;
  const { as, signed, at } = found.groups;
  const request = { method: found[1], path: found[2], headers: parts.headers, body: parts.rest };
  return { kind: "ask", ...request, as, signed, at: Number(at ?? 0) };
}

function expected(text) {
  if (text === "nothing") return { nothing: true };
  const closed = text.match(/^closed(?: (\d+))?$/);
  if (closed) return { closed: closed[1] === undefined ? true : Number(closed[1]) };
  if (text.startsWith("closed ")) return undefined;
  const answer = head(text);
  if (answer) return { head: answer };
  return text ? { payload: text } : undefined;
}

function timesOf(text) {
  const found = text.match(/^(\d+) times (.*)$/);
  return found ? { times: Number(found[1]), text: found[2] } : { times: 1, text };
}

function client(who, rest) {
  const [verb, after] = cut(rest);
  if (verb === "connects" || verb === "streams") {
    const [path, more] = cut(after);
    const parts = headersOf(more);
    if (!path.startsWith("/") || !parts || parts.rest) return undefined;
    return { kind: "connect", who, stream: verb === "streams", path, headers: parts.headers };
  }
  if (verb === "leaves" && !after) return { kind: "leave", who };
  const { times, text } = timesOf(after);
  if (verb === ">") return text ? { kind: "say", who, times, payload: text } : undefined;
  if (verb !== "<") return undefined;
  const what = expected(text);
  return what && { kind: "hear", who, times, expected: what };
}

function stepOf(first, rest) {
  if (first === "token") return token(rest);
  if (first === "sign") return sign(rest);
  if (first === "~") return stageDirection(rest);
  if (first === "http") {
    if (rest.startsWith("> ")) return ask(rest.slice(2));
    const answer = rest.startsWith("< ") ? head(rest.slice(2)) : undefined;
    return answer && { kind: "answer", head: answer };
  }
  return word.test(first) ? client(first, rest) : undefined;
}

function headLine(script, first, rest) {
  const only = first === "only" ? rest.match(/^(native|awake): (.+)$/) : undefined;
  if (only) script[only[1]] = only[2];
  else if (first === "app") script.apps.push(rest);
  else if (first === "apps") script.literal = rest;
  else return false;
  return true;
}

/** Returns `{ title, native, awake, apps, steps }`; `native` and `awake` are reasons, `apps` is the value of `APPS`. */
export function parse(text) {
  if (!text.startsWith("# ")) throw new LineError(1, "the first line is the title: `# …`");
  const lines = text.split("\n");
  const script = { title: lines[0].slice(2), apps: [], steps: [] };
  lines.forEach((line, at) => {
    if (line === "" || line.startsWith("#")) return;
    const fail = (message) => {
      throw new LineError(at + 1, `${message}: ${line}`);
    };
    if (line !== line.trim()) fail("spaces around the line");
    const [first, rest] = cut(line);
    if (["only", "app", "apps"].includes(first)) {
      if (script.steps.length > 0) fail("this belongs above the first step");
      if (!headLine(script, first, rest)) fail("a line that is not understood");
      return;
    }
    const step = stepOf(first, rest);
    if (!step) fail("a line that is not understood");
    const asked = script.steps.at(-1)?.kind === "ask";
    if (asked !== (step.kind === "answer")) fail("`http >` and `http <` belong together");
    script.steps.push({ line: at + 1, ...step });
  });
  if (["ask", undefined].includes(script.steps.at(-1)?.kind))
    throw new LineError(lines.length, "it ends too early");
  const apps = script.apps.length > 0 ? script.apps : [development];
  return { ...script, apps: script.literal ?? `[${apps.join(",")}]` };
}
