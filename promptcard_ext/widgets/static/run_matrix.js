// The matrix of a run: cases × (version × model), drawn as far as it is seen, in both directions.

import { ROW, count, h, place, say, sayName, scrollFor } from "./page.js";

export const CELL = 118; // px, width of a column
export const NAME = 190; // px, width of the names of cases
export const NARROW_NAME = 120;
export const BLOCK = 40; // cases asked for at once
export const ACROSS = 16; // columns asked for at once
const BESIDE = 2; // columns drawn left and right of what is seen
const MOST_TICKS = 12;
const WORDS = { p: "pass", f: "fail", e: "error", u: "unscored" };

/** Which columns to draw (`first` up to, not including, `last`). */
export function across(scrollLeft, width, columns) {
  const first = Math.max(0, Math.min(columns, Math.floor(scrollLeft / CELL) - BESIDE));
  return { first, last: Math.max(first, Math.min(columns, Math.ceil((scrollLeft + width) / CELL) + BESIDE)) };
}

/** Where to scroll so that column `index` is seen. */
export function scrollLeftFor(index, scrollLeft, width) {
  if (index * CELL < scrollLeft) return index * CELL;
  if ((index + 1) * CELL > scrollLeft + width) return Math.max(0, (index + 1) * CELL - width);
  return scrollLeft;
}

/** How often each letter is in a cell. */
export function tally(cell) {
  const found = { p: 0, f: 0, e: 0, u: 0, ".": 0 };
  for (const letter of cell) found[letter] += 1;
  return found;
}

/** What a cell says in a few letters: "3/4", "pass", "1/3 +1 err"; empty while nothing is there. */
export function brief(cell) {
  const { p, f, e, u } = tally(cell);
  const done = p + f + e + u;
  if (!done) return "";
  if (cell.length === 1) return WORDS[cell];
  const beside = [e && `${e} err`, u && `${u} uns`].filter(Boolean);
  const judged = p + f;
  return [judged ? `${p}/${judged}` : "", ...beside].filter(Boolean).join(" ");
}

/** What a cell says in words. */
export function spell(cell) {
  const { p, f, e, u, ".": open } = tally(cell);
  const parts = [[p, "pass"], [f, "fail"], [e, "error"], [u, "unscored"], [open, "open"]];
  return parts.filter(([n]) => n).map(([n, word]) => `${n} ${word}`).join(", ");
}

/** The picture of a cell: a tick per repeat, or for many repeats their shares. */
export function picture(cell) {
  const colour = (letter) => (letter === "." ? "var(--line)" : `var(--${WORDS[letter]})`);
  if (cell.length > MOST_TICKS) {
    let at = 0;
    const stops = Object.entries(tally(cell)).filter(([, n]) => n).map(([letter, n]) => {
      const from = at;
      at += (100 * n) / cell.length;
      return `${colour(letter)} ${from.toFixed(2)}% ${at.toFixed(2)}%`;
    });
    return `linear-gradient(90deg, ${stops.join(", ")})`;
  }
  const share = 100 / cell.length;
  const stops = [...cell].map((letter, i) => {
    const [from, to] = [i * share, (i + 1) * share].map((at) => `${at.toFixed(2)}%`);
    return `${colour(letter)} ${from} calc(${to} - 2px), transparent calc(${to} - 2px) ${to}`;
  });
  return `linear-gradient(90deg, ${stops.join(", ")})`;
}

/** The place in the plan of a repeat of a cell. */
export function ordinalOf(plan, row, column, repeat) {
  return (row * plan.repeats + repeat) * plan.labels.length * plan.models.length + column;
}

/** The repeat to show first: one that did not pass, else the first that is there. */
export function worth(cell) {
  const bad = [...cell].findIndex((letter) => "fe".includes(letter));
  return bad >= 0 ? bad : Math.max(0, [...cell].findIndex((letter) => letter !== "."));
}

