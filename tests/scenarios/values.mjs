// Placeholders: `$name` is bound on first sight and equal ever after, `…` is any text, `$(3*ab)` is `ababab`.

const piece = /\$\((?<count>\d+)\*(?<text>[^)]*)\)|\$(?<name>[a-z][A-Za-z0-9]*)|(?<any>…)/gu;

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
    const seen = new Map();
    if (!this.#fits(piecesOf(template), actual, seen)) {
      throw new Error(`${short(actual)} is not ${short(template)}`);
    }
    for (const [name, value] of seen) this.bind(name, value);
  }

  #fits([first, ...rest], text, seen) {
    if (first === undefined) return text === "";
    const { plain, name } = first;
    const own = plain ?? this.#known.get(name) ?? seen.get(name);
    if (own !== undefined) return text.startsWith(own) && this.#fits(rest, text.slice(own.length), seen);
    const longest = name === undefined ? text.length : text.match(/^[\w\-:#=@,.;]*/)[0].length;
    const shortest = name === undefined ? 0 : 1;
    for (let length = longest; length >= shortest; length--) {
      if (name !== undefined) seen.set(name, text.slice(0, length));
      if (this.#fits(rest, text.slice(length), seen)) return true;
      seen.delete(name);
    }
    return false;
  }
}

/** Each piece is `{ plain }`, a text; `{ name }`, a placeholder; or `{}`, any text. */
function piecesOf(template) {
  const pieces = [];
  let at = 0;
  for (const { 0: whole, index, groups } of template.matchAll(piece)) {
    const { count, text, name } = groups;
    pieces.push({ plain: template.slice(at, index) });
    if (count !== undefined) pieces.push({ plain: text.repeat(Number(count)) });
    else pieces.push({ name });
    at = index + whole.length;
  }
  return [...pieces, { plain: template.slice(at) }];
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
