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
    this.nothing = h("p", { class: "empty", hidden: true }, "The picture cannot be shown: its file is gone or changed, or the service does not answer.");
    this.name = h("a", { class: "cut" });
    this.button = h(
      "button",
      { type: "button", class: "stage-picture", "aria-label": "Zoom", "aria-pressed": "false", title: "Zoom (Space)", onClick: () => this.zoom() },
      this.picture,
    );
    this.node = h("figure", { class: "stage", "aria-label": "Image" }, this.button, this.nothing, h("figcaption", { class: "small soft" }, this.name));
    this.button.addEventListener("pointermove", (event) => this.#pan(event));
    this.picture.addEventListener("load", () => this.button.classList.remove("waiting"));
    this.picture.addEventListener("error", () => this.#missing(true));
    // A service that was away is back: what it did not give is asked for again.
    this.again = () => this.#item && this.button.hidden && this.show(this.#item, this.#upcoming);
    connection.addEventListener("up", this.again);
  }

  close() {
    connection.removeEventListener("up", this.again);
  }

  get #size() {
    const wanted = Math.max(this.node.clientWidth, this.node.clientHeight) * Math.min(devicePixelRatio, 2);
    return SIZES.find((size) => size >= wanted) ?? SIZES.at(-1);
  }

  show(item, upcoming) {
    this.#item = item;
    this.#upcoming = upcoming;
    this.zoom(false);
    this.#missing(!item.picture);
    if (item.picture) {
      const src = pictureUrl(item.id, this.#size);
      this.button.classList.toggle("waiting", !this.#ahead.get(src)?.complete);
      this.picture.removeAttribute("src");
      set(this.picture, { src, alt: item.name });
    }
    set(this.name, { textContent: item.name, href: hrefOf("explore", { open: item.id }), title: item.name });
    this.#fetchAhead(upcoming);
  }

  zoom(on = this.button.getAttribute("aria-pressed") !== "true") {
    set(this.button, { "aria-pressed": String(on && !this.button.hidden) });
    if (!on) this.picture.style.removeProperty("transform-origin");
  }

  #pan(event) {
    if (this.button.getAttribute("aria-pressed") !== "true") return;
    const { left, top, width, height } = this.button.getBoundingClientRect();
    const share = (at, start, length) => `${(100 * Math.min(1, Math.max(0, (at - start) / length))).toFixed(1)}%`;
    this.picture.style.transformOrigin = `${share(event.clientX, left, width)} ${share(event.clientY, top, height)}`;
  }

  #missing(missing) {
    this.button.hidden = missing;
    this.nothing.hidden = !missing;
  }

  // Kept until they are shown, so that the browser does not drop them.
  #fetchAhead(upcoming) {
    const wanted = upcoming.filter((item) => item.picture).slice(0, AHEAD);
    const sources = new Set([this.picture.src, ...wanted.map((item) => pictureUrl(item.id, this.#size))]);
    for (const src of this.#ahead.keys()) if (!sources.has(src)) this.#ahead.delete(src);
    for (const src of sources) {
      if (!this.#ahead.has(src)) this.#ahead.set(src, Object.assign(new Image(), { src }));
    }
  }
}
