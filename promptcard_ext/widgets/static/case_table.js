// The table of a card's cases. The truth is in the kernel: this shows a part of its rows, and says what somebody does to
// them (case_requests.py lists the messages). Texts of cases may hold anything, so they reach the page as text only.
// What opens below the grid is in assertion_panel.js, which follows this file in one module.

import { Greeting } from "./greeting.js";
import { Lru, WINDOW, windowsFor } from "./windows.js";

export { Lru, WINDOW, windowsFor } from "./windows.js";

export const ROW = 30; // px, as in case_table.css
const KEEP = 60; // windows remembered
const OVERSCAN = 8;
const IN_FLIGHT = 3;
const PATIENCE_MS = 5000; // before an unanswered look is repeated
const WIDTHS = { tags: 120, priority: 92, threshold: 86, assertions: 300, number: 96, integer: 96, text: 140, boolean: 86, enum: 120 };
const ONLY = [["", "all rows"], ["changed", "changed"], ["problems", "with problems"], ["conflicts", "in conflict"], ["quarantined", "quarantined"]];
const LOOKS = ["resync", "rows"];
const QUARANTINED = "quarantined";

// -- without a page ----------------------------------------------------------------------------------------------------

/** Rows to draw, `first` up to, not including, `last`. */
export function visible(scrollTop, viewport, total) {
  const first = Math.max(0, Math.min(total, Math.floor(scrollTop / ROW)) - OVERSCAN);
  return { first, last: Math.min(total, Math.ceil((scrollTop + viewport) / ROW) + OVERSCAN) };
}

/** Where to scroll to, in px, so that something from `start` to `end` is seen, moving no further than needed. */
export function reveal(start, end, scroll, viewport, margin = 0) {
  if (start < scroll + margin) return Math.max(0, start - margin);
  return end > scroll + viewport ? end - viewport : scroll;
}

/** The cells between two of them, both included. */
export function rect(a, b) {
  return { top: Math.min(a.row, b.row), bottom: Math.max(a.row, b.row), left: Math.min(a.column, b.column), right: Math.max(a.column, b.column) };
}

/** Where a key leads to from a cell; null when it leads nowhere. */
export function moved(cell, key, { ctrl = false, rows, columns, page = 10 }) {
  const { row, column } = cell;
  const to = {
    ArrowDown: [ctrl ? rows - 1 : row + 1, column], ArrowUp: [ctrl ? 0 : row - 1, column],
    ArrowRight: [row, ctrl ? columns - 1 : column + 1], ArrowLeft: [row, ctrl ? 0 : column - 1],
    PageDown: [row + page, column], PageUp: [row - page, column],
    Home: [ctrl ? 0 : row, 0], End: [ctrl ? rows - 1 : row, columns - 1],
  }[key];
  if (!to || !rows) return null;
  return { row: Math.max(0, Math.min(rows - 1, to[0])), column: Math.max(0, Math.min(columns - 1, to[1])) };
}

/** The cell that Tab leads to, from the end of a row to the next; null at the end of the table. */
export function tabbed({ row, column }, back, rows, columns) {
  const place = row * columns + column + (back ? -1 : 1);
  if (place < 0 || place >= rows * columns) return null;
  return { row: Math.floor(place / columns), column: place % columns };
}

/** What to do with state that has arrived: nothing when it is older than what is known. */
export function isNews(known, arrived) {
  return !known || arrived.revision >= known.revision;
}

export function count(n) {
  return n.toLocaleString("en-US");
}

/** What the table holds, in words. */
export function summary(s) {
  const parts = [[s.added, "new"], [s.changed, "changed"], [s.removed, "to be deleted"], [s.problems, "not finished"], [s.conflicts, "in conflict"], [s.quarantined, "quarantined"]];
  return [`${count(s.total)} case${s.total === 1 ? "" : "s"}`, ...parts.filter(([n]) => n).map(([n, what]) => `${count(n)} ${what}`)].join(" · ");
}

/** Options that fit what is typed: those that begin with it first. */
export function suggest(options, typed, most = 12) {
  const wanted = typed.trim().toLowerCase();
  const at = (option) => option.toLowerCase().indexOf(wanted);
  const found = options.filter((option) => at(option) >= 0);
  return found.sort((a, b) => Math.min(1, at(a)) - Math.min(1, at(b))).slice(0, most);
}

