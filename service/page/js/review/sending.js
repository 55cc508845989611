/** What is told of labels on their way: what waits, what was refused, what belongs elsewhere. */
import { dialog, h, replace } from "../dom.js";
import { plural } from "../words.js";

const KEPT = "They are kept in this browser and sent again by themselves.";
const NOT_KEPT = "This browser keeps nothing: leave the page open until they are sent.";
const SLOW = "The service has not answered yet.";

export class Sending {
  #outbox;
  #onDrop;

  constructor(outbox, onDrop) {
    this.#outbox = outbox;
    this.#onDrop = onDrop;
    this.node = h("div", { class: "sending", role: "status", "aria-live": "polite" });
  }

  draw() {
    const { unsent, refused, foreign, trouble, late } = this.#outbox;
    const waits = unsent.length > 0 && (trouble || late);
    replace(
      this.node,
      waits ? this.#waiting(unsent.length, trouble ?? SLOW) : null,
      refused.map((entry) => this.#refusal(entry)),
      foreign.length ? this.#elsewhere(foreign) : null,
    );
  }

  #waiting(number, why) {
    const send = () => this.#outbox.sendNow();
    return h(
      "div",
      { class: "note warn" },
      h(
        "div",
        { class: "row" },
        h("strong", { class: "grow" }, `${plural(number, "answer")} not sent yet`),
        h("button", { type: "button", onClick: send }, "Send now"),
      ),
      h(
        "p",
        { class: "small" },
        this.#outbox.durable ? KEPT : NOT_KEPT,
        " ",
        h("span", { class: "why" }, why),
      ),
    );
  }

  #refusal(entry) {
    return h(
      "div",
      { class: "note bad" },
      h("p", null, h("strong", null, `Not kept: ${entry.title}. `), entry.refused),
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", onClick: () => this.#outbox.retry(entry) }, "Send again"),
        h("button", { type: "button", onClick: () => this.#onDrop(entry) }, "Drop it"),
      ),
    );
  }

  #elsewhere(entries) {
    const belong = entries.length === 1 ? "belongs" : "belong";
    return h(
      "div",
      { class: "note warn" },
      h(
        "div",
        { class: "row" },
        h(
          "strong",
          { class: "grow" },
          `${plural(entries.length, "answer")} ${belong} to another corpus`,
        ),
        h("button", { type: "button", onClick: () => this.#giveUp(entries) }, "Drop…"),
      ),
      h("p", { class: "small" }, "This browser keeps them until that one is served here again."),
    );
  }

  async #giveUp(entries) {
    const sure = await dialog({
      title: "Drop answers to another corpus?",
      content: h("p", null, `${plural(entries.length, "answer")} would be lost for good.`),
      actions: [
        { label: "Keep them", value: false },
        { label: "Drop them", kind: "danger", value: true },
      ],
    });
    if (sure) this.#outbox.discard(...entries);
  }
}
