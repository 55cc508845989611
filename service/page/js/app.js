/** The shell: which page is shown, the header, the token, the keys that hold everywhere. */
import { openSession, whenTokenIsNeeded } from "./api.js";
import { dialog, dismissDialogs, h, problemNote, replace, set, toast } from "./dom.js";
import { keepDropsOut } from "./drop.js";
import { aboutService, headerButtons, turnTheme } from "./header.js";
import { keys } from "./keys.js";
import { go, hrefOf, route } from "./route.js";
import { askRater } from "./state.js";

const PAGES = {
  classify: () => import("./classify.js"),
  review: () => import("./review.js"),
  thresholds: () => import("./thresholds.js"),
  explore: () => import("./explore.js"),
};
const HOME = "explore";

let current = null;
let unmount = null;
let shown = 0;

/**
 * Show the page that the address names.
 *
 * What a page waits for it fetches in `load`, which draws nothing; `mount` draws at once. So a page
 * that came too late leaves no trace, and what is there of the one before takes no more clicks.
 * What `mount` gives ends the page; where it has an `update`, that is told other parameters of the
 * same page instead.
 */
async function show() {
  const { page: name, params } = route();
  if (!(name in PAGES)) return location.replace(hrefOf(HOME));
  if (name === current && unmount?.update) return unmount.update(params);
  const turn = ++shown;
  leave();
  current = name;
  mark(name);
  const root = set(document.getElementById("page"), { inert: true, "aria-busy": true });
  try {
    const { page } = await PAGES[name]();
    const loaded = await page.load(params);
    if (turn !== shown) return;
    document.title = `${page.title} · clipcal`;
    replace(root);
    root.className = `page-${name}`;
    scrollTo(0, 0);
    set(root, { inert: false, "aria-busy": null });
    unmount = page.mount(root, params, loaded);
  } catch (error) {
    if (turn !== shown) return;
    set(root, { inert: false, "aria-busy": null });
    replace(root, problemNote(error, show));
  }
}

function leave() {
  const last = unmount;
  unmount = null;
  last?.();
}

function mark(name) {
  for (const link of document.querySelectorAll(".tabs a")) {
    set(link, { "aria-current": link.dataset.page === name ? "page" : null });
  }
}

/** Ask for the token; true where the service took it. */
async function askToken(problem) {
  const input = h("input", {
    type: "password",
    autofocus: true,
    autocomplete: "current-password",
    name: "token",
  });
  return dialog({
    title: "This service needs a token",
    content: [
      h(
        "p",
        null,
        "It was printed where the service was started, at the end of the address (",
        h("code", null, "#token=…"),
        ").",
      ),
      problem?.detail ? h("p", { class: "small soft" }, problem.detail) : null,
      h("label", { class: "field" }, h("span", null, "Token"), input),
    ],
    actions: [
      { label: "Cancel", value: false },
      { label: "Open", kind: "primary", writes: true, run: () => handIn(input.value.trim()) },
    ],
    stays: true,
  });
}

async function handIn(token) {
  try {
    await openSession(token);
    return true;
  } catch (error) {
    throw error.status === 401 ? new Error("That is not the token of this service.") : error;
  }
}

/** A token may come in the address once; it leaves the address before anything else happens. */
async function tokenOfAddress() {
  const [, token] = /^#token=(.+)$/.exec(location.hash) ?? [];
  if (!token) return;
  history.replaceState(null, "", hrefOf(HOME));
  try {
    await openSession(decodeURIComponent(token));
  } catch (error) {
    toast(error.message, { kind: "bad" });
  }
}

keys.everywhere([
  { key: "g c", label: "Go to Classify", run: () => go("classify") },
  { key: "g r", label: "Go to Review", run: () => go("review") },
  { key: "g t", label: "Go to Thresholds", run: () => go("thresholds") },
  { key: "g e", label: "Go to Explore", run: () => go("explore") },
  { key: "g n", label: "Say who is labelling", run: askRater },
  { key: "g d", label: "Light, dark, or as the system has it", run: turnTheme },
  { key: "g s", label: "About this service", run: aboutService },
  { key: "?", label: "Show the keys", run: keys.overlay },
]);

keepDropsOut();
whenTokenIsNeeded(askToken);
await tokenOfAddress();
replace(document.getElementById("top-end"), headerButtons());
addEventListener("hashchange", async () => {
  dismissDialogs();
  await tokenOfAddress();
  show();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("page").focus();
});
show();
