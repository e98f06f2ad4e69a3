// Compares what came with what the transcript says.

import { payload, short } from "./values.mjs";

const ownEvents = ["welcome", "subscribed", "gap", "close"].map((name) => `event: ${name} / `);

/** A frame: JSON by its meaning, except for `data`, whose text counts; raw frames and plain words to the letter. */
export function compareFrame(expected, actual, raw, values) {
  const isText = typeof actual === "string";
  if (isText && expected.startsWith("{") && !raw) return compareJson(expected, actual, values);
  const own = payload(expected);
  if (isText && typeof own === "string") return values.check(own, actual);
  if (isText || typeof own === "string" || !own.equals(actual)) throw new Error("another frame");
}

/** The body of an answer. */
export function compareBody(expected, actual, values) {
  if (expected.startsWith("{")) compareJson(expected, actual, values);
  else values.check(expected, actual);
}

/** An event of a stream, its lines joined by ` / `. Dormouse's own events are JSON, messages have to be there to the letter. */
export function compareEvent(expected, actual, values) {
  const [own, came] = [expected, actual].map((text) => {
    const at = text.indexOf("data: ");
    return { head: text.slice(0, at), data: text.slice(at + 6), at };
  });
  const isOwn = own.at >= 0 && came.at >= 0 && ownEvents.some((name) => own.head.endsWith(name));
  if (!isOwn) return values.check(expected, actual);
  values.check(own.head, came.head);
  compareJson(own.data, came.data, values);
}

function compareJson(expected, actual, values) {
  for (const text of [expected, actual]) JSON.parse(text);
  compareValue("", expected.trim(), actual.trim(), values);
}

function compareValue(path, own, came, values) {
  const unlike = () => new Error(`${path}: ${short(came)} is not ${short(own)}`);
  if (own === '"…"') return;
  const isString = own.startsWith('"') && !path.endsWith(".data");
  if (isString && !came.startsWith('"')) throw unlike();
  if (isString || path.endsWith(".data")) {
    try {
      return isString ? values.check(JSON.parse(own), JSON.parse(came)) : values.check(own, came);
    } catch (error) {
      throw new Error(`${path}: ${error.message}`);
    }
  }
  if (!/^[{[]/.test(own)) {
    if (own !== came) throw unlike();
    return;
  }
  if (own[0] !== came[0]) throw unlike();
  const [mine, others] = [parts(own), parts(came)];
  if (mine.length !== others.length) throw unlike();
  for (const [name, value] of mine) {
    const other = others.find(([key]) => key === name);
    if (!other) throw unlike();
    compareValue(path + name, value, other[1], values);
  }
}

/** The texts of an object's or array's parts, each with its name (`.key` or `[0]`). The text is known to be JSON. */
function parts(json) {
  const inside = json.slice(1, -1).trim();
  const found = [];
  for (let at = 0; inside !== "" && at <= inside.length; ) {
    const end = endOfPart(inside, at);
    const part = inside.slice(at, end).trim();
    if (json[0] === "[") {
      found.push([`[${found.length}]`, part]);
    } else {
      const [key] = part.match(/^"(?:[^"\\]|\\.)*"/);
      found.push([`.${JSON.parse(key)}`, part.slice(key.length).trim().slice(1).trim()]);
    }
    at = end + 1;
  }
  return found;
}

/** Where the next comma of this level is, or the end. */
function endOfPart(text, from) {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    if (text[at] === '"') {
      for (at++; text[at] !== '"'; at++) if (text[at] === "\\") at++;
    } else if ("{[".includes(text[at])) depth++;
    else if ("}]".includes(text[at])) depth--;
    else if (text[at] === "," && depth === 0) return at;
  }
  return text.length;
}
