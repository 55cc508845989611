/** Labels given in Explore, with what is said of them and how they are undone. */
import { toast } from "../dom.js";
import { plural } from "../words.js";
import { labelItems, undoLabels } from "./bulk.js";

/** What was labelled since the page was loaded: it can be undone from a later visit too. */
const batches = [];

/**
 * Ask for labels of these images, keep them, and say so, with a way to undo them.
 *
 * `undo` is called with the batch where the person takes it back at once. Resolves to whether any were kept.
 */
export async function labelAndTell(items, asked, undo) {
  try {
    const kept = await labelItems(items, asked);
    if (!kept) return false;
    const batch = { ...kept, items };
    batch.close = toast(wordsOf(kept), { action: "Undo", onAction: () => undo(batch) });
    batches.push(batch);
    return true;
  } catch (error) {
    toast(error.message, { kind: "bad" });
    return false;
  }
}

function wordsOf({ new: fresh, changed, category, level }) {
  const number = plural(fresh + changed, "label");
  return level === null ? `${number} taken back` : `${number} kept: ${category}, ${level}`;
}

/** Undo a batch, by default the last; resolves to its images, or null where nothing was undone. */
export async function undoBatch(batch = batches.at(-1)) {
  if (!batch) {
    toast("Nothing to undo here.");
    return null;
  }
  const place = batches.indexOf(batch);
  if (place < 0) return null; // It is being taken back already.
  batches.splice(place, 1);
  try {
    const undone = await undoLabels(batch);
    batch.close();
    toast(`Undone: ${plural(undone, "label")}`);
    return batch.items;
  } catch (error) {
    batches.splice(place, 0, batch);
    toast(error.message, { kind: "bad" });
    return null;
  }
}
