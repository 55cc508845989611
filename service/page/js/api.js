/** The service's API: `/v1`, problems as errors, one question for the token. */

const BASE = new URL("v1/", document.baseURI);

/** What went wrong, as the service says it (RFC 9457). `status` 0: the service does not answer. */
export class ApiProblem extends Error {
  constructor({ status, title, detail, errors = [], retryAfter = null }) {
    super(detail || title);
    this.name = "ApiProblem";
    Object.assign(this, { status, title, detail, errors, retryAfter });
  }
}

/** Tells "up" and "down" events: whether the service answered last. */
export const connection = Object.assign(new EventTarget(), { up: true });

/** The address of `path` with `params`; what is null, undefined or "" is left out. */
export function address(path, params = {}) {
  const url = new URL(path.replace(/^\//, ""), BASE);
  for (const [name, value] of Object.entries(params)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  return url;
}

/** Where the picture of an item lies; `size` is 160, 320, 640 or 1280. */
export function pictureUrl(id, size = 320) {
  return address(`items/${id}/picture`, { size }).href;
}

/** With `seconds` a service that takes longer counts as one that does not answer. */
export async function get(path, params, { signal, seconds } = {}) {
  return json(await ask(address(path, params), { signal, seconds }));
}

export async function post(path, body, { signal, seconds } = {}) {
  const headers = { "Content-Type": "application/json" };
  const options = { method: "POST", headers, body: JSON.stringify(body ?? {}), signal, seconds };
  return json(await ask(address(path), options));
}

export async function postForm(path, form, { signal, seconds } = {}) {
  return json(await ask(address(path), { method: "POST", body: form, signal, seconds }));
}

/** A file of the service, with the name that it is to be kept under. */
export async function getFile(path, params, { signal } = {}) {
  const response = await ask(address(path, params), { signal });
  const [, name = "download"] =
    /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") ?? "") ?? [];
  return new File([await response.blob()], name, {
    type: response.headers.get("Content-Type") ?? "",
  });
}

/** Whether an error only says that nobody waits for the answer any more. */
export function abandoned(error) {
  return error?.name === "AbortError";
}

async function ask(url, options) {
  for (;;) {
    const response = await reach(url, options);
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (problem.status !== 401 || !(await letIn(problem))) throw problem;
  }
}

async function reach(url, { seconds, signal, ...options }) {
  const limit = seconds ? AbortSignal.timeout(1_000 * seconds) : null;
  const either = signal && limit ? AbortSignal.any([signal, limit]) : (signal ?? limit);
  try {
    const response = await fetch(url, { credentials: "same-origin", ...options, signal: either });
    tell(true);
    return response;
  } catch (error) {
    throw silent(error);
  }
}

// The time limit and the connection may end while the body is still coming.
async function json(response) {
  try {
    return await response.json();
  } catch (error) {
    throw error instanceof SyntaxError ? error : silent(error);
  }
}

function silent(error) {
  if (abandoned(error)) return error;
  tell(false);
  const detail =
    "The service does not answer. Is it still running? Nothing that it acknowledged is lost.";
  return new ApiProblem({ status: 0, title: "No connection", detail });
}

function tell(up) {
  if (connection.up === up) return;
  connection.up = up;
  connection.dispatchEvent(new Event(up ? "up" : "down"));
}

async function problemOf(response) {
  const said = await response.json().catch(() => ({}));
  const seconds = Number(response.headers.get("Retry-After"));
  return new ApiProblem({
    status: response.status,
    title: said.title ?? `The service answered ${response.status}`,
    detail: said.detail ?? response.statusText,
    errors: said.errors ?? [],
    retryAfter: Number.isFinite(seconds) && seconds > 0 ? seconds : null,
  });
}

// However many requests are refused at once, the token is asked for once.
let asking = null;
let askForToken = null;

/** Who asks for the token: a function that gives it, or null where the person declines. */
export function whenTokenIsNeeded(ask) {
  askForToken = ask;
}

async function letIn(problem) {
  asking ??= (askForToken ? askForToken(problem) : Promise.resolve(false)).finally(() => {
    asking = null;
  });
  return asking;
}

/** Hand the token in; the service keeps it in a cookie that scripts cannot read. */
export async function openSession(token) {
  const headers = { "Content-Type": "application/json" };
  const response = await reach(address("session"), {
    method: "POST",
    headers,
    body: JSON.stringify({ token }),
  });
  if (!response.ok) throw await problemOf(response);
  return response.json();
}
