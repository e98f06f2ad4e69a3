/** Random numbers that a seed repeats: every actor of a run has its own, so that what one does changes nothing for the others. */
export class Random {
  #state;

  constructor(seed, name) {
    this.#state = seed >>> 0;
    for (const character of name)
      this.#state = Math.imul(this.#state ^ character.charCodeAt(0), 0x01000193) >>> 0;
  }

  /** At least 0 and less than 1 (mulberry32). */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `least` to `most`. */
  between(least, most) {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  chance(probability) {
    return this.next() < probability;
  }

  pick(list) {
    return list[Math.floor(this.next() * list.length)];
  }
}
