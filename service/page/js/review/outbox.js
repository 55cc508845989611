/**
 * Labels on their way. Each is kept in the browser until the service has acknowledged it, and is
 * sent again under the same batch, which the service keeps once however often it comes.
 *
 * Each belongs to the corpus whose image was looked at. Where another one is served on the same
 * address meanwhile, it waits in the browser: the ids of its images mean others there.
 */

const PREFIX = "clipcal.outbox.";
const FIRST_DELAY = 1_000;
const LONGEST_DELAY = 30_000;
const LATE_MS = 3_000;
const UNKNOWN = 401;
const CONFLICT = 409;
// These pass: no connection (0), no token yet, timeouts, too many at once, the service itself.
const PASSING = new Set([0, UNKNOWN, 408, 425, 429]);

const passes = (status) => PASSING.has(status ?? 0) || status >= 500;
const orderOf = (key) => key.split(".").at(-2);
const byOrder = (one, other) => (orderOf(one) < orderOf(other) ? -1 : 1);

export class Outbox {
  #entries = [];
  #post;
  #identify;
  #store;
  #number = 0;
  #busy = false;
  #delay = FIRST_DELAY;
  #timer = null;

  /**
   * `post(path, body)` sends; `identify()` resolves to the identity of the corpus that is served;
   * `onChange()` is called when what is unsent changes, and `onKept(entry, reply)` when the
   * service has acknowledged an entry. `corpus` is null until the service has told which it is.
   */
  constructor(post, identify, { store = localStorage } = {}) {
    this.#post = post;
    this.#identify = identify;
    this.#store = store;
    this.onChange = () => {};
    this.onKept = () => {};
    this.corpus = null;
    this.durable = true;
    this.trouble = null;
    this.#load();
    addEventListener("online", () => this.sendNow());
    addEventListener("beforeunload", (event) => {
      if (this.#entries.length && !this.durable) event.preventDefault();
    });
  }

  get unsent() {
    return this.#entries.filter((entry) => !entry.refused && !this.#isForeign(entry));
  }

  get refused() {
    return this.#entries.filter((entry) => entry.refused && !this.#isForeign(entry));
  }

  /** What belongs to another corpus than the one that is served: shown, and not sent. */
  get foreign() {
    return this.#entries.filter((entry) => this.#isForeign(entry));
  }

  /** Whether the service takes its time over what waits longest. */
  get late() {
    const [oldest] = this.unsent;
    return oldest !== undefined && Date.now() - this.#since(oldest) >= LATE_MS;
  }

  /** Bodies of labels of a corpus that wait here: the service may still offer their images. */
  labelsOf(corpus) {
    return this.#entries
      .filter((entry) => entry.path === "labels" && entry.corpus === corpus)
      .map((entry) => entry.body);
  }

  give(corpus, body, title) {
    this.#add({ corpus, path: "labels", body, title });
  }

  /** Take a batch back. One that was refused is not with the service: it only leaves the box. */
  undo(corpus, body, title) {
    const refused = this.refused.find((entry) => entry.body.batch === body.batch);
    if (refused) this.discard(refused);
    else this.#add({ corpus, path: "labels/undo", body, title });
  }

  discard(...entries) {
    for (const entry of entries) this.#remove(entry);
    this.onChange();
  }

  retry(entry) {
    entry.refused = null;
    this.#keep(entry);
    this.sendNow();
  }

  /** Ask anew which corpus is served: the service was away, and another may have come back. */
  reconsider() {
    this.corpus = null;
    this.sendNow();
  }

  sendNow() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#delay = FIRST_DELAY;
    this.#send();
  }

  #isForeign(entry) {
    return this.corpus !== null && entry.corpus !== this.corpus;
  }

  #since(entry) {
    return Number(orderOf(entry.key).slice(0, 15));
  }

  #add({ corpus, path, body, title }) {
    this.#number += 1;
    const order = `${Date.now()}`.padStart(15, "0") + `${this.#number}`.padStart(6, "0");
    const key = `${PREFIX}${corpus}.${order}.${body.batch}`;
    // A corpus that may not be written has no identity.
    const sent = corpus ? { ...body, corpus } : body;
    const entry = { corpus, path, body: sent, title, key, refused: null };
    this.#entries.push(entry);
    this.#keep(entry);
    this.onChange();
    setTimeout(() => this.late && this.onChange(), LATE_MS);
    if (this.#timer === null) this.#send();
  }

  // One at a time, in order: what is undone must have been given first.
  async #send() {
    if (this.#busy) return;
    this.#busy = true;
    while (await this.#deliver());
    this.#busy = false;
  }

  // Resolves to whether to go on.
  async #deliver() {
    let entry = null;
    try {
      if (this.corpus === null) await this.#learn();
      [entry] = this.unsent;
      if (!entry) return false;
      const reply = await this.#post(entry.path, entry.body);
      this.#remove(entry);
      this.#delay = FIRST_DELAY;
      this.trouble = null;
      this.onKept(entry, reply);
    } catch (problem) {
      if (!entry || passes(problem.status)) return this.#later(problem);
      return this.#refuse(entry, problem);
    }
    this.onChange();
    return true;
  }

  async #learn() {
    this.corpus = await this.#identify();
    this.trouble = null;
    this.onChange();
  }

  // A conflict may only say that another corpus is served by now: then it has another identity.
  async #refuse(entry, problem) {
    if (problem.status === CONFLICT) {
      try {
        await this.#learn();
      } catch (other) {
        return this.#later(other);
      }
    }
    if (!this.#isForeign(entry)) {
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
    const pause = Math.max(this.#delay, 1_000 * (problem.retryAfter ?? 0));
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#send();
    }, pause);
    this.#delay = Math.min(2 * this.#delay, LONGEST_DELAY);
    return false;
  }

  #load() {
    try {
      const keys = Object.keys(this.#store).filter((key) => key.startsWith(PREFIX));
      this.#entries = keys.sort(byOrder).map((key) => JSON.parse(this.#store.getItem(key)));
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
