// What the card editor does without a page: pieces of templates, changes of forms, undo. `card_editor.js` goes on here.

const STEPS = 200; // that can be undone
const ROWS = ["messages", "examples", "variables"];

/** A template in pieces: plain text, `{{ output }}`, `{% statements %}`, `{# comments #}`; what is not closed goes to the end. */
export function pieces(text) {
  const found = [];
  const tags = /\{\{|\{%|\{#/g;
  const closing = { "{{": "}}", "{%": "%}", "{#": "#}" };
  let last = 0;
  for (let tag = tags.exec(text); tag; tag = tags.exec(text)) {
    const end = text.indexOf(closing[tag[0]], tag.index + 2);
    const stop = end < 0 ? text.length : end + 2;
    if (tag.index > last) found.push({ kind: "text", start: last, end: tag.index });
    found.push({ kind: { "{{": "out", "{%": "tag", "{#": "note" }[tag[0]], start: tag.index, end: stop });
    tags.lastIndex = last = stop;
  }
  if (last < text.length) found.push({ kind: "text", start: last, end: text.length });
  return found;
}

/** The text in parts that each look the same: what piece they belong to, and which marks are on them. */
export function painted(text, marks) {
  const parts = pieces(text);
  const held = marks.filter((mark) => mark.end > mark.start && mark.start < text.length);
  const edges = new Set([0, text.length]);
  for (const one of [...parts, ...held]) edges.add(one.start).add(Math.min(one.end, text.length));
  const sorted = [...edges].sort((a, b) => a - b);
  const found = [];
  for (let i = 0, at = 0; i + 1 < sorted.length; i++) {
    const [start, end] = [sorted[i], sorted[i + 1]];
    while (parts[at].end <= start) at++;
    const kinds = held.filter((mark) => mark.start <= start && mark.end >= end).map((mark) => mark.kind);
    found.push({ text: text.slice(start, end), kinds: [...new Set([parts[at].kind, ...kinds])] });
  }
  return found;
}

function common(before, after) {
  const most = Math.min(before.length, after.length);
  let head = 0;
  while (head < most && before[head] === after[head]) head++;
  let tail = 0;
  while (tail < most - head && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++;
  return { head, tail };
}

/** Marks of an earlier text on a later one: those where something was typed are gone until they are found anew. */
export function shifted(marks, before, after) {
  if (before === after) return marks;
  const { head, tail } = common(before, after);
  const by = after.length - before.length;
  return marks.flatMap((mark) => {
    if (mark.end <= head) return [mark];
    return mark.start >= before.length - tail ? [{ ...mark, start: mark.start + by, end: mark.end + by }] : [];
  });
}

/** Where the caret is when a text becomes another one around it. */
export function caretAfter(caret, before, after) {
  const { head, tail } = common(before, after);
  if (caret <= head && caret < before.length - tail) return caret;
  return caret >= before.length - tail ? caret + after.length - before.length : after.length - tail;
}

/** The changes that make `after` of `before`, as `editing/changes.py` has them. */
export function changes(before, after) {
  const found = [];
  const same = (one, other) => one === other || JSON.stringify(one) === JSON.stringify(other);
  for (const name of Object.keys(after)) {
    const [old, now] = [before[name], after[name]];
    if (old === now) continue;
    if (name === "settings") {
      for (const key of Object.keys(now)) if (old[key] !== now[key]) found.push([[name, key], now[key]]);
    } else if (ROWS.includes(name) && same(old.map((row) => row.key), now.map((row) => row.key))) {
      now.forEach((row, i) => {
        for (const field of Object.keys(row)) if (old[i][field] !== row[field]) found.push([[name, row.key, field], row[field]]);
      });
    } else if (!same(old, now)) found.push([[name], now]);
  }
  return found;
}

/** A form with changes made; those of rows that are gone cannot be. */
export function applied(form, made) {
  let next = form;
  for (const [path, value] of made) {
    const [name, key, field] = path;
    if (path.length === 1) next = { ...next, [name]: value };
    else if (path.length === 2) next = { ...next, [name]: { ...next[name], [key]: value } };
    else next = { ...next, [name]: next[name].map((row) => (row.key === key ? { ...row, [field]: value } : row)) };
  }
  return next;
}

/** What is known of the kernel's form, and the form here, when the kernel's has changed: what is typed here stays. */
export function rebased(known, form, made) {
  const next = applied(known, made);
  return { known: next, form: applied(next, changes(known, form)) };
}

/** Whether two forms say the same, whatever the keys of their rows. */
export function alike(one, other) {
  const bare = (form) => JSON.stringify(Object.keys(form).sort().map((name) => [name, ROWS.includes(name) ? form[name].map((row) => ({ ...row, key: "" })) : form[name]]));
  return bare(one) === bare(other);
}

/** What can be undone and redone. What is typed into one field without a pause is one step. */
export class Past {
  constructor() {
    Object.assign(this, { back: [], ahead: [], key: "", at: -Infinity });
  }
  note(form, key, now) {
    this.ahead = [];
    const goesOn = key !== "" && key === this.key && now - this.at < 1000;
    Object.assign(this, { key, at: now });
    if (goesOn) return;
    this.back.push(form);
    if (this.back.length > STEPS) this.back.shift();
  }
  move(from, to, form) {
    if (!from.length) return null;
    to.push(form);
    this.key = "";
    return from.pop();
  }
  undo(form) {
    return this.move(this.back, this.ahead, form);
  }
  redo(form) {
    return this.move(this.ahead, this.back, form);
  }
}

/** What there is to say of a draft in a few words, and how good that is: ok, busy or bad. */
export function standing(status, here) {
  if (here.dead) return ["bad", here.stored ? "The kernel is gone. What you type stays in this browser tab." : "The kernel is gone."];
  if (status.saving || here.saving) return ["busy", "Saving…"];
  if (status.conflict) return ["bad", "Somebody stored something else meanwhile."];
  if (status.notice) return ["bad", status.notice];
  if (!status.changed && !here.waiting) return ["ok", status.version ? `Version ${status.version}, nothing changed` : "Nothing changed"];
  if (here.valid === false) return ["bad", "Not a card yet: see what is marked."];
  if (!status.keeps) return ["busy", "Changed, not saved"];
  return here.waiting || status.kept < status.revision ? ["busy", "Draft changed…"] : ["ok", "Draft kept"];
}

export function count(n) {
  return n.toLocaleString("en-US");
}

/** How many tokens, as one would say it. */
export function tokens({ low, mid, high }) {
  return `about ${count(mid)} ${mid === 1 ? "token" : "tokens"} (${count(low)} to ${count(high)})`;
}

/** Tags out of a line of them. */
export function tagsOf(text) {
  return [...new Set(text.split(",").map((tag) => tag.trim()).filter(Boolean))];
}

/** A form with a row more, less, or elsewhere. */
export function withRow(form, name, row, at = form[name].length) {
  return { ...form, [name]: [...form[name].slice(0, at), row, ...form[name].slice(at)] };
}

export function withoutRow(form, name, key) {
  return { ...form, [name]: form[name].filter((row) => row.key !== key) };
}

export function moved(form, name, key, by) {
  const from = form[name].findIndex((row) => row.key === key);
  const to = from + by;
  if (from < 0 || to < 0 || to >= form[name].length) return form;
  return withRow(withoutRow(form, name, key), name, form[name][from], to);
}
