/** What is changed and not saved, with the way to save it. */
import { h, replace, set } from "../dom.js";
import { cutName, plural, score } from "../words.js";

export class Pending {
  #told = h("div", { class: "grow" });
  #save;

  constructor(levels, { onSave, onReset }) {
    this.levels = levels;
    this.#save = h(
      "button",
      { type: "button", class: "primary save", onClick: onSave },
      "Save…",
      h("kbd", null, "Ctrl S"),
    );
    this.node = h(
      "div",
      { class: "pending", role: "region", "aria-label": "Changes", hidden: true },
      this.#told,
      h("button", { type: "button", onClick: onReset }, "Reset all"),
      this.#save,
    );
  }

  /** `barred`: nothing can be saved now. */
  show(changes, { barred }) {
    set(this.node, { hidden: changes.length === 0 });
    set(this.#save, { disabled: barred });
    const list = changes.map((change) => this.#words(change)).join("; ");
    replace(
      this.#told,
      h("strong", null, `${plural(changes.length, "change")}, not saved`),
      h("span", { class: "figures" }, `: ${list}`),
    );
  }

  #words({ category, level, placed, before }) {
    const at = (value) => (value === null ? "none" : score(value));
    const moves = Object.entries(placed).map(([which, value]) => {
      const name = which === "upper" ? "block from " : "";
      return `${name}${at(before[which])} → ${at(value)}`;
    });
    return `${cutName(category, level, this.levels)} ${moves.join(", ")}`;
  }
}
