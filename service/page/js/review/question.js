/** What is asked of an image, and the answers: yes or no, a level, or all categories at once. */
import { h, replace, set } from "../dom.js";
import { isPositive } from "../state.js";

/** A level as people say it: yes and no where there are only two. */
export function levelName(level, levels) {
  if (levels.length > 2 || level === null) return level ?? "left open";
  return isPositive(level, levels) ? "yes" : "no";
}

/** How a label stands to what the calibration decided. */
function verdict(decision, level, levels) {
  if (!decision || decision.threshold === null) return "";
  const decided = decision.level ?? levels[0];
  if (decided === level) return "right";
  return levels.indexOf(decided) > levels.indexOf(level) ? "wrong" : "missed";
}

const DIGITS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0"];

/** One category: a button and a key for each level. `onAnswer({category: level})`. */
export class OneQuestion {
  constructor(category, levels, onAnswer) {
    Object.assign(this, { category, levels, onAnswer });
    this.title = h("h1", { class: "question" }, levels.length > 2 ? "How much of this: " : "Is this: ", h("em", null, category), "?");
    this.answers = this.levels.map((level) => this.#button(level));
    this.node = h("div", { class: "asked" }, this.title, h("div", { class: "answers", role: "group", "aria-label": "Your answer" }, this.answers.map((one) => one.button)));
  }

  // No lies to the left of yes, as low scores lie to the left of high ones.
  get keys() {
    return this.levels.map((level) => ({
      key: this.#keysOf(level),
      label: `${this.category}: ${levelName(level, this.levels)}`,
      run: () => this.#give(level),
    }));
  }

  show(item, hidden) {
    this.hint(item, hidden);
  }

  /** Tell, or hide, how each answer stands to what the calibration decided. */
  hint(item, hidden) {
    for (const { level, hint } of this.answers) {
      hint.textContent = hidden ? "" : verdict(item.decisions[this.category], level, this.levels);
    }
  }

  #keysOf(level) {
    const place = this.levels.indexOf(level);
    if (this.levels.length > 2) return [DIGITS[place]];
    return place ? ["y", "1", "ArrowRight"] : ["n", "0", "ArrowLeft"];
  }

  #button(level) {
    const name = levelName(level, this.levels);
    const hint = h("span", { class: "hint small" });
    const button = h(
      "button", { type: "button", class: `answer ${isPositive(level, this.levels) ? "yes" : "no"}`, onClick: () => this.#give(level) },
      h("span", { class: "answer-name" }, name.charAt(0).toUpperCase() + name.slice(1)),
      h("kbd", null, this.#keysOf(level)[0].toUpperCase()), hint,
    );
    return { level, button, hint };
  }

  #give(level) {
    this.onAnswer({ [this.category]: level });
  }
}

/** All categories: what is there is ticked, the rest is answered no with the same key. */
export class AllQuestions {
  #given = new Map();

  constructor(categories, levels, onAnswer) {
    Object.assign(this, { categories, levels, onAnswer });
    this.title = h("h1", { class: "question" }, "Which of these?");
    this.ticks = categories.map((category, place) => this.#tick(category, DIGITS[place]));
    this.done = h("button", { type: "button", class: "primary answer-all", onClick: () => this.#give() });
    this.#clear();
    this.node = h("div", { class: "asked" }, this.title, h("div", { class: "ticks", role: "group", "aria-label": "Categories" }, this.ticks.map((one) => one.button)), this.done);
  }

  get keys() {
    const each = this.ticks.filter((one) => one.key).flatMap(({ category, key }) => [
      { key, label: category, run: () => this.#turn(category) },
      { key: `Alt+${key}`, label: key === "1" ? "Leave a category open: Alt with its number" : null, run: () => this.#leaveOpen(category) },
    ]);
    return [...each, { key: "Enter", label: "These, and nothing else", run: () => this.#give() }];
  }

  show(item, hidden) {
    this.#clear();
    this.hint(item, hidden);
  }

  /** Tell, or hide, what the calibration flags. */
  hint(item, hidden) {
    for (const { category, hint } of this.ticks) {
      const decision = item.decisions[category];
      hint.textContent = !hidden && isPositive(decision?.level, this.levels) ? "flagged" : "";
    }
  }

  #clear() {
    this.#given = new Map(this.categories.map((category) => [category, this.levels[0]]));
    this.#draw();
  }

  #tick(category, key) {
    const name = h("span", { class: "answer-name cut" });
    const hint = h("span", { class: "hint small" });
    const button = h(
      "button", { type: "button", class: "tick", title: `${category} (Alt: leave open)`, onClick: (event) => (event.altKey ? this.#leaveOpen(category) : this.#turn(category)) },
      key ? h("kbd", null, key) : null, name, hint,
    );
    return { category, key, name, button, hint };
  }

  #turn(category) {
    const next = this.levels.indexOf(this.#given.get(category)) + 1;
    this.#given.set(category, this.levels[next % this.levels.length]);
    this.#draw();
  }

  #leaveOpen(category) {
    this.#given.set(category, this.#given.get(category) === null ? this.levels[0] : null);
    this.#draw();
  }

  #draw() {
    for (const { category, name, button } of this.ticks) {
      const level = this.#given.get(category);
      const said = level === null || (this.levels.length > 2 && isPositive(level, this.levels));
      name.textContent = said ? `${category}: ${levelName(level, this.levels)}` : category;
      set(button, { "aria-pressed": level === null ? "mixed" : String(isPositive(level, this.levels)) });
    }
    const given = [...this.#given.values()];
    const some = given.some((level) => isPositive(level, this.levels));
    this.done.disabled = given.every((level) => level === null);
    replace(this.done, some ? "These, and nothing else" : "None of these", h("kbd", null, "Enter"));
  }

  #give() {
    const answered = [...this.#given].filter(([, level]) => level !== null);
    if (answered.length) this.onAnswer(Object.fromEntries(answered));
  }
}
