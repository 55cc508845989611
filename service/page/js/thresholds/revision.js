/** From thresholds that were placed, or are fitted anew, to a calibration that is saved. */
import { toast } from "../dom.js";
import { loadCalibration, loadCategories } from "../state.js";
import { askForFit } from "./refit.js";
import { offer, preview, tellConflict, tellHowToApply } from "./saving.js";

const FITTED =
  "Thresholds that you did not place are fitted to the labels there are now, as before.";

export class Revision {
  #draft;
  #on;
  #saving = false;
  #closed = false;

  /**
   * `on` holds `saving()`, called when `saving` changes, and `opened()` once the draft is of the
   * calibration that is saved by now.
   */
  constructor(draft, on) {
    this.#draft = draft;
    this.#on = on;
  }

  /** Whether the changes are on their way: they are offered once. */
  get saving() {
    return this.#saving;
  }

  /** Another page is shown: what is not written yet is given up, and nothing more is asked. */
  close() {
    this.#closed = true;
  }

  /** Show what the changes would do, and save them on request. */
  async save() {
    if (this.#saving) return;
    this.#turn(true);
    await this.#attempt(() => this.#previewOfChanges(), "Save these thresholds?", FITTED);
    this.#turn(false);
  }

  /** Ask what to fit all thresholds to, show what that changes, and save it on request. */
  refit() {
    const fit = (request) => preview(this.#draft.calibration, request);
    const asked = () => askForFit(this.#draft.calibration, fit);
    return this.#attempt(asked, "Save the fitted thresholds?");
  }

  #turn(saving) {
    this.#saving = saving;
    if (!this.#closed) this.#on.saving();
  }

  async #attempt(previewing, title, note = null) {
    try {
      const previewed = await previewing();
      if (previewed && !this.#closed) await this.#settle(await offer(previewed, { title, note }));
    } catch (problem) {
      if (!this.#closed) toast(problem.detail ?? problem.message, { kind: "bad", seconds: 20 });
    }
  }

  #previewOfChanges() {
    const { calibration, request: placed } = this.#draft;
    const {
      target = "recall=0.9",
      bands = null,
      confidence = 0.95,
      joint = false,
    } = calibration ?? {};
    const close = toast("Working out what changes…", { seconds: 120 });
    return preview(calibration, { target, bands, confidence, joint, placed }).finally(close);
  }

  async #settle(outcome) {
    if (outcome === "saved") this.#draft.clear();
    if (this.#closed) return tellLate(outcome);
    if (outcome === "saved") await this.#open();
    else if (outcome === "conflict" && (await tellConflict())) await this.#open();
    if (outcome === "saved" && !this.#closed) await tellHowToApply();
  }

  async #open() {
    const [{ corpus }, calibration] = await Promise.all([
      loadCategories({ fresh: true }),
      loadCalibration(),
    ]);
    // The next visit opens it anew.
    if (this.#closed) return;
    this.#draft.open(corpus, calibration);
    this.#on.opened();
  }
}

/** What came of saving, to somebody who looks at another page by now. */
function tellLate(outcome) {
  if (outcome === "saved") toast("The calibration is saved.");
  if (outcome === "conflict")
    toast("Your thresholds were not saved: somebody else saved a calibration.", { kind: "bad" });
}
