/** The categories at the left: what is saved of each, and where something is changed. */
import { h, replace, set } from "../dom.js";
import { statusBadge } from "../review/outlook.js";
import { flagLevels, plural } from "../words.js";

export class CutList {
  #entries;

  /** `onChoose(category)` is told which one is to be shown. */
  constructor(names, levels, onChoose) {
    this.levels = levels;
    // The buttons stay while what is in them changes: one of them may have the focus.
    this.#entries = names.map((name) => {
      const props = { type: "button", class: "plain cut-entry", onClick: () => onChoose(name) };
      return { name, button: h("button", props) };
    });
    const buttons = this.#entries.map(({ button }) => button);
    this.node = h("nav", { class: "cut-list", "aria-label": "Categories" }, buttons);
  }

  show(draft, category) {
    for (const { name, button } of this.#entries) {
      set(button, { "aria-current": name === category ? "true" : null });
      replace(button, this.#content(draft, name));
    }
  }

  #content(draft, name) {
    const levels = flagLevels(this.levels);
    const changed = levels.some((level) => draft.changed(name, level));
    return [
      h(
        "span",
        { class: "row" },
        h("span", { class: "grow cut" }, name),
        changed
          ? h(
              "span",
              { class: "changed", title: "changed, not saved" },
              "●",
              h("span", { class: "hidden-text" }, "changed"),
            )
          : null,
      ),
      levels.map((level) => this.#line(level, draft.cut(name, level))),
    ];
  }

  #line(level, cut) {
    const soft = (text) => h("span", { class: "soft figures" }, text);
    return h(
      "span",
      { class: "row small" },
      this.levels.length > 2 ? soft(level) : null,
      cut ? statusBadge(cut.status) : soft("no threshold"),
      (cut?.flags ?? null) === null ? null : soft(plural(cut.flags, "flag")),
    );
  }
}
