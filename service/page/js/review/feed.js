/** The images to be judged, one after another, fetched ahead of need. */

const PAGE = 50;
const LOW = 8;

export class Feed {
  #get;
  #question;
  #items = [];
  #done = new Set();
  #sinceFetch = 0;
  #fetching = null;
  #end = false;

  /**
   * `question` is {order, category, rater}; `judged` are the ids of images whose labels are
   * still on their way.
   */
  constructor(get, question, judged = []) {
    this.#get = get;
    this.#question = question;
    this.#done = new Set(judged);
    this.skipped = new Set();
    this.reply = null;
  }

  get current() {
    return this.#items[0] ?? null;
  }

  get upcoming() {
    return this.#items.slice(1);
  }

  get remaining() {
    return this.reply ? Math.max(this.reply.waiting - this.#sinceFetch, this.#items.length) : 0;
  }

  async start() {
    await this.#fetch();
    return this.current;
  }

  /** Takes the image in front away, as judged or as skipped. */
  advance(item, { skip = false } = {}) {
    (skip ? this.skipped : this.#done).add(item.id);
    if (!skip) this.#sinceFetch += 1;
    this.#items = this.#items.filter((other) => other.id !== item.id);
  }

  /** True once there is an image in front; false where the queue is at its end. */
  async ready() {
    const fetched = this.#items.length < LOW && !this.#end ? this.#fetch() : null;
    // With images in hand a fetch that fails is tried again with the next step.
    if (this.current) fetched?.catch(() => {});
    else await fetched;
    return this.current !== null;
  }

  /** Leaves out what was judged elsewhere. */
  leaveOut(ids) {
    for (const id of ids) this.#done.add(id);
    const left = this.#items.filter(({ id }) => !this.#done.has(id));
    this.#sinceFetch += this.#items.length - left.length;
    this.#items = left;
  }

  /** Puts an image in front again, whose label was taken back. */
  putBack(item) {
    if (this.#done.delete(item.id)) this.#sinceFetch -= 1;
    this.skipped.delete(item.id);
    this.#items = [item, ...this.#items.filter((other) => other.id !== item.id)];
  }

  async showSkipped() {
    this.skipped.clear();
    this.#end = false;
    return this.#fetch();
  }

  #fetch() {
    this.#fetching ??= this.#load().finally(() => {
      this.#fetching = null;
    });
    return this.#fetching;
  }

  // Goes on past what is held, judged or skipped, until there is something fresh or the end.
  async #load() {
    const held = new Set(this.#items.map((item) => item.id));
    let fresh = [];
    let judged = 0;
    let reply = null;
    for (let offset = 0; !fresh.length; offset += PAGE) {
      reply = await this.#get("review/queue", { ...this.#question, offset, limit: PAGE });
      const known = [held, this.#done, this.skipped];
      fresh = reply.items.filter(({ id }) => !known.some((ids) => ids.has(id)));
      // Judged already, and still on its way when the service counted.
      judged += reply.items.filter((item) => this.#done.has(item.id)).length;
      this.#end = reply.items.length < PAGE;
      if (this.#end) break;
    }
    this.reply = reply;
    this.#sinceFetch = judged;
    this.#items.push(...fresh);
  }
}
