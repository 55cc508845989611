/** Keys: every action has one, and `?` shows them. */
import { dialog, h } from "./dom.js";

const NAMES = { " ": "Space", Esc: "Escape" };
const SHOWN = {
  ArrowLeft: "←",
  ArrowRight: "→",
  ArrowUp: "↑",
  ArrowDown: "↓",
  Escape: "Esc",
  Ctrl: "Ctrl",
  Enter: "Enter",
};
const SEQUENCE_MS = 1200;
const groups = new Map();
let first = null;
let firstAt = 0;

/**
 * Register keys under a heading; returns what takes them away.
 *
 * Each is `{key, label, run, shown?, repeat?, typing?, when?}`. `key` is one or several of "n",
 * "Shift+n", "Ctrl+z" (Command on a Mac too), "ArrowLeft", "Space", "g c" (one after the other);
 * `shown` is how the list has it. A key that is held down acts once unless `repeat`; keys are
 * ignored while somebody types unless `typing`.
 */
function register(heading, list) {
  const entry = { heading, list: list.map((one) => ({ ...one, keys: [one.key].flat() })) };
  groups.set(entry, entry);
  return () => groups.delete(entry);
}

export const keys = {
  page: (list) => register("This page", list),
  everywhere: (list) => register("Everywhere", list),
  named: register,
  overlay,
};

function spelled(event) {
  let name = NAMES[event.key] ?? event.key;
  let shift = event.shiftKey;
  if (name.length === 1) {
    const letter = name.toLowerCase() !== name.toUpperCase();
    shift = shift && letter;
    name = name.toLowerCase();
  }
  const ctrl = event.ctrlKey || event.metaKey;
  return `${ctrl ? "Ctrl+" : ""}${event.altKey ? "Alt+" : ""}${shift ? "Shift+" : ""}${name}`;
}

const TEXT = new Set([
  "text",
  "search",
  "number",
  "email",
  "url",
  "password",
  "tel",
  "date",
  "time",
]);
const MOVES = /^(Shift\+)?(Arrow\w+|Home|End|PageUp|PageDown)$/;

/**
 * Whether the element that has the focus needs this key itself. A button with `data-keys="page"`
 * leaves Space and Enter to the page's keys.
 */
function taken(target, key) {
  if (!(target instanceof Element)) return false;
  if (target.isContentEditable || target.matches("textarea, select")) return true;
  if (target.matches("input")) {
    if (TEXT.has(target.type)) return true;
    return key === "Space" || (target.type !== "checkbox" && MOVES.test(key));
  }
  if (target.dataset.keys === "page") return false;
  if (target.closest("[role=radiogroup]") && MOVES.test(key)) return true;
  if (target.closest("button, a[href], summary")) return key === "Space" || key === "Enter";
  return false;
}

function heard(event) {
  if (event.defaultPrevented || event.isComposing || event.key === undefined) return;
  if (["Shift", "Control", "Alt", "Meta"].includes(event.key)) return;
  if (document.querySelector("dialog[open]")) return;
  const key = spelled(event);
  const found = find(key, taken(event.target, key), event.repeat);
  if (!found) return;
  event.preventDefault();
  found.run(event);
}

function find(key, typing, repeated) {
  const now = performance.now();
  const sequence = first && now - firstAt < SEQUENCE_MS ? `${first} ${key}` : null;
  first = null;
  const usable = actions().filter((one) => (one.typing || !typing) && (one.repeat || !repeated));
  const found =
    usable.find((one) => one.keys.includes(sequence)) ??
    usable.find((one) => one.keys.includes(key));
  if (!found && usable.some((one) => one.keys.some((other) => other.startsWith(`${key} `)))) {
    first = key;
    firstAt = now;
  }
  return found;
}

/** What can be done now; what was registered last is asked first. */
function actions() {
  return [...groups.values()]
    .reverse()
    .flatMap((group) => group.list)
    .filter((one) => one.when?.() ?? true);
}

/** A key as people read it. */
export function keyMark(key) {
  return key.split(" ").map((part) =>
    h(
      "kbd",
      null,
      part
        .split("+")
        .map((one) => SHOWN[one] ?? (one.length === 1 ? one.toUpperCase() : one))
        .join(" "),
    ),
  );
}

function overlay() {
  const sections = [...groups.values()]
    .filter((group) => group.list.some((one) => one.label))
    .reverse();
  return dialog({
    title: "Keys",
    wide: true,
    content: h(
      "div",
      { class: "keys" },
      sections.map((group) =>
        h(
          "section",
          null,
          h("h3", null, group.heading),
          h(
            "dl",
            null,
            group.list
              .filter((one) => one.label)
              .map((one) =>
                h(
                  "div",
                  null,
                  h(
                    "dt",
                    null,
                    (one.shown ? [one.shown] : one.keys).map((key, place) => [
                      place ? " " : null,
                      keyMark(key),
                    ]),
                  ),
                  h("dd", null, one.label),
                ),
              ),
          ),
        ),
      ),
    ),
  });
}

document.addEventListener("keydown", heard);
