/** Review: one image at a time, answered by key, with what the answers do to the guarantees. */
import { connection, get } from "./api.js";
import { h, problemNote, replace } from "./dom.js";
import { keys } from "./keys.js";
import { keep, route } from "./route.js";
import { askRater, kept, loadCategories, newBatch, rater, state } from "./state.js";
import { count, plural } from "./words.js";
import { Examples, Scores } from "./review/evidence.js";
import { Feed } from "./review/feed.js";
import { outbox } from "./review/outgoing.js";
import { Outlook } from "./review/outlook.js";
import { AllQuestions, OneQuestion } from "./review/question.js";
import { drawRound } from "./review/round.js";
import { Stage } from "./review/stage.js";
import { Trail } from "./review/trail.js";

const ORDERS = { suggested: "Suggested", flagged: "Flagged", near: "Near the threshold" };
const HIDDEN = "clipcal.review.hidden";

export const page = {
  title: "Review",
  load: () => loadCategories(),
  mount(root, _, categories) {
    let review = null;
    const begin = () => {
      review?.close();
      review = rater() ? new Review(root, categories, route().params) : nobody(root);
    };
    begin();
    if (!review) askRater();
    state.addEventListener("rater", begin);
    return () => {
      state.removeEventListener("rater", begin);
      review?.close();
    };
  },
};

function nobody(root) {
  replace(root, h(
    "div", { class: "empty" },
    h("p", null, "Labels are kept under a name. Say yours to begin."),
    h("button", { type: "button", class: "primary", onClick: askRater }, "Say who is labelling"),
  ));
  return null;
}

class Review {
  #turn = 0;
  #origins = new Map();
  #hidden = kept.get(HIDDEN) === "yes";

  constructor(root, { categories, levels }, params) {
    this.root = root;
    this.names = categories.map((category) => category.name);
    this.levels = levels;
    this.category = this.names.includes(params.category) ? params.category : this.names.length === 1 ? this.names[0] : null;
    this.order = params.queue in ORDERS ? params.queue : "suggested";
    this.#build();
    this.#listen();
    this.trail.load().catch(() => {});
    this.#ask();
  }

  close() {
    this.#turn += 1;
    this.outlook.close();
    this.stage.close();
    this.forgetKeys?.();
    this.root.removeEventListener("click", this.giveFocusBack);
    connection.removeEventListener("up", this.whenBack);
    outbox.onChange = outbox.onKept = () => {};
  }

