/** The address: `#/page?name=value`. */

/** The page and its parameters as the address has them. */
export function route() {
  const [, page = "", query = ""] = /^#\/([a-z-]*)(?:\?(.*))?$/.exec(location.hash) ?? [];
  return { page, params: Object.fromEntries(new URLSearchParams(query)) };
}

/** The address of a page; what is null, undefined or "" is left out. */
export function hrefOf(page, params = {}) {
  const kept = Object.entries(params).filter(
    ([, value]) => value !== null && value !== undefined && value !== "",
  );
  const query = new URLSearchParams(kept).toString();
  return `#/${page}${query ? `?${query}` : ""}`;
}

/** Go to a page. */
export function go(page, params) {
  location.hash = hrefOf(page, params);
}

/**
 * Keep what `page` shows in the address, unless another page is there by now; with `push` the way
 * back leads to what was before.
 */
export function keep(page, params, { push = false } = {}) {
  if (route().page !== page) return;
  const href = hrefOf(page, params);
  if (push && href !== location.hash) history.pushState(null, "", href);
  else history.replaceState(null, "", href);
}