// -- on the page -------------------------------------------------------------------------------------------------------

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    // Notebooks have styles of their own for names as common as "row".
    if (name === "class") node.className = value.split(" ").map((one) => (one === "pct" ? one : `pct-${one}`)).join(" ");
    else node.setAttribute(name, value);
  }
  node.append(...children); // strings become text nodes
  return node;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function button(text, title, act, kind = "button") {
  const node = h("button", { class: kind, type: "button", title }, text);
  node.addEventListener("click", act);
  return node;
}

let tables = 0;

class Table {
  constructor(model, channel, el) {
    Object.assign(this, { model, channel, el });
    this.uid = `t${++tables}-${Math.random().toString(36).slice(2, 8)}`;
    this.asked = 0;
    this.pending = new Map(); // rid → {request, resolve, sent}
    this.cache = new Lru(KEEP); // window → {revision, rows}
    this.nodes = [];
    this.active = { row: 0, column: 0 };
    this.anchor = { row: 0, column: 0 };
    this.state = null;
    this.ended = new AbortController();
    this.build(model.get("state"));
    this.listen();
    const greet = () => {
      this.ask({ kind: "ready" });
      return this.channel.comm_live !== false;
    };
    this.greeting = new Greeting(greet, this.ended.signal);
    this.take(model.get("state"));
  }

  // -- its parts

  build(state) {
    this.columns = state.columns;
    this.widths = this.columns.map((column) => WIDTHS[column.kind] ?? 160);
    this.lefts = this.widths.reduce((sums, width) => [...sums, sums.at(-1) + width], [0]);
    const id = (name) => `${this.uid}-${name}`;
    this.title = h("span", { class: "name" }, `Cases of ${state.name}`);
    this.facts = h("span", { class: "facts" });
    this.undo = button("Undo", "Undo (Ctrl+Z)", () => this.change({ kind: "undo" }));
    this.redo = button("Redo", "Redo (Ctrl+Y)", () => this.change({ kind: "redo" }));
    this.save = button("Save", "Save (Ctrl+S)", () => this.review(), "button primary");
    this.save.hidden = !state.server;
    this.marked = h("input", { class: "input", type: "text", "aria-label": "Tags for the selected rows", placeholder: "tags, for selected rows" });
    this.priority = this.select("Priority of the selected rows", [["", "priority…"], ["high", "high"], ["medium", "medium"], ["low", "low"]], (value) => {
      if (value) this.change({ kind: "mark", priority: value, ...this.selectedRows() });
      this.priority.value = "";
    });
    this.only = this.select("Which rows to show", ONLY, () => this.show());
    this.search = h("input", { class: "input", type: "search", "aria-label": "Find rows", placeholder: "find" });
    this.search.addEventListener("change", () => this.show());
    const mark = (name) => () => this.mark({ [name]: this.marked.value });
    this.tools = h(
      "div", { class: "tools", role: "toolbar", "aria-label": "Rows" },
      button("Add row", "Add a row (Ctrl+Enter)", () => this.add({ kind: "add" })),
      button("Duplicate", "Duplicate the selected rows", () => this.add({ kind: "duplicate", ...this.selectedRows() })),
      button("Delete", "Delete the selected rows (Shift+Delete)", () => this.removeRows()),
      h("span", { class: "group" }, this.marked, button("+ tag", "Add these tags to the selected rows", mark("add")), button("− tag", "Take these tags from the selected rows", mark("remove"))),
      this.priority,
      button("Quarantine", "Set the selected rows aside, or take them back: the tag quarantined", () => this.quarantine()),
      h("span", { class: "grow" }), this.only, this.search,
    );
    this.message = h("div", { class: "message", role: "status", "aria-live": "polite", hidden: "" });
    const titles = this.columns.map((column, i) => {
      const node = h("span", { class: "title", role: "columnheader", "aria-colindex": i + 2 }, column.title, h("i", {}, column.unknown ? "unknown" : column.kind === column.title ? "" : column.kind));
      node.title = [column.title, column.hint, column.default && `Default: ${column.default}`].filter(Boolean).join("\n");
      return node;
    });
    this.rows = h("div", { class: "rows", role: "rowgroup" });
    this.space = h("div", { class: "space", role: "presentation" }, this.rows);
    this.empty = h("div", { class: "empty" });
    const head = h("div", { class: "titles", role: "rowgroup" }, h("div", { class: "row", role: "row", "aria-rowindex": "1" }, h("span", { class: "number", role: "columnheader" }, "#"), ...titles));
    this.scroll = h("div", { class: "scroll", role: "presentation", tabindex: "-1" }, head, this.space);
    const hint = h("div", { class: "sr", id: id("hint") }, "Arrows move, Enter or F2 edits, Escape leaves the grid, Delete empties cells, Ctrl+C and Ctrl+V copy and paste.");
    this.grid = h("div", { class: "grid", role: "grid", tabindex: "0", "aria-label": "Cases", "aria-multiselectable": "true", "aria-colcount": this.columns.length + 1, "aria-describedby": id("hint") }, this.scroll, this.empty);
    for (const part of [head, this.space]) part.style.minWidth = `${this.lefts.at(-1) + 52}px`;
    // The last column takes what is left.
    head.firstChild.style.gridTemplateColumns = this.template = `52px ${this.widths.slice(0, -1).map((width) => `${width}px`).join(" ")} minmax(${this.widths.at(-1)}px, 1fr)`;
    this.panel = h("section", { class: "panel", id: id("panel"), tabindex: "-1", hidden: "" });
    this.root = h(
      "div", { class: "pct" },
      h("div", { class: "head" }, this.title, this.facts, h("span", { class: "grow" }), h("span", { class: "group" }, this.undo, this.redo, this.save)),
      this.tools, this.message, this.grid, this.panel, hint,
    );
    this.el.replaceChildren(this.root);
  }

