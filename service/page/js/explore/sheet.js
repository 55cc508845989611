/** A contact sheet: endless by pages, moved through by arrow keys, with a selection. */
import { h, replace, set } from "../dom.js";
import { picture, shortName } from "../items.js";

/**
 * The sheet.
 *
 * `load(offset)` gives `{items, total}`. `line(item)` and `label(item)` are the caption's nodes,
 * `told(item)` the same in words. `onOpen(item)` is called with what is opened, `onSelect(count)`
 * when the selection changes, `onPage(reply)` when a page has come, and `onProblem(error, retry)`
 * when one has not.
 */
export class Sheet {
  #what;
  #items = [];
  #cells = [];
  #chosen = new Set();
  #open = null;
  #current = 0;
  #anchor = 0;
  #total = Infinity;
  #turn = 0;
  #loading = false;
  #watch;
  #end = h("div", { class: "sheet-end", "aria-hidden": "true" });
  #list = h("ul", { class: "sheet", "aria-label": "Images" });

  constructor(what) {
    this.#what = what;
    this.node = h("div", { class: "sheet-frame" }, this.#list, this.#end);
    this.#watch = new IntersectionObserver(
      (seen) => seen.some((one) => one.isIntersecting) && this.more(),
      { rootMargin: "1200px" },
    );
    this.#watch.observe(this.#end);
  }

  /** Begin anew, with what `load` gives now. */
  async restart() {
    this.#turn += 1;
    this.#loading = false;
    this.#items = [];
    this.#cells = [];
    this.#current = this.#anchor = 0;
    this.#total = Infinity;
    this.#list.setAttribute("aria-busy", "true");
    this.clear();
    return this.more(true);
  }

