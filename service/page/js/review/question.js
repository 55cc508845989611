/** What is asked of an image in one category, and the answers: yes or no, or a level. */
import { h } from "../dom.js";
import { isPositive } from "../state.js";

const HASTE_MS = 300;

export const DIGITS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "0"];

/** A level as people say it: yes and no where there are only two. */
export function levelName(level, levels) {
  if (levels.length > 2 || level === null) return level ?? "left open";
  return isPositive(level, levels) ? "yes" : "no";
}

/** Tells a press that was meant for an image from one that the image before has caught. */
export class Haste {
  #since = 0;

  /** Another image is shown. */
  begin() {
    this.#since = performance.now();
  }

  /** Whether a click comes by pointer and is the second of two, or hard upon a new image. */
  caught(event) {
    if (!event.detail) return false;
    return event.detail > 1 || performance.now() - this.#since < HASTE_MS;
  }
}

/** How a label stands to what the calibration decided. */
function verdict(decision, level, levels) {
  if (!decision || decision.threshold === null) return "";
  const decided = decision.level ?? levels[0];
  if (decided === level) return "right";
  return levels.indexOf(decided) > levels.indexOf(level) ? "wrong" : "missed";
}

/** One category: a button and a key for each level. `onAnswer({category: level})`. */
export class OneQuestion {
  #haste = new Haste();

  constructor(category, levels, onAnswer) {
    Object.assign(this, { category, levels, onAnswer });
    const asks = levels.length > 2 ? "How much of this: " : "Is this: ";
    this.title = h("h1", { class: "question" }, asks, h("em", null, category), "?");
    this.answers = this.levels.map((level) => this.#button(level));
    this.node = h(
      "div",
      { class: "asked" },
      this.title,
      h(
        "div",
        { class: "answers", role: "group", "aria-label": "Your answer" },
        this.answers.map((one) => one.button),
      ),
    );
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
    this.#haste.begin();
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
      "button",
      {
        type: "button",
        class: `answer ${isPositive(level, this.levels) ? "yes" : "no"}`,
        onClick: (event) => this.#haste.caught(event) || this.#give(level),
      },
      h("span", { class: "answer-name" }, name.charAt(0).toUpperCase() + name.slice(1)),
      h("kbd", null, this.#keysOf(level)[0].toUpperCase()),
      hint,
    );
    return { level, button, hint };
  }

  #give(level) {
    this.onAnswer({ [this.category]: level });
  }
}
