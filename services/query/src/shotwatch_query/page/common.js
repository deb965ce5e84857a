// What the pages share: requests to the API, and text that cannot be markup.

export const API = "/api/v1";
export const TIMEOUT_MS = 10000;
const SHORT_ESCAPES = { "\t": "\\t", "\n": "\\n", "\r": "\\r" };
const SVG = "http://www.w3.org/2000/svg";

export const at = (id) => document.getElementById(id);

/** Escape what cannot be seen (controls, bidirectional marks, unusual spaces), as printable.py does. */
export function printable(text) {
  return String(text).replace(/[^\P{C}]|[^\P{Z} ]/gu, (character) => {
    const code = character.codePointAt(0);
    const hexadecimal = (digits) => code.toString(16).padStart(digits, "0");
    return SHORT_ESCAPES[character]
      ?? (code < 0x100 ? `\\x${hexadecimal(2)}` : code < 0x10000 ? `\\u${hexadecimal(4)}` : `\\U${hexadecimal(8)}`);
  });
}

export function write(node, text) {
  node.textContent = printable(text);
}

export function element(name, text = "", className = "") {
  const made = document.createElement(name);
  write(made, text);
  made.className = className;
  return made;
}

export function drawn(name, attributes) {
  const made = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  return made;
}

/** Return the JSON of an answer, null if it has none; throw an error with its detail, and its excerpt as `excerpt`, if it failed. */
export async function ask(path, options = {}) {
  const answer = await fetch(API + path, { signal: AbortSignal.timeout(TIMEOUT_MS), ...options });
  if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  const body = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.detail ?? answer.statusText), { excerpt: body.excerpt });
  return body;
}
