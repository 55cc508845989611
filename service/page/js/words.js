/** Numbers and phrases as people read them. */

const MINUS = "−";

export const STATUSES = {
  certified: { mark: "✔", name: "certified" },
  estimated: { mark: "≈", name: "estimated" },
  insufficient: { mark: "▲", name: "not enough labels" },
  no_positives: { mark: "○", name: "no positives" },
  no_negatives: { mark: "○", name: "no negatives" },
};

export const count = (number) => Math.round(number).toLocaleString("en-US");

export const score = (number, digits = 4) => number.toFixed(digits).replace("-", MINUS);

/** What the service says, with numbers below zero as the page writes them. */
export const said = (sentence) => sentence.replace(/(?<=\s)-(?=\d+\.\d)/g, MINUS);

export const signed = (number) =>
  number > 0 ? `+${count(number)}` : number < 0 ? `${MINUS}${count(-number)}` : "±0";

export const plural = (number, one, many = `${one}s`) =>
  `${count(number)} ${number === 1 ? one : many}`;

/** What only rounds to all or nothing is not called so. */
export function percent(share) {
  if (share > 0 && share < 0.001) return "<0.1%";
  if (share < 1 && share > 0.999) return ">99.9%";
  return `${Number((100 * share).toPrecision(3))}%`;
}

export const interval = (rate) => `${percent(rate.low).replace("%", "")}–${percent(rate.high)}`;

export const amount = ({ value, low, high }) => `${count(value)} (${count(low)}–${count(high)})`;

/** A category is told with its level only where there are several. */
export const cutName = (category, level, levels) =>
  levels.length > 2 ? `${category}: ${level}` : category;

/** The levels that a threshold leads to: all but the lowest. */
export const flagLevels = (levels) => levels.slice(1);
