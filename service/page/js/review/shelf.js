/** Where labels on their way are kept: in this browser, for all its tabs, in the order they came. */

const PREFIX = "clipcal.outbox.";

const orderOf = (key) => key.split(".").at(-2);
const byOrder = (one, other) => (orderOf(one.key) < orderOf(other.key) ? -1 : 1);

/** Put entries in the order in which they were given, whichever tab that was. */
export function sorted(entries) {
  return [...entries].sort(byOrder);
}

/** When an entry was given, in milliseconds as `Date.now()` has them. */
export function since({ key }) {
  return Number(orderOf(key).slice(0, 15));
}

export class Shelf {
  #store = null;
  #held = new Set();
  #number = 0;

  /** `store` is the browser's, unless another is given; `durable` says whether it takes all. */
  constructor(store = null) {
    this.durable = true;
    this.#attempt(() => (this.#store = store ?? localStorage));
  }

  /** A key that no other entry has. */
  newKey(corpus, batch) {
    this.#number += 1;
    const order = `${Date.now()}`.padStart(15, "0") + `${this.#number}`.padStart(6, "0");
    return `${PREFIX}${corpus}.${order}.${batch}`;
  }

  /** All that is kept, by this tab or another. */
  load() {
    const read = () => {
      const keys = Object.keys(this.#store).filter((key) => key.startsWith(PREFIX));
      return sorted(keys.map((key) => this.#read(key, this.#store.getItem(key))));
    };
    return this.#attempt(read) ?? [];
  }

  keep(entry) {
    this.#attempt(() => {
      this.#store.setItem(entry.key, JSON.stringify(entry));
      this.#held.add(entry.key);
    });
  }

  remove({ key }) {
    this.#held.delete(key);
    this.#attempt(() => this.#store.removeItem(key));
  }

  /** Whether an entry that was kept is there no more: another tab is through with it. */
  lacks({ key }) {
    return this.#held.has(key) && this.#attempt(() => this.#store.getItem(key) === null) === true;
  }

  /** Tell what other tabs do: `put(entry)` for what is new or changed there, `gone(key)`. */
  follow({ put, gone }) {
    addEventListener("storage", ({ key, newValue }) => {
      if (!key?.startsWith(PREFIX)) return;
      if (newValue === null) gone(key);
      else put(this.#read(key, newValue));
    });
  }

  #read(key, text) {
    this.#held.add(key);
    return JSON.parse(text);
  }

  #attempt(step) {
    try {
      return step();
    } catch {
      this.durable = false;
      return undefined;
    }
  }
}
