/** What the thresholds would do: counts, rates with intervals, cost, and the promise. */
import { h, replace } from "../dom.js";
import { amount, count, interval, percent, plural, score, signed } from "../words.js";

const COSTS = { miss: "A miss costs", false_flag: "A false flag costs" };

export class Effects {
  /** `onCosts({miss, false_flag})` is told new costs; `onMoveTo(threshold)` is asked to move. */
  constructor(costs, { onCosts, onMoveTo }) {
    Object.assign(this, { costs, onCosts, onMoveTo });
    this.flags = h("div", { class: "effect-body" });
    this.rates = h("div", { class: "effect-body" });
    this.money = h("div", { class: "effect-body" });
    this.cheapest = h("p", { class: "small" });
    this.promise = h("p", { class: "promise", role: "status", "aria-live": "polite" });
    this.node = h("div", { class: "stack" }, this.promise, h("div", { class: "effects" },
      card("Flags", this.flags),
      card("On the labels", this.rates),
      card("In the corpus", this.money, this.#inputs(), this.cheapest)));
  }

  show(tried) {
    replace(this.promise, h("span", { class: `badge ${tried.certified ? "certified" : "estimated"}` }, tried.certified ? "✔ guaranteed" : "no guarantee"), " ", tried.sentence);
    replace(this.flags, flagged(tried));
    replace(this.rates,
      rate("Recall", tried.recall, "of the positives are flagged"),
      rate("Precision", tried.precision, "of what is flagged is positive"),
      tried.upper === null ? null : rate("Precision", tried.upper_precision, `of what is blocked is positive${tried.upper_certified ? ": guaranteed" : ""}`),
      h("p", { class: "small soft" }, `${plural(tried.n, "labelled image")}, ${plural(tried.positives, "positive")}. Intervals are for one threshold chosen in advance.`));
    replace(this.money, expected(tried));
  }

  showNothing(text) {
    for (const body of [this.flags, this.rates, this.money, this.cheapest]) replace(body);
    replace(this.promise, text);
  }

  showCheapest(best, digits) {
    replace(this.cheapest, best === null ? null : [
      `Lowest in the sample: about ${count(best.cost)} at ${score(best.threshold, digits)}. `,
      h("button", { type: "button", class: "link", onClick: () => this.onMoveTo(best.threshold) }, "Move there"),
    ]);
  }

  #inputs() {
    return h("div", { class: "costs" }, Object.entries(COSTS).map(([name, label]) => {
      const change = (event) => {
        const value = Number(event.target.value);
        if (event.target.value === "" || !event.target.validity.valid) return;
        this.costs = { ...this.costs, [name]: value };
        this.onCosts(this.costs);
      };
      return h("label", { class: "field" }, h("span", null, label), h("input", { type: "number", min: 0, max: 1e9, step: "any", name, value: this.costs[name], inputmode: "decimal", onInput: change }));
    }));
  }
}

function card(title, ...children) {
  return h("section", { class: "card effect", "aria-label": title }, h("h2", null, title), children);
}

function flagged({ flags, before, newly, no_longer: noLonger, images, allow, review, block }) {
  const share = images ? percent(flags / images) : "0%";
  return [
    h("p", { class: "big figures" }, before === null ? count(flags) : [h("span", { class: "soft" }, `${count(before)} → `), count(flags)], h("span", { class: "small soft" }, ` of ${count(images)}, ${share}`)),
    before === null ? null : h("p", { class: "figures" }, h("strong", null, signed(flags - before)), `: ${count(newly)} newly flagged, ${count(noLonger)} no longer`),
    review === null ? null : bands({ allow, review, block }, images),
  ];
}

function bands(counts, images) {
  const named = Object.entries(counts);
  return h("div", { class: "bands" },
    h("div", { class: "band-bar", "aria-hidden": "true" }, named.map(([name, number]) => h("i", { class: name, style: { "--share": number / (images || 1) } }))),
    h("ul", { class: "band-counts figures" }, named.map(([name, number]) => h("li", null, h("span", { class: `badge ${name}` }, name), ` ${count(number)}`))));
}

function rate(name, estimate, meaning) {
  if (estimate === null) return h("p", null, h("strong", null, name), h("span", { class: "soft" }, ": nothing is known"));
  const { value, low, high } = estimate;
  return h("div", { class: `rate ${name.toLowerCase()}` },
    h("div", { class: "row figures" }, h("strong", { class: "grow" }, name), h("span", { class: "big" }, percent(value)), h("span", { class: "small soft" }, interval(estimate))),
    h("div", { class: "interval", "aria-hidden": "true" }, h("i", { style: { "--low": low, "--high": high } }), h("b", { style: { "--at": value } })),
    h("p", { class: "small soft" }, meaning));
}

function expected({ expected: some, cost, wrongly_blocked: blocked }) {
  if (some === null) return h("p", { class: "soft" }, "Nothing is known of the corpus: it takes labels drawn at random.");
  const rows = [["Missed positives", some.misses], ["False flags", some.false_flags], ["Wrongly blocked", blocked], ["Cost", cost]];
  return h("dl", { class: "facts figures" }, rows.filter(([, value]) => value).map(([name, value]) => [h("dt", null, name), h("dd", null, amount(value))]));
}
