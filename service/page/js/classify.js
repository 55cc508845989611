/** Classify: one image or several against descriptions, or against a prompt set. */
import { get } from "./api.js";
import { ofCorpus, Chosen } from "./classify/queue.js";
import { Question } from "./classify/question.js";
import { bestOf, resultOf } from "./classify/result.js";
import { h, problemNote, replace, set, toast } from "./dom.js";
import { whenDropped } from "./drop.js";
import { icon } from "./icons.js";
import { hitStrip } from "./items.js";
import { keys } from "./keys.js";
import { go } from "./route.js";
import { loadCategories } from "./state.js";

const SIMILAR = 24;
const TOUCH = matchMedia("(pointer: coarse)");

/** The images of this visit: they are still there when one comes back from another page. */
const visit = { images: [], current: null };

class Classify {
  #levels;
  #stage = h("div", { class: "classify-stage" });
  #strip = h("div", {
    class: "chosen-strip",
    role: "listbox",
    "aria-label": "Images",
    "aria-orientation": "horizontal",
  });
  #result = h("section", { class: "result stack", "aria-label": "Result" });
  #best = h("p", { class: "hidden-text", role: "status" });
  #similar = h("section", { class: "similar stack", "aria-label": "Similar images" });

  constructor(root, sets, levels) {
    this.#levels = levels;
    this.question = new Question(sets, () => this.ask());
    this.file = this.#input({ multiple: true });
    this.camera = this.#input({ capture: "environment" });
    replace(
      root,
      h("h1", { class: "hidden-text" }, "Classify"),
      h(
        "div",
        { class: "classify" },
        h(
          "div",
          { class: "classify-picture stack" },
          this.#stage,
          this.#strip,
          h(
            "div",
            { class: "row" },
            h(
              "button",
              { type: "button", onClick: () => this.choose() },
              icon("add"),
              "Choose images",
              h("kbd", null, "O"),
            ),
            h(
              "button",
              { type: "button", class: "camera", onClick: () => this.camera.click() },
              "Take a picture",
            ),
          ),
          this.file,
          this.camera,
        ),
        h(
          "div",
          { class: "classify-words stack" },
          this.question.node,
          this.#best,
          this.#result,
          this.#similar,
        ),
      ),
    );
    this.select(visit.current);
  }

  #input(props) {
    return h("input", {
      type: "file",
      accept: "image/*",
      hidden: true,
      ...props,
      onChange: (event) => {
        this.take([...event.target.files]);
        event.target.value = "";
      },
    });
  }

  choose() {
    this.file.click();
  }

  /** Put images into the strip and show the first of them. */
  take(files) {
    const fresh = files.map((file) => (file instanceof Chosen ? file : new Chosen(file)));
    if (!fresh.length) return;
    visit.images.push(...fresh);
    this.select(fresh[0]);
  }

  async takeItem(id) {
    try {
      this.take([await ofCorpus(id)]);
    } catch (error) {
      replace(
        this.#result,
        problemNote(error, () => this.takeItem(id)),
      );
    }
  }

  select(image) {
    visit.current = image;
    replace(this.#similar);
    this.#show();
    this.ask();
  }

  step(by) {
    const next = visit.images[visit.images.indexOf(visit.current) + by];
    if (next) this.select(next);
  }

  /** Take the image that is shown out of the strip. */
  remove() {
    const place = visit.images.indexOf(visit.current);
    if (place < 0) return;
    visit.images.splice(place, 1)[0].close();
    this.select(visit.images[Math.min(place, visit.images.length - 1)] ?? null);
  }

  /** Ask of the image that is shown what the form asks, unless that is answered. */
  async ask() {
    const image = visit.current;
    const { value } = this.question;
    if (!image || value.empty || image.answers(value.key)) return this.#showResult();
    set(this.#result, { "aria-busy": true });
    this.#showResult();
    await image.classify(value);
    if (image === visit.current && image.answers(this.question.value.key)) this.#showResult();
  }

  #showResult() {
    const image = visit.current;
    const { value } = this.question;
    const busy = Boolean(image) && !value.empty && !image.answers(value.key);
    set(this.#result, { "aria-busy": busy ? true : null });
    if (!image) return replace(this.#result);
    if (value.empty)
      return replace(this.#result, h("p", { class: "soft" }, "Type what the image may show."));
    if (image.problem && !busy)
      return replace(
        this.#result,
        problemNote(image.problem, () => this.#again(), { of: image.name }),
      );
    if (!image.reply) return replace(this.#result, h("p", { class: "soft" }, "Comparing …"));
    if (!busy) set(this.#best, { textContent: bestOf(image.reply) });
    return replace(
      this.#result,
      resultOf(image, { levels: this.#levels }),
      h(
        "div",
        null,
        h(
          "button",
          { type: "button", onClick: () => this.findSimilar() },
          icon("near"),
          "Find what looks like this in the corpus",
          h("kbd", null, "F"),
        ),
      ),
    );
  }

  #again() {
    visit.current.answered = null;
    this.ask();
  }

  async findSimilar() {
    const image = visit.current;
    if (!image) return;
    set(this.#similar, { "aria-busy": true });
    try {
      const { hits } = await image.similar(SIMILAR);
      if (image !== visit.current) return;
      replace(
        this.#similar,
        h("h2", null, "Nearest in the corpus, by cosine"),
        hits.length
          ? hitStrip(hits, { onOpen: (item) => go("explore", { open: item.id }) })
          : h("p", { class: "soft" }, "The corpus holds nothing else."),
      );
      this.#similar.scrollIntoView({ block: "nearest" });
    } catch (error) {
      toast(error.message, { kind: "bad" });
    } finally {
      set(this.#similar, { "aria-busy": null });
    }
  }

  #show() {
    replace(this.#stage, visit.current ? shown(visit.current) : this.#invitation());
    set(this.#strip, { hidden: visit.images.length < 2 });
    replace(
      this.#strip,
      visit.images.map((image) =>
        h(
          "button",
          {
            type: "button",
            class: "chosen-image",
            role: "option",
            "aria-selected": image === visit.current,
            "aria-label": image.name,
            title: image.name,
            onClick: () => this.select(image),
          },
          h("img", { src: image.url, alt: "" }),
        ),
      ),
    );
    if (visit.current) {
      this.#stage.append(
        h(
          "div",
          { class: "classify-name row" },
          h(
            "span",
            { class: "cut grow small soft", title: visit.current.name },
            visit.current.name,
          ),
          h(
            "button",
            {
              type: "button",
              class: "plain icon",
              "aria-label": "Take this image away",
              title: "Take this image away (Del)",
              onClick: () => this.remove(),
            },
            icon("close"),
          ),
        ),
      );
    }
    this.#strip
      .querySelector("[aria-selected=true]")
      ?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  #invitation() {
    return h(
      "button",
      { type: "button", class: "drop-zone", onClick: () => this.choose() },
      icon("image"),
      h(
        "span",
        { class: "drop-words" },
        TOUCH.matches ? "Choose images" : "Drop images here, paste one, or choose",
      ),
      h("span", { class: "small soft" }, "They are compared on this service, and not kept."),
    );
  }

  end() {
    this.question.close();
    for (const image of visit.images) image.giveUp();
  }
}

/** The picture; formats that the browser cannot show are classified all the same. */
function shown(image) {
  const frame = h("div", { class: "classify-frame" });
  const cannot = () =>
    replace(
      frame,
      h("span", { class: "frame-note" }, icon("image"), "This browser cannot show the image."),
    );
  frame.append(h("img", { src: image.url, alt: image.name, onError: cannot }));
  return frame;
}

function keysOf(view) {
  return [
    { key: "o", label: "Choose images (or drop, or paste)", run: () => view.choose() },
    { key: "d", label: "Type descriptions", run: () => view.question.focus() },
    { key: "m", label: "Descriptions or prompt set", run: () => view.question.turn() },
    { key: "f", label: "Find what looks like this in the corpus", run: () => view.findSimilar() },
    { key: "ArrowLeft", label: "Image before", repeat: true, run: () => view.step(-1) },
    { key: "ArrowRight", label: "Next image", repeat: true, run: () => view.step(1) },
    { key: ["Delete", "Backspace"], label: "Take the image away", run: () => view.remove() },
    { key: "Escape", typing: true, run: () => document.activeElement?.blur() },
  ];
}

export const page = {
  title: "Classify",
  load: () => Promise.all([get("prompts"), loadCategories()]),
  mount(root, params, [sets, { levels }]) {
    const view = new Classify(root, sets, levels);
    const forget = keys.page(keysOf(view));
    const undrop = whenDropped(root, (files) => view.take(files));
    if (params.item) view.takeItem(params.item);
    const end = () => [forget, undrop, () => view.end()].forEach((one) => one());
    end.update = (changed) => changed.item && view.takeItem(changed.item);
    return end;
  },
};
