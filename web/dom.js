// Owns how elements are made. Everything that a guest wrote is hostile: text goes in as
// text nodes alone, and no function here takes markup.

/// An element. `props`: `class`, `text`, `on` (listeners by event), `data` (data-*),
/// properties that start with "aria-" or are attributes; false and null leave one out.
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "text") node.textContent = value;
    else if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (name === "data") Object.assign(node.dataset, value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function button(text, action, props = {}) {
  return el("button", { type: "button", text, on: { click: action }, ...props });
}

export function fill(node, ...children) {
  node.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
}

/// A paragraph that says why there is nothing to see, or what went wrong.
export function note(text, kind = "note") {
  return el("p", { class: kind, text });
}

/// The element of index.html with this id; it must be there.
export function byId(id) {
  const node = document.getElementById(id);
  if (!node) throw new Error(`index.html has no #${id}`);
  return node;
}

/// A form row: its label and the control, tied to each other.
export function labelled(text, control, props = {}) {
  return el("label", { class: "field", ...props }, el("span", { text }), control);
}

/// Into a field, with what stands there chosen, so that typing replaces it.
export function enter(field) {
  field.focus();
  field.select();
}

/// Whether keys that are typed go into a control there.
export function takesText(node) {
  if (!(node instanceof HTMLElement)) return false;
  if (node.isContentEditable || node.tagName === "TEXTAREA" || node.tagName === "SELECT") return true;
  return node.tagName === "INPUT" && !["checkbox", "radio", "button"].includes(node.type);
}
