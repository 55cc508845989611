/** Images of the corpus as the pages show them: pictures, captions, decisions, small cards. */
import { pictureUrl } from "./api.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { hrefOf } from "./route.js";
import { isPositive } from "./state.js";
import { percent, score } from "./words.js";

/**
 * The picture of an item in a frame that keeps its room; whole, never cropped, because what
 * matters may lie in a corner. `lazy` where it may be out of sight.
 */
export function picture(item, { size = 320, lazy = true, alt = "" } = {}) {
  const frame = h("span", { class: "frame waiting" });
  const missing = () => {
    frame.classList.remove("waiting");
    frame.querySelector("img")?.remove();
    frame.prepend(h("span", { class: "frame-note" }, icon("image"), "no picture"));
  };
  if (!item.picture) {
    missing();
    return frame;
  }
  frame.append(
    h("img", {
      src: pictureUrl(item.id, size),
      alt,
      loading: lazy ? "lazy" : "eager",
      decoding: "async",
      draggable: "false",
      onLoad: () => frame.classList.remove("waiting"),
      onError: missing,
    }),
  );
  return frame;
}

/** Whether the calibration flags it: at a level above the lowest. */
export function isFlagged(decision, levels) {
  return isPositive(decision?.level, levels);
}

/** What the calibration says in a word or two; null where no threshold decides. */
export function decisionBadge(decision, levels) {
  if (!decision) return null;
  if (decision.band) return h("span", { class: `badge ${decision.band}` }, decision.band);
  if (decision.level === null || decision.level === undefined) return null;
  if (!isFlagged(decision, levels)) return h("span", { class: "small soft" }, "not flagged");
  return h("span", { class: "badge warn" }, levels.length > 2 ? decision.level : "flagged");
}

/** The same, and nothing where it isn't flagged: for captions, where most are not. */
function flagBadge(decision, levels) {
  return decision?.band || isFlagged(decision, levels) ? decisionBadge(decision, levels) : null;
}

/** What people say. */
export function labelBadge(level, levels) {
  if (level === null || level === undefined) return null;
  const kind = isPositive(level, levels) ? "positive" : "negative";
  return h(
    "span",
    { class: `badge ${kind}`, title: `Labelled: ${level}` },
    h("span", { class: "hidden-text" }, "labelled "),
    level,
  );
}

/** The categories that an image is flagged in. */
export function flaggedIn(item, levels) {
  return Object.keys(item.decisions).filter((name) => isFlagged(item.decisions[name], levels));
}

/** The score and decision in a category, or where none is chosen what it is flagged for. */
export function caption(item, category, levels) {
  if (category) {
    const decision = item.decisions[category];
    return [
      decision
        ? h(
            "span",
            { class: "figures caption-score", title: `Score in ${category}` },
            score(decision.score, 3),
          )
        : null,
      flagBadge(decision, levels),
    ];
  }
  if (item.overall) return [h("span", { class: "badge" }, item.overall)];
  return flaggedIn(item, levels).map((name) =>
    h("span", { class: "badge warn", title: `Flagged: ${name}` }, name),
  );
}

/** The same in words, for those who hear the page. */
export function told(item, category, levels) {
  const decision = category ? item.decisions[category] : null;
  const label = category ? item.labels[category] : null;
  const flags = flaggedIn(item, levels);
  const said = category
    ? [
        decision && `score ${score(decision.score, 3)}`,
        decision?.band ?? (isFlagged(decision, levels) && "flagged"),
        label && `labelled ${label}`,
      ]
    : [flags.length && `flagged: ${flags.join(", ")}`];
  return [item.name, ...said.filter(Boolean)].join(", ");
}

/** The last part of a name: what tells images of one folder apart. */
export function shortName(name) {
  return name.replace(/\/+$/, "").split("/").at(-1);
}

/** A small card for strips: a picture, and a line below it. Opens in Explore unless `onOpen`. */
export function smallCard(item, { line = null, onOpen = null } = {}) {
  const inside = [
    picture(item, { size: 160 }),
    line !== null ? h("span", { class: "small-line" }, line) : null,
  ];
  const props = { class: "small-card", title: item.name, "aria-label": item.name };
  if (onOpen) return h("button", { type: "button", ...props, onClick: () => onOpen(item) }, inside);
  return h("a", { ...props, href: hrefOf("explore", { open: item.id }) }, inside);
}

/** A strip of hits with their cosines. */
export function hitStrip(hits, { category = null, levels = [], onOpen = null } = {}) {
  return h(
    "div",
    { class: "strip" },
    hits.map((hit) =>
      smallCard(hit.item, {
        onOpen,
        line: [
          h("span", { class: "figures" }, score(hit.similarity, 2)),
          category ? labelBadge(hit.item.labels[category], levels) : null,
        ],
      }),
    ),
  );
}

/** Where scores lie, so that bars of several images can be compared. */
export class ScoreRange {
  #low = 0;
  #high = 0;

  /** Make room for what these decisions hold. */
  take(decisions) {
    for (const one of Object.values(decisions)) {
      for (const value of [one.score, one.threshold]) {
        if (value === null || value === undefined) continue;
        this.#low = Math.min(this.#low, value);
        this.#high = Math.max(this.#high, value);
      }
    }
    return this;
  }

  /** Where a value lies, from 0 to 1. */
  at(value) {
    const width = this.#high - this.#low;
    return width ? Math.min(1, Math.max(0, (value - this.#low) / width)) : 0;
  }
}

/** A score as a bar, with the threshold as a mark on it. */
export function scoreMeter(decision, range, levels) {
  const has = decision.threshold !== null && decision.threshold !== undefined;
  return h(
    "span",
    { class: `meter ${isFlagged(decision, levels) ? "over" : "plain"}`, "aria-hidden": "true" },
    h("i", { style: { "--share": range.at(decision.score) } }),
    has ? h("b", { style: { "--at": range.at(decision.threshold) } }) : null,
  );
}

/** Scores per category as a table: bar, threshold's mark, decision, and what people say. */
export function scoreTable(
  decisions,
  { levels, labels = {}, range = new ScoreRange().take(decisions), first = null, linked = true },
) {
  const names = Object.keys(decisions).sort((a, b) => (b === first) - (a === first));
  return h(
    "table",
    { class: "scores" },
    h(
      "thead",
      { class: "hidden-text" },
      h(
        "tr",
        null,
        ["Category", "Bar", "Score", "Decision"].map((name) => h("th", { scope: "col" }, name)),
      ),
    ),
    h(
      "tbody",
      null,
      names.map((name) =>
        scoreRow(name, decisions[name], { levels, label: labels[name], range, linked }),
      ),
    ),
  );
}

function scoreRow(name, decision, { levels, label, range, linked }) {
  const probability =
    decision.probability === null || decision.probability === undefined
      ? null
      : `probability ${percent(decision.probability)}`;
  const threshold =
    decision.threshold === null || decision.threshold === undefined
      ? "no threshold"
      : `threshold ${score(decision.threshold)}`;
  return h(
    "tr",
    { title: [threshold, probability].filter(Boolean).join(", ") },
    h(
      "th",
      { scope: "row" },
      linked ? h("a", { href: hrefOf("thresholds", { category: name }) }, name) : name,
    ),
    h("td", { class: "scores-bar" }, scoreMeter(decision, range, levels)),
    h("td", { class: "number" }, score(decision.score, 3)),
    h(
      "td",
      null,
      h("span", { class: "row tight" }, decisionBadge(decision, levels), labelBadge(label, levels)),
    ),
  );
}