  /** Fetch the next page, if there is one. */
  async more(first = false) {
    if (this.#loading || this.#items.length >= this.#total || (!first && !this.#items.length))
      return;
    this.#loading = true;
    const turn = this.#turn;
    try {
      const reply = await this.#what.load(this.#items.length);
      if (turn !== this.#turn) return;
      this.#take(reply, first);
    } catch (error) {
      if (turn !== this.#turn || error.name === "AbortError") return;
      this.#what.onProblem(error, () => this.more(first));
    } finally {
      if (turn === this.#turn) this.#loading = false;
    }
    // The foot may be in sight still, and then nothing tells so again.
    if (turn === this.#turn && this.#end.getBoundingClientRect().top < innerHeight + 1200)
      requestAnimationFrame(() => this.more());
  }

  #take(reply, first) {
    const held = first && this.#list.contains(document.activeElement);
    if (first) replace(this.#list);
    this.#list.removeAttribute("aria-busy");
    this.#total = reply.items.length ? reply.total : this.#items.length;
    const from = this.#items.length;
    this.#what.onPage(reply);
    this.#items.push(...reply.items);
    const cells = reply.items.map((item, place) => this.#cell(item, from + place));
    this.#cells.push(...cells);
    this.#list.append(...cells);
    if (held) this.focus(0);
    else if (first) this.#mark(0);
  }

  #cell(item, place) {
    const frame = picture(item, { size: 320 });
    frame.append(h("span", { class: "cell-label" }));
    const open = h(
      "button",
      {
        type: "button",
        class: "cell-open",
        tabIndex: -1,
        dataset: { keys: "page" },
        onClick: (event) => this.#clicked(place, event),
      },
      frame,
      h("span", { class: "cell-line" }),
      h("span", { class: "cell-name cut", title: item.name }, shortName(item.name)),
    );
    const pick = h("input", {
      type: "checkbox",
      tabIndex: -1,
      "aria-label": `Select ${item.name}`,
      onClick: (event) => this.#picked(place, event),
    });
    const cell = h(
      "li",
      { class: "cell", onFocusin: () => this.#mark(place) },
      open,
      h("label", { class: "cell-pick" }, pick),
    );
    return this.#caption(cell, item);
  }

  #clicked(place, event) {
    if (!this.#items[place]) return null; // A page that is on its way takes this one's place.
    if (event.shiftKey) return this.#extend(place);
    if (event.ctrlKey || event.metaKey) return this.toggle(place);
    this.focus(place);
    this.#anchor = place;
    return this.#what.onOpen(this.#items[place]);
  }

  #picked(place, event) {
    if (event.shiftKey) this.#extend(place);
    else this.toggle(place);
  }

  get items() {
    return this.#items;
  }
  get current() {
    return this.#items[this.#current] ?? null;
  }
  /** What is selected, in the sheet's order. */
  get chosen() {
    return this.#items.filter((item) => this.#chosen.has(item.id));
  }

  #mark(place) {
    const open = (at) => this.#cells[at]?.firstChild;
    if (open(this.#current)) set(open(this.#current), { tabIndex: -1 });
    this.#current = place;
    if (open(place)) set(open(place), { tabIndex: 0 });
  }

  /** Give the focus to the image at a place. */
  focus(place = this.#current) {
    if (!this.#items.length) return;
    this.#mark(Math.min(Math.max(place, 0), this.#items.length - 1));
    const button = this.#cells[this.#current].firstChild;
    button.focus({ preventScroll: true });
    button.scrollIntoView({ block: "nearest" });
    if (this.#current > this.#items.length - 40) this.more();
  }

  #columns() {
    return getComputedStyle(this.#list).gridTemplateColumns.split(" ").length;
  }

  /** Move by `columns` and `rows`; with `extend` what is passed is selected. */
  move(columns, rows, { extend = false } = {}) {
    const held = this.#list.contains(document.activeElement);
    const place = this.#current + columns + rows * this.#columns();
    const next = held
      ? place >= 0 && place < this.#items.length
        ? place
        : this.#current
      : this.#current;
    if (extend) this.#extend(next);
    else {
      this.focus(next);
      this.#anchor = this.#current;
    }
  }

  /** Move to the first or the last that is loaded. */
  jump(end) {
    this.focus(end ? this.#items.length - 1 : 0);
    this.#anchor = this.#current;
  }

  #extend(place) {
    const [low, high] = [Math.min(this.#anchor, place), Math.max(this.#anchor, place)];
    for (const item of this.#items.slice(low, high + 1)) this.#chosen.add(item.id);
    this.focus(place);
    this.#show();
  }

  /** Select the image at a place, or no longer. */
  toggle(place = this.#current) {
    const item = this.#items[place];
    if (!item) return;
    if (!this.#chosen.delete(item.id)) this.#chosen.add(item.id);
    this.#anchor = place;
    this.focus(place);
    this.#show();
  }

  /** Select everything that is loaded. */
  all() {
    for (const item of this.#items) this.#chosen.add(item.id);
    this.#show();
  }

  /** Select nothing. */
  clear() {
    this.#chosen.clear();
    this.#show();
  }

  #show() {
    this.#items.forEach((item, place) => {
      const cell = this.#cells[place];
      const chosen = this.#chosen.has(item.id);
      if (cell.classList.toggle("picked", chosen) !== cell.querySelector("input").checked)
        cell.querySelector("input").checked = chosen;
    });
    this.#list.classList.toggle("picking", this.#chosen.size > 0);
    this.#what.onSelect(this.#chosen.size);
  }

  /** Mark the image that is open, or none. */
  mark(id) {
    this.#open = id;
    this.#items.forEach((item, place) =>
      set(this.#cells[place].firstChild, { "aria-current": item.id === id ? "true" : null }),
    );
  }

  /** Show these images as they are now, where they are. */
  renew(items) {
    const fresh = new Map(items.map((item) => [item.id, item]));
    this.#items.forEach((item, place) => {
      const now = fresh.get(item.id);
      if (!now) return;
      this.#items[place] = now;
      this.#caption(this.#cells[place], now);
    });
  }

  /** Write all captions anew. */
  recaption() {
    this.#items.forEach((item, place) => this.#caption(this.#cells[place], item));
  }

  #caption(cell, item) {
    const open = set(cell.firstChild, {
      "aria-label": this.#what.told(item),
      "aria-current": item.id === this.#open ? "true" : null,
    });
    replace(open.querySelector(".cell-line"), this.#what.line(item));
    replace(open.querySelector(".cell-label"), this.#what.label(item));
    return cell;
  }

  /** The image beside the one with this id, `step` places on; null at the ends. */
  beside(id, step) {
    const place = this.#items.findIndex((item) => item.id === id) + step;
    if (place < 0 || place >= this.#items.length) return null;
    this.#mark(place);
    this.#anchor = place;
    this.#cells[place].scrollIntoView({ block: "nearest" });
    if (place > this.#items.length - 40) this.more();
    return this.#items[place];
  }

  /** Stop watching. */
  close() {
    this.#turn += 1;
    this.#watch.disconnect();
  }
}