  select(label, options, act) {
    const node = h("select", { class: "input", "aria-label": label }, ...options.map(([value, text]) => h("option", { value }, text)));
    node.addEventListener("change", () => act(node.value));
    return node;
  }

  listen() {
    const signal = this.ended.signal;
    this.onState = () => this.take(this.model.get("state"));
    this.onMessage = (content, buffers) => this.receive(content, buffers);
    this.model.on("change:state", this.onState);
    this.channel.on("msg:custom", this.onMessage);
    this.scroll.addEventListener("scroll", () => this.draw());
    this.rows.addEventListener("pointerdown", (event) => this.onPointer(event));
    this.rows.addEventListener("dblclick", (event) => {
      const cell = this.cellAt(event);
      if (!cell) return;
      const row = this.row(cell.row);
      if (cell.column >= 0) this.edit();
      else if (row?.[8]) this.openConflict(row);
    });
    // Before the notebook sees the keys, which would move from cell to cell.
    addEventListener("keydown", (event) => this.onKey(event), { capture: true, signal });
    for (const kind of ["copy", "cut", "paste"]) addEventListener(kind, (event) => this.onClipboard(event), { capture: true, signal });
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(this.root);
    this.timer = setInterval(() => this.pulse(), 1000);
  }

  dispose() {
    this.ended.abort();
    clearInterval(this.timer);
    this.sizes.disconnect();
    this.model.off("change:state", this.onState);
    this.channel.off("msg:custom", this.onMessage);
    this.pending.clear();
  }

  // -- talking with the kernel

  /** Ask, and get the answer; `body` in it is what came in its buffer. */
  ask(request) {
    const rid = `${this.uid}-${++this.asked}`;
    if (this.channel.comm_live === false) this.tell("The kernel is gone: nothing can be changed any more.", true);
    return new Promise((resolve) => {
      this.pending.set(rid, { request, resolve, sent: performance.now() });
      this.channel.send({ ...request, rid });
    });
  }

  heardBack() {
    if (!this.greeting.open) return;
    this.greeting.answered();
    for (const [rid, { request }] of this.pending) if (request.kind === "ready") this.pending.delete(rid);
    this.draw();
  }

  receive(content, buffers) {
    const known = this.pending.get(content.rid);
    if (!known) return; // another view asked
    this.pending.delete(content.rid);
    this.heardBack();
    const body = buffers?.length ? JSON.parse(new TextDecoder().decode(buffers[0])) : null;
    if (content.kind === "rows" && body) this.keep(known.request, body);
    if (content.refused) this.tell(content.refused, true);
    if (content.state) this.take(content.state);
    known.resolve({ ...content, body });
  }

