/** What stands in the image's place where there is none. */
import { h } from "../dom.js";
import { hrefOf } from "../route.js";
import { plural } from "../words.js";

const ENDS = {
  suggested: "Nobody has drawn images that you have not labelled.",
  flagged: "All that is flagged is labelled.",
  near: "Every image is labelled.",
};

const button = (text, onClick, main = false) =>
  h("button", { type: "button", class: main ? "primary" : null, onClick }, text);

const message = (title, text, ...actions) =>
  h(
    "div",
    { class: "empty" },
    h("h2", null, title),
    h("p", null, text),
    h("div", { class: "row" }, actions),
  );

/** The queue is at its end. */
export function emptyNote({ skipped, order }, { again, draw, near }) {
  return message(
    skipped ? "Only what you skipped is left" : "Nothing waits here",
    skipped ? `You skipped ${plural(skipped, "image")}.` : ENDS[order],
    skipped ? button("Show them again", again, true) : null,
    button("Draw a round", draw, !skipped),
    order === "suggested" ? button("Look near the threshold", near) : null,
  );
}

/** Nothing is flagged, nor near a threshold, where there is no threshold. */
export function unfittedNote(category, draw) {
  return message(
    category === null ? "There are no thresholds yet" : `${category} has no threshold yet`,
    "So nothing is flagged, and nothing lies near a threshold. Draw a round, label it, then fit.",
    button("Draw a round", draw, true),
    h("a", { class: "button", href: hrefOf("thresholds", { category }) }, "Fit under Thresholds"),
  );
}

/** The service serves another corpus than the one whose images were shown. */
export function movedNote() {
  return message(
    "Another corpus is served here now",
    "What you answered of the one before waits in this browser, where it was not kept yet.",
    button("Review the new one", () => location.reload(), true),
  );
}
