/** All categories at once: what is there is ticked, the rest is answered no with the same key. */
import { h, replace, set } from "../dom.js";
import { isPositive } from "../state.js";
import { DIGITS, Haste, levelName } from "./question.js";

/** A button for each category, the first ten with a key. `onAnswer({category: level, …})`. */
export class AllQuestions {
  #given = new Map();
  #haste = new Haste();

  constructor(categories, levels, onAnswer) {
    Object.assign(this, { categories, levels, onAnswer });
    this.title = h("h1", { class: "question" }, "Which of these?");
    this.ticks = categories.map((category, place) => this.#tick(category, DIGITS[place]));
    this.done = h("button", {
      type: "button",
      class: "primary answer-all",
      onClick: (event) => this.#haste.caught(event) || this.#give(),
    });
    this.#clear();
    this.#rove(0);
    this.group = h(
      "div",
      { class: "ticks", role: "group", "aria-label": "Categories" },
      this.ticks.map((one) => one.button),
    );
    this.group.addEventListener("focusin", () => this.#rove(this.#focused));
    this.node = h("div", { class: "asked" }, this.title, this.group, this.done);
  }

  get keys() {
    const each = this.ticks
      .filter((one) => one.key)
      .flatMap(({ category, key }) => [
        { key, label: category, run: () => this.#turn(category) },
        {
          key: `Alt+${key}`,
          label: key === "1" ? "Leave a category open: Alt with its number" : null,
          run: () => this.#leaveOpen(category),
        },
      ]);
    const give = { key: "Enter", label: "These, and nothing else", run: () => this.#give() };
    return [...each, ...this.#roving, give];
  }

  show(item, hidden) {
    this.#haste.begin();
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

  get #focused() {
    return this.ticks.findIndex(({ button }) => button === document.activeElement);
  }

  // However many categories there are, each is reached by keys.
  get #roving() {
    const when = () => this.#focused >= 0;
    const chosen = () => this.categories[this.#focused];
    return [
      {
        key: ["ArrowDown", "ArrowRight"],
        label: "To the next category in the list",
        run: () => this.#move(1),
        repeat: true,
      },
      {
        key: ["ArrowUp", "ArrowLeft"],
        label: "To the category before it in the list",
        run: () => this.#move(-1),
        repeat: true,
      },
      { key: "Space", label: "Tick the category", run: () => this.#turn(chosen()), when },
      { key: "o", label: "Leave the category open", run: () => this.#leaveOpen(chosen()), when },
    ];
  }

  #move(step) {
    const number = this.ticks.length;
    const from = this.#focused < 0 && step > 0 ? -1 : Math.max(this.#focused, 0);
    this.ticks[(from + step + number) % number].button.focus();
  }

  // One of them is in the Tab key's order.
  #rove(place) {
    this.ticks.forEach(({ button }, at) => set(button, { tabIndex: at === place ? 0 : -1 }));
  }

  #clear() {
    this.#given = new Map(this.categories.map((category) => [category, this.levels[0]]));
    this.#draw();
  }

  #tick(category, key) {
    const name = h("span", { class: "answer-name" });
    const hint = h("span", { class: "hint small" });
    const press = ({ altKey }) => (altKey ? this.#leaveOpen(category) : this.#turn(category));
    const button = h(
      "button",
      {
        type: "button",
        class: "tick",
        title: `${category} (Alt: leave open)`,
        // Space ticks and Enter gives the answer, whichever has the focus.
        dataset: { keys: "page" },
        onClick: press,
      },
      key ? h("kbd", null, key) : null,
      name,
      hint,
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
    const positive = (level) => isPositive(level, this.levels);
    for (const { category, name, button } of this.ticks) {
      const level = this.#given.get(category);
      const said = level === null || (this.levels.length > 2 && positive(level));
      name.textContent = said ? `${category}: ${levelName(level, this.levels)}` : category;
      set(button, { "aria-pressed": level === null ? "mixed" : String(positive(level)) });
    }
    const given = [...this.#given.values()];
    this.done.disabled = given.every((level) => level === null);
    const all = given.some(positive) ? "These, and nothing else" : "None of these";
    replace(this.done, all, h("kbd", null, "Enter"));
  }

  #give() {
    const answered = [...this.#given].filter(([, level]) => level !== null);
    if (answered.length) this.onAnswer(Object.fromEntries(answered));
  }
}