  /** Ask for a change, after what is being typed has been sent. */
  change(request) {
    this.commit();
    return this.ask(request);
  }

  pulse() {
    const now = performance.now();
    for (const [rid, { request, resolve, sent }] of this.pending) {
      // Only looks: whether a change that was not answered has been made, nobody knows.
      if (now - sent < PATIENCE_MS || !LOOKS.includes(request.kind)) continue;
      this.pending.delete(rid);
      this.ask(request).then(resolve);
    }
    this.draw();
  }

  take(state) {
    if (!state || !isNews(this.state, state)) return;
    this.state = state;
    say(this.facts, summary(state));
    this.undo.disabled = !state.can_undo;
    this.redo.disabled = !state.can_redo;
    const edits = state.added + state.changed + state.removed;
    this.save.disabled = state.saving || !edits;
    say(this.save, state.saving ? `Saving… ${count(state.done)} of ${count(state.to_save)}` : edits ? `Save ${count(edits)}` : "Save");
    const said = state.problem || state.said;
    if (said !== this.said) this.tell((this.said = said), Boolean(state.problem));
    this.active.row = Math.max(0, Math.min(this.active.row, state.seen - 1));
    this.anchor.row = Math.max(0, Math.min(this.anchor.row, state.seen - 1));
    this.draw();
  }

  tell(text, isProblem = false) {
    this.message.hidden = !text;
    this.message.classList.toggle("pct-bad", isProblem);
    say(this.message, text);
  }

  // -- rows

  row(index) {
    return this.cache.get(Math.floor(index / WINDOW))?.rows[index % WINDOW];
  }

  keep({ from, revision }, rows) {
    const w = from / WINDOW;
    if ((this.cache.get(w)?.revision ?? -1) <= revision) this.cache.set(w, { revision, rows });
    this.draw();
  }

  put(index, row) {
    const w = Math.floor(index / WINDOW);
    if (!this.cache.get(w)) this.cache.set(w, { revision: -1, rows: [] });
    this.cache.get(w).rows[index % WINDOW] ??= row;
  }

  load(first, last) {
    if (this.greeting.open) return;
    const loading = [...this.pending.values()].filter(({ request }) => request.kind === "rows");
    let free = IN_FLIGHT - loading.length;
    for (const w of windowsFor(first, last)) {
      const revision = this.state.revision;
      const isComing = loading.some(({ request }) => request.from === w * WINDOW && request.revision === revision);
      if (free <= 0 || isComing || this.cache.get(w)?.revision === revision) continue;
      free--;
      this.ask({ kind: "rows", from: w * WINDOW, to: (w + 1) * WINDOW, revision });
    }
  }

