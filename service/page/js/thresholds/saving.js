/** Save a calibration: what it changes is shown first, and nobody's is overwritten unseen. */
import { post } from "../api.js";
import { dialog, h, toast } from "../dom.js";
import { comparison } from "./compare.js";

const CONFLICT = 409;
const APPLY = "clipcal rescore";

/** Fit without saving. Throws the service's problem where the labels don't do. */
export async function preview(before, request) {
  const asked = { ...request, replaces: before?.sha256 ?? null };
  return { asked, before, fitted: await post("calibrations", { ...asked, save: false }) };
}

/**
 * Show what a preview changes, and save on request.
 *
 * Resolves to "saved", "conflict" where somebody saved another one in the meantime, or null where
 * the person declines.
 */
export function offer({ asked, before, fitted }, { title, note = null }) {
  return dialog({
    title,
    wide: true,
    content: [
      note ? h("p", null, note) : null,
      comparison(before, fitted.calibration),
      remarks([...fitted.notes, ...fitted.calibration.warnings]),
    ],
    actions: [
      { label: "Cancel", value: null },
      { label: "Save the calibration", kind: "primary", writes: true, run: () => save(asked) },
    ],
  });
}

async function save(asked) {
  try {
    await post("calibrations", { ...asked, save: true });
    return "saved";
  } catch (problem) {
    if (problem.status === CONFLICT) return "conflict";
    throw problem;
  }
}

function remarks(texts) {
  if (!texts.length) return null;
  return h(
    "details",
    { open: texts.length < 4 },
    h("summary", null, "Remarks"),
    h(
      "ul",
      { class: "small" },
      texts.map((text) => h("li", null, text)),
    ),
  );
}

/** What to run, once a calibration is saved. */
export function tellHowToApply() {
  const copy = () =>
    navigator.clipboard.writeText(APPLY).then(
      () => toast("Copied."),
      () => toast("The browser does not let pages copy.", { kind: "bad" }),
    );
  return dialog({
    title: "Saved",
    content: [
      h(
        "p",
        null,
        "The page and the API decide by the new thresholds from now on. ",
        "To write the decisions on the whole corpus to a file:",
      ),
      h(
        "p",
        { class: "row" },
        h("code", { class: "grow command" }, APPLY),
        navigator.clipboard ? h("button", { type: "button", onClick: copy }, "Copy") : null,
      ),
    ],
  });
}

/** Tell that another calibration was saved; true where the changes are to be placed on it. */
export function tellConflict() {
  return dialog({
    title: "Somebody else saved a calibration",
    content: h(
      "p",
      null,
      "Nothing was overwritten. Load theirs: your thresholds stay as you placed them, ",
      "and you can compare and save again.",
    ),
    actions: [
      { label: "Not now", value: false },
      { label: "Load theirs", kind: "primary", value: true },
    ],
  });
}
