/** What the pages share: who labels, which categories there are. */
import { get } from "./api.js";
import { dialog, h, replace } from "./dom.js";

const RATER = "clipcal.rater";

/** What this browser keeps; where storage is switched off, for as long as the page is open. */
export const kept = {
  here: new Map(),
  get(name) {
    try {
      return localStorage.getItem(name) ?? this.here.get(name) ?? null;
    } catch {
      return this.here.get(name) ?? null;
    }
  },
  set(name, value) {
    this.here.set(name, value);
    try {
      localStorage.setItem(name, value);
    } catch {
      // Kept in `here`.
    }
  },
};

/** Events "rater" and "categories": something of it changed. */
export const state = new EventTarget();

// Another tab of this browser may say another name.
addEventListener("storage", ({ key }) => {
  if (key === RATER) state.dispatchEvent(new Event("rater"));
});

/** The name labels are given under, or null where nobody has said. */
export function rater() {
  return kept.get(RATER) || null;
}

/** The rater's name, asked for where it is not known; null where the person declines. */
export async function needRater() {
  return rater() ?? askRater();
}

/** Ask who labels. Resolves to the name, or null. */
export async function askRater() {
  const known = h("datalist", { id: "raters-known" });
  // The names are only a help: nobody waits for them, nor misses them.
  get("raters").then(
    ({ raters }) =>
      replace(
        known,
        raters.map((name) => h("option", { value: name })),
      ),
    () => {},
  );
  const input = h("input", {
    name: "rater",
    autofocus: true,
    value: rater() ?? "",
    maxlength: 200,
    autocomplete: "off",
    list: "raters-known",
  });
  const chosen = await dialog({
    title: "Who is labelling?",
    content: [
      h(
        "p",
        null,
        "Labels are kept under a name, so that people can be compared and each can undo their own.",
      ),
      h("label", { class: "field" }, h("span", null, "Your name"), input),
      known,
    ],
    actions: [
      { label: "Cancel", value: null },
      { label: "Use this name", kind: "primary", run: () => named(input.value) },
    ],
  });
  if (chosen) {
    kept.set(RATER, chosen);
    state.dispatchEvent(new Event("rater"));
  }
  return chosen;
}

async function named(text) {
  const name = text.trim().replace(/\s+/g, " ");
  if (!name) throw new Error("Type a name first.");
  return name;
}

let categories = null;

/** Categories, levels and counts, as `GET /v1/categories` has them; asked once until `fresh`. */
export function loadCategories({ fresh = false } = {}) {
  if (fresh || !categories) {
    const asked = get("categories");
    categories = asked;
    asked.then(
      () => state.dispatchEvent(new Event("categories")),
      () => {
        if (categories === asked) categories = null;
      },
    );
  }
  return categories;
}

/** The calibration that is saved, or null where there is none yet. */
export function loadCalibration() {
  return get("calibration").catch((problem) => {
    if (problem.status === 404) return null;
    throw problem;
  });
}

/** Whether a level is above the lowest: what "positive" and "flagged" mean. */
export function isPositive(level, levels) {
  return level !== null && level !== undefined && levels.indexOf(level) > 0;
}

/**
 * A new name for a batch of labels.
 *
 * `crypto.randomUUID` is missing where the page comes by plain http from another machine.
 */
export function newBatch() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
