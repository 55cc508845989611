/** Explore: the corpus as a contact sheet, searches, and labels for several images at once. */
import { get } from "./api.js";
import { h, problemNote, replace, toast } from "./dom.js";
import { whenDropped } from "./drop.js";
import { bringLabels, saveLabels } from "./exchange.js";
import { Filters } from "./explore/filters.js";
import { keysOf } from "./explore/keys.js";
import { labelAndTell, undoBatch } from "./explore/labelling.js";
import { enlarge, Panel } from "./explore/panel.js";
import { Sheet } from "./explore/sheet.js";
import { sourceOf } from "./explore/sources.js";
import { caption, labelBadge, ScoreRange, told } from "./items.js";
import { keys } from "./keys.js";
import { keep } from "./route.js";
import { loadCalibration, loadCategories } from "./state.js";
import { plural, score } from "./words.js";

const FILTERS = ["category", "level", "band", "labelled", "order"];
const SEARCHES = ["text", "near", "flagged"];
const FOLLOW_MS = 140;
const LOOKING_MS = 250;
const ONE_BY_ONE = 40;

class Explore {
  #reply;
  #params;
  #file = null;
  #source;
  #similarity = null;
  #around = null;
  #asked = null;
  #following = 0;
  #looking = 0;
  #ended = false;
  #range = new ScoreRange();
  #said = h("p", { class: "sheet-said", role: "status" });
  #problem = h("div");
  #selected = h("div", { class: "row selection" });

