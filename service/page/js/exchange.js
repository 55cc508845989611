/** Labels out, as files for spreadsheets and labelling tools, and in again. */
import { abandoned, getFile, post, postForm } from "./api.js";
import { dialog, h, replace, set, toast } from "./dom.js";
import { loadCategories, needRater, newBatch } from "./state.js";
import { count, plural } from "./words.js";

const FORMATS = [
  ["csv", "CSV"],
  ["label-studio", "Label Studio JSON"],
  ["coco", "COCO JSON"],
  ["imagefolder", "Hugging Face imagefolder"],
];
const IMAGES = [
  ["labelled", "Images with labels"],
  ["suggested", "Images that were drawn and wait for a label"],
  ["flagged", "Flagged, not labelled"],
  ["near", "Near a threshold, not labelled"],
  ["all", "All images"],
];
const NAMES_SHOWN = 20;

/** Ask what is to be saved as a file. */
export async function saveLabels() {
  const { categories } = await loadCategories();
  const format = choice("Format", FORMATS);
  const images = choice("Images", IMAGES);
  const category = choice("Category", [
    ["", "All categories"],
    ...categories.map((one) => [one.name, one.name]),
  ]);
  const predictions = h("input", { type: "checkbox" });
  const told = h(
    "label",
    { class: "check", hidden: true },
    predictions,
    "With what the calibration says, as predictions",
  );
  format.select.addEventListener("change", () =>
    set(told, { hidden: format.select.value !== "label-studio" }),
  );
  const fetched = () =>
    getFile("labels/export", {
      format: format.select.value,
      images: images.select.value,
      category: category.select.value,
      predictions: format.select.value === "label-studio" && predictions.checked ? "true" : "",
    });
  const file = await dialog({
    title: "Save labels as a file",
    content: [format.node, images.node, category.node, told],
    actions: [
      { label: "Cancel", value: null },
      { label: "Save", kind: "primary", run: fetched },
    ],
  });
  if (file) hand(file);
}

function choice(label, options) {
  const select = h(
    "select",
    null,
    options.map(([value, text]) => h("option", { value }, text)),
  );
  return { select, node: h("label", { class: "field" }, h("span", null, label), select) };
}

/** Let the browser keep a file. */
function hand(file) {
  const url = URL.createObjectURL(file);
  const link = h("a", { href: url, download: file.name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/**
 * Ask for a label file, show what it would change, and take it in; `onBrought` is called after
 * that, and after its undo.
 */
export async function bringLabels(onBrought) {
  const rater = await needRater();
  if (!rater) return;
  const form = new Bringing(rater);
  const brought = await dialog({
    title: "Bring labels from a file",
    content: (handle) => form.content(handle),
    actions: [
      { label: "Cancel", value: null },
      { label: "Take them in", kind: "primary", writes: true, run: () => form.send(false) },
    ],
  });
  if (!brought) return;
  onBrought();
  toast(`${plural(brought.written, "label")} taken in`, {
    action: "Undo",
    onAction: () => takeBack(brought.batch, onBrought),
  });
}

async function takeBack(batch, onBrought) {
  try {
    const { undone } = await post("labels/undo", { batch });
    toast(`Undone: ${plural(undone, "label")}`);
    onBrought();
  } catch (error) {
    toast(error.message, {
      kind: "bad",
      action: "Try again",
      onAction: () => takeBack(batch, onBrought),
    });
  }
}

class Bringing {
  #rater;
  #batch = newBatch();
  #handle = null;
  #asked = null;
  #told = h("div", { class: "stack tight", role: "status" });

  constructor(rater) {
    this.#rater = rater;
    const preview = () => this.#preview();
    this.file = h("input", {
      type: "file",
      accept: ".csv,.tsv,.json,.jsonl",
      "aria-label": "Label file",
      autofocus: true,
      onChange: preview,
    });
    this.format = choice("Format", [["", "As its content says"], ...FORMATS]);
    this.format.select.addEventListener("change", preview);
    this.exhaustive = h("input", { type: "checkbox", onChange: preview });
    this.picked = h("input", { type: "checkbox", onChange: preview });
  }

  content(handle) {
    this.#handle = handle;
    queueMicrotask(() => handle.enable(false));
    return [
      this.file,
      this.format.node,
      h(
        "label",
        { class: "check" },
        this.exhaustive,
        "What a file of marks does not mark is absent (COCO, imagefolder)",
      ),
      h(
        "label",
        { class: "check" },
        this.picked,
        "The images were searched for or chosen by score: their labels back no guarantee",
      ),
      h(
        "p",
        { class: "small soft" },
        `Labels whose rater the file does not name are ${this.#rater}'s.`,
      ),
      this.#told,
    ];
  }

  send(preview, signal) {
    const form = new FormData();
    const fields = {
      rater: this.#rater,
      batch: this.#batch,
      origin: this.picked.checked ? "search" : "given",
      exhaustive: this.exhaustive.checked,
      preview,
    };
    form.append("file", this.file.files[0]);
    for (const [name, value] of Object.entries(fields)) form.append(name, String(value));
    if (this.format.select.value) form.append("format", this.format.select.value);
    return postForm("labels/import", form, { signal });
  }

  async #preview() {
    this.#asked?.abort();
    this.#asked = new AbortController();
    // Another file or another choice is another batch.
    this.#batch = newBatch();
    this.#handle.enable(false);
    replace(this.#told);
    if (!this.file.files.length) return;
    try {
      const said = await this.send(true, this.#asked.signal);
      this.#handle.refuse(null);
      this.#handle.enable(said.new + said.changed > 0);
      replace(this.#told, toldOf(said));
    } catch (error) {
      if (!abandoned(error)) this.#handle.refuse(error.message);
    }
  }
}

function toldOf(said) {
  return [
    h(
      "p",
      null,
      h(
        "strong",
        null,
        `${count(said.new)} new, ${count(said.changed)} changed, ${count(said.same)} the same as before`,
      ),
      ` (${said.format}${said.raters.length ? `, by ${said.raters.join(", ")}` : ""}).`,
    ),
    named("not in this corpus", said.unmatched, said.unmatched_count),
    named("could be several images", said.ambiguous, said.ambiguous_count),
    said.notes.map((note) => h("p", { class: "note warn small" }, note)),
  ];
}

function named(what, names, all) {
  if (!all) return null;
  const more = all - Math.min(names.length, NAMES_SHOWN);
  return h(
    "details",
    null,
    h("summary", null, `${plural(all, "name")} ${what}`),
    h(
      "p",
      { class: "small soft" },
      names.slice(0, NAMES_SHOWN).join(", "),
      more > 0 ? ` and ${count(more)} more` : "",
    ),
  );
}
