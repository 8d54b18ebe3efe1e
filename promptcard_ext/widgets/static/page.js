// What the parts of the live view of a run share: numbers for people, elements. The parts are given to the browser as one
// module (run_view.py), in this order: windows, rows, page, run_matrix, run_story, run_controls, run_view.
// Names, answers and reasons may hold anything, so they reach the page as text only, never as HTML.

export { ROW, place, scrollFor } from "./rows.js";
export { Lru, WINDOW, windowsFor } from "./windows.js";

export const OUTCOMES = ["pass", "fail", "error", "unscored"];

// -- without a page ----------------------------------------------------------------------------------------------------

/** What to do with state that has arrived: "old", "next", or "gap" when something before it was lost. */
export function compare(known, revision) {
  if (revision < known) return "old";
  return revision > known + 1 ? "gap" : "next";
}

export function count(n) {
  return n.toLocaleString("en-US");
}

export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  return value < 10000 ? `${count(Math.round(value))} ms` : `${(value / 1000).toFixed(1)} s`;
}

export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const two = (n) => String(n).padStart(2, "0");
  return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}` : `${Math.floor(s / 3600)}:${two(Math.floor((s % 3600) / 60))}:${two(s % 60)}`;
}

/** Seconds left if it goes on as so far; null while that would be a guess. */
export function remaining(elapsed, done, total) {
  if (!elapsed || elapsed < 1 || done < 3 || done >= total) return null;
  return (elapsed / done) * (total - done);
}

/** How much of `texts` is the same at their beginning, up to a separator: what tells them apart is behind it. */
export function shared(texts) {
  if (texts.length < 2) return 0;
  let same = 0;
  while (same < texts[0].length && texts.every((text) => text[same] === texts[0][same])) same++;
  const separator = texts[0].slice(0, same).search(/[@:/ ][^@:/ ]*$/);
  return separator + 1;
}

/** A name in two parts of which the first may be cut: what tells versions and models apart stands at the end. */
export function halves(text, isModel) {
  const at = isModel ? text.indexOf(":") + 1 : Math.max(0, text.lastIndexOf("@"), text.lastIndexOf(" "));
  return [text.slice(0, at), text.slice(at)];
}

// -- on the page -------------------------------------------------------------------------------------------------------

/** Make an element; classes get the prefix of the view, strings become text. */
export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    // Notebooks have styles of their own for names as common as "row".
    if (name === "class") node.className = value === "pcv" || !value ? value : `pcv-${value}`;
    else node.setAttribute(name, value);
  }
  node.append(...children); // strings become text nodes
  return node;
}

/** Set a text, when it is another one. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Show a name in two halves, and say it as a whole to those who do not see it. */
export function sayName(cell, text, whole, isModel) {
  const node = cell.querySelector(".pcv-halves") ?? cell;
  if (!node.children.length) node.append(h("span", { class: "first" }), h("span", { class: "last" }));
  halves(text, isModel).forEach((part, i) => say(node.children[i], part));
  cell.title = whole;
  // Two boxes would be read out as two words.
  if (whole) cell.setAttribute("aria-label", whole);
  else cell.removeAttribute("aria-label");
}

/** Copy a text; resolves to whether that worked. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages that came without encryption have no clipboard.
    const area = h("textarea", { class: "sr", "aria-hidden": "true" });
    area.value = text;
    const before = document.activeElement;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    before?.focus?.({ preventScroll: true });
    return done;
  }
}