  constructor(root, params, reply, cuts) {
    this.#reply = reply;
    this.#params = params;
    this.filters = new Filters({
      categories: reply.categories,
      levels: reply.levels,
      calibrated: cuts.some((cut) => cut.threshold !== null),
      bands: cuts.some((cut) => cut.bands),
      onChange: (changed) => this.#change(changed),
      onPicture: (file) => this.searchBy(file),
    });
    this.sheet = new Sheet({
      load: (offset) => this.#load(offset),
      line: (item) => this.#line(item),
      label: (item) => labelBadge(item.labels[this.category], this.#reply.levels),
      told: (item) => this.#told(item),
      onOpen: (item) => this.open(item),
      onSelect: (number) => this.#showSelected(number),
      onPage: (page) => this.#came(page),
      onProblem: (error, retry) => this.#failed(error, retry),
    });
    this.panel = new Panel({
      levels: reply.levels,
      range: this.#range,
      on: {
        close: () => this.close(),
        step: (by) => this.step(by),
        label: (item) => this.label([item]),
        near: (item) => this.near(item),
        open: (item) => this.open(item),
      },
    });
    replace(
      root,
      h("h1", { class: "hidden-text" }, "Explore"),
      h(
        "div",
        { class: "explore-head" },
        this.filters.node,
        h("div", { class: "sheet-head" }, this.#said, this.#selected),
      ),
      this.#problem,
      h("div", { class: "explore-body" }, this.sheet.node, this.panel.node),
    );
    this.run();
  }

  get category() {
    return this.#params.category ?? "";
  }

  /** Show what the address asks for. */
  run() {
    this.#saveFocus();
    this.#source = sourceOf(this.#params, this.#file);
    this.filters.show(this.#params, this.#source.searching);
    this.#asked?.abort();
    this.#asked = new AbortController();
    replace(this.#problem);
    this.#showOpen();
    clearTimeout(this.#looking);
    this.#looking = setTimeout(() => replace(this.#said, "Looking …"), LOOKING_MS);
    return this.sheet.restart();
  }

  // What has the focus may go: it goes to the sheet, which hands it on to what comes.
  #saveFocus() {
    const going = [this.#said, this.#problem, this.#selected];
    if (!this.#params.open) going.push(this.panel.node);
    if (going.some((node) => node.contains(document.activeElement))) this.sheet.focus();
  }

  #load(offset) {
    return this.#source.load(offset, this.#asked.signal);
  }

  #came(page) {
    clearTimeout(this.#looking);
    this.#similarity = page.similarity ?? null;
    this.#around = page.near ?? null;
    for (const item of page.items) this.#range.take(item.decisions);
    replace(
      this.#said,
      page.said,
      this.#source.searching
        ? [
            " ",
            h(
              "button",
              { type: "button", class: "link", onClick: () => this.endSearch() },
              "Back to all",
            ),
          ]
        : null,
    );
    if (!page.total)
      replace(
        this.#problem,
        h("p", { class: "empty" }, "No image is like that. Loosen the filters."),
      );
  }

  #failed(error, retry) {
    clearTimeout(this.#looking);
    replace(this.#said);
    replace(
      this.#problem,
      problemNote(error, () => {
        replace(this.#problem);
        retry();
      }),
    );
  }

  #line(item) {
    const like = this.#similarity?.get(item.id);
    const near = this.#around?.get(item.id);
    const nodes = caption(item, this.category, this.#reply.levels);
    if (like === undefined) return nodes;
    const words = near ? `Similarity to ${near.name}` : "Similarity";
    return [
      h("span", { class: "figures caption-score", title: words }, `≈ ${score(like, 2)}`),
      this.category ? nodes.slice(1) : nodes,
    ];
  }

  #told(item) {
    const words = told(item, this.category, this.#reply.levels);
    const like = this.#similarity?.get(item.id);
    const near = this.#around?.get(item.id);
    return like === undefined
      ? words
      : `${words}, similarity ${score(like, 2)}${near ? ` to ${near.name}` : ""}`;
  }

  /** Other parameters: a filter ends a search, except for the category, which only changes captions then. */
  #change(changed) {
    const search = SEARCHES.some((name) => changed[name]);
    if (search) this.#file = null;
    const searching =
      this.#source.searching &&
      Object.keys(changed).every((name) => ["category", "order"].includes(name));
    const cleared = Object.fromEntries(SEARCHES.map((name) => [name, ""]));
    this.#params = { ...this.#params, ...(search ? cleared : {}), ...changed, open: "" };
    keep("explore", this.#params, { push: true });
    if (searching && !search) {
      this.filters.show(this.#params, true);
      return this.sheet.recaption();
    }
    return this.run();
  }

  searchBy(file) {
    this.#file = file;
    this.#params = { category: this.category };
    keep("explore", this.#params, { push: true });
    this.run();
  }

  endSearch() {
    this.#file = null;
    this.#params = Object.fromEntries(FILTERS.map((name) => [name, this.#params[name] ?? ""]));
    keep("explore", this.#params, { push: true });
    this.run();
  }

  /** Search for what looks like an image: the open one, or the one that has the focus. */
  near(item = this.#pointed()) {
    if (item) this.#change({ near: String(item.id) });
  }

  #pointed() {
    return this.sheet.items.find((item) => item.id === this.panel.shown) ?? this.sheet.current;
  }

  openCurrent() {
    if (this.sheet.current) this.open(this.sheet.current);
  }

  /** The address has changed: only what is open, or all. */
  update(params) {
    const same = [...FILTERS, ...SEARCHES].every(
      (name) => (params[name] ?? "") === (this.#params[name] ?? ""),
    );
    this.#params = params;
    if (same) return this.#showOpen();
    this.#file = null;
    return this.run();
  }

  open(item) {
    const was = this.#params.open;
    this.#params = { ...this.#params, open: String(item.id) };
    keep("explore", this.#params, { push: !was });
    this.#showOpen();
  }

  #showOpen() {
    const id = Number(this.#params.open) || null;
    document.body.classList.toggle("has-panel", id !== null);
    this.sheet.mark(id);
    if (id) this.panel.show(id, this.category || null);
    else this.panel.hide();
  }

  close() {
    this.#params = { ...this.#params, open: "" };
    keep("explore", this.#params);
    this.#showOpen();
    this.sheet.focus();
  }

  /** The image beside the open one. */
  step(by) {
    const next = this.panel.shown && this.sheet.beside(this.panel.shown, by);
    if (next) this.open(next);
  }

  /** Move in the sheet; an open panel follows. */
  move(columns, rows, extend = false) {
    this.sheet.move(columns, rows, { extend });
    if (!this.panel.shown || extend) return;
    clearTimeout(this.#following);
    this.#following = setTimeout(
      () => this.sheet.current && this.open(this.sheet.current),
      FOLLOW_MS,
    );
  }

  escape() {
    if (document.activeElement.matches("input, select")) this.sheet.focus();
    else if (this.panel.shown) this.close();
    else if (this.sheet.chosen.length) this.sheet.clear();
    else if (this.#source.searching) this.endSearch();
  }

  #showSelected(number) {
    const held = this.#selected.contains(document.activeElement);
    this.#selected.classList.toggle("some", number > 0);
    replace(
      this.#selected,
      number
        ? [
            h("span", { class: "figures" }, `${plural(number, "image")} selected`),
            h(
              "button",
              { type: "button", class: "primary", onClick: () => this.label(this.sheet.chosen) },
              "Label…",
              h("kbd", null, "L"),
            ),
            h(
              "button",
              { type: "button", class: "plain", onClick: () => this.sheet.clear() },
              "Clear",
            ),
          ]
        : [
            h(
              "button",
              { type: "button", class: "plain soft", onClick: () => this.bring() },
              "Bring labels",
            ),
            h(
              "button",
              { type: "button", class: "plain soft", onClick: () => this.save() },
              "Save labels",
            ),
          ],
    );
    if (held) this.sheet.focus();
  }

  /** Label these images, or what is selected, or the one that is open or has the focus. */
  async label(items = this.#target()) {
    const { corpus, categories, levels } = this.#reply;
    const { origin } = this.#source;
    const asked = { corpus, categories, levels, category: this.category, origin };
    const kept = items.length && (await labelAndTell(items, asked, (batch) => this.undo(batch)));
    if (!kept || this.#ended) return;
    this.sheet.clear();
    this.#refresh(items);
  }

  #target() {
    const chosen = this.sheet.chosen;
    const pointed = this.#pointed();
    return chosen.length || !pointed ? chosen : [pointed];
  }

  /** Take a batch of labels back; the last one where none is named. */
  async undo(batch) {
    const items = await undoBatch(batch);
    if (items && !this.#ended) this.#refresh(items);
  }

  /** Show what people say by now of images that were labelled. */
  async #refresh(items) {
    if (this.panel.shown) this.panel.show(this.panel.shown, this.category || null);
    if (items.length > ONE_BY_ONE) return this.sheet.restart();
    const now = await Promise.all(items.map((item) => get(`items/${item.id}`).catch(() => null)));
    return this.sheet.renew(now.filter(Boolean));
  }

  /** Labels as a file. */
  save() {
    saveLabels().catch((error) => toast(error.message, { kind: "bad" }));
  }

  /** Labels from a file. */
  bring() {
    bringLabels(() => this.#ended || this.run()).catch((error) => toast(error.message, { kind: "bad" }));
  }

  enlarge() {
    if (this.#pointed()) enlarge(this.#pointed());
  }

  end() {
    this.#ended = true;
    document.body.classList.remove("has-panel");
    clearTimeout(this.#following);
    clearTimeout(this.#looking);
    this.#asked?.abort();
    this.sheet.close();
    this.panel.hide();
  }
}

export const page = {
  title: "Explore",
  load: () => Promise.all([loadCategories({ fresh: true }), loadCalibration()]),
  mount(root, params, [reply, calibration]) {
    const view = new Explore(root, params, reply, calibration?.cuts ?? []);
    const forget = keys.page(keysOf(view));
    const undrop = whenDropped(root, ([file]) => view.searchBy(file));
    const end = () => [forget, undrop, () => view.end()].forEach((one) => one());
    end.update = (changed) => view.update(changed);
    return end;
  },
};
