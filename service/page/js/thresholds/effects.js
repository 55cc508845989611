/** What the thresholds would do: counts, rates with intervals, cost, bands, and the promise. */
import { h, replace, set } from "../dom.js";
import { kept } from "../state.js";
import { amount, count, interval, percent, plural, said, score, signed } from "../words.js";

const COSTS = { miss: "A miss costs", false_flag: "A false flag costs" };
const MOST = 1e9;
const REMEMBERED = "clipcal.costs";
const LIVE = ["Flags", "Recall", "Precision", "Missed", "False flags", "Cost"];

function rememberedCosts() {
  try {
    return { miss: 1, false_flag: 1, ...JSON.parse(kept.get(REMEMBERED)) };
  } catch {
    return { miss: 1, false_flag: 1 };
  }
}

export class Effects {
  /** `onCosts({miss, false_flag})` is told new costs; `onMoveTo(threshold)` is asked to move. */
  constructor({ onCosts, onMoveTo }) {
    Object.assign(this, { costs: rememberedCosts(), onCosts, onMoveTo });
    this.promise = h("p", { class: "promise", role: "status", "aria-live": "polite" });
    this.tiles = Object.fromEntries(
      LIVE.map((name) => [
        name,
        h("div", { class: `tile ${name.toLowerCase()}`, role: "group", "aria-label": name }),
      ]),
    );
    this.live = h("div", { class: "tiles figures" }, Object.values(this.tiles));
    this.bands = h("section", { class: "card bands", "aria-label": "Bands", hidden: true });
    this.cheapest = h("p", { class: "small cheapest" });
    this.basis = h("p", { class: "small soft" });
    this.more = h(
      "div",
      { class: "more-effects" },
      this.bands,
      h(
        "section",
        { class: "card costs", "aria-label": "Costs" },
        this.#inputs(),
        this.cheapest,
        this.basis,
      ),
    );
  }

  show(tried) {
    this.#promise(tried);
    const { misses = null, false_flags: wrong = null } = tried.expected ?? {};
    this.#tile("Flags", ...flagged(tried));
    this.#tile("Recall", ...rate(tried.recall));
    this.#tile("Precision", ...rate(tried.precision));
    this.#tile("Missed", ...about(misses));
    this.#tile("False flags", ...about(wrong));
    this.#tile("Cost", ...about(tried.cost));
    this.bands.hidden = tried.upper === null;
    if (tried.upper !== null) replace(this.bands, bands(tried));
    const labelled = `${plural(tried.n, "labelled image")}, ${plural(tried.positives, "positive")}`;
    replace(
      this.basis,
      `Recall and precision are those of ${labelled}; misses, false flags and cost are expected `,
      `of all ${count(tried.images)}. Intervals are for one threshold chosen in advance.`,
    );
  }

  // Said again only where it is another: it is read aloud.
  #promise({ certified, sentence }) {
    const promised = `${certified} ${sentence}`;
    if (promised === this.promised) return;
    this.promised = promised;
    replace(
      this.promise,
      h(
        "span",
        { class: `badge ${certified ? "certified" : "estimated"}` },
        certified ? "✔ guaranteed" : "no guarantee",
      ),
      " ",
      said(sentence),
    );
  }

  showNothing(text) {
    for (const name of LIVE) this.#tile(name, h("p", { class: "big soft" }, "–"));
    this.bands.hidden = true;
    replace(this.basis);
    this.promised = null;
    replace(this.promise, text);
  }

  /** `best` is the point of the lowest cost, or null where costs are not known. */
  showCheapest(best, digits) {
    replace(
      this.cheapest,
      best === null
        ? "What mistakes cost is not known: it takes labels drawn at random."
        : [
            `The lowest cost in the sample is about ${count(best.cost)}, `,
            `at ${score(best.threshold, digits)}. `,
            h(
              "button",
              { type: "button", class: "link", onClick: () => this.onMoveTo(best.threshold) },
              "Move there",
            ),
          ],
    );
  }

  #tile(name, ...content) {
    replace(this.tiles[name], h("h2", null, name), content);
  }

  #inputs() {
    return h(
      "div",
      { class: "row" },
      Object.entries(COSTS).map(([name, label]) => this.#input(name, label)),
    );
  }

  #input(name, label) {
    const wrong = h("span", { class: "small wrong", role: "alert" });
    const input = h("input", {
      type: "number",
      min: 0,
      max: MOST,
      step: "any",
      name,
      value: this.costs[name],
      inputmode: "decimal",
      onInput: () => this.#typed(input, wrong),
    });
    return h(
      "span",
      { class: "row tight" },
      h("label", { class: "row tight" }, label, input),
      wrong,
    );
  }

  // What is no cost is not taken: the numbers beside it stay those of the one before.
  #typed(input, wrong) {
    const { name, value } = input;
    const fits = value !== "" && input.validity.valid;
    set(input, { "aria-invalid": fits ? null : "true" });
    wrong.textContent = fits
      ? ""
      : `from 0 to ${count(MOST)}; still counted as ${this.costs[name]}`;
    if (!fits) return;
    this.costs = { ...this.costs, [name]: Number(value) };
    kept.set(REMEMBERED, JSON.stringify(this.costs));
    this.onCosts(this.costs);
  }
}

const note = (...text) => h("p", { class: "small soft" }, text);

function flagged({ flags, before, newly, no_longer: noLonger, images }) {
  const share = images ? percent(flags / images) : "0%";
  const change =
    before === null
      ? null
      : [`${count(before)} before, `, h("strong", null, signed(flags - before))];
  return [
    h("p", { class: "big" }, count(flags), h("span", { class: "small soft" }, ` ${share}`)),
    note(change ?? ""),
    note(before === null ? "" : `${count(newly)} newly, ${count(noLonger)} no longer`),
  ];
}

function rate(estimate) {
  if (estimate === null) return [h("p", { class: "big soft" }, "–"), note("nothing is known")];
  const { value, low, high } = estimate;
  return [
    h("p", { class: "big" }, percent(value)),
    h(
      "div",
      { class: "interval", "aria-hidden": "true" },
      h("i", { style: { "--low": low, "--high": high } }),
      h("b", { style: { "--at": value } }),
    ),
    note(interval(estimate)),
  ];
}

function about(some) {
  if (some === null) return [h("p", { class: "big soft" }, "–"), note("not known")];
  return [
    h("p", { class: "big" }, `≈ ${count(some.value)}`),
    note(`${count(some.low)}–${count(some.high)}`),
  ];
}

function bands({
  allow,
  review,
  block,
  images,
  upper_precision: precision,
  upper_certified: certified,
  wrongly_blocked: wrongly,
}) {
  const named = Object.entries({ allow, review, block });
  return [
    h(
      "div",
      { class: "band-bar", "aria-hidden": "true" },
      named.map(([name, number]) =>
        h("i", { class: name, style: { "--share": number / (images || 1) } }),
      ),
    ),
    h(
      "ul",
      { class: "band-counts figures" },
      named.map(([name, number]) =>
        h("li", null, h("span", { class: `badge ${name}` }, name), ` ${count(number)}`),
      ),
    ),
    precision === null
      ? null
      : h(
          "p",
          { class: "small figures" },
          `Of what is blocked ${percent(precision.value)} (${interval(precision)}) is positive: `,
          certified ? "guaranteed." : "no guarantee.",
          wrongly ? ` Wrongly blocked: about ${amount(wrongly)}.` : "",
        ),
  ];
}
