/** What the model says of an image. */
import { h } from "../dom.js";
import { scoreTable } from "../items.js";
import { hrefOf } from "../route.js";
import { percent, score } from "../words.js";

/** The result as nodes: sentences by share, or categories by score. */
export function resultOf(chosen, { levels }) {
  const { reply, scored } = chosen;
  const body = reply.prompts ? categories(reply, scored, levels) : sentences(reply);
  return [body, smallPrint(chosen)];
}

/** The first of it, for those who hear the page. */
export function bestOf({ sentences: said, categories: scores }) {
  const [best] = said;
  if (best) return `First: ${best.sentence}, share ${percent(best.share)}`;
  const [name, value] = Object.entries(scores).sort(([, a], [, b]) => b - a)[0] ?? [];
  return name ? `Highest: ${name}, ${score(value, 3)}` : "";
}

function sentences(reply) {
  return [
    h(
      "table",
      { class: "ranked" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          h("th", { scope: "col" }, "Description"),
          h("th", { scope: "col", class: "number" }, "Share"),
          h("th", { scope: "col", class: "number" }, "Cosine"),
        ),
      ),
      h(
        "tbody",
        null,
        reply.sentences.map((one) =>
          h(
            "tr",
            null,
            h(
              "th",
              { scope: "row" },
              one.sentence,
              h(
                "span",
                { class: "meter", "aria-hidden": "true" },
                h("i", { style: { "--share": one.share } }),
              ),
            ),
            h("td", { class: "number" }, percent(one.share)),
            h("td", { class: "number soft" }, score(one.score, 3)),
          ),
        ),
      ),
    ),
    h(
      "p",
      { class: "small soft" },
      "A share says how the model divides the whole among the descriptions you gave: one more or one less, and all of them change. It is not the probability that a description is true. The cosine depends on no other description.",
    ),
  ];
}

function categories(reply, scored, levels) {
  const decided =
    scored && !scored.error && Object.keys(scored.decisions).length ? scored.decisions : null;
  const decisions =
    decided ??
    Object.fromEntries(
      Object.entries(reply.categories).map(([name, value]) => [name, { score: value }]),
    );
  const order = Object.entries(decisions).sort(([, a], [, b]) => b.score - a.score);
  return [
    scored?.overall ? h("p", null, "Overall: ", h("strong", null, scored.overall)) : null,
    scoreTable(Object.fromEntries(order), { levels, linked: Boolean(decided) }),
    h(
      "p",
      { class: "small soft" },
      decided
        ? "Scores are margins: how much nearer the image is to the category's sentences than to those against it. The mark is the calibration's threshold."
        : "Scores are margins, without a calibration: what they mean is yet to be found with labels.",
    ),
  ];
}

function smallPrint({ reply, item, scored }) {
  const known = item ?? scored?.item;
  return h(
    "p",
    { class: "small soft small-print" },
    `${reply.width} × ${reply.height} · ${reply.model} · ${reply.provider} · ${reply.milliseconds.toFixed(reply.milliseconds < 10 ? 1 : 0)} ms`,
    known
      ? [
          " · ",
          h("a", { href: hrefOf("explore", { open: known }) }, `image #${known} of the corpus`),
        ]
      : null,
    item ? " · compared as it is shown here, at most 1280 pixels wide or high" : null,
  );
}
