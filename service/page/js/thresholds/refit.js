/** Fit all thresholds anew: to which target, and with which confidence. */
import { dialog, h } from "../dom.js";

const KINDS = {
  recall: {
    label: "Miss few: a guaranteed recall",
    fields: [["recall", "Recall of at least", 0.9, 0.5, 0.999]],
  },
  precision: {
    label: "Flag few wrongly: a guaranteed precision",
    fields: [["precision", "Precision of at least", 0.8, 0.05, 0.999]],
  },
  bands: {
    label: "Three bands: allow, review, block",
    fields: [
      ["recall", "Allow: with a recall of at least", 0.9, 0.5, 0.999],
      ["precision", "Block: with a precision of at least", 0.9, 0.05, 0.999],
    ],
  },
  f1: { label: "A compromise: the best F1 in the sample", fields: [] },
  cost: {
    label: "The cheapest in the sample",
    fields: [
      ["miss", "A miss costs", 5, 0.001, 1e9],
      ["flag", "A false flag costs", 1, 0.001, 1e9],
    ],
  },
};

/** The kind and numbers of a target as the service writes it; the recall at 0.9 where unknown. */
function known(target, bands) {
  const rates = Object.fromEntries(
    (bands ?? target ?? "").split(",").map((part) => part.split("=")),
  );
  if (bands) return { kind: "bands", numbers: rates };
  if (rates.cost)
    return {
      kind: "cost",
      numbers: { miss: rates.cost.split(":")[0], flag: rates.cost.split(":")[1] },
    };
  const kind = Object.keys(rates)[0];
  return kind in KINDS ? { kind, numbers: rates } : { kind: "recall", numbers: {} };
}

function request(kind, numbers, confidence, joint) {
  const plan = { confidence, joint, placed: [] };
  if (kind === "bands")
    return { ...plan, bands: `recall=${numbers.recall},precision=${numbers.precision}` };
  if (kind === "cost") return { ...plan, target: `cost=${numbers.miss}:${numbers.flag}` };
  return { ...plan, target: kind === "f1" ? "f1" : `${kind}=${numbers[kind]}` };
}

/** Ask what to fit; `run(request)` is awaited before it closes. Resolves to what that gives. */
export function askForFit(calibration, run) {
  const before = known(calibration?.target, calibration?.bands);
  const kind = h(
    "select",
    { name: "target", autofocus: true },
    Object.entries(KINDS).map(([name, { label }]) => h("option", { value: name }, label)),
  );
  kind.value = before.kind;
  const fields = h("div", { class: "row fit-fields" });
  const confidence = number("confidence", calibration?.confidence ?? 0.95, 0.5, 0.9999);
  const joint = h("input", {
    type: "checkbox",
    name: "joint",
    checked: calibration?.joint ?? false,
  });
  const show = () =>
    fields.replaceChildren(
      ...KINDS[kind.value].fields.map(([name, label, usual, low, high]) =>
        h(
          "label",
          { class: "field" },
          h("span", null, label),
          number(name, before.numbers[name] ?? usual, low, high),
        ),
      ),
    );
  kind.addEventListener("change", show);
  show();
  const fit = () => {
    const inputs = [...fields.querySelectorAll("input")];
    if (![...inputs, confidence].every((input) => input.reportValidity())) return false;
    const numbers = Object.fromEntries(inputs.map((input) => [input.name, input.value]));
    return run(request(kind.value, numbers, Number(confidence.value), joint.checked));
  };
  return dialog({
    title: "Fit all thresholds to the labels",
    content: [
      h(
        "p",
        null,
        "Every threshold is fitted to the labels there are now, those placed by hand too. ",
        "You see what changes before anything is saved.",
      ),
      h("label", { class: "field" }, h("span", null, "What is asked for"), kind),
      fields,
      h("label", { class: "field" }, h("span", null, "Confidence of guarantees"), confidence),
      h("label", { class: "check" }, joint, "All guarantees hold together"),
    ],
    actions: [
      { label: "Cancel", value: null },
      { label: "Preview", kind: "primary", run: fit },
    ],
  });
}

function number(name, value, low, high) {
  return h("input", {
    type: "number",
    name,
    value,
    min: low,
    max: high,
    step: "any",
    required: true,
    inputmode: "decimal",
  });
}
