/** The keys of Explore. */

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const ARROWS = Object.keys(STEPS);

/** What keys do with an Explore view. */
export function keysOf(view) {
  const focus = (control) => () => control.focus();
  const inPanel = () => view.panel.node.contains(document.activeElement);
  return [
    {
      key: ARROWS,
      label: "Move through the sheet",
      repeat: true,
      when: () => !inPanel(),
      run: (event) => view.move(...STEPS[event.key]),
    },
    {
      key: ["ArrowLeft", "ArrowRight"],
      repeat: true,
      when: inPanel,
      run: (event) => view.step(STEPS[event.key][0]),
    },
    {
      key: ["Home", "End"],
      label: "First, and last that is loaded",
      when: () => !inPanel(),
      run: (event) => view.sheet.jump(event.key === "End"),
    },
    { key: "Enter", label: "Open the image", run: () => view.openCurrent() },
    { key: "Space", label: "Enlarge the picture", run: () => view.enlarge() },
    { key: "n", label: "Its neighbours", run: () => view.near() },
    { key: "x", label: "Select the image, or no longer", run: () => view.sheet.toggle() },
    {
      key: ARROWS.map((key) => `Shift+${key}`),
      shown: "Shift+arrows",
      label: "Select while moving",
      repeat: true,
      run: (event) => view.move(...STEPS[event.key], true),
    },
    { key: "Ctrl+a", label: "Select all that are loaded", run: () => view.sheet.all() },
    { key: "l", label: "Label what is selected, or the image", run: () => view.label() },
    { key: ["u", "Ctrl+z"], label: "Undo the last labels", run: () => view.undo() },
    { key: "s", label: "Save labels as a file", run: () => view.save() },
    { key: "p", label: "Bring labels from a file", run: () => view.bring() },
    { key: "/", label: "Search by words", run: () => view.filters.words.select() },
    {
      key: "i",
      label: "Search by an image (or drop or paste one)",
      run: () => view.filters.file.click(),
    },
    {
      key: "f",
      label: "Search near what is flagged in the category",
      run: () => view.filters.around.click(),
    },
    { key: "c", label: "Category", run: focus(view.filters.category) },
    { key: "d", label: "Decision", run: focus(view.filters.shown) },
    { key: "b", label: "Labels", run: focus(view.filters.labelled) },
    { key: "o", label: "Order", run: focus(view.filters.order) },
    {
      key: "Escape",
      label: "Close, clear the selection, end the search",
      typing: true,
      run: () => view.escape(),
    },
  ];
}
