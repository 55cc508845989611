/** Labels for several images at once: shown before they are kept, taken back whole. */
import { abandoned, post } from "../api.js";
import { dialog, h, replace, set } from "../dom.js";
import { picture } from "../items.js";
import { needRater, newBatch } from "../state.js";
import { count, plural } from "../words.js";

const THUMBNAILS = 40;
const MOST = 5_000;
const CHOSEN = {
  search: "These images were found by looking for them, not drawn by chance",
  flagged: "These images were chosen because they, or images like them, are flagged",
  near: "These images were chosen because they lie near a threshold",
};

/**
 * Ask for a category and a level, show what would change, and keep the labels.
 *
 * Resolves to `{batch, rater, category, level, labels}` with what the service kept, or null.
 */
export async function labelItems(items, { corpus, categories, levels, category, origin }) {
  if (items.length > MOST)
    throw new Error(
      `${plural(items.length, "image")} are selected: at most ${count(MOST)} can be labelled at once.`,
    );
  const rater = await needRater();
  if (!rater) return null;
  const form = new LabelForm(items, { corpus, categories, levels, category, origin, rater });
  const kept = await dialog({
    title: `Label ${plural(items.length, "image")}`,
    wide: true,
    content: (handle) => form.content(handle),
    actions: [
      { label: "Cancel", value: null },
      { label: "Keep these labels", kind: "primary", writes: true, run: () => form.keep() },
    ],
  });
  form.close();
  return kept;
}

/** Take a batch back, whole; resolves to how many labels that were. */
export async function undoLabels({ batch, rater }) {
  return (await post("labels/undo", { batch, rater })).undone;
}

class LabelForm {
  #items;
  #rater;
  #origin;
  #whose;
  #handle = null;
  #asked = null;
  #body = null;
  #result = h(
    "p",
    { role: "status", class: "preview soft" },
    "Choose a level to see what would change.",
  );

  constructor(items, { corpus, categories, levels, category, origin, rater }) {
    this.#items = items;
    // A corpus that may not be written has no identity.
    this.#whose = corpus ? { corpus } : {};
    this.#rater = rater;
    this.#origin = origin;
    this.category = h(
      "select",
      { name: "category", onChange: () => this.#preview() },
      categories.map((one) =>
        h("option", { value: one.name, selected: one.name === category }, one.name),
      ),
    );
    this.levels = h(
      "div",
      { class: "levels", role: "radiogroup", "aria-label": "Level" },
      [...levels.map((level) => [level, level]), ["", "take my label back"]].map(
        ([value, text], place) =>
          h(
            "label",
            { class: "check" },
            h("input", {
              type: "radio",
              name: "level",
              value,
              autofocus: place === 0,
              onChange: () => this.#preview(),
            }),
            text,
          ),
      ),
    );
  }

  content(handle) {
    this.#handle = handle;
    // Only once the buttons are there can the main one be barred.
    queueMicrotask(() => handle.enable(false));
    const more = this.#items.length - THUMBNAILS;
    return [
      h(
        "div",
        { class: "bulk-strip" },
        this.#items
          .slice(0, THUMBNAILS)
          .map((item) => picture(item, { size: 160, alt: item.name })),
        more > 0 ? h("span", { class: "soft small bulk-more" }, `and ${count(more)} more`) : null,
      ),
      h(
        "div",
        { class: "row bulk-choice" },
        h("label", { class: "field" }, h("span", null, "Category"), this.category),
        h(
          "div",
          { class: "field grow" },
          h("span", null, `Level, given by ${this.#rater}`),
          this.levels,
        ),
      ),
      this.#result,
      h(
        "p",
        { class: "note warn small" },
        `${CHOSEN[this.#origin]}: their labels don't count toward a guarantee. They can be undone. For a guarantee, label what Review suggests.`,
      ),
    ];
  }

  get #level() {
    return this.levels.querySelector("input:checked")?.value;
  }

  async #preview() {
    if (this.#level === undefined) return;
    this.#asked?.abort();
    this.#asked = new AbortController();
    this.#handle.enable(false);
    // Another choice is another batch; the same one is kept once, however often it is sent.
    const { category } = this;
    const labels = this.#items.map((item) => ({
      item: item.id,
      category: category.value,
      level: this.#level || null,
    }));
    const rater = this.#rater;
    this.#body = { batch: newBatch(), rater, origin: this.#origin, labels, ...this.#whose };
    try {
      this.#tell(
        await post("labels", { ...this.#body, preview: true }, { signal: this.#asked.signal }),
      );
    } catch (error) {
      if (!abandoned(error)) this.#handle.refuse(error.message);
    }
  }

  #tell({ new: fresh, changed, same }) {
    this.#handle.refuse(null);
    this.#handle.enable(fresh + changed > 0);
    set(this.#result, { class: "preview" });
    replace(
      this.#result,
      part(fresh, "new"),
      ", ",
      part(changed, "changed"),
      ", ",
      part(same, "the same as before"),
      fresh + changed ? "." : ": nothing would change.",
    );
  }

  async keep() {
    const kept = await post("labels", this.#body);
    return {
      ...kept,
      rater: this.#rater,
      category: this.category.value,
      level: this.#level || null,
    };
  }

  close() {
    this.#asked?.abort();
  }
}

function part(number, what) {
  return h("span", null, h("strong", { class: "figures" }, count(number)), ` ${what}`);
}
