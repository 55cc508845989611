/**
 * The scores of a category as bars, with thresholds to be moved by hand: by pointer, by touch, and
 * by the arrow keys.
 */

import { set, svg as s } from "../dom.js";
import { bars, line, scale, ticks } from "./chart.js";
import { count, score } from "../words.js";

const SIDE = 14;
const TOP = 34;
const LANES = { least: 40, most: 66, around: 560 }; // pixels; around them is the rest of the page
const CAPTION = 19;
const AXIS = 46;
const STEPS = 1_000;
const COARSE = 10;
const PAGE = 50;
const MOVES = {
  ArrowLeft: -1,
  ArrowDown: -1,
  ArrowRight: 1,
  ArrowUp: 1,
  PageDown: -PAGE,
  PageUp: PAGE,
};

export class Histogram {
  #view = null;
  #curve = null;
  #costs = null;
  #log = false;
  #limits = {};
  #saved = {};
  #certified = null;
  #x = null;
  #parts = {};
  #dragged = null;

  /** `onMove(which, value)`: a threshold moves; `which` is "threshold" or "upper". */
  constructor(levels, onMove) {
    Object.assign(this, { levels, onMove });
    this.svg = s("svg", { class: "histogram", role: "group", "aria-label": "Scores" });
    this.node = document.createElement("div");
    this.node.className = "histogram-frame";
    this.node.append(this.svg);
    new ResizeObserver(() => this.#draw()).observe(this.node);
    this.svg.addEventListener("pointerdown", (event) => this.#down(event));
    this.svg.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"])
      this.svg.addEventListener(end, () => (this.#dragged = null));
  }

  /** `view` as /v1/histograms has it; rates and costs of this cut come later, if there are any. */
  show(view) {
    this.#view = view;
    this.#curve = this.#costs = null;
    this.#draw();
  }

  showCurve(points) {
    this.#curve = points;
    this.#draw();
  }

  /** Points of {threshold, cost}; the cheapest is marked. */
  showCosts(points) {
    this.#costs = points;
    this.#draw();
  }

  /** What is shown, or null. */
  get view() {
    return this.#view;
  }

  set log(log) {
    this.#log = log;
    this.#draw();
  }

  /**
   * `limits` and `saved` are {threshold, upper}, null where there is none; `bounds` are the ends
   * between which this level's threshold may lie, `others` the thresholds of the other levels.
   */
  place(limits, saved, { names, bounds, others = [] }) {
    const drawnAnew = this.#handlesOf(limits) !== this.#handlesOf(this.#limits);
    Object.assign(this, { names, bounds, others });
    this.#limits = limits;
    this.#saved = saved;
    if (drawnAnew || !this.#x) this.#draw();
    else this.#placeAll();
  }

  certify(upTo) {
    this.#certified = upTo;
    this.#placeAll();
  }

  focus(which = "threshold") {
    this.#parts[which]?.handle.focus();
  }

  nudge(which, steps) {
    const value = this.#limits[which];
    if (value !== null && this.#view) this.#moveTo(which, value + steps * this.step);
  }

  get step() {
    const rough = (this.#view.high - this.#view.low) / STEPS;
    return 10 ** Math.round(Math.log10(rough));
  }

  get digits() {
    return this.#view ? Math.max(0, Math.round(-Math.log10(this.step))) : 4;
  }

  #handlesOf(limits) {
    return ["threshold", "upper"].filter((which) => (limits[which] ?? null) !== null).join();
  }

  #lanes() {
    const lanes = this.#view.groups.map((group) => ({ kind: "bars", group }));
    if (this.#curve?.length) lanes.push({ kind: "rates" });
    if (this.#costs?.length) lanes.push({ kind: "costs" });
    return lanes;
  }

  #draw() {
    const width = this.node.clientWidth;
    if (!this.#view || !width) return;
    const lanes = this.#lanes();
    const { least, most, around } = LANES;
    this.lane = Math.min(most, Math.max(least, (innerHeight - around) / lanes.length));
    const height = TOP + lanes.length * (this.lane + CAPTION) + AXIS;
    const focused = this.svg.contains(document.activeElement)
      ? document.activeElement.dataset.which
      : null;
    const { low, high } = this.#view;
    this.#x = scale(low, high, SIDE, width - SIDE);
    this.bottom = height - AXIS;
    set(this.svg, { width, height, viewBox: `0 0 ${width} ${height}` });
    this.#parts = { clip: s("rect", { y: 0, height }) };
    this.svg.replaceChildren(
      s("defs", {}, s("clipPath", { id: "above-threshold" }, this.#parts.clip)),
      ...this.#zones(height),
      ...lanes.flatMap((lane, index) =>
        this.#lane(lane, TOP + index * (this.lane + CAPTION), width),
      ),
      ...this.#axis(width),
      ...this.#marks(),
      ...this.#handles(),
    );
    this.#placeAll();
    if (focused) this.focus(focused);
  }

  #lane(lane, top, width) {
    const base = top + CAPTION + this.lane;
    const rule = s("path", { class: "base", d: `M${SIDE} ${base}H${width - SIDE}` });
    const draw = { bars: this.#bars, rates: this.#rates, costs: this.#cheapest }[lane.kind];
    return [...draw.call(this, lane, top + CAPTION - 5, base, width), rule];
  }

  #bars({ group }, caption, base, width) {
    const style = group.level === null ? "all" : `level-${this.levels.indexOf(group.level)}`;
    const total = group.counts.reduce((sum, each) => sum + each, 0);
    const d = bars(group.counts, SIDE, width - 2 * SIDE, base, this.lane - 6, this.#log);
    const most = Math.max(0, ...group.counts);
    return [
      this.#caption(caption, group.name, `${count(total)}, at most ${count(most)} in a bar`),
      s("path", { class: `bars ${style}`, d }),
      s("path", { class: `bars ${style} above`, d, "clip-path": "url(#above-threshold)" }),
    ];
  }

  #rates(_, caption, base) {
    const y = scale(0, 1, base, base - this.lane + 8);
    const drawn = ["recall", "precision"].flatMap((rate) => {
      const known = this.#curve.filter((point) => point[rate]);
      const ends = (end) => known.map((p) => [this.#x.at(p.threshold), y.at(p[rate][end])]);
      const area = line([...ends("high"), ...ends("low").reverse()]);
      return [
        s("path", { class: `area ${rate}`, d: area && `${area}z` }),
        s("path", { class: `curve ${rate}`, d: line(ends("value")) }),
      ];
    });
    const text = this.#caption(caption, "", "0 to 100%, with intervals");
    text.prepend(
      s("tspan", { class: "recall" }, "Recall"),
      " and ",
      s("tspan", { class: "precision" }, "precision"),
    );
    return [text, ...drawn];
  }

  #cheapest(_, caption, base) {
    const most = Math.max(...this.#costs.map((point) => point.cost)) || 1;
    const y = scale(0, most, base, base - this.lane + 8);
    const at = (point) => [this.#x.at(point.threshold), y.at(point.cost)];
    const best = this.#costs.reduce((a, b) => (b.cost < a.cost ? b : a));
    const [cx, cy] = at(best);
    return [
      this.#caption(caption, "Cost", `lowest at ${score(best.threshold, this.digits)}`),
      s("path", { class: "curve cost", d: line(this.#costs.map(at)) }),
      s("circle", { class: "dot cost", cx, cy, r: 4 }),
    ];
  }

  #caption(y, name, note) {
    const text = s("text", { class: "caption", x: SIDE, y }, name);
    text.append(s("tspan", { class: "note", dx: 8 }, note));
    return text;
  }

  #axis(width) {
    const { low, high } = this.#view;
    return ticks(low, high, Math.max(3, Math.round(width / 150))).map(({ value, text }) =>
      s(
        "text",
        { class: "tick", x: this.#x.at(value), y: this.bottom + 38, "text-anchor": "middle" },
        text,
      ),
    );
  }

  #zones(height) {
    this.#parts.zones = ["first", "second", "third"].map((name) => ({
      rect: s("rect", { class: `zone ${name}`, y: 18, height: height - AXIS - 18 }),
      text: s("text", { class: "zone-name", y: 12, "text-anchor": "middle" }),
    }));
    return this.#parts.zones.flatMap(({ rect, text }) => [rect, text]);
  }

  #marks() {
    this.#parts.certified = s("path", { class: "certified-range" });
    this.#parts.saved = s("path", { class: "saved-limits" });
    this.#parts.others = s("path", { class: "other-levels" });
    return [this.#parts.others, this.#parts.saved, this.#parts.certified];
  }

  #handles() {
    const { low, high } = this.#view;
    return ["threshold", "upper"]
      .filter((which) => (this.#limits[which] ?? null) !== null)
      .map((which) => {
        const handle = s(
          "g",
          {
            class: `handle ${which}`,
            role: "slider",
            tabindex: 0,
            "data-which": which,
            "aria-label": this.names[which],
            "aria-orientation": "horizontal",
            "aria-valuemin": low,
            "aria-valuemax": high,
          },
          s("rect", { class: "reach", x: -22, y: 0, width: 44, height: this.bottom + 28 }),
          s("path", { class: "stem", d: `M0 16V${this.bottom + 4}` }),
          s("rect", { class: "grip", x: -9, y: this.bottom + 2, width: 18, height: 22, rx: 5 }),
          s("path", { class: "ribs", d: `M-3 ${this.bottom + 8}v10M3 ${this.bottom + 8}v10` }),
        );
        handle.addEventListener("keydown", (event) => this.#key(event, which));
        this.#parts[which] = { handle };
        return handle;
      });
  }

  #placeAll() {
    if (!this.#x || !this.#parts.clip) return;
    const { threshold = null, upper = null } = this.#limits;
    for (const which of ["threshold", "upper"]) this.#placeHandle(which);
    const start = threshold ?? this.#view.high;
    set(this.#parts.clip, {
      x: this.#x.at(start),
      width: Math.max(0, this.#x.at(this.#view.high) - this.#x.at(start)),
    });
    this.#placeZones(threshold, upper);
    this.#placeMarks();
  }

  #placeHandle(which) {
    const part = this.#parts[which];
    if (!part) return;
    const value = this.#limits[which];
    set(part.handle, {
      transform: `translate(${this.#x.at(this.#within(value))} 0)`,
      "aria-valuenow": value,
      "aria-valuetext": score(value, this.digits),
    });
  }

  #within(value) {
    return Math.min(this.#view.high, Math.max(this.#view.low, value));
  }

  #placeZones(threshold, upper) {
    const { low, high } = this.#view;
    const cuts = [threshold, upper].filter((value) => value !== null);
    const edges = [low, ...cuts.map((value) => this.#within(value)), high].map(this.#x.at);
    const names = upper === null ? ["not flagged", "flagged"] : ["allow", "review", "block"];
    this.#parts.zones.forEach(({ rect, text }, index) => {
      const here = cuts.length > 0 && index < edges.length - 1;
      const [left, right] = here ? edges.slice(index, index + 2) : [0, 0];
      set(rect, { x: left, width: Math.max(0, right - left), "data-zone": names[index] });
      set(text, { x: (left + right) / 2 });
      text.textContent = here && right - left > 9 * names[index].length ? names[index] : "";
    });
  }

  #placeMarks() {
    const at = (value) => this.#x.at(this.#within(value));
    const upright = (values) =>
      values
        .filter((value) => value !== null && value !== undefined)
        .map((value) => `M${at(value)} 18V${this.bottom}`)
        .join("");
    set(this.#parts.saved, { d: upright([this.#saved.threshold, this.#saved.upper]) });
    set(this.#parts.others, { d: upright(this.others) });
    const end = this.#certified;
    const base = this.bottom + 2;
    set(this.#parts.certified, {
      d: end === null ? "" : `M${SIDE} ${base}H${at(end)}m0 -7v14`,
    });
  }

  #key(event, which) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = MOVES[event.key];
    if (steps) this.nudge(which, steps * (event.shiftKey ? COARSE : 1));
    else if (event.key === "Home") this.#moveTo(which, this.#view.low);
    else if (event.key === "End") this.#moveTo(which, this.#view.high);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #down(event) {
    if (!this.#x || event.button !== 0) return;
    const at = this.#pointer(event);
    const grabbed = event.target.closest("[data-which]")?.dataset.which;
    const which = grabbed ?? this.#nearest(at);
    if (!which) return;
    // A handle is held where it was grabbed; elsewhere it comes to the pointer.
    this.#dragged = { which, off: grabbed ? this.#within(this.#limits[which]) - at : 0 };
    this.svg.setPointerCapture(event.pointerId);
    this.focus(which);
    if (!grabbed) this.#moveTo(which, at);
    event.preventDefault();
  }

  #move(event) {
    if (this.#dragged) this.#moveTo(this.#dragged.which, this.#pointer(event) + this.#dragged.off);
  }

  #pointer(event) {
    return this.#x.back(event.clientX - this.svg.getBoundingClientRect().left);
  }

  #nearest(value) {
    const far = (which) => Math.abs(this.#limits[which] - value);
    const here = ["threshold", "upper"].filter((which) => (this.#limits[which] ?? null) !== null);
    return here.sort((a, b) => far(a) - far(b))[0];
  }

  /** The ends that a threshold must lie between, and that neither keys nor pointer pass. */
  ends(which) {
    const { threshold, upper = null } = this.#limits;
    const least = which === "upper" ? threshold : Math.max(this.bounds.low, this.#view.low);
    const own = which === "threshold" && upper !== null ? upper : this.#view.high;
    return { least, most: Math.max(least, Math.min(own, this.bounds.high)) };
  }

  #moveTo(which, wanted) {
    const { least, most } = this.ends(which);
    const rounded = Number(wanted.toFixed(this.digits));
    const value = Math.min(Math.max(rounded, least), most);
    if (value !== this.#limits[which]) this.onMove(which, value);
  }
}