/** The matrix; `view` asks the kernel, opens items and keeps what is marked. */
export class Matrix {
  constructor(view) {
    this.view = view;
    // Survives when the front end draws the same output anew.
    view.at.place ??= { top: 0, left: 0, row: -1, column: 0, cases: 0 };
    this.at = view.at.place;
    this.lines = [];
    this.heads = [];
    this.rows = h("div", { class: "rows", role: "rowgroup" });
    this.space = h("div", { class: "space", role: "presentation" }, this.rows);
    this.empty = h("div", { class: "empty" });
    this.scroll = h("div", { class: "scroll", role: "presentation", tabindex: "-1" }, this.space, this.empty);
    this.strip = h("div", { class: "strip", role: "presentation" });
    const corner = h("span", { class: "corner", role: "columnheader" }, "case");
    this.titles = h("div", { class: "heads", role: "row", "aria-rowindex": "1" }, corner, this.strip);
    this.grid = h(
      "div", { class: "grid", role: "grid", tabindex: "0", "aria-label": "Results", "aria-readonly": "true", "aria-multiselectable": "true" },
      h("div", { class: "titles", role: "rowgroup" }, this.titles), this.scroll,
    );
    this.grid.classList.add("pcv-matrix");
    this.scroll.addEventListener("scroll", () => {
      Object.assign(this.at, { top: this.scroll.scrollTop, left: this.scroll.scrollLeft });
      this.view.draw();
    });
    this.rows.addEventListener("click", (event) => {
      const cell = event.target.closest("[role=gridcell], [role=rowheader]");
      if (!cell || String(getSelection())) return;
      this.grid.focus({ preventScroll: true });
      this.go(Number(cell.parentNode.dataset.index), Number(cell.dataset.column ?? this.at.column));
      if (cell.dataset.column) this.open();
    });
    this.strip.addEventListener("click", (event) => {
      const head = event.target.closest("[role=columnheader]");
      if (head) this.view.markColumn(Number(head.dataset.column));
    });
  }

  /** How many rows there are, as the kernel said last. */
  get cases() {
    return this.at.cases;
  }

  restore() {
    const { top, left } = this.at;
    Object.assign(this.scroll, { scrollTop: top, scrollLeft: left });
  }

  get plan() {
    return this.view.plan;
  }

  get columns() {
    return this.plan ? this.plan.labels.length * this.plan.models.length : 0;
  }

  get nameWidth() {
    return this.view.root.clientWidth < 760 ? NARROW_NAME : NAME;
  }

  heading(column) {
    const { labels, models } = this.plan;
    return [labels[column % labels.length], models[Math.floor(column / labels.length)]];
  }

  // -- drawing

  paint() {
    if (!this.plan) return;
    const name = this.nameWidth;
    const wide = name + this.columns * CELL;
    this.grid.style.setProperty("--name", `${name}px`);
    const [columns, repeats] = this.view.state.grid;
    // As high as the whole run needs, whatever is filtered, so that nothing below it moves.
    const shown = Math.max(3, Math.min(14, Math.ceil(this.view.state.total / (columns * repeats))));
    this.scroll.style.height = `${ROW * shown + (wide > this.scroll.clientWidth ? 16 : 0)}px`;
    const viewport = this.scroll.clientHeight;
    const { first, last, offset, height } = place(this.scroll.scrollTop, viewport, this.cases);
    this.space.style.height = `${height}px`;
    this.space.style.width = `${wide}px`;
    this.rows.style.transform = `translateY(${offset}px)`;
    const seen = across(this.scroll.scrollLeft, this.scroll.clientWidth - name, this.columns);
    this.strip.style.transform = `translateX(${-this.scroll.scrollLeft}px)`;
    this.fill(this.heads, this.strip, seen.last - seen.first, () => this.makeHead());
    this.heads.forEach((head, i) => this.fillHead(head, seen.first + i));
    this.fill(this.lines, this.rows, last - first, () => this.makeLine());
    this.lines.forEach((line, i) => this.fillLine(line, first + i, seen));
    this.grid.setAttribute("aria-rowcount", this.cases + 1);
    this.grid.setAttribute("aria-colcount", this.columns + 1);
    const here = this.at.row >= first && this.at.row < last && this.at.column >= seen.first && this.at.column < seen.last;
    if (here) this.grid.setAttribute("aria-activedescendant", this.id(this.at.row, this.at.column));
    else this.grid.removeAttribute("aria-activedescendant");
    this.empty.hidden = this.cases > 0;
    say(this.empty, this.view.asking() ? this.view.searching() || "Nothing fits." : "Waiting for the first answer…");
    this.load(first, last, seen);
  }

