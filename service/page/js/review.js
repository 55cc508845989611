/** Review: one image at a time, answered by key, with what the answers do to the guarantees. */
import { connection, get } from "./api.js";
import { h, problemNote, replace } from "./dom.js";
import { keys } from "./keys.js";
import { keep, route } from "./route.js";
import { askRater, kept, loadCategories, newBatch, rater, state } from "./state.js";
import { count } from "./words.js";
import { Bar, ORDERS } from "./review/bar.js";
import { Examples, Scores } from "./review/evidence.js";
import { Feed } from "./review/feed.js";
import { emptyNote, movedNote, unfittedNote } from "./review/messages.js";
import { outbox } from "./review/outgoing.js";
import { Outlook } from "./review/outlook.js";
import { OneQuestion } from "./review/question.js";
import { AllQuestions } from "./review/questions.js";
import { drawRound } from "./review/round.js";
import { Stage } from "./review/stage.js";
import { Trail } from "./review/trail.js";

const HIDDEN = "clipcal.review.hidden";
const CONFLICT = 409;
// What was pressed by pointer gives the keys back to the page.
const GIVES_BACK =
  "button.answer, button.tick, .answer-all, .stage-picture, .review-bar [role=radio]";

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
  #closed = false;
  #origins = new Map();
  #hidden = kept.get(HIDDEN) === "yes";

  constructor(root, { categories, levels, corpus }, params) {
    this.root = root;
    this.names = categories.map((category) => category.name);
    this.levels = levels;
    this.corpus = corpus;
    this.rater = rater();
    this.category = chosenOf(this.names, params.category);
    this.order = params.queue in ORDERS ? params.queue : "suggested";
    this.#build();
    this.#listen();
    this.trail.load();
    this.#ask();
    outbox.sendNow();
    this.#drawUnsent();
  }

  close() {
    this.#closed = true;
    this.#turn += 1;
    this.outlook.close();
    this.stage.close();
    this.forgetKeys?.();
    this.root.removeEventListener("click", this.giveFocusBack);
    connection.removeEventListener("up", this.whenBack);
    outbox.forget();
  }

  #build() {
    this.stage = new Stage();
    this.scores = new Scores(this.levels, () => this.#hide());
    this.examples = new Examples(this.levels);
    this.outlook = new Outlook(this.levels);
    this.trail = new Trail(this.rater, this.levels, outbox, (step) => this.#takeBack(step));
    this.bar = new Bar(this.names, {
      onChoose: (chosen) => this.#choose(chosen),
      onDraw: () => this.#draw(),
      counter: this.trail.counter,
    });
    const unfold = () => this.note.classList.toggle("whole");
    this.note = h("p", { class: "review-note small soft", onClick: unfold });
    this.said = h("p", { class: "hidden-text", "aria-live": "polite" });
    this.asked = h("div", { class: "asked-place" });
    this.message = h("div", { class: "review-message", hidden: true });
    this.side = h(
      "div",
      { class: "review-side" },
      h("div", { class: "asked-frame" }, this.asked, this.trail.sending.node),
      [this.outlook, this.scores, this.examples, this.trail].map(({ node }) => node),
    );
    this.main = h("div", { class: "review-main" }, this.stage.node, this.message, this.side);
    const parts = [this.bar.node, this.note, this.main, this.said];
    replace(this.root, h("div", { class: "review" }, parts));
  }

  #listen() {
    outbox.onChange = () => this.#drawUnsent();
    outbox.onKept = () => {
      this.examples.forget();
      this.outlook.refresh();
    };
    outbox.onGivenElsewhere = (entry) => this.#leaveOut(entry);
    this.whenBack = () => {
      this.outlook.refresh();
      if (this.feed.current) this.#showEvidence(this.feed.current);
    };
    connection.addEventListener("up", this.whenBack);
    this.giveFocusBack = ({ detail, target }) => {
      if (detail && target.closest(GIVES_BACK)) this.root.focus({ preventScroll: true });
    };
    this.root.addEventListener("click", this.giveFocusBack);
  }

  #drawUnsent() {
    this.trail.draw();
    if (outbox.corpus === null || outbox.corpus === this.corpus) return;
    // Ids mean other images there: nothing that is shown here holds any more.
    this.close();
    replace(this.root, movedNote());
  }

  #choose({ category = this.category, order = this.order }) {
    Object.assign(this, { category, order });
    keep("review", { category, queue: order });
    // Chosen by pointer, the list gives the keys back to the page; by keys, one goes on choosing.
    if (this.bar.pointed) this.root.focus({ preventScroll: true });
    this.#ask();
  }

  // Another question: another queue, other keys.
  #ask() {
    this.bar.show(this.category, this.order);
    const answer = (levels) => this.#answer(levels);
    this.question =
      this.category === null
        ? new AllQuestions(this.names, this.levels, answer)
        : new OneQuestion(this.category, this.levels, answer);
    replace(this.asked, this.question.node);
    this.forgetKeys?.();
    this.forgetKeys = keys.page([...this.question.keys, ...this.#keys()]);
    this.outlook.about(this.category);
    this.#origins.clear();
    this.#begin();
  }

  #keys() {
    const after = (list, one) => list[(list.indexOf(one) + 1) % list.length];
    const order = () => after(Object.keys(ORDERS), this.order);
    const category = () => after([null, ...this.names], this.category);
    return [
      { key: "s", label: "Skip this image", run: () => this.#skip() },
      {
        key: ["u", "Ctrl+z"],
        label: "Take the latest answer back, and the one before",
        run: () => this.trail.back(),
      },
      { key: "h", label: "Hide or show scores and decisions", run: () => this.#hide() },
      { key: "Space", label: "Zoom", run: () => this.stage.zoom() },
      { key: "q", label: "The next queue", run: () => this.#choose({ order: order() }) },
      { key: "c", label: "The next category", run: () => this.#choose({ category: category() }) },
      { key: "d", label: "Draw a round", run: () => this.#draw() },
    ];
  }

  async #begin() {
    const turn = ++this.#turn;
    const { order, category, corpus, rater: name } = this;
    const judged = this.#judgedIn(outbox.labelsOf(corpus));
    this.feed = new Feed(get, { order, category, rater: name }, judged);
    replace(this.note);
    await this.#attempt(turn, () => this.feed.start());
  }

  // The images of which labels on their way answer what is asked here.
  #judgedIn(bodies) {
    return bodies
      .filter((body) => body.rater === this.rater)
      .flatMap((body) => body.labels)
      .filter(({ category }) => this.category === null || category === this.category)
      .map(({ item }) => item);
  }

  // The same person answers in another tab: nothing is asked twice.
  #leaveOut({ path, corpus, body }) {
    if (path !== "labels" || corpus !== this.corpus) return;
    const before = this.feed.current;
    this.feed.leaveOut(this.#judgedIn([body]));
    if (this.feed.current !== before) this.#goOn(() => {});
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
      if (turn === this.#turn) this.#fail(problem);
    }
  }

  #fail(problem) {
    const unfitted = problem.status === CONFLICT && this.order !== "suggested";
    this.bar.left.textContent = "";
    this.#tell(
      unfitted
        ? unfittedNote(this.category, () => this.#draw())
        : problemNote(problem, () => this.#begin()),
    );
  }

  #show() {
    const item = this.feed.current;
    const { note, counts } = this.feed.reply;
    const kind = counts ? "good" : "warn";
    const badge = h("span", { class: `badge ${kind}` }, counts ? "counts" : "doesn't count");
    replace(this.note, badge, " ", note);
    this.#tell(null);
    this.stage.show(item, this.feed.upcoming);
    this.question.show(item, this.#hidden);
    this.#showEvidence(item);
    this.bar.left.textContent = `${count(this.feed.remaining)} left`;
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
    const skipped = this.feed.skipped.size;
    this.bar.left.textContent = "0 left";
    replace(this.note);
    const note = emptyNote(
      { skipped, order: this.order },
      {
        again: () => this.#attempt(++this.#turn, () => this.feed.showSkipped()),
        draw: () => this.#draw(),
        near: () => this.#choose({ order: "near" }),
      },
    );
    this.#tell(note);
    this.said.textContent = "Nothing waits here.";
  }

  #answer(levels) {
    const item = this.feed.current;
    if (!item || !this.message.hidden) return;
    // What nobody can have seen yet is not answered; what cannot be shown may be, on purpose.
    if (this.stage.waits) return this.stage.saySoon();
    const batch = newBatch();
    const origin = this.#origins.get(item.id) ?? this.feed.reply.origin;
    const given = Object.entries(levels);
    const labels = given.map(([category, level]) => ({ item: item.id, category, level }));
    outbox.give(this.corpus, { batch, rater: this.rater, origin, labels }, item.name);
    this.trail.add({ batch, rater: this.rater, origin, item, levels });
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
    outbox.undo(this.corpus, { batch, rater: name }, `taking back ${item.name}`);
    if (this.category !== null && !(this.category in levels)) return;
    this.#origins.set(item.id, origin);
    const whole = async () => (item.decisions ? item : get(`items/${item.id}`));
    this.#goOn(async () => this.feed.putBack(await whole()));
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
    if (!round || this.#closed) return;
    this.order = "suggested";
    this.#choose({});
  }
}

// Of a single category nothing else can be asked.
function chosenOf(names, wanted) {
  if (names.includes(wanted)) return wanted;
  return names.length === 1 ? names[0] : null;
}
