/** Elements made by hand: nothing that comes from the service is ever read as HTML. */

const SVG = "http://www.w3.org/2000/svg";
const PROPERTIES = new Set([
  "value",
  "checked",
  "disabled",
  "selected",
  "hidden",
  "open",
  "indeterminate",
  "readOnly",
  "tabIndex",
  "textContent",
  "className",
  "htmlFor",
  "multiple",
  "required",
]);

/**
 * An HTML element. `on…` takes listeners, `style` and `dataset` take objects; null, undefined and
 * false children are left out, arrays are opened.
 */
export function h(tag, props, ...children) {
  return build(document.createElement(tag), props, children);
}

/** An SVG element, as `h`. */
export function svg(tag, props, ...children) {
  return build(document.createElementNS(SVG, tag), props, children);
}

/** Put `children` in the place of everything in `node`. */
export function replace(node, ...children) {
  node.replaceChildren(...opened(children));
  return node;
}

/** Change properties of an element that is there, as `h` sets them; null takes an attribute away. */
export function set(node, props) {
  for (const [name, value] of Object.entries(props)) put(node, name, value);
  return node;
}

function build(node, props, children) {
  set(node, props ?? {});
  node.append(...opened(children));
  return node;
}

function opened(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false);
}

function put(node, name, value) {
  if (name.startsWith("on") && typeof value === "function") {
    node.addEventListener(name.slice(2).toLowerCase(), value);
  } else if (name === "style") {
    // The content policy forbids style attributes; properties are allowed.
    for (const [key, one] of Object.entries(value)) node.style.setProperty(key, String(one));
  } else if (name === "dataset") {
    Object.assign(node.dataset, value);
  } else if (PROPERTIES.has(name) && name in node) {
    if (value !== undefined) node[name] = value ?? "";
  } else if (
    value === null ||
    value === undefined ||
    (value === false && !name.startsWith("aria-"))
  ) {
    node.removeAttribute(name);
  } else {
    node.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : String(value));
  }
}

/**
 * A short message at the foot of the page.
 *
 * `kind` is "info" or "bad"; with `action` it has a button that calls `onAction`. It stays for
 * `seconds` (longer where something can be done), and for as long as the pointer or the focus is
 * on it. Returns what closes it.
 */
export function toast(text, { action, onAction, kind = "info", seconds = action ? 12 : 5 } = {}) {
  const close = () => {
    clearTimeout(timer);
    node.remove();
  };
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(close, seconds * 1000);
  };
  let timer = 0;
  const act = () => {
    close();
    onAction?.();
  };
  const node = h(
    "div",
    {
      class: `toast ${kind}`,
      role: kind === "bad" ? "alert" : null,
      onMouseenter: () => clearTimeout(timer),
      onMouseleave: wait,
      onFocusin: () => clearTimeout(timer),
      onFocusout: wait,
    },
    h("span", { class: "grow" }, text),
    action ? h("button", { type: "button", onClick: act }, action) : null,
    h(
      "button",
      { type: "button", class: "plain icon", "aria-label": "Close this message", onClick: close },
      "×",
    ),
  );
  const region = document.getElementById("toasts");
  while (region.children.length > 2) region.firstChild.remove();
  region.append(node);
  wait();
  return close;
}

/** How to dismiss the dialogs that belong to what the address shows. */
const dismissals = new Set();

/** Close what belongs to an address that is left, as if it were cancelled. */
export function dismissDialogs() {
  for (const dismiss of [...dismissals]) dismiss();
}

/**
 * A modal dialog; resolves to the chosen action's value, or null where it was dismissed.
 *
 * What is being written is not cancelled by that: it resolves to what such an action gives, and
 * the action's problem is told at the foot of the page.
 *
 * @param {object} what
 * @param {string} what.title
 * @param {Node|Node[]|function(object): Node} what.content A function is given `{close(value),
 *   refuse(text), enable(boolean)}`: ends it, tells what is wrong, frees or bars the main action.
 * @param {{label: string, value?: any, kind?: string, run?: function(): Promise<any>, writes?:
 *   boolean}[]} what.actions `run` is awaited before it closes; where it throws, the error is shown
 *   and it stays open; where it gives `false` it stays open.
 * @param {boolean} what.wide
 * @param {boolean} what.stays It stays whatever the address shows.
 */
export function dialog({
  title,
  content,
  actions = [{ label: "Close", value: null }],
  wide = false,
  stays = false,
}) {
  return new Promise((resolve) => {
    const problem = h("p", { class: "note bad", role: "alert", hidden: true });
    let result = null;
    let closed = false;
    let writing = false;
    const close = (value) => {
      result = value;
      node.close();
    };
    const refuse = (text) => {
      set(problem, { textContent: text ?? "", hidden: !text });
      if (text && closed && writing) toast(text, { kind: "bad", seconds: 20 });
    };
    const end = () => closed && !writing && resolve(result);
    const press = async (action) => {
      writing = action.writes ?? false;
      await choose(action, buttons, { close, refuse });
      writing = false;
      end();
    };
    const buttons = actions.map((action) =>
      h(
        "button",
        { type: "button", class: action.kind ?? null, onClick: () => press(action) },
        action.label,
      ),
    );
    const main =
      buttons[actions.findIndex((action) => action.kind === "primary" || action.kind === "danger")];
    const handle = { close, refuse, enable: (free) => set(main, { disabled: !free }) };
    const body = typeof content === "function" ? content(handle) : content;
    const submit = (event) => {
      event.preventDefault();
      if (!main?.disabled) main?.click();
    };
    const dismiss = () => node.close();
    const node = h(
      "dialog",
      {
        class: wide ? "wide" : null,
        "aria-label": title,
        onClose: () => {
          closed = true;
          dismissals.delete(dismiss);
          node.remove();
          end();
        },
      },
      h(
        "div",
        { class: "dialog-head" },
        h("h2", null, title),
        h(
          "button",
          {
            type: "button",
            class: "plain icon",
            "aria-label": "Close",
            onClick: dismiss,
          },
          "×",
        ),
      ),
      h(
        "form",
        { class: "dialog-body", onSubmit: submit },
        body,
        problem,
        h("button", { type: "submit", hidden: true, tabIndex: -1 }),
      ),
      buttons.length ? h("div", { class: "dialog-foot" }, buttons) : null,
    );
    document.body.append(node);
    if (!stays) dismissals.add(dismiss);
    node.showModal();
    (node.querySelector("[autofocus]") ?? main ?? buttons.at(-1) ?? node).focus();
  });
}

async function choose(action, buttons, { close, refuse }) {
  if (!action.run) return close(action.value ?? null);
  const free = buttons.map((button) => button.disabled);
  for (const button of buttons) button.disabled = true;
  try {
    refuse(null);
    const value = await action.run();
    if (value !== false) close(value);
  } catch (error) {
    refuse(error.detail ?? error.message);
  } finally {
    buttons.forEach((button, place) => {
      button.disabled = free[place];
    });
  }
}

/**
 * A problem, said on the page: its title, its detail, and a way to try again; `of` names what it
 * is about, where that is one of several things.
 */
export function problemNote(problem, retry, { of = null } = {}) {
  const title = titleOf(problem);
  return h(
    "div",
    { class: "note bad", role: "alert" },
    h("p", null, h("strong", null, of === null ? title : `${of}: ${title}`)),
    h("p", null, problem.detail ?? problem.message),
    retry ? h("button", { type: "button", onClick: retry }, "Try again") : null,
  );
}

/** The status's name tells people nothing where the service only refuses what was asked. */
function titleOf({ status, title }) {
  return !title || status === 422 ? "That did not work" : title;
}
