/** Draw images to label: how many, and which share of them at random. */
import { post } from "../api.js";
import { dialog, h } from "../dom.js";
import { percent, plural } from "../words.js";

/** Ask what to draw, and draw it. Resolves to the round, or null. */
export function drawRound(category) {
  const images = h("input", {
    type: "number",
    name: "images",
    min: 1,
    max: 10_000,
    value: 40,
    required: true,
    autofocus: true,
  });
  const audit = h("input", {
    type: "range",
    name: "audit",
    min: 0,
    max: 100,
    step: 10,
    value: 50,
    "aria-describedby": "audit-means",
  });
  const means = h("p", { class: "small soft", id: "audit-means" });
  const tell = () => {
    means.textContent = explained(Number(images.value) || 0, Number(audit.value) / 100);
  };
  images.addEventListener("input", tell);
  audit.addEventListener("input", tell);
  tell();
  return dialog({
    title: category ? `Draw images for ${category}` : "Draw images to label",
    content: [
      h(
        "p",
        null,
        "A round is drawn with known chances, so that its labels can back a guarantee. ",
        "It is kept with the corpus, for all who label.",
      ),
      h("label", { class: "field" }, h("span", null, "How many images"), images),
      h("label", { class: "field" }, h("span", null, "Share at random"), audit),
      means,
    ],
    actions: [
      { label: "Cancel", value: null },
      { label: "Draw", kind: "primary", writes: true, run: () => draw(category, images, audit) },
    ],
  });
}

function explained(images, share) {
  const random = Math.round(images * share);
  return [
    `${plural(random, "image")} (${percent(share)}) at random: these back guarantees.`,
    `${plural(images - random, "image")} where a label tells most,`,
    "which sharpens the estimates only. For a guarantee from few labels take 100%.",
  ].join(" ");
}

async function draw(category, images, audit) {
  if (!images.reportValidity()) return false;
  // Another seed for each round: the same one would draw the same images.
  const seed = crypto.getRandomValues(new Uint32Array(1))[0] >>> 1;
  const [number, share] = [Number(images.value), Number(audit.value) / 100];
  return post("review/rounds", { category, images: number, audit: share, seed });
}
