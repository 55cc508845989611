/** One of several, chosen by pointer, or by the arrow keys once one of them has the focus. */
import { h, set } from "./dom.js";

const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };

/** A radio group of buttons, of which one is in the order of the Tab key: the one that is chosen. */
export class Choices {
  #onChoose;
  #buttons;

  /** `choices` are pairs of a value and its text; `onChoose(value)` is to `show` what it takes. */
  constructor(label, choices, onChoose) {
    this.#onChoose = onChoose;
    this.#buttons = choices.map(([value, text]) =>
      h(
        "button",
        { type: "button", role: "radio", dataset: { value }, onClick: () => onChoose(value) },
        text,
      ),
    );
    const onKeydown = (event) => this.#pressed(event);
    this.node = h(
      "div",
      { class: "choices", role: "radiogroup", "aria-label": label, onKeydown },
      this.#buttons,
    );
  }

  /** Show which value is chosen; where none is, the first button is in the Tab key's order. */
  show(value) {
    const chosen = this.#buttons.find((button) => button.dataset.value === value);
    const first = chosen ?? this.#buttons[0];
    for (const button of this.#buttons) {
      set(button, { "aria-checked": button === chosen, tabIndex: button === first ? 0 : -1 });
    }
  }

  #pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const next = this.#successor(event.key);
    if (!next) return;
    event.preventDefault();
    next.focus();
    this.#onChoose(next.dataset.value);
  }

  #successor(key) {
    if (key === "Home") return this.#buttons[0];
    if (key === "End") return this.#buttons.at(-1);
    const step = STEPS[key];
    const number = this.#buttons.length;
    const at = this.#buttons.indexOf(document.activeElement);
    return step && at >= 0 ? this.#buttons[(at + step + number) % number] : null;
  }
}
