/**
 * Labels on their way. Each is kept in the browser until the service has acknowledged it, and is
 * sent again under the same batch, which the service keeps once however often it comes.
 */

const PREFIX = "clipcal.outbox.";
const FIRST_DELAY = 1_000;
const LONGEST_DELAY = 30_000;
const UNKNOWN = 401;
// These pass: no connection (0), no token yet, timeouts, too many at once, the service itself.
const PASSING = new Set([0, UNKNOWN, 408, 425, 429]);

const passes = (status) => PASSING.has(status ?? 0) || status >= 500;

export class Outbox {
  #entries = [];
  #post;
  #store;
  #number = 0;
  #busy = false;
  #delay = FIRST_DELAY;
  #timer = null;

  /**
   * `post(path, body)` sends; `onChange()` is called when what is unsent changes, and
   * `onKept(entry, reply)` when the service has acknowledged an entry.
   */
  constructor(post, { store = localStorage, onChange = () => {}, onKept = () => {} } = {}) {
    this.#post = post;
    this.#store = store;
    this.onChange = onChange;
    this.onKept = onKept;
    this.durable = true;
    this.trouble = null;
    this.#load();
    addEventListener("online", () => this.sendNow());
    addEventListener("beforeunload", (event) => {
      if (this.#entries.length && !this.durable) event.preventDefault();
    });
  }

  get unsent() {
    return this.#entries.filter((entry) => !entry.refused);
  }

  get refused() {
    return this.#entries.filter((entry) => entry.refused);
  }

  /** What has been judged and waits here: the service may still offer it. */
  get labels() {
    return this.#entries.filter((entry) => entry.path === "labels").map((entry) => entry.body);
  }

  give(body, title) {
    this.#add({ path: "labels", body, title });
  }

  /** Take a batch back. One that was refused is not with the service: it only leaves the box. */
  undo(body, title) {
    const refused = this.refused.find((entry) => entry.body.batch === body.batch);
    if (refused) this.discard(refused);
    else this.#add({ path: "labels/undo", body, title });
  }

  discard(entry) {
    this.#remove(entry);
    this.onChange();
  }

  retry(entry) {
    entry.refused = null;
    this.#keep(entry);
    this.sendNow();
  }

  sendNow() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#delay = FIRST_DELAY;
    this.#send();
  }

  #add(entry) {
    this.#number += 1;
    const order = `${Date.now()}`.padStart(15, "0") + `${this.#number}`.padStart(6, "0");
    this.#entries.push({ ...entry, key: `${PREFIX}${order}.${entry.body.batch}`, refused: null });
    this.#keep(this.#entries.at(-1));
    this.onChange();
    if (this.#timer === null) this.#send();
  }

  // One at a time, in order: what is undone must have been given first.
  async #send() {
    if (this.#busy) return;
    this.#busy = true;
    while (this.unsent.length && (await this.#deliver(this.unsent[0])));
    this.#busy = false;
  }

  async #deliver(entry) {
    try {
      const reply = await this.#post(entry.path, entry.body);
      this.#remove(entry);
      this.#delay = FIRST_DELAY;
      this.trouble = null;
      this.onKept(entry, reply);
    } catch (problem) {
      if (passes(problem.status)) return this.#later(problem);
      entry.refused = problem.detail || problem.message;
      this.#keep(entry);
    }
    this.onChange();
    return true;
  }

  #later(problem) {
    this.trouble = problem.detail || problem.message;
    this.onChange();
    // Without a token the person was asked for it just now: not again before the next answer.
    if (problem.status === UNKNOWN) return false;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#send();
    }, Math.max(this.#delay, 1_000 * (problem.retryAfter ?? 0)));
    this.#delay = Math.min(2 * this.#delay, LONGEST_DELAY);
    return false;
  }

  #load() {
    try {
      const keys = Object.keys(this.#store).filter((key) => key.startsWith(PREFIX));
      this.#entries = keys.sort().map((key) => JSON.parse(this.#store.getItem(key)));
    } catch {
      this.durable = false;
    }
  }

  #keep(entry) {
    try {
      this.#store.setItem(entry.key, JSON.stringify(entry));
    } catch {
      this.durable = false;
    }
  }

  #remove(entry) {
    this.#entries = this.#entries.filter((other) => other !== entry);
    try {
      this.#store.removeItem(entry.key);
    } catch {
      this.durable = false;
    }
  }
}
