/** The keys of Thresholds. */

const COARSE = 10;

/**
 * What keys do. `on` holds `nudge(which, steps)`, `type()`, `turnUpper()`, `step(by)`,
 * `stepLevel()`, `turnLog()`, `reset()`, `refit()` and `save()`; `several`: there is more than one
 * level.
 */
export function keysOf(on, { several }) {
  const by = (which, steps) => () => on.nudge(which, steps);
  const held = (key, label, run) => ({ key, label, run, repeat: true });
  return [
    held("ArrowLeft", "Lower the threshold", by("threshold", -1)),
    held("ArrowRight", "Raise the threshold", by("threshold", 1)),
    held("Shift+ArrowLeft", "Lower it by more", by("threshold", -COARSE)),
    held("Shift+ArrowRight", "Raise it by more", by("threshold", COARSE)),
    held("[", "Lower the upper threshold", by("upper", -1)),
    held("]", "Raise the upper threshold", by("upper", 1)),
    { key: "t", label: "Type the threshold", run: on.type },
    { key: "b", label: "Add or take away the upper threshold", run: on.turnUpper },
    { key: ["j", "ArrowDown"], label: "The next category", run: () => on.step(1) },
    { key: ["k", "ArrowUp"], label: "The category before", run: () => on.step(-1) },
    { key: "v", label: "The next level", run: on.stepLevel, when: () => several },
    { key: "l", label: "Bars by number or by its logarithm", run: on.turnLog },
    { key: "r", label: "Back to the saved threshold", run: on.reset },
    { key: "f", label: "Fit all thresholds anew", run: on.refit },
    { key: "Ctrl+s", label: "Save the changes", run: on.save, typing: true },
  ];
}
