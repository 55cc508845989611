/** What is reviewed: the category and the queue, and a button to draw more. */
import { Choices } from "../choices.js";
import { h } from "../dom.js";

export const ORDERS = { suggested: "Suggested", flagged: "Flagged", near: "Near the threshold" };

export class Bar {
  #byPointer = false;

  /** `onChoose({category})` and `onChoose({order})` are called with what was chosen. */
  constructor(names, { onChoose, onDraw, counter }) {
    const all = names.length > 1 ? h("option", { value: "" }, "all categories") : null;
    this.select = h(
      "select",
      {
        "aria-label": "Category",
        onChange: () => onChoose({ category: this.select.value || null }),
        onPointerdown: () => (this.#byPointer = true),
        onKeydown: () => (this.#byPointer = false),
      },
      all,
      names.map((name) => h("option", { value: name }, name)),
    );
    this.orders = new Choices("Queue", Object.entries(ORDERS), (order) => onChoose({ order }));
    this.left = h("span", { class: "soft figures" });
    this.node = h(
      "div",
      { class: "review-bar row" },
      this.select,
      this.orders.node,
      h(
        "span",
        { class: "grow row end" },
        counter,
        this.left,
        h(
          "button",
          { type: "button", class: "draw", onClick: onDraw },
          "Draw a round",
          h("kbd", null, "D"),
        ),
      ),
    );
  }

  /** Whether the list of categories was used by pointer; by keys, one goes on choosing. */
  get pointed() {
    return this.#byPointer;
  }

  show(category, order) {
    this.select.value = category ?? "";
    this.orders.show(order);
  }
}
