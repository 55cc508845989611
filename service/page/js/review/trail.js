/** What was labelled in this browser's name, newest last: counted, shown, and taken back. */
import { get } from "../api.js";
import { dialog, h, replace } from "../dom.js";
import { picture } from "../items.js";
import { count } from "../words.js";
import { levelName } from "./question.js";
import { Sending } from "./sending.js";

const SHOWN = 8;
const EARLIER = 200;

// How many each rater has labelled since the page was loaded, and under which batches.
const session = new Map();
const visit = new Set();

export class Trail {
  #steps = [];
  #agreed = false;
  #asking = false;

  // `outbox` tells what is still on its way; `onUndo(step)` takes a step back.
  constructor(rater, levels, outbox, onUndo) {
    Object.assign(this, { rater, levels, outbox, onUndo });
    this.counter = h("span", {
      class: "figures",
      role: "status",
      "aria-label": "Labelled in this session",
    });
    this.sending = new Sending(outbox, (entry) => this.#drop(entry));
    this.list = h("ol", { class: "trail-list", "aria-label": "Latest labels" });
    this.failed = h("p", { class: "soft small", hidden: true });
    this.undo = h(
      "button",
      { type: "button", class: "plain small", onClick: () => this.back() },
      "Undo",
      h("kbd", null, "U"),
    );
    this.node = h(
      "section",
      { class: "trail", "aria-label": "Latest labels" },
      h("div", { class: "row" }, h("h2", { class: "grow" }, "Latest"), this.undo),
      this.failed,
      this.list,
    );
  }

  /** Batches of earlier sessions can be taken back as well; where they do not come it is said. */
  async load() {
    try {
      const { rater } = this;
      const reply = await get("labels", { rater, limit: EARLIER });
      const held = new Set(this.#steps.map((step) => step.batch));
      const earlier = stepsOf(reply).filter((step) => !held.has(step.batch));
      this.#steps = [...earlier, ...this.#steps];
    } catch (problem) {
      this.failed.textContent = `Earlier labels did not come: ${problem.detail ?? problem.message}`;
      this.failed.hidden = false;
    }
    this.draw();
  }

  add(step) {
    visit.add(step.batch);
    this.#steps.push(step);
    this.#counted(step.rater, 1);
    this.draw();
  }

  /** Take the latest step back, and the one before with the next call. */
  async back() {
    const step = this.#steps.at(-1);
    if (step && !this.#asking && (await this.#mayTake(step))) this.#take(step);
  }

  draw() {
    this.counter.textContent = `${count(session.get(this.rater) ?? 0)} done`;
    this.undo.disabled = this.#steps.length === 0;
    this.sending.draw();
    const unsent = new Set(this.outbox.unsent.map((entry) => entry.body.batch));
    const latest = this.#steps.slice(-SHOWN).reverse();
    replace(
      this.list,
      latest.map((step) => this.#line(step, unsent.has(step.batch))),
    );
  }

  // What was said before this visit is not taken back by one key too many.
  async #mayTake(step) {
    if (this.#agreed || visit.has(step.batch)) return true;
    this.#asking = true;
    const agreed = await dialog({
      title: "Take back what was said earlier?",
      content: h(
        "p",
        null,
        "All answers of this visit are taken back. The next one was given before: ",
        `${this.#said(step)}, of ${step.item.name}.`,
      ),
      actions: [
        { label: "Keep it", value: false },
        { label: "Take back earlier answers", kind: "primary", value: true },
      ],
    });
    this.#asking = false;
    this.#agreed = Boolean(agreed);
    return this.#agreed;
  }

  #take(step) {
    this.#steps = this.#steps.filter((other) => other !== step);
    if (visit.delete(step.batch)) this.#counted(step.rater, -1);
    this.onUndo(step);
    this.draw();
  }

  #counted(rater, more) {
    session.set(rater, Math.max(0, (session.get(rater) ?? 0) + more));
  }

  #drop(entry) {
    this.#steps = this.#steps.filter((step) => step.batch !== entry.body.batch);
    this.outbox.discard(entry);
  }

  #said({ levels }) {
    const said = Object.entries(levels);
    const positive = said.filter(([, level]) => level !== this.levels[0]);
    const only = positive.length || said.length > 1 ? positive : said;
    const told = only.length ? only : [["all", this.levels[0]]];
    const words = ([category, level]) => `${category}: ${levelName(level, this.levels)}`;
    return told.map(words).join(", ");
  }

  #line(step, unsent) {
    const { name } = step.item;
    return h(
      "li",
      { class: unsent ? "unsent" : null },
      picture(step.item, { size: 160 }),
      h(
        "span",
        { class: "grow cut", title: name },
        this.#said(step),
        h("br"),
        h("span", { class: "soft small" }, unsent ? "not sent yet" : name),
      ),
      h(
        "button",
        {
          type: "button",
          class: "plain small",
          "aria-label": `Undo ${name}`,
          onClick: () => this.#take(step),
        },
        "Undo",
      ),
    );
  }
}

// The newest last. A batch is a step where it is of one image, and known whole.
function stepsOf({ labels, before }) {
  const batches = new Map();
  for (const label of labels) {
    if (!batches.has(label.batch)) batches.set(label.batch, []);
    batches.get(label.batch).push(label);
  }
  // The oldest may go on beyond what was fetched.
  if (before !== null) batches.delete(labels.at(-1).batch);
  return [...batches.values()]
    .map((batch) => batch.filter((label) => label.undone === null))
    .filter((batch) => new Set(batch.map((label) => label.item)).size === 1)
    .map(stepOf)
    .reverse();
}

function stepOf(batch) {
  const [{ batch: name, rater, origin, item, name: image }] = batch;
  return {
    batch: name,
    rater,
    origin,
    item: { id: item, name: image, picture: true },
    levels: Object.fromEntries(batch.map((label) => [label.category, label.level])),
  };
}
