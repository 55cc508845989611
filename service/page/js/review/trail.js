/** What was labelled in this browser's name, newest last: counted, shown, and taken back. */
import { get } from "../api.js";
import { h, replace } from "../dom.js";
import { picture } from "../items.js";
import { count, plural } from "../words.js";
import { levelName } from "./question.js";

const SHOWN = 8;
const EARLIER = 200;

// How many each rater has labelled since the page was loaded.
const session = new Map();

export class Trail {
  #steps = [];

  // `outbox` tells what is still on its way; `onUndo(step)` takes a step back.
  constructor(rater, levels, outbox, onUndo) {
    Object.assign(this, { rater, levels, outbox, onUndo });
    this.counter = h("span", { class: "figures", role: "status", "aria-label": "Labelled in this session" });
    this.sending = h("div", { class: "sending", role: "status", "aria-live": "polite" });
    this.list = h("ol", { class: "trail-list", "aria-label": "Latest labels" });
    this.undo = h("button", { type: "button", class: "plain small", onClick: () => this.back() }, "Undo", h("kbd", null, "U"));
    this.node = h("section", { class: "trail", "aria-label": "Latest labels" }, h("div", { class: "row" }, h("h2", { class: "grow" }, "Latest"), this.undo), this.list);
  }

  /** Batches of earlier sessions can be taken back as well. */
  async load() {
    const { rater } = this;
    const { labels } = await get("labels", { rater, limit: EARLIER });
    const batches = Map.groupBy(labels.filter((label) => label.undone === null), (label) => label.batch);
    const steps = [...batches.values()].filter((batch) => new Set(batch.map((label) => label.item)).size === 1).map(([first, ...rest]) => ({
      batch: first.batch,
      rater,
      origin: first.origin,
      item: { id: first.item, name: first.name, picture: true },
      levels: Object.fromEntries([first, ...rest].map((label) => [label.category, label.level])),
    }));
    const held = new Set(this.#steps.map((step) => step.batch));
    this.#steps = [...steps.reverse().filter((step) => !held.has(step.batch)), ...this.#steps];
    this.draw();
  }

  add(step) {
    this.#steps.push(step);
    this.#counted(step.rater, 1);
    this.draw();
  }

  /** Take the latest step back, and the one before with the next call. */
  back(step = this.#steps.at(-1)) {
    if (!step) return;
    this.#steps = this.#steps.filter((other) => other !== step);
    this.#counted(step.rater, -1);
    this.onUndo(step);
    this.draw();
  }

  draw() {
    this.counter.textContent = `${count(session.get(this.rater) ?? 0)} done`;
    this.undo.disabled = this.#steps.length === 0;
    this.#drawSending();
    const unsent = new Set(this.outbox.unsent.map((entry) => entry.body.batch));
    replace(this.list, this.#steps.slice(-SHOWN).reverse().map((step) => this.#line(step, unsent.has(step.batch))));
  }

  #counted(rater, more) {
    session.set(rater, Math.max(0, (session.get(rater) ?? 0) + more));
  }

  #drop(entry) {
    this.#steps = this.#steps.filter((step) => step.batch !== entry.body.batch);
    this.outbox.discard(entry);
  }

  #line(step, unsent) {
    const said = Object.entries(step.levels);
    const positive = said.filter(([, level]) => level !== this.levels[0]);
    const told = (positive.length || said.length === 1 ? (positive.length ? positive : said) : [["all", this.levels[0]]]).map(([category, level]) => `${category}: ${levelName(level, this.levels)}`);
        return h(
      "li", { class: unsent ? "unsent" : null }, picture(step.item, { size: 160 }),
      h("span", { class: "grow cut", title: step.item.name }, told.join(", "), h("br"), h("span", { class: "soft small" }, unsent ? "not sent yet" : step.item.name)),
      h("button", { type: "button", class: "plain small", "aria-label": `Undo ${step.item.name}`, onClick: () => this.back(step) }, "Undo"),
    );
  }

  #drawSending() {
    const { unsent, refused, trouble, durable } = this.outbox;
    replace(
      this.sending,
      trouble && unsent.length ? this.#waiting(unsent.length, trouble, durable) : null,
      refused.map((entry) => this.#refusal(entry)),
    );
  }

  #waiting(number, trouble, durable) {
    const kept = durable ? "They are kept in this browser and sent again by themselves." : "This browser keeps nothing: leave the page open until they are sent.";
    return h(
      "div", { class: "note warn" },
      h("div", { class: "row" }, h("strong", { class: "grow" }, `${plural(number, "answer")} not sent yet`), h("button", { type: "button", onClick: () => this.outbox.sendNow() }, "Send now")),
      h("p", { class: "small" }, kept, " ", h("span", { class: "why" }, trouble)),
    );
  }

  #refusal(entry) {
    return h(
      "div", { class: "note bad" },
      h("p", null, h("strong", null, `Not kept: ${entry.title}. `), entry.refused),
      h("div", { class: "row" },
        h("button", { type: "button", onClick: () => this.outbox.retry(entry) }, "Send again"),
        h("button", { type: "button", onClick: () => this.#drop(entry) }, "Drop it")),
    );
  }
}