  draw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (this.root.isConnected) this.paint();
    });
  }

  paint() {
    const total = this.state.seen;
    this.space.style.height = `${total * ROW}px`;
    // Lower while something is open below, so that both are seen.
    this.scroll.style.height = `${ROW * Math.max(3, Math.min(this.panel.hidden ? 14 : 7, total + 1)) + 16}px`;
    const { first, last } = visible(this.scroll.scrollTop, this.scroll.clientHeight, total);
    while (this.nodes.length < last - first) this.nodes.push(this.addRow());
    while (this.nodes.length > last - first) this.nodes.pop().remove();
    this.rows.style.transform = `translateY(${first * ROW}px)`;
    const chosen = rect(this.active, this.anchor);
    this.nodes.forEach((node, i) => this.fillRow(node, first + i, chosen));
    this.grid.setAttribute("aria-rowcount", total + 1);
    const seen = this.active.row >= first && this.active.row < last;
    if (seen) this.grid.setAttribute("aria-activedescendant", `${this.uid}-${this.active.row}-${this.active.column}`);
    else this.grid.removeAttribute("aria-activedescendant");
    this.empty.hidden = total > 0;
    say(this.empty, this.state.total ? "No row is like that." : "No case yet: add a row, or paste from a spreadsheet.");
    this.load(first, last);
    this.explain();
  }

  addRow() {
    const cells = this.columns.map((column, i) => h("span", { class: `cell is-${column.kind}`, role: "gridcell", "aria-colindex": i + 2 }));
    const node = h("div", { class: "row", role: "row" }, h("span", { class: "number", role: "rowheader", "aria-colindex": "1" }), ...cells);
    node.style.gridTemplateColumns = this.template;
    this.rows.append(node);
    return node;
  }

  fillRow(node, index, chosen) {
    const row = this.row(index);
    const inRows = index >= chosen.top && index <= chosen.bottom;
    const [, number, changed, texts, wrong, lacks, , problem, isConflict, isQuarantined] = row ?? [0, "", "", [], {}, [], [], "", false, false];
    node.dataset.index = index;
    node.setAttribute("aria-rowindex", index + 2);
    for (const [name, on] of [["wait", !row], ["new", changed === "new"], ["changed", changed === "changed"], ["conflict", isConflict], ["problem", Boolean(problem)], ["quarantined", isQuarantined]]) {
      node.classList.toggle(`pct-${name}`, on);
    }
    const [head, ...cells] = node.children;
    say(head, `${isConflict ? "⇄ " : problem ? "! " : changed ? (changed === "new" ? "+ " : "• ") : ""}${number}`);
    head.title = [isConflict ? "Somebody else has changed this case: Enter on the row to see it." : "", problem, changed, isQuarantined ? "Quarantined" : ""].filter(Boolean).join("\n");
    head.setAttribute("aria-label", [`row ${number}`, changed, problem, isConflict ? "in conflict" : "", isQuarantined ? "quarantined" : ""].filter(Boolean).join(", "));
    cells.forEach((cell, i) => {
      const text = texts[i] ?? "";
      say(cell, text.replaceAll("\n", " ↵ "));
      cell.id = `${this.uid}-${index}-${i}`;
      cell.title = [text, wrong[i]].filter(Boolean).join("\n\n");
      cell.dataset.default = text || !row || i in wrong ? "" : this.columns[i].default;
      cell.classList.toggle("pct-bad", i in wrong);
      cell.classList.toggle("pct-lacks", lacks.includes(i));
      if (i in wrong) cell.setAttribute("aria-invalid", "true");
      else cell.removeAttribute("aria-invalid");
      cell.setAttribute("aria-selected", String(inRows && i >= chosen.left && i <= chosen.right));
      cell.classList.toggle("pct-active", index === this.active.row && i === this.active.column);
    });
  }

  /** Say what is wrong with the active cell or row, where nobody has to point at it. */
  explain() {
    const row = this.row(this.active.row);
    if (!row) return;
    const text = row[4][this.active.column] ?? (row[8] ? "Somebody else has changed this case. Press Enter in its name to compare." : row[7]);
    const about = text ? `Row ${row[1]}: ${text}` : "";
    if (about === this.explained) return;
    if (about || this.message.textContent === this.explained) this.tell(about, Boolean(about));
    this.explained = about;
  }

  // -- selecting

  selectedRows() {
    const { top, bottom } = rect(this.active, this.anchor);
    return { rows: [[top, bottom + 1]], edition: this.state.edition };
  }

  selectedCells() {
    const { left, right } = rect(this.active, this.anchor);
    return { ...this.selectedRows(), columns: [left, right] };
  }

  go(cell, extend = false) {
    if (!cell) return;
    this.active = { ...cell };
    if (!extend) this.anchor = { ...cell };
    const { scroll } = this;
    scroll.scrollTop = reveal(cell.row * ROW, (cell.row + 1) * ROW, scroll.scrollTop, scroll.clientHeight - ROW - 2);
    scroll.scrollLeft = reveal(52 + this.lefts[cell.column], 52 + this.lefts[cell.column + 1], scroll.scrollLeft, scroll.clientWidth, 52);
    this.draw();
  }

  cellAt(event) {
    const at = document.elementFromPoint(event.clientX, event.clientY)?.closest(".pct-cell, .pct-number");
    const row = at?.closest(".pct-row");
    if (!row || !this.rows.contains(row)) return null;
    return { row: Number(row.dataset.index), column: [...row.children].indexOf(at) - 1 };
  }

  onPointer(event) {
    if (event.target.closest(".pct-editor") || event.button) return;
    const cell = this.cellAt(event);
    if (!cell) return;
    event.preventDefault();
    this.commit();
    this.grid.focus({ preventScroll: true });
    const whole = cell.column < 0;
    const put = ({ row, column }, extend) => {
      this.go({ row, column: whole ? this.columns.length - 1 : Math.max(0, column) }, extend);
      if (whole) Object.assign(this.anchor, { column: 0, ...(extend ? {} : { row }) });
    };
    put(cell, event.shiftKey);
    const over = (move) => {
      const to = this.cellAt(move);
      if (to && (to.row !== this.active.row || to.column !== this.active.column)) put(to, true);
    };
    const signal = AbortSignal.any([this.ended.signal, (this.dragging = new AbortController()).signal]);
    addEventListener("pointermove", over, { signal });
    addEventListener("pointerup", () => this.dragging.abort(), { signal });
  }

  // -- keys

  onKey(event) {
    if (!this.root.contains(event.target) || event.isComposing) return;
    if (this.takes(event)) event.preventDefault();
    // The notebook has its own use for nearly every key.
    event.stopImmediatePropagation();
  }

  takes(event) {
    if (event.target.combo?.onKey(event)) return true;
    if (this.grid.contains(event.target)) return this.editor ? this.onEditorKey(event) : this.onGridKey(event);
    const ctrl = event.ctrlKey || event.metaKey;
    if (event.key === "Escape") this.close();
    else if (ctrl && event.key === "Enter" && this.accept) this.accept();
    else if (ctrl && event.key.toLowerCase() === "s" && !this.save.disabled) this.review();
    else return false;
    return true;
  }

  onGridKey(event) {
    const { key, shiftKey } = event;
    const ctrl = event.ctrlKey || event.metaKey;
    if (this.ahead) {
      this.ahead.push(event); // pressed while the row is on its way
      return true;
    }
    const rows = this.state.seen;
    const columns = this.columns.length;
    const page = Math.max(1, Math.floor(this.scroll.clientHeight / ROW) - 2);
    const to = event.altKey ? null : moved(this.active, key, { ctrl, rows, columns, page });
    if (to) this.go(to, shiftKey);
    else if (key === "Tab") {
      const next = tabbed(this.active, shiftKey, rows, columns);
      if (!next) return false; // on to whatever comes next on the page
      this.go(next);
    } else if (ctrl && key === "Enter") this.add({ kind: "add" });
    else if ((key === "Enter" || key === "F2") && !ctrl) this.enter();
    else if (key === "Escape") this.leave();
    else if (key === "Delete" && shiftKey) this.removeRows();
    else if (key === "Delete" || key === "Backspace") this.change({ kind: "clear", ...this.selectedCells() });
    else if (key === " " && shiftKey) this.selectWhole();
    else if (ctrl && !event.altKey) return this.onControl(key.toLowerCase(), shiftKey);
    else if (key.length === 1 && !ctrl && !event.altKey && rows) this.edit(key);
    else return false;
    return true;
  }

  onControl(key, shift) {
    if (key === "z") this.change({ kind: shift ? "redo" : "undo" });
    else if (key === "y") this.change({ kind: "redo" });
    else if (key === "a") {
      this.anchor = { row: 0, column: 0 };
      this.active = { row: Math.max(0, this.state.seen - 1), column: this.columns.length - 1 };
      this.draw();
    } else if (key === "s") {
      if (!this.save.hidden && !this.save.disabled) this.review();
    } else return false; // copy, cut and paste become events of their own
    return true;
  }

  enter() {
    const row = this.row(this.active.row);
    if (!row) this.edit(); // as soon as it is there
    else if (row[8] && this.columns[this.active.column].id === "name") this.openConflict(row);
    else if (this.columns[this.active.column].kind === "assertions") this.openAssertions(row);
    else this.edit();
  }

  leave() {
    if (!this.panel.hidden) this.close();
    else if (this.active.row !== this.anchor.row || this.active.column !== this.anchor.column) this.go(this.active);
    else this.tools.querySelector("button").focus();
  }

  selectWhole() {
    Object.assign(this.anchor, { column: 0 });
    Object.assign(this.active, { column: this.columns.length - 1 });
    this.draw();
  }

  // -- changing

  async add(request) {
    const { place, body } = await this.change(request);
    if (place === undefined) return;
    body.forEach((row, i) => this.put(place + i, row));
    this.go({ row: place, column: 0 });
    this.grid.focus({ preventScroll: true });
  }

  removeRows() {
    if (!this.state.seen) return;
    const rows = this.selectedRows();
    this.go({ row: rows.rows[0][0], column: this.active.column });
    this.change({ kind: "delete", ...rows });
  }

  mark(tags) {
    return this.change({ kind: "mark", ...tags, ...this.selectedRows() });
  }

  quarantine() {
    // As a switch does: what is shown of the first decides for all.
    const row = this.row(rect(this.active, this.anchor).top);
    if (row) this.mark({ [row[9] ? "remove" : "add"]: QUARANTINED });
  }

  show() {
    this.scroll.scrollTop = 0;
    this.change({ kind: "show", only: this.only.value, text: this.search.value }).then(() => this.go({ row: 0, column: this.active.column }));
  }

  // -- one cell

  /** Open the editor of the active cell; with a character it replaces what is there. */
  async edit(typed) {
    const at = { ...this.active };
    const column = this.columns[at.column];
    const row = this.row(at.row) ?? (await this.meanwhile(this.arrived(at.row)));
    if (row && !this.editor && column.kind !== "assertions") {
      let text = typed ?? row[3][at.column];
      if (typed === undefined && row[6].includes(at.column)) {
        text = (await this.meanwhile(this.ask({ kind: "cell", key: row[0], column: column.id }))).text ?? "";
      }
      this.openEditor(row, column, text, at, typed);
    }
    const keys = this.ahead ?? [];
    this.ahead = null;
    if (row && column.kind === "assertions") this.openAssertions(row);
    else keys.forEach((event) => this.replay(event));
  }

  /** Wait for something; keys that are pressed until then come after it. */
  meanwhile(promise) {
    this.ahead ??= [];
    return promise;
  }

  replay(event) {
    if (!this.editor) this.onGridKey(event);
    else if (!this.onEditorKey(event) && event.key.length === 1 && !event.ctrlKey && !event.metaKey) this.write(event.key);
  }

  write(text) {
    const { box } = this.editor;
    if (box.setRangeText) box.setRangeText(text, box.selectionStart, box.selectionEnd, "end");
    else box.value = [...box.options].find(({ value }) => value.startsWith(text.toLowerCase()))?.value ?? "";
    box.dispatchEvent(new Event("input"));
  }

  async arrived(index) {
    for (let frame = 0; frame < 300 && !this.row(index) && index < this.state.seen; frame++) await new Promise(requestAnimationFrame);
    return this.row(index);
  }

  openEditor(row, column, text, at, typed) {
    const choice = column.values.length && !column.open;
    const options = ["", ...column.values, ...(column.values.includes(text) || !text ? [] : [text])];
    const box = choice ? h("select", { class: "editor" }, ...options.map((value) => h("option", { value }, value || "–"))) : h("textarea", { class: "editor", rows: "1", spellcheck: "false" });
    box.setAttribute("aria-label", `${column.title}, row ${row[1]}`);
    box.value = choice && typed !== undefined ? options.find((value) => value && value.startsWith(typed.toLowerCase())) ?? "" : text;
    Object.assign(box.style, { top: `${at.row * ROW}px`, left: `${52 + this.lefts[at.column]}px`, minWidth: `${this.widths[at.column]}px` });
    this.editor = { box, key: row[0], column: column.id, at, before: typed === undefined ? text : null, typed: typed !== undefined };
    this.space.append(box);
    const size = () => {
      box.style.height = `${ROW}px`;
      box.style.height = `${Math.min(220, Math.max(ROW, box.scrollHeight + 4))}px`;
      box.style.width = `${Math.min(420, Math.max(this.widths[at.column], 8 * Math.max(...box.value.split("\n").map((line) => line.length)) + 24))}px`;
    };
    if (!choice) {
      box.addEventListener("input", size);
      size();
      if (column.values.length) new Combo(box, () => column.values, this.space);
    }
    box.addEventListener("blur", () => this.commit());
    box.focus({ preventScroll: true });
    if (!choice) box.setSelectionRange(box.value.length, box.value.length);
  }

  onEditorKey(event) {
    const { key } = event;
    const { box, typed, at } = this.editor;
    if (key === "Escape") this.cancel();
    else if (key === "Enter" && (event.altKey || event.shiftKey) && box.setRangeText) this.write("\n");
    else if (key === "Enter") this.commit({ row: Math.min(this.state.seen - 1, at.row + 1), column: at.column });
    else if (key === "Tab") this.commit(tabbed(at, event.shiftKey, this.state.seen, this.columns.length) ?? at);
    else if (key.startsWith("Arrow") && typed && box.tagName === "TEXTAREA" && !event.shiftKey) {
      this.commit(moved(at, key, { rows: this.state.seen, columns: this.columns.length }));
    } else if (key === "F2") this.editor.typed = false;
    else return false;
    return true;
  }

  cancel() {
    this.shut();
    this.grid.focus({ preventScroll: true });
  }

  shut() {
    const { box } = this.editor;
    this.editor = null;
    box.combo?.list.remove();
    box.remove(); // which it tells as losing the focus
  }

  /** Take over what was typed, and go on to another cell. */
  commit(next) {
    if (!this.editor) return;
    const { box, key, column, at, before } = this.editor;
    const hadFocus = document.activeElement === box;
    this.shut();
    if (box.value !== before) {
      const row = this.row(at.row);
      // Seen at once; what the kernel makes of it follows.
      if (row?.[0] === key) row[3][at.column] = box.value;
      this.ask({ kind: "edit", cells: [[key, column, box.value]] });
    }
    if (hadFocus || next) this.grid.focus({ preventScroll: true });
    if (next) this.go(next);
    this.draw();
  }

  // -- the clipboard

  onClipboard(event) {
    if (document.activeElement !== this.grid) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    if (event.type === "paste") this.plan(event.clipboardData.getData("text/plain"));
    else this.copy(event.type === "cut");
  }

  async copy(cut) {
    if (!this.state.seen) return;
    const cells = this.selectedCells();
    const { text } = await this.ask({ kind: "copy", ...cells });
    if (text === undefined) return;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      copyByHand(text); // no permission, or no HTTPS
      this.grid.focus({ preventScroll: true });
    }
    const many = (cells.rows[0][1] - cells.rows[0][0]) * (cells.columns[1] - cells.columns[0] + 1);
    this.tell(`${count(many)} cell${many === 1 ? "" : "s"} copied.`);
    if (cut) this.change({ kind: "clear", ...cells });
  }

  plan(text, more = {}) {
    const { top, bottom, left, right } = rect(this.active, this.anchor);
    const place = this.state.seen ? [top, left, bottom, right] : [0, left, 0, left];
    return this.openPaste({ kind: "plan", place, text, edition: this.state.edition, ...more });
  }

  // -- below the grid

  open(label, nodes, accept, focus) {
    this.commit();
    this.panel.replaceChildren(...nodes);
    this.panel.setAttribute("aria-label", label);
    this.panel.hidden = false;
    this.accept = accept;
    this.paint();
    this.go(this.active, true); // it may be out of sight now
    (focus ?? this.panel).focus({ preventScroll: true });
    this.panel.scrollIntoView({ block: "nearest" });
  }

  close() {
    this.panel.hidden = true;
    this.panel.replaceChildren();
    this.accept = null;
    this.draw();
    this.grid.focus({ preventScroll: true });
  }

  header(text, ...more) {
    return h("header", {}, h("h4", {}, text), ...more, h("span", { class: "grow" }), button("×", "Close (Esc)", () => this.close(), "close"));
  }

  openAssertions(row) {
    return new AssertionPanel(this, row).start();
  }

  openPaste(request) {
    return openPaste(this, request);
  }

  openConflict(row) {
    return openConflict(this, row);
  }

  review() {
    this.commit();
    return openReview(this);
  }
}

function copyByHand(text) {
  const box = h("textarea", { class: "sr" });
  box.value = text;
  document.body.append(box);
  box.select();
  document.execCommand("copy");
  box.remove();
}

async function render({ model, el }) {
  let channel;
  try {
    channel = await model.widget_manager.get_model(model.get("channel"));
  } catch {
    el.textContent = "This table has ended. Run the cell again.";
    return undefined;
  }
  const table = new Table(model, channel, el);
  return () => table.dispose();
}

export default { render };
