/** What-if, asked while a threshold moves: one question at a time, and the last one wins. */
import { post } from "../api.js";

const REST_MS = 180;
const FLIPS = 24;

export class Trier {
  #wanted = null;
  #busy = false;
  #rest = 0;

  /**
   * `onTried(tried, milliseconds, settled)` is told answers, `onProblem(problem, trial)`
   * failures.
   */
  constructor({ onTried, onProblem }) {
    Object.assign(this, { onTried, onProblem });
  }

  /** `how` are the costs, the target and the confidence. Once it rests, flips are fetched too. */
  ask(trial, how) {
    this.#wanted = { trials: [trial], ...how };
    this.#send();
    clearTimeout(this.#rest);
    this.#rest = setTimeout(() => {
      this.#wanted = { trials: [trial], ...how, flips: FLIPS };
      this.#send();
    }, REST_MS);
  }

  stop() {
    clearTimeout(this.#rest);
    this.#wanted = null;
    this.onTried = this.onProblem = () => {};
  }

  /** Another threshold is looked at: what is under way is of no interest any more. */
  forget() {
    clearTimeout(this.#rest);
    this.#wanted = null;
  }

  async #send() {
    if (this.#busy) return;
    this.#busy = true;
    while (this.#wanted) {
      const body = this.#wanted;
      this.#wanted = null;
      try {
        const reply = await post("what-if", body);
        this.onTried(reply.results[0], reply.milliseconds, body.flips > 0);
      } catch (problem) {
        this.onProblem(problem, body.trials[0]);
      }
    }
    this.#busy = false;
  }
}
