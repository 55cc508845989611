/** Thresholds: moved by hand, with what that would do shown at once, and saved on request. */
import { abandoned, get, post } from "./api.js";
import { Choices } from "./choices.js";
import { h, problemNote, replace, toast } from "./dom.js";
import { keys } from "./keys.js";
import { keep } from "./route.js";
import { loadCalibration, loadCategories } from "./state.js";
import { cutName, flagLevels } from "./words.js";
import { statusBadge } from "./review/outlook.js";
import { Controls } from "./thresholds/controls.js";
import { Draft } from "./thresholds/draft.js";
import { Effects } from "./thresholds/effects.js";
import { Flips } from "./thresholds/flips.js";
import { Histogram } from "./thresholds/histogram.js";
import { keysOf } from "./thresholds/keys.js";
import { CutList } from "./thresholds/list.js";
import { Pending } from "./thresholds/pending.js";
import { Revision } from "./thresholds/revision.js";
import { Trier } from "./thresholds/trier.js";

const COST_POINTS = 60;
const COST_CALM_MS = 250;
const WRONG = "A number that was typed is no threshold here. Type another one first.";

// What is placed and not saved stays, whichever page is looked at in between.
const draft = new Draft();

export const page = {
  title: "Thresholds",
  load: () => Promise.all([loadCategories({ fresh: true }), loadCalibration()]),
  mount(root, params, [categories, calibration]) {
    draft.open(categories.corpus, calibration);
    const thresholds = new Thresholds(root, categories, params);
    return () => thresholds.close();
  },
};

class Thresholds {
  #request = new AbortController();
  #costs = new AbortController();
  #costTimer = 0;
  #curve = [];
  #log = false;

