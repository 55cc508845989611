/** What the labels certify by now, and how many more it takes; told anew as labels come in. */
import { abandoned, get } from "../api.js";
import { h, replace, toast } from "../dom.js";
import { STATUSES, cutName, plural, said } from "../words.js";

const CALM_MS = 400;

/** A status as a badge: a mark and words, never the colour alone. */
export function statusBadge(status) {
  const { mark, name } = STATUSES[status] ?? { mark: "○", name: status };
  return h("span", { class: `badge ${status}` }, h("span", { "aria-hidden": "true" }, mark), name);
}

export class Outlook {
  #levels;
  #category = null;
  #certified = null;
  #timer = 0;
  #request = null;

  constructor(levels) {
    this.#levels = levels;
    this.body = h("div", { class: "stack" });
    this.node = h(
      "section",
      { class: "outlook", "aria-label": "Guarantees" },
      h("h2", { class: "hidden-text" }, "What the labels guarantee"),
      this.body,
    );
    this.reply = null;
  }

  /** Tell of this category first; null tells of all alike. */
  about(category) {
    this.#category = category;
    if (this.reply) this.#render();
    else this.refresh(0);
  }

  /** Ask again, once no more labels come in. */
  refresh(calm = CALM_MS) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), calm);
  }

  close() {
    clearTimeout(this.#timer);
    this.#request?.abort();
  }

  async #ask() {
    this.#request?.abort();
    this.#request = new AbortController();
    try {
      this.reply = await get("review/outlook", {}, { signal: this.#request.signal });
      this.#celebrate();
      this.#render();
    } catch (problem) {
      if (abandoned(problem)) return;
      replace(this.body, h("p", { class: "soft small" }, problem.detail ?? problem.message));
    }
  }

  #celebrate() {
    // With bands a cut has two guarantees, always in the same order: they are told by their places.
    const isCertified = ([, { status }]) => status === "certified";
    const certified = [...this.reply.cuts.entries()].filter(isCertified);
    for (const [place, cut] of certified) {
      if (!this.#certified || this.#certified.has(place)) continue;
      const name = cutName(cut.category, cut.level, this.#levels);
      toast(`${name}: ${said(cut.sentence)}`, { seconds: 10 });
    }
    const now = new Set(certified.map(([place]) => place));
    const lost = [...(this.#certified ?? [])].filter((place) => !now.has(place));
    this.#mourn(lost.map((place) => this.reply.cuts[place]));
    this.#certified = now;
  }

  #mourn(cuts) {
    if (!cuts.length) return;
    const names = cuts.map((cut) => cutName(cut.category, cut.level, this.#levels)).join(", ");
    const why =
      "Images that were drawn for all categories and are labelled in some count against the " +
      "others: label them in all.";
    toast(`No longer certified: ${names}. ${why}`, { kind: "bad", seconds: 20 });
  }

  #render() {
    const { cuts, labelled, target, confidence } = this.reply;
    const first = this.#first(cuts);
    const others = cuts.filter((cut) => !first.includes(cut));
    const open = this.body.querySelector("details")?.open ?? false;
    const sure = `${Math.round(100 * confidence)}% confidence`;
    const list = (some) => {
      const rows = some.map((cut) => this.#row(cut));
      return h("div", { class: "outlook-list" }, rows);
    };
    replace(
      this.body,
      list(first),
      h(
        "details",
        { open },
        h(
          "summary",
          { class: "small" },
          others.length ? plural(others.length, "more guarantee") : "Of what",
        ),
        list(others),
        h(
          "p",
          { class: "small soft" },
          `From ${plural(labelled, "labelled image")}, for ${target} with ${sure}.`,
        ),
      ),
    );
  }

  // Those of the category; with all categories the one that is nearest to being certified.
  #first(cuts) {
    if (this.#category !== null) return cuts.filter((cut) => cut.category === this.#category);
    const lacking = (cut) =>
      cut.status === "certified" ? Infinity : (cut.further_positives ?? 1e12);
    return [...cuts].sort((a, b) => lacking(a) - lacking(b)).slice(0, 1);
  }

  #row(cut) {
    const name = cutName(cut.category, cut.level, this.#levels);
    const head = [h("strong", { class: "grow cut" }, name), statusBadge(cut.status)];
    return h(
      "div",
      { class: "outlook-row" },
      h("div", { class: "row" }, head),
      progress(cut, name),
      h("p", { class: "small figures" }, said(cut.sentence)),
    );
  }
}

function progress(cut, name) {
  if (cut.status === "certified") return bar(1, `${name}: reached`, "done");
  if (cut.further_positives === null) return null;
  const share = cut.positives / (cut.positives + cut.further_positives || 1);
  const has = plural(cut.positives, "positive");
  return bar(share, `${name}: ${has}, ${cut.further_positives} more needed`);
}

function bar(share, label, kind = "") {
  const value = Math.round(100 * share);
  return h(
    "div",
    {
      class: `meter ${kind}`,
      role: "progressbar",
      "aria-label": label,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": value,
    },
    h("i", { style: { "--share": share } }),
  );
}
