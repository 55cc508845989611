/** Images that are dropped on a page or pasted into it. */

/**
 * Hand on images that are dropped anywhere on `root`, or pasted; returns what ends it. While
 * something is dragged over it, `root` has the class "dropping".
 */
export function whenDropped(root, onFiles) {
  const drag = (event) => {
    if (!holdsFiles(event.dataTransfer)) return;
    event.preventDefault();
    root.classList.toggle("dropping", event.type === "dragover");
    if (event.type === "drop") handOn(event.dataTransfer.files);
  };
  const paste = (event) => {
    if (!holdsFiles(event.clipboardData) || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    handOn(event.clipboardData.files);
  };
  const handOn = (files) => files.length && onFiles([...files]);
  const drags = ["dragover", "dragleave", "drop"];
  for (const name of drags) root.addEventListener(name, drag);
  document.addEventListener("paste", paste);
  return () => {
    for (const name of drags) root.removeEventListener(name, drag);
    document.removeEventListener("paste", paste);
    root.classList.remove("dropping");
  };
}

/** Let no file that is dropped beside what takes it take the page's place in the browser. */
export function keepDropsOut() {
  const keep = (event) => {
    if (event.defaultPrevented || !holdsFiles(event.dataTransfer)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "none";
  };
  for (const name of ["dragover", "drop"]) document.addEventListener(name, keep);
}

function holdsFiles(data) {
  return Boolean(data) && [...data.types].includes("Files");
}
