/** The images that would change sides, shown before anything is saved. */
import { h, replace } from "../dom.js";
import { labelBadge, smallCard } from "../items.js";
import { count, plural, score } from "../words.js";

export class Flips {
  constructor(levels) {
    this.levels = levels;
    this.newly = h("div", { class: "flip-group" });
    this.noLonger = h("div", { class: "flip-group" });
    this.node = h(
      "section",
      { class: "flips", "aria-label": "Images that would change" },
      this.newly,
      this.noLonger,
    );
  }

  /** The counts are new, and the images of an earlier threshold on their way out. */
  wait(tried) {
    this.node.classList.toggle("stale", Boolean(tried.newly || tried.no_longer));
    if (!tried.newly && !tried.no_longer) this.show(tried);
  }

  show(tried) {
    this.node.classList.remove("stale");
    const { category } = tried;
    if (tried.before === null) return this.clear();
    if (!tried.newly && !tried.no_longer) return this.clear("No image would change sides.");
    this.#fill(this.newly, "Newly flagged", tried.newly, tried.newly_items, category);
    this.#fill(
      this.noLonger,
      "No longer flagged",
      tried.no_longer,
      tried.no_longer_items,
      category,
    );
  }

  clear(text = null) {
    this.node.classList.remove("stale");
    replace(this.newly, text ? h("p", { class: "soft" }, text) : null);
    replace(this.noLonger);
  }

  #fill(group, title, number, items, category) {
    if (!number) return replace(group);
    const shown =
      items.length < number ? `, the ${count(items.length)} nearest to the threshold` : "";
    return replace(
      group,
      h(
        "h2",
        null,
        `${title}: ${plural(number, "image")}`,
        h("span", { class: "small soft" }, shown),
      ),
      h(
        "ul",
        { class: "flip-pictures", "aria-label": title },
        items.map((item) => this.#image(item, category)),
      ),
    );
  }

  #image(item, category) {
    const { score: value } = item.decisions[category];
    return h(
      "li",
      null,
      smallCard(item, {
        line: [
          h("span", { class: "figures" }, score(value, 3)),
          labelBadge(item.labels[category], this.levels),
        ],
      }),
    );
  }
}
