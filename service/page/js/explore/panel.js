/** One image in full: picture, scores, labels, neighbours. */
import { abandoned, get, pictureUrl } from "../api.js";
import { dialog, h, problemNote, replace, set } from "../dom.js";
import { icon } from "../icons.js";
import { hitStrip, labelBadge, picture, scoreTable, shortName } from "../items.js";
import { hrefOf } from "../route.js";
import { count } from "../words.js";

const NEAREST = 8;
const LABELLED = 4;

/** The panel. `on` holds `close()`, `step(±1)`, `label(item)`, `near(item)`, `open(item)`. */
export class Panel {
  #on;
  #levels;
  #range;
  #asked = null;
  #item = null;
  #title = h("h2", { class: "cut grow" });
  #body = h("div", { class: "panel-body" });

  constructor({ levels, range, on }) {
    this.#on = on;
    this.#levels = levels;
    this.#range = range;
    const button = (label, name, run) =>
      h(
        "button",
        { type: "button", class: "plain icon", "aria-label": label, title: label, onClick: run },
        icon(name),
      );
    this.node = h(
      "aside",
      { class: "panel", "aria-label": "Image", hidden: true },
      h(
        "div",
        { class: "panel-head" },
        this.#title,
        button("Image before", "left", () => on.step(-1)),
        button("Next image", "right", () => on.step(1)),
        button("Close the image", "close", () => on.close()),
      ),
      this.#body,
    );
  }

  /** The id of the image that is shown, or null. */
  get shown() {
    return this.#item;
  }

  hide() {
    this.#asked?.abort();
    this.#item = null;
    set(this.node, { hidden: true });
  }

  /** Show an image; what is there of the one before stays until the new one has come. */
  async show(id, category) {
    const another = this.#item !== id;
    this.#asked?.abort();
    this.#asked = new AbortController();
    const { signal } = this.#asked;
    this.#item = id;
    set(this.node, { hidden: false, "aria-busy": true });
    try {
      const item = await get(`items/${id}`, {}, { signal });
      this.#fill(item, category);
      if (another) this.#body.scrollTop = 0;
      const near = await get(`items/${id}/neighbours`, { k: NEAREST, category }, { signal });
      this.#neighbours(near, category);
    } catch (error) {
      if (abandoned(error)) return;
      replace(
        this.#body,
        problemNote(error, () => this.show(id, category)),
      );
    } finally {
      if (!signal.aborted) set(this.node, { "aria-busy": null });
    }
  }

  #fill(item, category) {
    set(this.#title, { textContent: shortName(item.name), title: item.name });
    const before = this.#body.querySelector(".panel-near");
    const range = this.#range.take(item.decisions);
    replace(
      this.#body,
      h(
        "button",
        {
          type: "button",
          class: "panel-picture",
          "aria-label": "Enlarge the picture",
          onClick: () => enlarge(item),
        },
        picture(item, { size: 640, lazy: false, alt: item.name }),
      ),
      h(
        "div",
        { class: "row" },
        h(
          "button",
          { type: "button", onClick: () => this.#on.label(item) },
          "Label",
          h("kbd", null, "L"),
        ),
        h(
          "button",
          { type: "button", onClick: () => this.#on.near(item) },
          "Neighbours",
          h("kbd", null, "N"),
        ),
        item.picture
          ? h("a", { class: "button", href: hrefOf("classify", { item: item.id }) }, "Classify")
          : null,
        item.overall ? h("span", { class: "badge" }, item.overall) : null,
      ),
      section(
        "Scores",
        scoreTable(item.decisions, { levels: this.#levels, range, first: category }),
      ),
      section("Labels", judged(item.judgements, this.#levels)),
      h(
        "div",
        { class: "panel-near stack" },
        before ? [...before.childNodes] : section("Nearest", h("div", { class: "strip-room" })),
      ),
      facts(item),
    );
  }

  #neighbours(near, category) {
    const strip = (hits) =>
      hitStrip(hits, { category, levels: this.#levels, onOpen: (item) => this.#on.open(item) });
    const of = (title, hits) =>
      section(title, hits.length ? strip(hits) : h("p", { class: "soft small" }, "None."));
    replace(
      this.#body.querySelector(".panel-near"),
      category
        ? [
            of(`Nearest labelled positive in ${category}`, near.positives.slice(0, LABELLED)),
            of(`Nearest labelled negative in ${category}`, near.negatives.slice(0, LABELLED)),
          ]
        : null,
      of("Nearest", near.nearest),
    );
  }
}

/** The picture as large as the window allows. */
export function enlarge(item) {
  if (!item.picture) return null;
  return dialog({
    title: item.name,
    wide: true,
    actions: [],
    content: h("img", { class: "enlarged", src: pictureUrl(item.id, 1280), alt: item.name }),
  });
}

function section(title, ...inside) {
  return h("section", { class: "stack tight" }, h("h3", null, title), inside);
}

function judged(judgements, levels) {
  if (!judgements.length) return h("p", { class: "soft small" }, "Nobody has labelled this image.");
  const names = [...new Set(judgements.map((one) => one.category))];
  return h(
    "table",
    { class: "judged" },
    h(
      "tbody",
      null,
      names.map((name) =>
        h(
          "tr",
          null,
          h("th", { scope: "row" }, name),
          h(
            "td",
            null,
            h(
              "span",
              { class: "row tight" },
              judgements
                .filter((one) => one.category === name)
                .map((one) =>
                  h(
                    "span",
                    { class: "judgement", title: one.given ?? "" },
                    labelBadge(one.level, levels),
                    h("span", { class: "small soft" }, one.rater),
                  ),
                ),
            ),
          ),
        ),
      ),
    ),
  );
}

function facts(item) {
  const copies = item.copies.map((id) => [
    " ",
    h("a", { href: hrefOf("explore", { open: id }) }, `#${id}`),
  ]);
  const rows = [
    ["Name", item.name],
    ["Number", `#${item.id}`],
    ["Bytes", item.size === null ? null : count(item.size)],
    ["SHA-256", item.sha256 ? h("code", null, item.sha256.slice(0, 16)) : null],
    ["Copies", copies.length ? copies : null],
  ];
  return h(
    "dl",
    { class: "facts small" },
    rows
      .filter(([, value]) => value !== null)
      .map(([name, value]) => [h("dt", null, name), h("dd", null, value)]),
  );
}
