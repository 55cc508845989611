/**
 * Labels on their way. Each is kept in the browser until the service has acknowledged it, and is
 * sent again under the same batch, which the service keeps once however often it comes.
 *
 * Each belongs to the corpus whose image was looked at. Where another one is served on the same
 * address meanwhile, it waits in the browser: the ids of its images mean others there.
 *
 * All tabs of a browser see the same. The one that gave a label sends it; where that tab is closed,
 * or gets no answer, another sends it too.
 */
import { Shelf, since, sorted } from "./shelf.js";

const FIRST_DELAY = 1_000;
const LONGEST_DELAY = 30_000;
const LATE_MS = 3_000;
const SOON_MS = 3_000;
const UNKNOWN = 401;
const CONFLICT = 409;
// These pass: no connection (0), no token yet, timeouts, too many at once, the service itself.
const PASSING = new Set([0, UNKNOWN, 408, 425, 429]);

const passes = (status) => PASSING.has(status ?? 0) || status >= 500;

export class Outbox {
  #entries = [];
  #post;
  #identify;
  #shelf;
  #busy = false;
  #delay = FIRST_DELAY;
  #timer = null;
  #due = 0;

  /**
   * `post(path, body)` sends; `identify()` resolves to the identity of the corpus that is served;
   * `onChange()` is called when what is unsent changes, `onKept()` when the service has taken an
   * entry, and `onGivenElsewhere(entry)` when another tab has one. `corpus` is null until the
   * service has told which it is.
   */
  constructor(post, identify, shelf = new Shelf()) {
    this.#post = post;
    this.#identify = identify;
    this.#shelf = shelf;
    this.forget();
    this.corpus = null;
    this.trouble = null;
    this.#entries = shelf.load();
    shelf.follow({ put: (entry) => this.#put(entry), gone: (key) => this.#gone(key) });
    addEventListener("online", () => this.sendNow());
    addEventListener("beforeunload", (event) => {
      if (this.#entries.length && !this.durable) event.preventDefault();
    });
  }

  /** Nobody is to be told any more. */
  forget() {
    this.onChange = this.onKept = this.onGivenElsewhere = () => {};
  }

  /** Whether what waits outlives the page. */
  get durable() {
    return this.#shelf.durable;
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
    return oldest !== undefined && Date.now() - since(oldest) >= LATE_MS;
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
    this.#shelf.keep(entry);
    this.sendNow();
  }

  /**
   * Ask anew which corpus is served: the service was away, and another may have come back. Not at
   * once where something just failed: what is sent may fail while all else is answered.
   */
  reconsider() {
    this.corpus = null;
    if (this.#timer === null) this.#send();
    else this.#sendIn(SOON_MS);
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

  #add({ corpus, path, body, title }) {
    const key = this.#shelf.newKey(corpus, body.batch);
    // A corpus that may not be written has no identity.
    const sent = corpus ? { ...body, corpus } : body;
    const entry = { corpus, path, body: sent, title, key, refused: null };
    this.#entries.push(entry);
    this.#shelf.keep(entry);
    this.onChange();
    setTimeout(() => this.late && this.onChange(), LATE_MS);
    if (this.#timer === null) this.#send();
  }

  // Another tab has it: that one sends it, unless it does not come to do so.
  #put(entry) {
    const known = this.#entries.find((other) => other.key === entry.key);
    if (known) Object.assign(known, entry);
    else this.#entries = sorted([...this.#entries, entry]);
    this.onChange();
    if (known) return;
    this.onGivenElsewhere(entry);
    setTimeout(() => {
      if (!this.#entries.includes(entry)) return;
      this.onChange();
      if (this.#timer === null) this.#send();
    }, LATE_MS);
  }

  // Another tab is through with it.
  #gone(key) {
    this.#entries = this.#entries.filter((entry) => entry.key !== key);
    this.trouble = null;
    this.onChange();
    this.onKept();
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
      await this.#post(entry.path, entry.body);
      this.#remove(entry);
      this.#delay = FIRST_DELAY;
      this.trouble = null;
      this.onKept();
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

  // A conflict may only say that another corpus is served by now: then it has another identity; or
  // that another tab has sent it, and taken it back.
  async #refuse(entry, problem) {
    const conflict = problem.status === CONFLICT;
    if (conflict) {
      try {
        await this.#learn();
      } catch (other) {
        return this.#later(other);
      }
    }
    if (conflict && this.#shelf.lacks(entry)) this.#remove(entry);
    else if (!this.#isForeign(entry)) {
      entry.refused = problem.detail || problem.message;
      this.#shelf.keep(entry);
    }
    this.onChange();
    return true;
  }

  #later(problem) {
    this.trouble = problem.detail || problem.message;
    this.onChange();
    // Without a token the person was asked for it just now: not again before the next answer.
    if (problem.status === UNKNOWN) return false;
    this.#sendIn(Math.max(this.#delay, 1_000 * (problem.retryAfter ?? 0)));
    this.#delay = Math.min(2 * this.#delay, LONGEST_DELAY);
    return false;
  }

  // Sooner than was meant, but never later: whoever asks again and again must not put it off.
  #sendIn(milliseconds) {
    const due = Date.now() + milliseconds;
    if (this.#timer !== null && this.#due <= due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#send();
    }, milliseconds);
  }

  #remove(entry) {
    this.#entries = this.#entries.filter((other) => other !== entry);
    this.#shelf.remove(entry);
  }
}
