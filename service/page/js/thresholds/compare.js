/** Two calibrations side by side: what moves, why, and what loses or gains its guarantee. */
import { h } from "../dom.js";
import { statusBadge } from "../review/outlook.js";
import { count, cutName, plural, score } from "../words.js";

/** Cuts of `after` that differ from those of `before`, which may be null. */
function differences(before, after) {
  return after.cuts
    .map((now) => ({
      now,
      then:
        before?.cuts.find((cut) => cut.category === now.category && cut.level === now.level) ??
        null,
    }))
    .filter(({ now, then }) => then === null || differ(now, then));
}

function differ(now, then) {
  const told = ({ threshold, status, objective, bands }) =>
    JSON.stringify([threshold, status, objective, bands?.upper ?? null, bands?.status ?? null]);
  return told(now) !== told(then);
}

/** Those whose guarantee holds before and not after: of the threshold, or of what is blocked. */
function losing(changes) {
  const goes = (then, now) => then?.status === "certified" && now?.status !== "certified";
  return changes.filter(({ now, then }) => goes(then, now) || goes(then?.bands, now.bands));
}

/** A table of differences; says so where there are none. */
export function comparison(before, after) {
  const changes = differences(before, after);
  const same = after.cuts.length - changes.length;
  const lost = losing(changes);
  return h(
    "div",
    { class: "stack" },
    lost.length
      ? h(
          "p",
          { class: "note warn" },
          h("strong", null, `${plural(lost.length, "guarantee")} will be lost: `),
          lost.map(({ now }) => cutName(now.category, now.level, after.levels)).join(", "),
          ".",
        )
      : null,
    changes.length
      ? table(changes, after.levels)
      : h("p", { class: "note" }, "Nothing would change."),
    changes.length && same
      ? h(
          "p",
          { class: "small soft" },
          plural(same, "threshold"),
          same === 1 ? " stays as it is." : " stay as they are.",
        )
      : null,
  );
}

function table(changes, levels) {
  const titles = ["Category", "Threshold", "Flags", "Status", "Why"];
  const heads = titles.map((title) => h("th", { scope: "col" }, title));
  return h(
    "div",
    { class: "scroll-x" },
    h(
      "table",
      { class: "comparison figures" },
      h("thead", null, h("tr", null, heads)),
      h(
        "tbody",
        null,
        changes.map((change) => row(change, levels)),
      ),
    ),
  );
}

function row({ now, then }, levels) {
  const flags = (cut) => (cut.flags === null ? "none" : count(cut.flags));
  return h(
    "tr",
    null,
    h("th", { scope: "row" }, cutName(now.category, now.level, levels)),
    h("td", { class: "cut-thresholds" }, moved(then, now, thresholds)),
    h("td", { class: "cut-flags" }, moved(then, now, flags)),
    h(
      "td",
      { class: "cut-status" },
      statuses(then?.status, now.status),
      now.bands ? h("div", { class: "small" }, blocked(then, now)) : null,
    ),
    h("td", { class: "small soft" }, placed(now) ? "by hand" : "fitted to the labels"),
  );
}

const blocked = (then, now) => ["block: ", statuses(then?.bands?.status, now.bands.status)];

const statuses = (then, now) => [
  then && then !== now ? [statusBadge(then), " → "] : null,
  statusBadge(now),
];

const placed = (cut) => cut.by_hand || Boolean(cut.bands?.by_hand);

function thresholds(cut) {
  const ends = [cut.threshold, cut.bands?.upper ?? null].filter((value) => value !== null);
  return ends.length ? ends.map((value) => score(value)).join(" and ") : "none";
}

function moved(then, now, tell) {
  if (then === null || tell(then) === tell(now)) return tell(now);
  return [h("span", { class: "soft" }, `${tell(then)} → `), tell(now)];
}
