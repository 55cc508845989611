/** The image that is looked at: as large as there is room for, the next ones fetched ahead. */
import { connection, pictureUrl } from "../api.js";
import { h, set } from "../dom.js";
import { hrefOf } from "../route.js";

const SIZES = [320, 640, 1280];
const AHEAD = 3;

export class Stage {
  #item = null;
  #upcoming = [];
  #ahead = new Map();

  constructor() {
    this.picture = h("img", { alt: "", draggable: "false", decoding: "async" });
    this.nothing = h(
      "p",
      { class: "empty", hidden: true },
      "The picture cannot be shown: its file is gone or changed, or the service does not answer.",
    );
    this.name = h("a", { class: "cut grow" });
    this.remark = h("strong", { class: "stage-remark", role: "status" });
    this.button = h(
      "button",
      {
        type: "button",
        class: "stage-picture",
        "aria-label": "Zoom",
        "aria-pressed": "false",
        title: "Zoom (Space)",
        onClick: () => this.zoom(),
      },
      this.picture,
    );
    this.node = h(
      "figure",
      { class: "stage", "aria-label": "Image" },
      this.button,
      this.nothing,
      h("figcaption", { class: "small soft" }, this.name, this.remark),
    );
    this.button.addEventListener("pointermove", (event) => this.#pan(event));
    this.picture.addEventListener("load", () => this.#await(false));
    this.picture.addEventListener("error", () => this.#missing(true));
    // A service that was away is back: what it did not give is asked for again.
    this.again = () => this.#item && this.button.hidden && this.show(this.#item, this.#upcoming);
    connection.addEventListener("up", this.again);
  }

  close() {
    connection.removeEventListener("up", this.again);
  }

  /** Whether the picture has not come yet, so that nobody can have seen it. */
  get waits() {
    return this.node.getAttribute("aria-busy") === "true";
  }

  /** Say why an answer is not taken yet. */
  saySoon() {
    this.remark.textContent = "The picture is still coming.";
  }

  get #size() {
    const side = Math.max(this.node.clientWidth, this.node.clientHeight);
    const wanted = side * Math.min(devicePixelRatio, 2);
    return SIZES.find((size) => size >= wanted) ?? SIZES.at(-1);
  }

  show(item, upcoming) {
    this.#item = item;
    this.#upcoming = upcoming;
    this.zoom(false);
    this.#missing(!item.picture);
    if (item.picture) {
      const src = pictureUrl(item.id, this.#size);
      this.#await(!this.#isHere(src));
      this.picture.removeAttribute("src");
      set(this.picture, { src, alt: item.name });
    }
    const href = hrefOf("explore", { open: item.id });
    set(this.name, { textContent: item.name, href, title: item.name });
    this.#fetchAhead(upcoming);
  }

  zoom(on = this.button.getAttribute("aria-pressed") !== "true") {
    set(this.button, { "aria-pressed": String(on && !this.button.hidden) });
    if (!on) this.picture.style.removeProperty("transform-origin");
  }

  #pan(event) {
    if (this.button.getAttribute("aria-pressed") !== "true") return;
    const { left, top, width, height } = this.button.getBoundingClientRect();
    const across = percentOf(event.clientX - left, width);
    this.picture.style.transformOrigin = `${across} ${percentOf(event.clientY - top, height)}`;
  }

  #isHere(src) {
    const known = this.#ahead.get(src);
    return known?.complete && known.naturalWidth > 0;
  }

  #await(waits) {
    this.button.classList.toggle("waiting", waits);
    set(this.node, { "aria-busy": waits });
    this.remark.textContent = "";
  }

  #missing(missing) {
    if (missing) this.#await(false);
    this.button.hidden = missing;
    this.nothing.hidden = !missing;
  }

  // Kept until they are shown, so that the browser does not drop them.
  #fetchAhead(upcoming) {
    const wanted = upcoming.filter((item) => item.picture).slice(0, AHEAD);
    const next = wanted.map((item) => pictureUrl(item.id, this.#size));
    const sources = new Set([this.picture.src, ...next]);
    for (const src of this.#ahead.keys()) if (!sources.has(src)) this.#ahead.delete(src);
    for (const src of sources) {
      if (!this.#ahead.has(src)) this.#ahead.set(src, Object.assign(new Image(), { src }));
    }
  }
}

const percentOf = (at, length) =>
  `${(100 * Math.min(1, Math.max(0, at / length))).toFixed(1)}%`;