  fill(nodes, parent, wanted, make) {
    while (nodes.length < wanted) {
      nodes.push(make());
      parent.append(nodes.at(-1));
    }
    while (nodes.length > wanted) nodes.pop().remove();
  }

  id(row, column) {
    return `${this.view.uid}-m${row}-${column}`;
  }

  makeHead() {
    return h("span", { class: "colhead", role: "columnheader" }, h("span", { class: "halves" }), h("span", { class: "halves" }));
  }

  fillHead(head, column) {
    const [label, model] = this.heading(column);
    const marked = this.view.at.columns.has(column);
    head.style.left = `${column * CELL}px`;
    head.dataset.column = column;
    head.setAttribute("aria-colindex", column + 2);
    head.setAttribute("aria-selected", String(marked));
    const same = this.view.sameNames();
    const [first, second] = head.children;
    for (const [node, text, cut, isModel] of [[first, label, same.label, false], [second, model, same.model, true]]) {
      if (!node.children.length) node.append(h("span", { class: "first" }), h("span", { class: "last" }));
      const shown = text.slice(cut);
      const at = isModel ? shown.indexOf(":") + 1 : Math.max(0, shown.lastIndexOf("@"));
      say(node.children[0], shown.slice(0, at));
      say(node.children[1], shown.slice(at));
    }
    head.title = `${label}\n${model}\nClick to mark it for a comparison`;
    head.setAttribute("aria-label", `${label}, ${model}${marked ? ", marked" : ""}`);
  }

  makeLine() {
    const line = h("div", { class: "line", role: "row" }, h("span", { class: "casename", role: "rowheader" }));
    line.cells = [];
    return line;
  }

  fillLine(line, index, seen) {
    const row = this.row(index);
    line.dataset.index = index;
    line.setAttribute("aria-rowindex", index + 2);
    const title = row ? row.name || `case ${count(row.case + 1)}` : "";
    sayName(line.firstChild, title, title, false);
    line.classList.toggle("pcv-wait", !row);
    const wanted = seen.last - seen.first;
    this.fill(line.cells, line, wanted, () => {
      const cell = h("span", { class: "cell", role: "gridcell" }, h("i"), h("span"));
      cell.firstChild.setAttribute("aria-hidden", "true");
      return cell;
    });
    line.cells.forEach((cell, i) => this.fillCell(cell, index, seen.first + i));
  }

  fillCell(cell, index, column) {
    const text = this.cell(index, column);
    const active = index === this.at.row && column === this.at.column;
    const marked = this.view.at.columns.has(column);
    cell.classList.toggle("pcv-here", active);
    cell.classList.toggle("pcv-picked", marked);
    if (cell.shown === text && cell.column === column && cell.index === index) return;
    Object.assign(cell, { shown: text, column, index });
    cell.id = this.id(index, column);
    cell.dataset.column = column;
    cell.setAttribute("aria-colindex", column + 2);
    cell.style.left = `calc(var(--name) + ${column * CELL}px)`;
    const known = text !== undefined;
    cell.firstChild.style.background = known ? picture(text) : "none";
    cell.firstChild.style.width = known ? `${Math.min(56, 10 * Math.min(MOST_TICKS, text.length))}px` : "0";
    say(cell.lastChild, known ? brief(text) : "");
    const [label, model] = this.heading(column);
    const words = known ? spell(text) : "";
    cell.setAttribute("aria-label", `${label}, ${model}: ${words || "not loaded"}`);
    cell.title = words;
  }

