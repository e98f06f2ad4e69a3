// Placeholders: `$name` is bound on first sight and equal ever after, `…` is any text, `$(3*ab)` is `ababab`.

const piece = /\$\((?<count>\d+)\*(?<text>[^)]*)\)|\$(?<name>[a-z][A-Za-z0-9]*)|(?<any>…)/gu;
const escaped = (text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");

/** As much of a text as a message can take. */
export const short = (text) => (text.length <= 400 ? text : `${text.slice(0, 400)}… (${text.length})`);

/** What the placeholders of one run stand for. */
export class Values {
  #known = new Map();

  bind(name, value) {
    for (const [twin, known] of this.#known) {
      if (known === value) throw new Error(`$${name} would be the same as $${twin}: ${value}`);
    }
    if (this.#known.has(name)) throw new Error(`$${name} is bound already`);
    this.#known.set(name, value);
  }

  /** Returns what is sent: every placeholder has to be bound. */
  fill(text) {
    return text.replaceAll(piece, (whole, ...more) => {
      const { count, text: repeated, name } = more.at(-1);
      if (count !== undefined) return repeated.repeat(Number(count));
      if (name === undefined) return whole;
      if (!this.#known.has(name)) throw new Error(`$${name} is not bound yet`);
      return this.#known.get(name);
    });
  }

  /** Compares, and binds what is seen for the first time. */
  check(template, actual) {
    const names = new Set();
    let pattern = "";
    let at = 0;
    for (const { 0: whole, index, groups } of template.matchAll(piece)) {
      pattern += escaped(template.slice(at, index));
      at = index + whole.length;
      const { count, text, name } = groups;
      if (count !== undefined) pattern += escaped(text.repeat(Number(count)));
      else if (name === undefined) pattern += "[^]*";
      else if (this.#known.has(name)) pattern += escaped(this.#known.get(name));
      else if (names.has(name)) pattern += `\\k<${name}>`;
      else pattern += `(?<${names.add(name) && name}>[\\w-]+)`;
    }
    const found = actual.match(new RegExp(`^${pattern}${escaped(template.slice(at))}$`, "u"));
    if (!found) throw new Error(`${short(actual)} is not ${short(template)}`);
    for (const name of names) this.bind(name, found.groups[name]);
  }
}

/** Reads `hex:…`, `base64:…`, `"text"`; anything else is text as it is. Returns a string or a Buffer. */
export function payload(text) {
  const [, encoding, encoded] = text.match(/^(hex|base64):(.*)$/) ?? [];
  if (encoding) {
    const bytes = Buffer.from(encoded, encoding);
    if (bytes.toString(encoding) !== encoded) throw new Error(`not ${encoding}: ${text}`);
    return bytes;
  }
  return text.startsWith('"') ? JSON.parse(text) : text;
}
