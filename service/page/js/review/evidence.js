/** What there is to know of an image: its scores, and what people said of those that look alike. */
import { abandoned, get } from "../api.js";
import { h, replace, set } from "../dom.js";
import { ScoreRange, hitStrip, scoreTable } from "../items.js";
import { levelName } from "./question.js";

const NEIGHBOURS = 4;

/** Scores of all categories as bars on one axis, which widens with what has been seen. */
export class Scores {
  #range = new ScoreRange();

  constructor(levels, onToggle) {
    this.levels = levels;
    this.body = h("div", { class: "scores-body" });
    this.toggle = h("button", {
      type: "button",
      class: "plain small",
      "aria-label": "Hide scores",
      onClick: onToggle,
    });
    this.node = h(
      "section",
      { class: "review-scores", "aria-label": "Scores" },
      h("div", { class: "row" }, h("h2", { class: "grow" }, "Scores"), this.toggle),
      this.body,
    );
  }

  show(item, category, hidden) {
    set(this.toggle, { "aria-pressed": String(hidden) });
    replace(this.toggle, hidden ? "Hidden" : "Hide", h("kbd", null, "H"));
    this.#range.take(item.decisions);
    const options = { levels: this.levels, range: this.#range, first: category };
    replace(
      this.body,
      hidden
        ? h("p", { class: "soft small" }, "Hidden, so that they don't sway you.")
        : scoreTable(item.decisions, options),
    );
  }
}

/** The nearest images that people have labelled in a category. */
export class Examples {
  #known = new Map();
  #request = null;

  constructor(levels) {
    this.levels = levels;
    this.body = h("div", { class: "examples-body" });
    this.title = h("h2");
    this.node = h(
      "section",
      { class: "examples", "aria-label": "Labelled images that look like this" },
      this.title,
      this.body,
    );
  }

  async show(item, category, next) {
    this.node.hidden = category === null;
    this.#request?.abort();
    if (category === null) return;
    this.title.textContent = `Looks like these, labelled for ${category}`;
    const request = new AbortController();
    this.#request = request;
    try {
      const found = await this.#fetch(item, category, request.signal);
      if (this.#request !== request) return;
      this.#render(found);
      if (next) this.#fetch(next, category, request.signal).catch(() => {});
    } catch (problem) {
      if (abandoned(problem)) return;
      replace(this.body, h("p", { class: "soft small" }, problem.detail ?? problem.message));
    }
  }

  /** New labels may bring nearer examples. */
  forget() {
    this.#known.clear();
  }

  async #fetch(item, category, signal) {
    const name = `${item.id} ${category}`;
    const path = `items/${item.id}/neighbours`;
    const params = { k: NEIGHBOURS, category };
    const found = this.#known.get(name) ?? (await get(path, params, { signal }));
    this.#known.set(name, found);
    return found;
  }

  #render({ category, positives, negatives }) {
    const [top, bottom] = [this.levels.at(-1), this.levels[0]];
    const yes = this.levels.length > 2 ? `from ${this.levels[1]}` : levelName(top, this.levels);
    const no = levelName(bottom, this.levels);
    replace(
      this.body,
      this.#strip(yes, positives, category, "positive"),
      this.#strip(no, negatives, category, "negative"),
    );
  }

  #strip(title, hits, category, kind) {
    const shown = { category: this.levels.length > 2 ? category : null, levels: this.levels };
    return h(
      "div",
      { class: "example-strip", role: "group", "aria-label": `Labelled ${title}` },
      h("span", { class: `badge ${kind}` }, title),
      hits.length
        ? hitStrip(hits.slice(0, NEIGHBOURS), shown)
        : h("p", { class: "soft small" }, "none labelled yet"),
    );
  }
}
