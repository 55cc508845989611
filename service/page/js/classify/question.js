/** What images are compared with: descriptions that somebody types, or a prompt set. */
import { Choices } from "../choices.js";
import { h, set } from "../dom.js";
import { kept } from "../state.js";

const PAUSE_MS = 450;
const EXAMPLE =
  "a glass of beer, a glass of water, a cup of coffee, a cigarette, a knife, an empty street";
const MODES = [
  ["words", "Descriptions"],
  ["set", "Prompt set"],
];
const TOPS = [5, 10, 20, 200];

/** The form; `onAsk()` is called when what is asked has changed. */
export class Question {
  #onAsk;
  #timer = 0;
  #mode = kept.get("clipcal.classify.mode") === "set" ? "set" : "words";
  #choices = new Choices("Compare with", MODES, (mode) => this.turn(mode));

  constructor({ own, packaged }, onAsk) {
    this.#onAsk = onAsk;
    this.own = own;
    this.words = h("textarea", {
      rows: 3,
      maxlength: 20_000,
      "aria-label": "Descriptions, separated by commas",
      spellcheck: "true",
      value: kept.get("clipcal.classify.words") ?? EXAMPLE,
      placeholder: EXAMPLE,
      onInput: () => this.#later(),
      onKeydown: (event) => this.#entered(event),
    });
    const names = [...new Set([own, ...packaged])];
    const chosen = kept.get("clipcal.classify.set");
    this.sets = h(
      "select",
      { "aria-label": "Prompt set", onChange: () => this.#now() },
      names.map((name) =>
        h(
          "option",
          { value: name, selected: name === chosen },
          name === own ? `${name} (served here)` : name,
        ),
      ),
    );
    this.top = h(
      "select",
      { "aria-label": "How many to show", onChange: () => this.#now() },
      TOPS.map((top) =>
        h(
          "option",
          {
            value: String(top),
            selected: String(top) === (kept.get("clipcal.classify.top") ?? "10"),
          },
          top === 200 ? "All" : `Top ${top}`,
        ),
      ),
    );
    this.hint = h("p", { class: "small soft hint" });
    this.node = h(
      "form",
      {
        class: "classify-form stack",
        "aria-label": "What to compare with",
        onSubmit: (event) => {
          event.preventDefault();
          this.#now();
        },
      },
      h("div", { class: "row" }, this.#choices.node, h("span", { class: "grow" }), this.top),
      this.words,
      this.sets,
      this.hint,
    );
    this.#show();
  }

  /** What is asked by now: the form's fields, and whether the calibration decides. */
  get value() {
    const words = this.words.value.trim();
    const set = this.sets.value;
    const form =
      this.#mode === "set" ? { prompts: set } : { sentences: words, top: this.top.value };
    return {
      key: JSON.stringify(form),
      form,
      mode: this.#mode,
      empty: this.#mode === "words" && !words.replace(/[,\s]/g, ""),
      decides: this.#mode === "set" && set === this.own,
    };
  }

  /** Descriptions, or a prompt set. */
  turn(mode = this.#mode === "set" ? "words" : "set") {
    this.#mode = mode;
    this.#show();
    this.#now();
  }

  focus() {
    if (this.#mode === "set") this.sets.focus();
    else this.words.focus();
  }

  #show() {
    this.#choices.show(this.#mode);
    const words = this.#mode === "words";
    set(this.words, { hidden: !words });
    set(this.sets, { hidden: words });
    set(this.top, { hidden: !words });
    set(this.hint, {
      textContent: words
        ? "Separate descriptions by commas. Enter compares; so does a pause."
        : "Scores as thresholds are set on; with the set that is served here, the calibration's decisions too.",
    });
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#now(), PAUSE_MS);
  }

  #entered(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.#now();
  }

  #now() {
    clearTimeout(this.#timer);
    kept.set("clipcal.classify.mode", this.#mode);
    kept.set("clipcal.classify.words", this.words.value);
    kept.set("clipcal.classify.set", this.sets.value);
    kept.set("clipcal.classify.top", this.top.value);
    this.#onAsk();
  }

  close() {
    clearTimeout(this.#timer);
  }
}
