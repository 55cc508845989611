/** Thresholds: moved by hand, with what that would do shown at once, and saved on request. */
import { abandoned, get, post } from "./api.js";
import { h, problemNote, replace, set, toast } from "./dom.js";
import { keys } from "./keys.js";
import { keep } from "./route.js";
import { kept, loadCategories } from "./state.js";
import { cutName, flagLevels, plural, score } from "./words.js";
import { statusBadge } from "./review/outlook.js";
import { Draft } from "./thresholds/draft.js";
import { Effects } from "./thresholds/effects.js";
import { Flips } from "./thresholds/flips.js";
import { Histogram } from "./thresholds/histogram.js";
import { askForFit } from "./thresholds/refit.js";
import { offer, preview, tellConflict, tellHowToApply } from "./thresholds/saving.js";
import { Trier } from "./thresholds/trier.js";

const COSTS = "clipcal.costs";
const COST_POINTS = 60;
const COST_CALM_MS = 250;
const COARSE = 10;

// What is placed and not saved stays, whichever page is looked at in between.
const draft = new Draft(null);

export const page = {
  title: "Thresholds",
  load: () => Promise.all([loadCategories({ fresh: true }), loadCalibration()]),
  mount(root, params, [categories, calibration]) {
    draft.rebase(calibration);
    const thresholds = new Thresholds(root, categories, params);
    return () => thresholds.close();
  },
};

/** The calibration that is saved, or null where there is none yet. */
function loadCalibration() {
  return get("calibration").catch((problem) => {
    if (problem.status === 404) return null;
    throw problem;
  });
}

function rememberedCosts() {
  try {
    return { miss: 1, false_flag: 1, ...JSON.parse(kept.get(COSTS)) };
  } catch {
    return { miss: 1, false_flag: 1 };
  }
}

class Thresholds {
  #request = new AbortController();
  #costTimer = 0;
  #curve = [];
  #log = false;