  #build() {
    this.stage = new Stage();
    this.scores = new Scores(this.levels, () => this.#hide());
    this.examples = new Examples(this.levels);
    this.outlook = new Outlook(this.levels);
    this.trail = new Trail(rater(), this.levels, outbox, (step) => this.#takeBack(step));
    this.left = h("span", { class: "soft figures" });
    this.note = h("p", { class: "review-note small soft", onClick: () => this.note.classList.toggle("whole") });
    this.said = h("p", { class: "hidden-text", "aria-live": "polite" });
    this.asked = h("div");
    this.message = h("div", { class: "review-message", hidden: true });
    this.side = h("div", { class: "review-side" }, h("div", { class: "asked-frame" }, this.asked, this.trail.sending), this.outlook.node, this.scores.node, this.examples.node, this.trail.node);
    this.main = h("div", { class: "review-main" }, this.stage.node, this.message, this.side);
    replace(this.root, h("div", { class: "review" }, this.#bar(), this.note, this.main, this.said));
  }

  #bar() {
    const options = [this.names.length > 1 ? h("option", { value: "" }, "all categories") : null, this.names.map((name) => h("option", { value: name }, name))];
    this.select = h("select", { "aria-label": "Category", onChange: () => this.#choose({ category: this.select.value || null }) }, options);
    this.select.addEventListener("pointerdown", () => (this.pointed = true));
    this.select.addEventListener("keydown", () => (this.pointed = false));
    this.orders = Object.entries(ORDERS).map(([order, label]) => h("button", { type: "button", role: "radio", dataset: { order }, onClick: () => this.#choose({ order }) }, label));
    return h(
      "div", { class: "review-bar row" },
      this.select,
      h("div", { class: "choices", role: "radiogroup", "aria-label": "Queue" }, this.orders),
      h("span", { class: "grow row end" }, this.trail.counter, this.left, h("button", { type: "button", class: "draw", onClick: () => this.#draw() }, "Draw a round", h("kbd", null, "D"))),
    );
  }

  #listen() {
    outbox.onChange = () => this.trail.draw();
    outbox.onKept = () => {
      this.examples.forget();
      this.outlook.refresh();
    };
    outbox.sendNow();
    this.whenBack = () => {
      this.outlook.refresh();
      if (this.feed.current) this.#showEvidence(this.feed.current);
    };
    connection.addEventListener("up", this.whenBack);
    // What was pressed by pointer gives the keys back to the page.
    this.giveFocusBack = (event) => {
      if (event.detail && event.target.closest("button.answer, button.tick, .answer-all, .stage-picture, [role=radio]")) this.root.focus({ preventScroll: true });
    };
    this.root.addEventListener("click", this.giveFocusBack);
  }

  #choose({ category = this.category, order = this.order }) {
    Object.assign(this, { category, order });
    keep("review", { category, queue: order });
    // Chosen by pointer, the list gives the keys back to the page; by keys, one goes on choosing.
    if (this.pointed) this.root.focus({ preventScroll: true });
    this.#ask();
  }

  // Another question: another queue, other keys.
  #ask() {
    this.select.value = this.category ?? "";
    for (const button of this.orders) {
      button.setAttribute("aria-checked", String(button.dataset.order === this.order));
    }
    const answer = (levels) => this.#answer(levels);
    this.question = this.category === null ? new AllQuestions(this.names, this.levels, answer) : new OneQuestion(this.category, this.levels, answer);
    replace(this.asked, this.question.node);
    this.forgetKeys?.();
    this.forgetKeys = keys.page([...this.question.keys, ...this.#keys()]);
    this.outlook.about(this.category);
    this.#origins.clear();
    this.#begin();
  }

  #keys() {
    const orders = Object.keys(ORDERS);
    const after = (list, one) => list[(list.indexOf(one) + 1) % list.length];
    return [
      { key: "s", label: "Skip this image", run: () => this.#skip() },
      { key: ["u", "Ctrl+z"], label: "Take the latest answer back, and the one before", run: () => this.trail.back(), repeat: true },
      { key: "h", label: "Hide or show scores and decisions", run: () => this.#hide() },
      { key: "Space", label: "Zoom", run: () => this.stage.zoom() },
      { key: "q", label: "The next queue", run: () => this.#choose({ order: after(orders, this.order) }) },
      { key: "c", label: "The next category", run: () => this.#choose({ category: after([null, ...this.names], this.category) }) },
      { key: "d", label: "Draw a round", run: () => this.#draw() },
    ];
  }

  async #begin() {
    const turn = ++this.#turn;
    const judged = outbox.labels.filter((body) => body.rater === rater()).flatMap((body) => body.labels);
    const here = judged.filter(({ category }) => this.category === null || category === this.category);
    this.feed = new Feed(get, { order: this.order, category: this.category, rater: rater() }, here.map(({ item }) => item));
    replace(this.note);
    await this.#attempt(turn, () => this.feed.start());
  }

  // Shows what comes after `step`; a failure is shown in the image's place, with another try.
  async #attempt(turn, step) {
    try {
      await step();
      if (turn !== this.#turn) return;
      if (await this.feed.ready()) {
        if (turn === this.#turn) this.#show();
      } else if (turn === this.#turn) this.#empty();
    } catch (problem) {
      if (turn === this.#turn) this.#tell(problemNote(problem, () => this.#begin()));
    }
  }

  #show() {
    const item = this.feed.current;
    const { note, counts } = this.feed.reply;
    replace(this.note, h("span", { class: `badge ${counts ? "good" : "warn"}` }, counts ? "counts" : "doesn't count"), " ", note);
    this.#tell(null);
    this.stage.show(item, this.feed.upcoming);
    this.question.show(item, this.#hidden);
    this.#showEvidence(item);
    this.left.textContent = `${count(this.feed.remaining)} left`;
    this.said.textContent = `${item.name}. ${this.question.title.textContent}`;
  }

  #showEvidence(item) {
    this.scores.show(item, this.category, this.#hidden);
    this.examples.show(item, this.#about(item), this.feed.upcoming[0]);
  }

  // With all categories, examples are of the one whose score stands out most; which one that is
  // would give hidden scores away.
  #about(item) {
    if (this.category !== null) return this.category;
    if (this.#hidden) return null;
    const above = ([, { score, threshold }]) => score - (threshold ?? Infinity);
    const [best] = Object.entries(item.decisions).sort((a, b) => above(b) - above(a));
    return best?.[0] ?? null;
  }

  // A message in the image's place, or none.
  #tell(node) {
    this.message.hidden = node === null;
    this.main.classList.toggle("without-image", node !== null);
    replace(this.message, node);
  }

  #empty() {
    const { skipped } = this.feed;
    this.left.textContent = "0 left";
    replace(this.note);
    const again = () => this.#attempt(++this.#turn, () => this.feed.showSkipped());
    const what = { suggested: "Nobody has drawn images that you have not labelled.", flagged: "All that is flagged is labelled.", near: "Every image is labelled." }[this.order];
    this.#tell(h(
      "div", { class: "empty" },
      h("h2", null, skipped.size ? "Only what you skipped is left" : "Nothing waits here"),
      h("p", null, skipped.size ? `You skipped ${plural(skipped.size, "image")}.` : what),
      h("div", { class: "row" },
        skipped.size ? h("button", { type: "button", class: "primary", onClick: again }, "Show them again") : null,
        h("button", { type: "button", class: skipped.size ? null : "primary", onClick: () => this.#draw() }, "Draw a round"),
        this.order === "suggested" ? h("button", { type: "button", onClick: () => this.#choose({ order: "near" }) }, "Look near the threshold") : null),
    ));
    this.said.textContent = "Nothing waits here.";
  }

  #answer(levels) {
    const item = this.feed.current;
    if (!item || !this.message.hidden) return;
    const batch = newBatch();
    const origin = this.#origins.get(item.id) ?? this.feed.reply.origin;
    const labels = Object.entries(levels).map(([category, level]) => ({ item: item.id, category, level }));
    outbox.give({ batch, rater: rater(), origin, labels }, item.name);
    this.trail.add({ batch, rater: rater(), origin, item, levels });
    this.#goOn(() => this.feed.advance(item));
  }

  #skip() {
    const item = this.feed.current;
    if (item && this.message.hidden) this.#goOn(() => this.feed.advance(item, { skip: true }));
  }

  #goOn(step) {
    this.#attempt(++this.#turn, step);
  }

  // The image comes back, to be answered anew: as it came to be seen the first time.
  #takeBack({ batch, rater: name, origin, item, levels }) {
    outbox.undo({ batch, rater: name }, `taking back ${item.name}`);
    if (this.category !== null && !(this.category in levels)) return;
    this.#origins.set(item.id, origin);
    this.#goOn(async () => this.feed.putBack(item.decisions ? item : await get(`items/${item.id}`)));
  }

  #hide() {
    this.#hidden = !this.#hidden;
    kept.set(HIDDEN, this.#hidden ? "yes" : "no");
    const item = this.feed.current;
    if (!item) return;
    this.question.hint(item, this.#hidden);
    this.#showEvidence(item);
  }

  async #draw() {
    const round = await drawRound(this.category);
    if (!round) return;
    this.order = "suggested";
    this.#choose({});
  }
}
