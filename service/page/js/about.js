/** What is served, by what, and how it is: the dialog behind the dot in the header. */
import { address, get } from "./api.js";
import { dialog, h } from "./dom.js";
import { count, plural } from "./words.js";

const FAILURES = 100;

/** Show the service's health, and where programs find the API. */
export async function showService() {
  const health = await get("health");
  const failed = health.failed ? await get("failures", { limit: FAILURES }) : null;
  return dialog({
    title: "This service",
    content: [facts(health), failed && failures(failed), links()],
  });
}

function failures({ failures: some, total }) {
  const more = total - some.length;
  return h(
    "details",
    null,
    h("summary", null, `${plural(total, "image")} could not be embedded`),
    h(
      "ul",
      { class: "small" },
      some.map((one) => h("li", null, one.name, ": ", h("span", { class: "soft" }, one.reason))),
    ),
    more > 0 ? h("p", { class: "small soft" }, `and ${count(more)} more`) : null,
  );
}

function facts(health) {
  const computes = health.provider
    ? [health.provider, health.arithmetic].filter(Boolean).join(", ")
    : "not opened yet: the first image or sentence opens it";
  const rows = [
    ["Version", `clipcal ${health.version}`],
    ["Model", health.model],
    ["Computes on", computes],
    ["Note", health.note],
    ["Problem", health.problem],
    ["Images", count(health.images)],
    ["Calibration", health.calibration ? health.calibration.slice(0, 12) : "none yet"],
    ["Running for", lasting(health.seconds)],
  ];
  return h(
    "dl",
    { class: "facts" },
    rows
      .filter(([, value]) => value)
      .map(([name, value]) => [h("dt", null, name), h("dd", null, value)]),
  );
}

function links() {
  return h(
    "p",
    { class: "small soft" },
    "Programs use the same service: ",
    h(
      "a",
      { href: address("openapi.json").href, target: "_blank", rel: "noreferrer" },
      "the API as OpenAPI",
    ),
    ", ",
    h("a", { href: address("metrics").href, target: "_blank", rel: "noreferrer" }, "metrics"),
    ".",
  );
}

function lasting(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
