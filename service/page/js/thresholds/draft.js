/** Thresholds as they are saved, and as they are placed before anything is saved. */
import { flagLevels } from "../words.js";

const NONE = { threshold: null, upper: null };
const STORE = "clipcal.thresholds.draft";
const name = (category, level) => JSON.stringify([category, level]);

/** What is placed outlives the page, and in the same tab a reload too. */
export class Draft {
  #placed = new Map();
  #calibration = null;
  #corpus = null;

  get calibration() {
    return this.#calibration;
  }

  /**
   * `calibration` as /v1/calibration has it, or null where there is none; `corpus` says of which.
   *
   * Where another calibration was saved, what is placed by hand stays placed; on another corpus,
   * and after a reload on another calibration, it does not.
   */
  open(corpus, calibration) {
    const begun = this.#corpus !== null;
    if (begun && corpus !== this.#corpus) this.#placed.clear();
    this.#corpus = corpus;
    this.#calibration = calibration;
    if (!begun) this.#placed = new Map(stored(this.#basis));
    this.#store();
  }

  /** What the thresholds were placed on. */
  get #basis() {
    return name(this.#corpus, this.#calibration?.sha256 ?? null);
  }

  #store() {
    store(this.#basis, [...this.#placed]);
  }

  cut(category, level) {
    const cuts = this.#calibration?.cuts ?? [];
    return cuts.find((cut) => cut.category === category && cut.level === level) ?? null;
  }

  saved(category, level) {
    const cut = this.cut(category, level);
    return cut ? { threshold: cut.threshold, upper: cut.bands?.upper ?? null } : NONE;
  }

  /** Where the thresholds are now. */
  now(category, level) {
    return { ...this.saved(category, level), ...this.#placed.get(name(category, level)) };
  }

  move(category, level, which, value) {
    const key = name(category, level);
    const placed = { ...this.#placed.get(key), [which]: value };
    if (value === this.saved(category, level)[which]) delete placed[which];
    if (Object.keys(placed).length) this.#placed.set(key, placed);
    else this.#placed.delete(key);
    this.#store();
  }

  reset(category, level) {
    this.#placed.delete(name(category, level));
    this.#store();
  }

  clear() {
    this.#placed.clear();
    this.#store();
  }

  changed(category, level) {
    return this.#placed.has(name(category, level));
  }

  get changes() {
    return [...this.#placed].map(([key, placed]) => {
      const [category, level] = JSON.parse(key);
      return { category, level, placed, before: this.saved(category, level) };
    });
  }

  /**
   * What is to be saved: these changes, and what was placed by hand before. All other thresholds
   * are fitted to the labels there are now.
   */
  get request() {
    const earlier = (this.#calibration?.cuts ?? []).map((cut) => ({
      category: cut.category,
      level: cut.level,
      threshold: cut.by_hand ? cut.threshold : null,
      upper: cut.bands?.by_hand ? cut.bands.upper : null,
    }));
    const all = new Map(
      earlier
        .filter(({ threshold, upper }) => threshold !== null || upper !== null)
        .map((one) => [name(one.category, one.level), one]),
    );
    for (const { category, level, placed } of this.changes) {
      const key = name(category, level);
      all.set(key, { category, level, ...NONE, ...all.get(key), ...placed });
    }
    return [...all.values()];
  }

  /** Between which ends a level's threshold may lie: those of other levels must not be crossed. */
  bounds(category, level, levels) {
    const flags = flagLevels(levels);
    const place = flags.indexOf(level);
    const at = (others) =>
      others.map((other) => this.now(category, other).threshold).filter((value) => value !== null);
    return {
      low: Math.max(-Infinity, ...at(flags.slice(0, place))),
      high: Math.min(Infinity, ...at(flags.slice(place + 1))),
    };
  }
}

/** What was placed on this basis before the page was loaded again. */
function stored(basis) {
  try {
    const kept = JSON.parse(sessionStorage.getItem(STORE));
    return kept?.basis === basis ? kept.placed : [];
  } catch {
    return []; // Storage is switched off.
  }
}

function store(basis, placed) {
  try {
    if (placed.length) sessionStorage.setItem(STORE, JSON.stringify({ basis, placed }));
    else sessionStorage.removeItem(STORE);
  } catch {
    // Kept in the draft for as long as the page is open.
  }
}