  constructor(root, { categories, levels }, params) {
    this.root = root;
    this.levels = levels;
    this.names = categories.map((category) => category.name);
    this.category = this.names.includes(params.category) ? params.category : this.names[0];
    this.level = flagLevels(levels).includes(params.level) ? params.level : flagLevels(levels)[0];
    this.trier = new Trier({
      onTried: (...told) => this.#tried(...told),
      onProblem: (problem, trial) => this.#shows(trial) && this.#failed(problem),
    });
    this.histogram = new Histogram(levels, (which, value) => this.#move(which, value));
    this.flips = new Flips(levels);
    this.effects = new Effects({
      onCosts: (costs) => this.#priced(costs),
      onMoveTo: (value) => this.#move("threshold", value),
    });
    this.controls = new Controls({
      place: () => this.#placeByHand(),
      move: (which, value) => this.#move(which, value),
      typed: () => this.#drawNumbers(),
      ends: (which) => this.histogram.ends(which),
      turnUpper: () => this.#turnUpper(),
      turnLog: () => this.#turnLog(),
      reset: () => this.#reset(),
    });
    this.revision = new Revision(draft, {
      saving: () => this.#drawNumbers(),
      opened: () => this.#choose({}),
    });
    this.forgetKeys = keys.page(this.#keys());
    this.#build();
    this.#choose({});
  }

  close() {
    this.#request.abort();
    this.#costs.abort();
    clearTimeout(this.#costTimer);
    this.trier.stop();
    this.revision.close();
    this.forgetKeys();
  }

  #build() {
    const choose = (category) => this.#choose({ category });
    this.list = new CutList(this.names, this.levels, choose);
    this.select = h(
      "select",
      { class: "cut-select", "aria-label": "Category", onChange: () => choose(this.select.value) },
      this.names.map((name) => h("option", { value: name }, name)),
    );
    this.pending = new Pending(this.levels, {
      onSave: () => this.#save(),
      onReset: () => this.#resetAll(),
    });
    const chart = h(
      "section",
      { class: "card chart-card", "aria-label": "Scores" },
      this.effects.live,
      this.histogram.node,
      this.controls.node,
    );
    const body = h(
      "div",
      { class: "thresholds-body stack" },
      this.select,
      this.#head(),
      this.effects.promise,
      chart,
      this.effects.more,
      this.flips.node,
      this.pending.node,
    );
    replace(this.root, h("div", { class: "thresholds" }, this.list.node, body));
  }

  #head() {
    const levels = flagLevels(this.levels);
    this.title = h("h1");
    this.status = h("span", { class: "row" });
    const choices = levels.map((level) => [level, level]);
    this.tabs = new Choices("Level", choices, (level) => this.#choose({ level }));
    return h(
      "div",
      { class: "cut-head row" },
      this.title,
      this.status,
      levels.length > 1 ? this.tabs.node : null,
      h(
        "button",
        { type: "button", class: "fit", onClick: () => this.revision.refit() },
        "Fit anew",
        h("kbd", null, "F"),
      ),
    );
  }

  #keys() {
    const on = {
      nudge: (which, steps) => this.histogram.nudge(which, steps),
      type: () => this.controls.select(),
      turnUpper: () => this.#turnUpper(),
      step: (by) => this.#step(by),
      stepLevel: () => this.#stepLevel(),
      turnLog: () => this.#turnLog(),
      reset: () => this.#reset(),
      refit: () => this.revision.refit(),
      save: () => this.#save(),
    };
    return keysOf(on, { several: this.levels.length > 2 });
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
    this.#costs.abort();
    clearTimeout(this.#costTimer);
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
      await this.#loadCosts();
    } catch (problem) {
      if (!abandoned(problem)) this.#failed(problem);
    }
  }

  // Costs come from the service too: one definition, and at most so many points.
  async #loadCosts() {
    this.#costs.abort();
    this.#costs = new AbortController();
    const { signal } = this.#costs;
    const every = Math.max(1, Math.ceil(this.#curve.length / COST_POINTS));
    const points = this.#curve.filter((_, place) => place % every === 0);
    if (!points.length) return this.effects.showCheapest(null, 0);
    const { category, level } = this;
    const trials = points.map(({ threshold }) => ({ category, level, threshold }));
    const { results } = await post("what-if", { trials, ...this.#how }, { signal });
    const costs = results
      .filter((tried) => tried.cost)
      .map((tried) => ({ threshold: tried.threshold, cost: tried.cost.value }));
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
    this.effects.showNothing(
      cut
        ? `There is no threshold: ${cut.next_step}`
        : "There is no calibration yet. Fit one to the labels, or place a threshold by hand.",
    );
    this.histogram.certify(null);
  }

  #tried(tried, _milliseconds, settled) {
    if (!this.#shows(tried)) return;
    this.effects.show(tried);
    this.histogram.certify(tried.certified_up_to);
    if (settled) this.flips.show(tried);
    else this.flips.wait(tried);
  }

  #shows({ category, level }) {
    return category === this.category && level === this.level;
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
    this.#move(
      "threshold",
      Number((low + (bin * (high - low)) / counts.length).toFixed(this.histogram.digits)),
    );
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
    else
      toast(
        "The saved calibration has three bands. Fit anew with another target to be rid of them.",
      );
  }

  #turnLog() {
    this.#log = !this.#log;
    this.histogram.log = this.#log;
    this.#drawNumbers();
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
    this.histogram.focus();
  }

  #priced(costs) {
    this.#try();
    clearTimeout(this.#costTimer);
    this.#costTimer = setTimeout(() => {
      this.#loadCosts().catch((problem) => abandoned(problem) || this.#failed(problem));
    }, COST_CALM_MS);
  }

  // While a threshold moves only what moves is drawn, and the list where a first change shows.
  #drawAll({ moving = false } = {}) {
    const { category, level } = this;
    const others = flagLevels(this.levels)
      .filter((other) => other !== level)
      .map((other) => draft.now(category, other).threshold);
    const name = cutName(category, level, this.levels);
    this.histogram.place(this.now, draft.saved(category, level), {
      names: { threshold: `Threshold of ${name}`, upper: `Upper threshold of ${name}` },
      bounds: draft.bounds(category, level, this.levels),
      others,
    });
    const changes = draft.changes.map((change) => change.category).join();
    if (!moving || changes !== this.listed) this.list.show(draft, category);
    this.listed = changes;
    if (!moving) this.#drawHead();
    this.#drawNumbers();
  }

  #drawHead() {
    const cut = draft.cut(this.category, this.level);
    this.title.textContent = cutName(this.category, this.level, this.levels);
    replace(
      this.status,
      cut ? statusBadge(cut.status) : null,
      cut?.by_hand ? h("span", { class: "badge" }, "by hand") : null,
    );
    this.tabs.show(this.level);
  }

  #drawNumbers() {
    this.controls.show({
      ...this.now,
      digits: this.histogram.digits,
      changed: draft.changed(this.category, this.level),
      ready: this.histogram.view !== null,
      log: this.#log,
    });
    const barred = this.revision.saving || this.controls.invalid;
    this.pending.show(draft.changes, { barred });
  }

  #save() {
    if (this.controls.invalid) return toast(WRONG, { kind: "bad" });
    if (!draft.changes.length) return toast("Nothing is changed.");
    return this.revision.save();
  }
}
