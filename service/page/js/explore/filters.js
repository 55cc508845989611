/** The filters above the sheet. */
import { h, replace, set } from "../dom.js";
import { icon } from "../icons.js";

const LABELS = [
  ["", "Any labels"],
  ["any", "Labelled"],
  ["none", "Not labelled"],
  ["positive", "Labelled positive"],
  ["negative", "Labelled negative"],
];
const ORDERS = [
  ["", "As found"],
  ["-score", "Highest score"],
  ["score", "Lowest score"],
  ["near", "Nearest the threshold"],
];
const BANDS = [
  ["allow", "Band: allow"],
  ["review", "Band: review"],
  ["block", "Band: block"],
];

/**
 * The toolbar. `onChange(changed)` is told parameters of the address that change, `onPicture(file)`
 * an image to search by.
 */
export class Filters {
  #onChange;
  #bands;
  #levels;

  constructor({ categories, levels, bands, calibrated, onChange, onPicture }) {
    this.#onChange = onChange;
    this.#levels = levels;
    this.#bands = bands;
    this.category = this.#choice("Category", "category", [
      ["", "All categories"],
      ...categories.map((one) => [one.name, one.name]),
    ]);
    this.shown = this.#choice("Decision", "shown", this.#decisions(calibrated));
    this.labelled = this.#choice("Labels", "labelled", LABELS);
    this.order = this.#choice("Order", "order", ORDERS);
    this.words = h("input", {
      type: "search",
      placeholder: "Search by words",
      "aria-label": "Search by words",
      enterkeyhint: "search",
      maxlength: 500,
    });
    this.file = h("input", {
      type: "file",
      accept: "image/*",
      hidden: true,
      onChange: () => this.#taken(onPicture),
    });
    this.around = h("button", {
      type: "button",
      class: "around",
      "aria-label": "Near flagged",
      onClick: () => onChange({ flagged: this.category.value }),
    });
    this.node = h(
      "div",
      { class: "filters", role: "group", "aria-label": "Which images" },
      h("div", { class: "filters-choices" }, this.category, this.shown, this.labelled, this.order),
      h(
        "form",
        { class: "filters-search", role: "search", onSubmit: (event) => this.#searched(event) },
        this.words,
        h(
          "button",
          { type: "submit", class: "icon", "aria-label": "Search", title: "Search" },
          icon("search"),
        ),
        h(
          "button",
          {
            type: "button",
            class: "icon",
            "aria-label": "Search by an image",
            title: "Search by an image (i)",
            onClick: () => this.file.click(),
          },
          icon("image"),
        ),
        this.file,
      ),
      this.around,
    );
  }

  #choice(label, name, options) {
    return h(
      "select",
      { "aria-label": label, onChange: (event) => this.#changed(name, event.target.value) },
      options.map(([value, text]) => h("option", { value }, text)),
    );
  }

  #decisions(calibrated) {
    if (!calibrated) return [["", "No decisions yet"]];
    const levels =
      this.#levels.length > 2 ? this.#levels.map((level) => [`:${level}`, `Level: ${level}`]) : [];
    return [
      ["", "All decisions"],
      ["flagged", "Flagged"],
      ["unflagged", "Not flagged"],
      ...levels,
      ...(this.#bands ? BANDS : []),
    ];
  }

  #changed(name, value) {
    if (name === "category")
      return this.#onChange({ category: value, ...(value ? {} : { order: "" }) });
    if (name !== "shown") return this.#onChange({ [name]: value });
    const [band, level = ""] = value.split(/:(.*)/s);
    return this.#onChange({ band, level });
  }

  #searched(event) {
    event.preventDefault();
    const text = this.words.value.trim();
    if (text) this.#onChange({ text });
    this.words.blur();
  }

  #taken(onPicture) {
    if (this.file.files[0]) onPicture(this.file.files[0]);
    this.file.value = "";
  }

  /** Show what the address says. While something is searched, filters have no part in it. */
  show({ category = "", band = "", level = "", labelled = "", order = "", text = "" }, searching) {
    this.category.value = category;
    this.shown.value = level ? `:${level}` : band;
    this.labelled.value = labelled;
    this.order.value = order;
    this.words.value = text;
    for (const one of [this.shown, this.labelled])
      set(one, { disabled: searching || one.options.length < 2 });
    // By score and by nearness needs a category.
    set(this.order, { disabled: searching || !category });
    set(this.around, {
      hidden: this.shown.options.length < 2,
      disabled: !category,
      title: category ? "" : "Choose a category first",
    });
    replace(this.around, icon("near"), h("span", null, "Near flagged"));
  }
}
