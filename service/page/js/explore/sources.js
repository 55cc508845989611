/** Where the images of the sheet come from: the corpus by filters, or a search. */
import { get, postForm } from "../api.js";
import { count, plural } from "../words.js";

const PAGE = 120;
const NEAREST = 200;

/**
 * What the address asks for, as a source: `load(offset, signal)` gives
 * `{items, total, said, similarity?, near?}`, `origin` is what labels given from here say of
 * themselves, `searching` whether filters have no part in it.
 */
export function sourceOf(params, picture = null) {
  if (picture) return byPicture(picture);
  if (params.text) return found({ text: params.text }, "search", `like “${params.text}”`);
  if (params.near) return found({ item: params.near }, "search", null);
  if (params.flagged)
    return found({ flagged: params.flagged }, "flagged", `flagged as ${params.flagged}`);
  return listed(params);
}

function listed(params) {
  const { category, level, band, labelled, order } = params;
  const origin = band && band !== "unflagged" ? "flagged" : order === "near" ? "near" : "search";
  return {
    origin,
    searching: false,
    async load(offset, signal) {
      const asked = { category, level, band, labelled, order, offset, limit: PAGE };
      const { items, total } = await get("items", asked, { signal });
      return { items, total, said: plural(total, "image") };
    },
  };
}

function found(question, origin, words) {
  return {
    origin,
    searching: true,
    async load(offset, signal) {
      const reply = await get("search", { ...question, k: NEAREST }, { signal });
      return ofHits(reply, words ?? `like ${reply.query}`);
    },
  };
}

function byPicture(file) {
  return {
    origin: "search",
    searching: true,
    async load(offset, signal) {
      const form = new FormData();
      form.append("image", file, file.name);
      form.append("k", String(NEAREST));
      return ofHits(await postForm("search", form, { signal }), `like ${file.name}`);
    },
  };
}

function ofHits({ hits, flagged }, words) {
  const like =
    flagged === null || flagged === undefined ? words : `near the ${count(flagged)} ${words}`;
  return {
    items: hits.map((hit) => hit.item),
    total: hits.length,
    said: `${plural(hits.length, "image")} ${like}, nearest first`,
    similarity: new Map(hits.map((hit) => [hit.item.id, hit.similarity])),
    near: new Map(hits.filter((hit) => hit.near).map((hit) => [hit.item.id, hit.near])),
  };
}
