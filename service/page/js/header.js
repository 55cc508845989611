/** The end of the header: how the service is, who labels, the theme, the keys. */
import { showService } from "./about.js";
import { connection, get } from "./api.js";
import { h, replace, set, toast } from "./dom.js";
import { icon } from "./icons.js";
import { keys } from "./keys.js";
import { askRater, kept, rater, state } from "./state.js";
import { plural } from "./words.js";

const POLL_MS = 20_000;
const POLL_DOWN_MS = 3_000;
const PATIENCE = 10; // seconds
const THEMES = ["auto", "light", "dark"];

const themeOf = () => kept.get("clipcal.theme") ?? "auto";

/** The next of: as the system has it, light, dark. */
export function turnTheme() {
  kept.set("clipcal.theme", THEMES[(THEMES.indexOf(themeOf()) + 1) % THEMES.length]);
  state.dispatchEvent(new Event("theme"));
}

function themeButton() {
  const button = h("button", { type: "button", class: "plain icon", onClick: turnTheme });
  const show = () => {
    const theme = themeOf();
    set(button, { "aria-label": `Theme: ${theme}`, title: `Theme: ${theme}` });
    replace(button, icon(theme));
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };
  state.addEventListener("theme", show);
  show();
  return button;
}

function raterButton() {
  const name = h("span", { class: "rater-text cut" });
  const button = h(
    "button",
    { type: "button", class: "plain rater", onClick: askRater },
    icon("person"),
    name,
  );
  const show = () => {
    set(name, { textContent: rater() ?? "Who?" });
    set(button, {
      "aria-label": rater() ? `Labelling as ${rater()}: change` : "Say who is labelling",
    });
  };
  state.addEventListener("rater", show);
  show();
  return button;
}

// However often it is asked for, it is shown once.
let shown = null;

/** What is served, and how it is. */
export function aboutService() {
  shown ??= showService()
    .catch((error) => toast(error.message, { kind: "bad" }))
    .finally(() => {
      shown = null;
    });
  return shown;
}

function stateButton() {
  const text = h("span", { class: "state-text cut" }, "connecting");
  const button = h(
    "button",
    {
      type: "button",
      class: "plain state",
      dataset: { state: "unknown" },
      "aria-label": "This service: connecting",
      onClick: aboutService,
    },
    h("span", { class: "state-dot" }),
    text,
  );
  const say = (kind, words) => {
    button.dataset.state = kind;
    text.textContent = words;
    set(button, { "aria-label": `This service: ${words}` });
  };
  watch(say);
  return button;
}

function watch(say) {
  let timer = 0;
  let asked = 0;
  const later = (milliseconds) => {
    clearTimeout(timer);
    timer = setTimeout(look, milliseconds);
  };
  const look = async () => {
    clearTimeout(timer);
    const turn = ++asked;
    if (!document.hidden) await ask(say);
    // Only one of several that were asked at once goes on.
    if (turn === asked) later(connection.up ? POLL_MS : POLL_DOWN_MS);
  };
  document.addEventListener("visibilitychange", look);
  // Not at once: where one request fails and another does not, they would chase each other.
  connection.addEventListener("down", () => {
    asked += 1;
    say("down", "no connection");
    later(POLL_DOWN_MS);
  });
  connection.addEventListener("up", look);
  look();
}

async function ask(say) {
  try {
    say("up", plural((await get("health", {}, { seconds: PATIENCE })).images, "image"));
  } catch (error) {
    say("down", error.status === 0 ? "no connection" : error.title);
  }
}

function helpButton() {
  const props = { "aria-label": "Keys", title: "Keys (?)", onClick: keys.overlay };
  return h("button", { type: "button", class: "plain icon key-hint", ...props }, icon("help"));
}

/** The buttons, from left to right. */
export function headerButtons() {
  return [stateButton(), raterButton(), themeButton(), helpButton()];
}
