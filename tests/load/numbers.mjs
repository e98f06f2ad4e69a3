const mark = Buffer.from('"n":"');
const digits = 8;

/** Data of 100 bytes that says which message it is: the hundredth cannot pass for the next. */
export function numbered(number) {
  const text = "The dormouse sleeps until tea is poured upon its nose.".padEnd(58, ".");
  return JSON.stringify({ user: "u-1842", n: String(number).padStart(digits, "0"), text });
}

/** The number that a frame's data has; undefined if it has none. No parsing: a million frames are looked at. */
export function numberIn(bytes) {
  const at = bytes.indexOf(mark);
  if (at < 0) return undefined;
  return Number(bytes.latin1Slice(at + mark.length, at + mark.length + digits));
}

const escapedMark = Buffer.from('\\"n\\":\\"');

/** The same of a frame in which the data is a string. */
export function escapedNumberIn(bytes) {
  const at = bytes.indexOf(escapedMark);
  if (at < 0) return undefined;
  return Number(bytes.latin1Slice(at + escapedMark.length, at + escapedMark.length + digits));
}

/** The number in a frame's position, if that is of the epoch. */
export function positionIn(bytes, epoch) {
  const at = bytes.indexOf(epoch);
  if (at < 0) return undefined;
  const begin = at + epoch.length + 1;
  return Number(bytes.latin1Slice(begin, bytes.indexOf('"', begin)));
}