  // -- what is known

  block(index, column) {
    return this.view.at.cache.get(`${this.view.foundKey()}|m${Math.floor(index / BLOCK)}|${Math.floor(column / ACROSS)}`);
  }

  row(index) {
    const known = this.block(index, this.at.column) ?? this.block(index, Math.floor(this.scroll.scrollLeft / CELL)) ?? this.block(index, 0);
    const row = known?.rows[index % BLOCK];
    return row && { case: row[0], name: row[1] };
  }

  cell(index, column) {
    return this.block(index, column)?.rows[index % BLOCK]?.[2 + (column % ACROSS)];
  }

  load(first, last, seen) {
    const loading = this.view.waiting("cells").map((one) => one.request.block);
    const done = `${this.view.state.done}|${this.view.found[0]}`;
    for (let r = Math.floor(first / BLOCK); r * BLOCK < Math.max(last, 1); r++) {
      for (let c = Math.floor(seen.first / ACROSS); c * ACROSS < seen.last; c++) {
        const block = `${this.view.foundKey()}|m${r}|${c}`;
        const known = this.view.at.cache.get(block);
        // What is open may have been answered since; what is full stays as it is.
        if ((known && (known.full || known.done === done)) || loading.includes(block) || loading.length >= 3) continue;
        loading.push(block);
        const [left, right] = [c * ACROSS, (c + 1) * ACROSS];
        this.view.ask({ kind: "cells", from: r * BLOCK, to: (r + 1) * BLOCK, left, right, ...this.view.questioned(), block, done });
      }
    }
  }

  keep(request, content, rows) {
    this.at.cases = content.cases;
    const wanted = Math.min(BLOCK, content.cases - request.from);
    const full = rows.length >= wanted && rows.every((row) => row.slice(2).every((cell) => !cell.includes(".")));
    this.view.at.cache.set(request.block, { rows, full: full && !this.view.asking(), done: request.done });
    this.view.draw();
  }

  // -- moving

  go(row, column) {
    if (!this.cases) return;
    this.at.row = Math.max(0, Math.min(this.cases - 1, row));
    this.at.column = Math.max(0, Math.min(this.columns - 1, column));
    this.scroll.scrollTop = scrollFor(this.at.row, this.scroll.scrollTop, this.scroll.clientHeight, this.cases);
    this.scroll.scrollLeft = scrollLeftFor(this.at.column, this.scroll.scrollLeft, this.scroll.clientWidth - this.nameWidth);
    this.view.draw();
  }

  /** Do what a key means here; tell whether it means something. */
  key(name) {
    const { row, column } = this.at;
    const page = Math.max(1, Math.floor(this.scroll.clientHeight / ROW) - 1);
    const moves = {
      ArrowDown: [row + 1, column], ArrowUp: [Math.max(0, row - 1), column], ArrowRight: [Math.max(0, row), column + (row < 0 ? 0 : 1)],
      ArrowLeft: [Math.max(0, row), column - 1], PageDown: [row + page, column], PageUp: [Math.max(0, row - page), column],
      Home: [0, column], End: [this.cases - 1, column],
    };
    if (name in moves) {
      this.go(...moves[name]);
      if (this.view.at.open) this.open();
    } else if (name === "Enter" && row >= 0) this.open();
    else if (name === " " && row >= 0) this.view.markColumn(column);
    else return false;
    return true;
  }

  open() {
    const cell = this.cell(this.at.row, this.at.column);
    const row = this.row(this.at.row);
    if (cell === undefined || !row) return;
    const first = worth(cell);
    const repeats = [...cell].map((letter, i) => [ordinalOf(this.plan, row.case, this.at.column, i), WORDS[letter] ?? ""]);
    this.view.openItem(repeats[first][0], cell.length > 1 ? repeats : [], true);
  }
}