  constructor(root, { categories, levels }, params) {
    this.root = root;
    this.levels = levels;
    this.names = categories.map((category) => category.name);
    this.category = this.names.includes(params.category) ? params.category : this.names[0];
    this.level = flagLevels(levels).includes(params.level) ? params.level : flagLevels(levels)[0];
    this.trier = new Trier({ onTried: (...told) => this.#tried(...told), onProblem: (problem) => this.#failed(problem) });
    this.histogram = new Histogram(levels, (which, value) => this.#move(which, value));
    this.flips = new Flips(levels);
    this.effects = new Effects(rememberedCosts(), { onCosts: (costs) => this.#priced(costs), onMoveTo: (value) => this.#move("threshold", value) });
    this.forgetKeys = keys.page(this.#keys());
    this.#build();
    this.#choose({});
  }

  close() {
    this.#request.abort();
    clearTimeout(this.#costTimer);
    this.trier.stop();
    this.forgetKeys();
  }

  #build() {
    this.list = h("nav", { class: "cut-list", "aria-label": "Categories" });
    this.select = h("select", { class: "cut-select", "aria-label": "Category", onChange: () => this.#choose({ category: this.select.value }) }, this.names.map((name) => h("option", { value: name }, name)));
    this.tabs = h("div", { class: "choices", role: "radiogroup", "aria-label": "Level" });
    this.head = h("div", { class: "cut-head row" });
    this.controls = h("div", { class: "row cut-controls" });
    this.pending = h("div", { class: "pending", role: "region", "aria-label": "Changes" });
    const chart = h("section", { class: "card chart-card", "aria-label": "Scores" }, this.effects.live, this.histogram.node, this.controls);
    this.body = h("div", { class: "thresholds-body stack" }, this.select, this.head, this.effects.promise, chart, this.effects.more, this.flips.node, this.pending);
    replace(this.root, h("div", { class: "thresholds" }, this.list, this.body));
  }

  #keys() {
    const step = (which, steps) => () => this.histogram.nudge(which, steps);
    return [
      { key: "ArrowLeft", label: "Lower the threshold", run: step("threshold", -1), repeat: true },
      { key: "ArrowRight", label: "Raise the threshold", run: step("threshold", 1), repeat: true },
      { key: "Shift+ArrowLeft", label: "Lower it by more", run: step("threshold", -COARSE), repeat: true },
      { key: "Shift+ArrowRight", label: "Raise it by more", run: step("threshold", COARSE), repeat: true },
      { key: "[", label: "Lower the upper threshold", run: step("upper", -1), repeat: true },
      { key: "]", label: "Raise the upper threshold", run: step("upper", 1), repeat: true },
      { key: "t", label: "Type the threshold", run: () => this.controls.querySelector("input")?.select() },
      { key: "b", label: "Add or take away the upper threshold", run: () => this.#turnUpper() },
      { key: ["j", "ArrowDown"], label: "The next category", run: () => this.#step(1) },
      { key: ["k", "ArrowUp"], label: "The category before", run: () => this.#step(-1) },
      { key: "v", label: "The next level", run: () => this.#stepLevel(), when: () => this.levels.length > 2 },
      { key: "l", label: "Bars by number or by its logarithm", run: () => this.#turnLog() },
      { key: "r", label: "Back to the saved threshold", run: () => this.#reset() },
      { key: "f", label: "Fit all thresholds anew", run: () => this.#refit() },
      { key: "Ctrl+s", label: "Save the changes", run: () => this.#save(), typing: true },
    ];
  }

  #step(by) {
    const next = this.names.indexOf(this.category) + by;
    this.#choose({ category: this.names[(next + this.names.length) % this.names.length] });
  }

  #stepLevel() {
    const flags = flagLevels(this.levels);
    this.#choose({ level: flags[(flags.indexOf(this.level) + 1) % flags.length] });
  }

  #choose({ category = this.category, level = this.level }) {
    Object.assign(this, { category, level });
    keep("thresholds", { category, level: this.levels.length > 2 ? level : null });
    this.select.value = category;
    this.trier.forget();
    this.#drawAll();
    this.flips.clear();
    this.#load();
  }

  // The bars, then the curves: neither is waited for by the numbers.
  async #load() {
    this.#request.abort();
    const request = new AbortController();
    this.#request = request;
    const { category, level } = this;
    const { signal } = request;
    this.#try();
    try {
      const bars = await get("histograms", { category }, { signal });
      this.histogram.show(bars);
      this.#drawAll();
      if (this.now.threshold === null) this.#explainNothing();
      const { points } = await get("curves", { category, level }, { signal });
      this.#curve = points;
      this.histogram.showCurve(points);
      await this.#loadCosts(signal);
    } catch (problem) {
      if (!abandoned(problem)) this.#failed(problem);
    }
  }

  // Costs come from the service too: one definition, and at most so many points.
  async #loadCosts(signal) {
    const every = Math.max(1, Math.ceil(this.#curve.length / COST_POINTS));
    const points = this.#curve.filter((_, place) => place % every === 0);
    if (!points.length) return this.effects.showCheapest(null, 0);
    const { category, level } = this;
    const trials = points.map(({ threshold }) => ({ category, level, threshold }));
    const { results } = await post("what-if", { trials, ...this.#how }, { signal });
    const costs = results.filter((tried) => tried.cost).map((tried) => ({ threshold: tried.threshold, cost: tried.cost.value }));
    this.histogram.showCosts(costs);
    const best = costs.length ? costs.reduce((a, b) => (b.cost < a.cost ? b : a)) : null;
    return this.effects.showCheapest(best, this.histogram.digits);
  }

  get now() {
    return draft.now(this.category, this.level);
  }

  get #how() {
    const { target, bands = null, confidence } = draft.calibration ?? {};
    return { costs: this.effects.costs, ...(target ? { target, bands, confidence } : {}) };
  }

  #try() {
    const { threshold, upper } = this.now;
    if (threshold === null) return this.#explainNothing();
    const { category, level } = this;
    return this.trier.ask({ category, level, threshold, upper }, this.#how);
  }

  #explainNothing() {
    const cut = draft.cut(this.category, this.level);
    this.effects.showNothing(cut ? `There is no threshold: ${cut.next_step}` : "There is no calibration yet. Fit one to the labels, or place a threshold by hand.");
    this.histogram.certify(null);
  }

  #tried(tried, _milliseconds, settled) {
    if (tried.category !== this.category || tried.level !== this.level) return;
    this.effects.show(tried);
    this.histogram.certify(tried.certified_up_to);
    if (settled) this.flips.show(tried);
    else this.flips.wait(tried);
  }

  #failed(problem) {
    this.effects.showNothing(problemNote(problem, () => this.#load()));
  }

  #move(which, value) {
    draft.move(this.category, this.level, which, value);
    this.#drawAll({ moving: true });
    this.#try();
  }

  // Starts where one image in a hundred would be flagged: somewhere to begin from.
  #placeByHand() {
    const { low, high, groups } = this.histogram.view;
    const { counts } = groups[0];
    let above = counts.reduce((sum, each) => sum + each, 0) / 100;
    let bin = counts.length;
    while (bin > 0 && above > 0) above -= counts[--bin];
    this.#move("threshold", Number((low + (bin * (high - low)) / counts.length).toFixed(this.histogram.digits)));
    this.histogram.focus();
  }

  #turnUpper() {
    const { threshold, upper } = this.now;
    if (threshold === null || !this.histogram.view) return;
    if (upper === null) {
      const half = threshold + (this.histogram.view.high - threshold) / 2;
      this.#move("upper", Number(half.toFixed(this.histogram.digits)));
      this.histogram.focus("upper");
    } else if (draft.saved(this.category, this.level).upper === null) this.#move("upper", null);
    else toast("The saved calibration has three bands. Fit anew with another target to be rid of them.");
  }

  #turnLog() {
    this.#log = !this.#log;
    this.histogram.log = this.#log;
    this.#drawControls();
  }

  #reset() {
    draft.reset(this.category, this.level);
    this.#drawAll();
    this.flips.clear();
    this.#try();
  }

  #resetAll() {
    draft.clear();
    this.#reset();
  }

  #priced(costs) {
    kept.set(COSTS, JSON.stringify(costs));
    this.#try();
    clearTimeout(this.#costTimer);
    this.#costTimer = setTimeout(() => this.#loadCosts(this.#request.signal).catch((problem) => abandoned(problem) || this.#failed(problem)), COST_CALM_MS);
  }

  // While a threshold moves only what moves is drawn, and the list where a first change shows.
  #drawAll({ moving = false } = {}) {
    const { category, level } = this;
    const others = flagLevels(this.levels).filter((other) => other !== level).map((other) => draft.now(category, other).threshold);
    const name = cutName(category, level, this.levels);
    this.histogram.place(this.now, draft.saved(category, level), {
      names: { threshold: `Threshold of ${name}`, upper: `Upper threshold of ${name}` },
      bounds: draft.bounds(category, level, this.levels),
      others,
    });
    const changes = draft.changes.map((change) => change.category).join();
    if (!moving || changes !== this.listed) this.#drawList();
    this.listed = changes;
    if (!moving) this.#drawHead();
    this.#drawControls();
    this.#drawPending();
  }

  #drawList() {
    replace(this.list, this.names.map((name) => {
      const cuts = flagLevels(this.levels).map((level) => [level, draft.cut(name, level)]);
      const changed = cuts.some(([level]) => draft.changed(name, level));
      return h(
        "button", { type: "button", class: "plain cut-entry", "aria-current": name === this.category ? "true" : null, onClick: () => this.#choose({ category: name }) },
        h("span", { class: "row" }, h("span", { class: "grow cut" }, name), changed ? h("span", { class: "changed", title: "changed, not saved" }, "●", h("span", { class: "hidden-text" }, "changed")) : null),
        cuts.map(([level, cut]) => h("span", { class: "row small" }, this.levels.length > 2 ? h("span", { class: "soft" }, level) : null, cut ? statusBadge(cut.status) : h("span", { class: "soft" }, "no threshold"), cut?.flags != null ? h("span", { class: "soft figures" }, plural(cut.flags, "flag")) : null)),
      );
    }));
  }

  #drawHead() {
    const cut = draft.cut(this.category, this.level);
    replace(this.head, h("h1", null, cutName(this.category, this.level, this.levels)), cut ? statusBadge(cut.status) : null, cut?.by_hand ? h("span", { class: "badge" }, "by hand") : null, this.levels.length > 2 ? this.tabs : null,
      h("button", { type: "button", class: "fit", onClick: () => this.#refit() }, "Fit anew", h("kbd", null, "F")));
    replace(this.tabs, flagLevels(this.levels).map((level) => h("button", { type: "button", role: "radio", "aria-checked": String(level === this.level), onClick: () => this.#choose({ level }) }, level)));
  }

  #drawControls() {
    const { threshold, upper } = this.now;
    const typed = this.controls.contains(document.activeElement) && document.activeElement.matches("input");
    if (typed) return;
    if (threshold === null) {
      replace(this.controls, h("button", { type: "button", disabled: !this.histogram.view, onClick: () => this.#placeByHand() }, "Place a threshold by hand"), this.#logButton());
      return;
    }
    replace(this.controls,
      this.#number("Threshold", "threshold", threshold),
      upper === null ? null : this.#number("Block from", "upper", upper),
      upper === null
        ? h("button", { type: "button", class: "plain", onClick: () => this.#turnUpper() }, "Add a block threshold", h("kbd", null, "B"))
        : h("button", { type: "button", class: "plain icon", "aria-label": "Take the block threshold away", title: "Take it away (B)", onClick: () => this.#turnUpper() }, "×"),
      h("span", { class: "legend small soft grow row end" }, h("span", { class: "key saved" }, "saved"), h("span", { class: "key certified" }, "recall certified")),
      this.#logButton(),
      h("button", { type: "button", disabled: !draft.changed(this.category, this.level), onClick: () => this.#reset() }, "Reset", h("kbd", null, "R")));
  }

  #number(label, which, value) {
    const { digits } = this.histogram;
    const input = h("input", { type: "number", step: "any", name: which, value: Number(value.toFixed(6)), inputmode: "decimal", class: "threshold-input" });
    input.addEventListener("input", () => {
      const typed = Number(input.value);
      if (input.value !== "" && Number.isFinite(typed)) this.#move(which, Number(typed.toFixed(6)));
    });
    input.addEventListener("blur", () => setTimeout(() => this.#drawControls()));
    set(input, { title: `${score(value, digits)}` });
    return h("label", { class: "row tight" }, label, input);
  }

  #logButton() {
    return h("button", { type: "button", class: "plain", "aria-pressed": String(this.#log), onClick: () => this.#turnLog() }, "Log scale", h("kbd", null, "L"));
  }

  #drawPending() {
    const { changes } = draft;
    this.pending.hidden = changes.length === 0;
    if (this.pending.hidden) return replace(this.pending);
    const told = ({ category, level, placed, before }) => {
      const moves = Object.entries(placed).map(([which, value]) => `${which === "upper" ? "block from " : ""}${before[which] === null ? "none" : score(before[which])} → ${value === null ? "none" : score(value)}`);
      return `${cutName(category, level, this.levels)} ${moves.join(", ")}`;
    };
    return replace(this.pending,
      h("div", { class: "grow" }, h("strong", null, `${plural(changes.length, "change")}, not saved`), h("span", { class: "figures" }, `: ${changes.map(told).join("; ")}`)),
      h("button", { type: "button", onClick: () => this.#resetAll() }, "Reset all"),
      h("button", { type: "button", class: "primary save", onClick: () => this.#save() }, "Save…", h("kbd", null, "Ctrl S")));
  }

  async #save() {
    if (!draft.changes.length) return toast("Nothing is changed.");
    const { target = "recall=0.9", bands = null, confidence = 0.95, joint = false } = draft.calibration ?? {};
    const request = { target, bands, confidence, joint, placed: draft.request };
    const button = set(this.pending.querySelector(".save"), { disabled: true });
    const close = toast("Working out what changes…", { seconds: 120 });
    try {
      const previewed = await preview(draft.calibration, request);
      close();
      const note = "Thresholds that you did not place are fitted to the labels there are now, as before.";
      await this.#settle(await offer(previewed, { title: "Save these thresholds?", note }));
    } catch (problem) {
      toast(problem.detail ?? problem.message, { kind: "bad", seconds: 20 });
    } finally {
      close();
      set(button, { disabled: false });
    }
    return null;
  }

  async #refit() {
    const previewed = await askForFit(draft.calibration, (request) => preview(draft.calibration, request));
    if (previewed) await this.#settle(await offer(previewed, { title: "Save the fitted thresholds?" }));
  }

  async #settle(outcome) {
    if (outcome === "saved") draft.clear();
    else if (outcome !== "conflict" || !(await tellConflict())) return;
    const [calibration] = await Promise.all([loadCalibration(), loadCategories({ fresh: true })]);
    draft.rebase(calibration);
    this.#choose({});
    if (outcome === "saved") await tellHowToApply();
  }
}
