/** What is below the bars: thresholds as numbers, and what is done to them by button. */
import { h, replace, set } from "../dom.js";
import { score } from "../words.js";

const DIGITS = 6;
const INVALID = "[aria-invalid=true]";

export class Controls {
  #on;
  #log = false;

  /**
   * `on` holds `move(which, value)`, `typed()` after every change of a number, `ends(which)` with
   * the ends `{least, most}` it must lie between, `place()`, `turnUpper()`, `turnLog()`, `reset()`.
   */
  constructor(on) {
    this.#on = on;
    this.node = h("div", { class: "row cut-controls" });
  }

  /** Whether a number was typed that no threshold may have: it stays, to be typed anew. */
  get invalid() {
    return this.node.querySelector(INVALID) !== null;
  }

  select() {
    this.node.querySelector("input")?.select();
  }

  /** `shown` is `{threshold, upper, digits, changed, ready, log}`; who types is not disturbed. */
  show(shown) {
    const held = this.node.contains(document.activeElement) ? document.activeElement : null;
    if (held?.matches("input")) return;
    this.#log = shown.log;
    replace(this.node, shown.threshold === null ? this.#none(shown) : this.#both(shown));
    if (held) this.#focus(held.dataset.control);
  }

  // What was pressed may be another button by now, or be barred.
  #focus(control) {
    const successor = this.node.querySelector(`[data-control="${control}"]:not(:disabled)`);
    (successor ?? this.node.querySelector("button:not(:disabled)")).focus();
  }

  #none({ ready }) {
    return [
      this.#button("place", { disabled: !ready }, "Place a threshold by hand"),
      this.#logButton(),
    ];
  }

  #both(shown) {
    const { threshold, upper, changed } = shown;
    return [
      this.#number("Threshold", "threshold", threshold, shown),
      upper === null ? null : this.#number("Block from", "upper", upper, shown),
      this.#upperButton(upper),
      h(
        "span",
        { class: "legend small soft grow row end" },
        h("span", { class: "key saved" }, "saved"),
        h("span", { class: "key certified" }, "recall certified"),
      ),
      this.#logButton(),
      this.#button("reset", { disabled: !changed }, "Reset", h("kbd", null, "R")),
    ];
  }

  #button(control, props, ...content) {
    const press = () => this.#on[control]();
    const all = { type: "button", dataset: { control }, onClick: press, ...props };
    return h("button", all, content);
  }

  #upperButton(upper) {
    if (upper === null) {
      const key = h("kbd", null, "B");
      return this.#button("turnUpper", { class: "plain" }, "Add a block threshold", key);
    }
    const told = { "aria-label": "Take the block threshold away", title: "Take it away (B)" };
    return this.#button("turnUpper", { class: "plain icon", ...told }, "×");
  }

  #logButton() {
    const props = { class: "plain", "aria-pressed": this.#log };
    return this.#button("turnLog", props, "Log scale", h("kbd", null, "L"));
  }

  #number(label, which, value, { digits }) {
    const wrong = h("span", { class: "small wrong", role: "alert" });
    const input = h("input", {
      type: "number",
      step: "any",
      name: which,
      value: Number(value.toFixed(DIGITS)),
      title: score(value, digits),
      inputmode: "decimal",
      class: "threshold-input",
      onInput: () => this.#typed(input, wrong, digits),
      onBlur: () => setTimeout(() => this.invalid || this.#on.typed()),
    });
    return h(
      "span",
      { class: "row tight" },
      h("label", { class: "row tight" }, label, input),
      wrong,
    );
  }

  // A number that crosses another threshold, or leaves the scores, is neither taken nor changed.
  #typed(input, wrong, digits) {
    const { least, most } = this.#on.ends(input.name);
    const value = input.value === "" ? NaN : Number(Number(input.value).toFixed(DIGITS));
    const fits = value >= least && value <= most;
    set(input, { "aria-invalid": fits ? null : "true" });
    wrong.textContent = fits ? "" : `from ${score(least, digits)} to ${score(most, digits)}`;
    if (fits) this.#on.move(input.name, value);
    this.#on.typed();
  }
}
