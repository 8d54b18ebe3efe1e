// Two runs next to each other. The kernel sends a summary once; this asks for the rows it shows (compare_view.py lists
// the messages). Names, answers and reasons may hold anything, so they reach the page as text only, never as HTML.

import { Greeting } from "./greeting.js";
import { ROW, place, scrollFor } from "./rows.js";
import { Lru, WINDOW } from "./windows.js";

const KEEP = 60; // windows remembered
const IN_FLIGHT = 3;
const PATIENCE_MS = 4000; // before an unanswered request is repeated; doubled each time
const TYPING_MS = 200; // after the last letter of a search
const CONTEXT = 160; // characters kept at either end of a long stretch that both answers have
const FILTERS = [
  ["flips", "flips", ""], ["to_fail", "pass → fail", "fail"], ["to_pass", "fail → pass", "pass"], ["other", "other flips", "error"],
  ["answers", "other answer", ""], ["assertions", "assertions changed", ""], ["only_a", "only in A", ""], ["only_b", "only in B", ""], ["all", "all", ""],
];
const COLUMNS = [["outcome", "A"], ["outcome", "B"], ["case", "case"], ["label", "card version"], ["model", "model"], ["answer", "answer A"], ["answer", "answer B"], ["n", "latency"]];

// -- without a page ----------------------------------------------------------------------------------------------------

/** Where an interval and its mean go on a scale with zero in the middle, in percent; `most` is at its ends. */
export function onScale(line, most) {
  const at = (value) => (most ? 50 + (48 * value) / most : 50);
  const known = line.low !== null && line.high !== null;
  return { start: known ? at(line.low) : null, width: known ? at(line.high) - at(line.low) : 0, point: at(line.mean) };
}

/** The farthest that any line of a metric reaches from zero: lines of one metric have one scale. */
export function reach(lines, metric) {
  const ends = lines.filter((line) => line.metric === metric && line.mean !== undefined).flatMap((line) => [line.mean, line.low, line.high]);
  return Math.max(0, ...ends.filter((end) => end !== null).map(Math.abs));
}

/** The pieces of a word-level difference that one side shows; a long stretch that both have is shortened. */
export function sideOf(pieces, side) {
  const shown = [];
  for (const [of, text] of pieces) {
    if (of !== "both" && of !== side) continue;
    if (of === "both" && text.length > 2 * CONTEXT + 40) {
      shown.push(["both", text.slice(0, CONTEXT)], ["gap", text.slice(CONTEXT, -CONTEXT)], ["both", text.slice(-CONTEXT)]);
    } else shown.push([of, text]);
  }
  return shown;
}

/** The filter to begin with: what changed, or everything when nothing did. */
export function firstFilter(filters) {
  return ["flips", "answers", "only_a", "only_b"].find((name) => filters[name]) ?? "all";
}

/** A change of latency, such as "+120 ms". */
export function latencyChange(a, b) {
  if (a === null || b === null) return "–";
  const change = Math.round(b - a);
  const size = Math.abs(change) < 10000 ? `${Math.abs(change).toLocaleString("en-US")} ms` : `${(Math.abs(change) / 1000).toFixed(1)} s`;
  return change === 0 ? "±0 ms" : `${change > 0 ? "+" : "−"}${size}`;
}

/** A share as a percentage that is neither 0 nor 100 % unless it is exactly that. */
export function percent(share) {
  const rounded = Math.round(100 * share);
  return `${share > 0 && share < 1 ? Math.min(99, Math.max(1, rounded)) : rounded} %`;
}

// -- on the page -------------------------------------------------------------------------------------------------------

const count = (n) => n.toLocaleString("en-US");

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    // Notebooks have styles of their own for names as common as "row".
    if (name === "class") node.className = value === "pcc" || !value ? value : `pcc-${value}`;
    else node.setAttribute(name, value);
  }
  node.append(...children); // strings become text nodes
  return node;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function mark(outcome) {
  return h("span", { class: "o" }, h("span", { class: "dot", "data-o": outcome ?? "" }), outcome ?? "–");
}

let views = 0;
// What somebody looks at survives when the front end draws the same output anew; by model, which stays the same.
const memory = new WeakMap();

class View {
  constructor(model, channel, el) {
    Object.assign(this, { model, channel, el });
    this.uid = `c${++views}-${Math.random().toString(36).slice(2, 8)}`;
    this.asked = 0;
    this.pending = new Map(); // rid → request
    this.state = model.get("state");
    const filter = firstFilter(this.state.filters);
    const before = memory.get(channel) ?? { filter, text: "", total: this.state.filters[filter], scroll: 0, selected: -1, open: false, focused: false, cache: new Lru(KEEP) };
    this.at = { ...before, focused: false };
    this.refocus = before.focused;
    memory.set(channel, this.at);
    this.nodes = [];
    this.ended = new AbortController();
    this.build();
    this.listen();
    this.greeting = new Greeting(() => this.ask({ kind: "ready" }), this.ended.signal);
    this.draw();
  }

  // -- its parts

  build() {
    const s = this.state;
    this.chip = {};
    this.chips = h("div", { class: "chips", role: "group", "aria-label": "Which items" });
    for (const [name, text, outcome] of FILTERS) {
      if (!s.filters[name] && name !== "all" && name !== "flips") continue;
      const dot = outcome ? [h("span", { class: "dot", "data-o": outcome })] : [];
      const button = h("button", { class: "chip", type: "button", "aria-pressed": "false" }, ...dot, text, h("b", {}, count(s.filters[name])));
      button.addEventListener("click", () => this.choose(name, this.at.text));
      this.chip[name] = button;
      this.chips.append(button);
    }
    this.search = h("input", { class: "search", type: "search", placeholder: "case, version, model, reason", "aria-label": "Find", maxlength: "200" });
    this.search.value = this.at.text;
    this.chips.append(this.search);
    const titles = COLUMNS.map(([name, text]) => h("span", { class: name, role: "columnheader" }, text));
    this.rows = h("div", { class: "rows", role: "rowgroup" });
    this.space = h("div", { class: "space", role: "presentation" }, this.rows);
    this.empty = h("div", { class: "empty" });
    this.scroll = h("div", { class: "scroll", role: "presentation", tabindex: "-1" }, this.space, this.empty);
    this.grid = h(
      "div", { class: "grid", role: "grid", tabindex: "0", "aria-label": "Compared items", "aria-readonly": "true", "aria-colcount": COLUMNS.length },
      h("div", { class: "titles", role: "rowgroup" }, h("div", { class: "row", role: "row", "aria-rowindex": "1" }, ...titles)), this.scroll,
    );
    this.detail = h("section", { class: "detail", tabindex: "-1", "aria-label": "One item", hidden: "" });
    this.spoken = h("div", { class: "sr", role: "status", "aria-live": "polite" });
    this.note = h("div", { class: "note", hidden: "" });
    const side = (letter, name) => h("span", { class: "side" }, h("b", { class: "letter" }, letter), h("span", { class: "name", title: name }, name));
    this.root = h(
      "div", { class: "pcc" },
      h("div", { class: "head" }, side("A", s.a), h("span", { class: "arrow", "aria-hidden": "true" }, "→"), side("B", s.b)),
      h("div", { class: "headline" }, s.headline), this.flipBar(), h("div", { class: "flips" }, s.flips),
      ...(s.notes.length ? [h("ul", { class: "notes", "aria-label": "What differs" }, ...s.notes.map((note) => h("li", {}, note)))] : []),
      this.differences(), this.chips, this.grid, this.detail, this.note, this.spoken,
    );
    const labels = new Set(s.lines.map((line) => line.label));
    const models = new Set(s.lines.map((line) => line.model));
    this.root.classList.toggle("pcc-one-label", labels.size < 2);
    this.root.classList.toggle("pcc-one-model", models.size < 2);
    this.el.replaceChildren(this.root);
  }

  flipBar() {
    const { pairs, to_fail, to_pass, other } = this.state;
    const parts = [["fail", to_fail, "pass → fail"], ["error", other, "other flips"], ["same", pairs - to_fail - to_pass - other, "the same outcome"], ["pass", to_pass, "fail → pass"]];
    const bar = h("div", { class: "bar", role: "img", "aria-label": parts.map(([, n, text]) => `${count(n)} ${text}`).join(", ") });
    for (const [kind, n, text] of parts) {
      if (!n) continue;
      const part = h("i", { "data-o": kind, title: `${count(n)} ${text}` });
      part.style.flexGrow = n;
      bar.append(part);
    }
    return bar;
  }

  differences() {
    const { lines, more_groups: more } = this.state;
    if (!lines.length) return h("div", { class: "note" }, "The two have no item in common.");
    const same = (key) => new Set(lines.map((line) => line[key])).size < 2;
    const names = [...(same("label") ? [] : [["who", "card version"]]), ...(same("model") ? [] : [["who", "model"]]), ["metric", ""], ["n", "A"], ["n", "B"], ["text", "B − A [95 %]"], ["picture", ""], ["word", ""]];
    const body = h("tbody");
    for (const line of lines) {
      const cells = [];
      if (!same("label")) cells.push(h("td", { class: "who", title: line.label }, line.label));
      if (!same("model")) cells.push(h("td", { class: "who", title: line.model }, line.model));
      cells.push(h("td", { class: "metric", title: line.metric }, line.metric), h("td", { class: "n" }, line.a ?? "–"), h("td", { class: "n" }, line.b ?? "–"));
      const text = h("td", { class: "text" }, line.text ?? "–");
      if (line.among_same) text.append(h("small", {}, "only cases with the same assertions"));
      const word = h("td", { class: "word", "data-k": line.kind }, line.word);
      if (line.left_out) word.append(h("small", {}, `${count(line.left_out)} pairs without`));
      cells.push(text, h("td", { class: "picture", "data-k": line.kind }, this.picture(line)), word);
      body.append(h("tr", {}, ...cells));
    }
    const head = h("tr", {}, ...names.map(([kind, text]) => h("th", { class: kind, scope: "col" }, text)));
    const table = h("div", { class: "wide" }, h("table", { class: "differences" }, h("thead", {}, head), body));
    if (more) table.append(h("div", { class: "note" }, `${count(more)} more versions and models are not listed.`));
    return table;
  }

  picture(line) {
    const scale = h("span", { class: "scale", role: "img", "aria-label": line.text ?? "not known" }, h("i", { class: "zero" }));
    if (line.mean === undefined) return scale;
    const { start, width, point } = onScale(line, reach(this.state.lines, line.metric));
    if (start !== null) {
      const bar = h("i", { class: "line" });
      bar.style.left = `${start}%`;
      bar.style.width = `${width}%`;
      scale.append(bar);
    }
    const dot = h("i", { class: "point" });
    dot.style.left = `${point}%`;
    scale.append(dot);
    return scale;
  }

  listen() {
    const signal = this.ended.signal;
    this.onMessage = (content, buffers) => this.receive(content, buffers);
    this.onLive = () => this.draw();
    this.channel.on("msg:custom", this.onMessage);
    this.channel.on("comm_live_update", this.onLive);
    this.search.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.choose(this.at.filter, this.search.value), TYPING_MS);
    });
    this.rows.addEventListener("click", (event) => {
      const row = event.target.closest(".pcc-row");
      if (!row || String(getSelection())) return; // somebody marks text
      this.grid.focus({ preventScroll: true });
      this.select(Number(row.dataset.index));
      this.open(true);
    });
    this.scroll.addEventListener("scroll", () => {
      this.at.scroll = this.scroll.scrollTop;
      this.draw();
    });
    // Before the notebook sees the keys, which would move from cell to cell; only those meant for the view are taken.
    addEventListener("keydown", (event) => this.onKey(event), { capture: true, signal });
    this.grid.addEventListener("focusin", () => (this.at.focused = true));
    // Later, because being taken off the page also looks like losing the focus.
    this.grid.addEventListener("focusout", () => setTimeout(() => (this.at.focused = this.at.focused && (!this.root.isConnected || this.grid.contains(document.activeElement)))));
    this.sizes = new ResizeObserver(() => {
      this.root.classList.toggle("pcc-narrow", this.root.clientWidth < 760);
      this.root.classList.toggle("pcc-tiny", this.root.clientWidth < 440);
      this.draw();
    });
    this.sizes.observe(this.root);
    // Notebooks take outputs that are out of sight off the page, and they come back scrolled to the top.
    this.sight = new IntersectionObserver(([entry]) => {
      if (!entry.isIntersecting) return;
      this.scroll.scrollTop = this.at.scroll;
      this.draw();
    });
    this.sight.observe(this.scroll);
    this.timer = setInterval(() => this.repeat(), 1000);
  }

  dispose() {
    this.ended.abort();
    clearInterval(this.timer);
    clearTimeout(this.typing);
    this.sizes.disconnect();
    this.sight.disconnect();
    this.channel.off("msg:custom", this.onMessage);
    this.channel.off("comm_live_update", this.onLive);
    this.pending.clear();
  }

  // -- talking with the kernel

  ask(request, tries = 0) {
    if (this.channel.comm_live === false) return false;
    const rid = `${this.uid}-${++this.asked}`;
    this.pending.set(rid, { request, tries, sent: performance.now() });
    const { key, ...sent } = request;
    this.channel.send({ ...sent, rid });
    return true;
  }

  heardBack() {
    if (!this.greeting.open) return;
    this.greeting.answered();
    for (const [rid, one] of this.pending) if (one.request.kind === "ready") this.pending.delete(rid);
    this.draw();
  }

  receive(content, buffers) {
    const known = this.pending.get(content.rid);
    if (!known) return; // another view asked
    this.pending.delete(content.rid);
    this.heardBack();
    const body = buffers?.length ? JSON.parse(new TextDecoder().decode(buffers[0])) : null;
    if (content.kind === "rows") this.keep(known.request, content, body);
    if (content.kind === "item" && known.request.place === this.wanted) this.describe(body);
  }

  repeat() {
    const now = performance.now();
    for (const [rid, { request, tries, sent }] of this.pending) {
      if (request.kind === "ready" || now - sent < PATIENCE_MS * 2 ** tries) continue;
      this.pending.delete(rid);
      if (tries < 3) this.ask(request, tries + 1);
      else this.tell("The kernel does not answer.");
    }
  }

  tell(text) {
    this.note.hidden = !text;
    say(this.note, text);
  }

  // -- the table

  choose(filter, text) {
    if (this.at.filter === filter && this.at.text === text) return;
    this.close();
    Object.assign(this.at, { filter, text, selected: -1, scroll: 0, total: text ? WINDOW : this.state.filters[filter] });
    this.scroll.scrollTop = 0;
    this.fresh = true;
    this.draw();
  }

  keyOf(w) {
    return `${this.at.filter}|${w}|${this.at.text}`;
  }

  row(index) {
    return this.at.cache.get(this.keyOf(Math.floor(index / WINDOW)))?.[index % WINDOW];
  }

  draw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (this.root.isConnected) this.paint();
    });
  }

  paint() {
    const { total } = this.at;
    for (const [name, button] of Object.entries(this.chip)) button.setAttribute("aria-pressed", String(this.at.filter === name));
    this.scroll.style.height = `${ROW * Math.max(3, Math.min(12, total))}px`;
    const viewport = this.scroll.clientHeight;
    this.space.style.height = `${place(0, viewport, total).height}px`;
    const { first, last, offset } = place(this.scroll.scrollTop, viewport, total);
    while (this.nodes.length < last - first) this.nodes.push(this.addRow());
    while (this.nodes.length > last - first) this.nodes.pop().remove();
    this.rows.style.transform = `translateY(${offset}px)`;
    this.nodes.forEach((node, i) => this.fillRow(node, first + i));
    this.grid.setAttribute("aria-rowcount", total + 1);
    const seen = this.at.selected >= first && this.at.selected < last;
    if (seen) this.grid.setAttribute("aria-activedescendant", `${this.uid}-${this.at.selected}`);
    else this.grid.removeAttribute("aria-activedescendant");
    this.empty.hidden = total > 0;
    say(this.empty, this.at.text ? "Nothing here matches." : this.at.filter === "flips" ? "No outcome changed." : "There is nothing here.");
    if (this.channel.comm_live === false) this.tell("The kernel is gone: rows that were not shown before cannot be loaded any more.");
    this.load(first, Math.max(last, 1));
    if (this.at.open && this.wanted === undefined) this.open();
    if (this.refocus && document.activeElement === document.body) this.grid.focus({ preventScroll: true });
    this.refocus = false;
  }

  addRow() {
    const node = h("div", { class: "row", role: "row" }, ...COLUMNS.map(([name]) => h("span", { class: name, role: "gridcell" })));
    for (const cell of [node.children[0], node.children[1]]) cell.append(h("span", { class: "dot" }), document.createTextNode(""));
    this.rows.append(node);
    return node;
  }

  fillRow(node, index) {
    const row = this.row(index);
    node.setAttribute("aria-selected", String(index === this.at.selected));
    if (node.shown === row && node.index === index) return;
    Object.assign(node, { shown: row, index });
    node.id = `${this.uid}-${index}`;
    node.dataset.index = index;
    node.setAttribute("aria-rowindex", index + 2);
    node.classList.toggle("pcc-wait", !row);
    const [, a, b, name, repeat, label, model, answerA, answerB, latencyA, latencyB, changed] = row ?? [];
    [a, b].forEach((outcome, i) => {
      const [dot, text] = node.children[i].childNodes;
      dot.dataset.o = outcome ?? "";
      dot.hidden = !outcome;
      text.data = row ? (outcome ?? "–") : "";
    });
    const cells = [...node.children].slice(2);
    const named = row && (this.state.repeats > 1 ? `${name} #${repeat + 1}` : name);
    const texts = row ? [changed ? `${named} (assertions changed)` : named, label, model, answerA, answerB, latencyChange(latencyA, latencyB)] : ["", "", "", "", "", ""];
    texts.forEach((text, i) => Object.assign(cells[i], { textContent: text, title: text }));
  }

  load(first, last) {
    if (this.greeting.open) return;
    const loading = [...this.pending.values()].filter((one) => one.request.kind === "rows");
    let free = IN_FLIGHT - loading.length;
    for (let w = Math.floor(first / WINDOW); w * WINDOW < last; w++) {
      const key = this.keyOf(w);
      if (this.at.cache.get(key) || free <= 0 || loading.some((one) => one.request.key === key)) continue;
      if (!this.at.total && !this.at.text) continue;
      free--;
      this.ask({ kind: "rows", from: w * WINDOW, to: (w + 1) * WINDOW, filter: this.at.filter, text: this.at.text, key });
    }
  }

  keep({ key, filter, text }, { total }, rows) {
    this.at.cache.set(key, rows);
    if (filter !== this.at.filter || text !== this.at.text) return;
    this.at.total = total;
    if (this.fresh) say(this.spoken, `${count(total)} items`);
    this.fresh = false;
    this.draw();
  }

  select(index) {
    const { total } = this.at;
    if (!total) return;
    this.at.selected = Math.max(0, Math.min(total - 1, index));
    this.scroll.scrollTop = scrollFor(this.at.selected, this.scroll.scrollTop, this.scroll.clientHeight, total);
    this.draw();
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.root.contains(event.target)) return;
    const inGrid = this.grid.contains(event.target);
    const page = Math.max(1, Math.floor(this.scroll.clientHeight / ROW) - 1);
    const here = this.at.selected;
    const moves = { ArrowDown: here + 1, ArrowUp: here < 0 ? 0 : here - 1, PageDown: here + page, PageUp: here - page, Home: 0, End: this.at.total - 1 };
    if (inGrid && event.key in moves && !event.shiftKey) {
      this.select(moves[event.key]);
      if (this.at.open) this.open();
    } else if (inGrid && event.key === "Enter") {
      if (here >= 0) this.open(true);
    } else if (inGrid && event.key === "/") {
      this.search.focus();
    } else if (event.key === "Escape" && event.target === this.search && this.search.value) {
      this.search.value = "";
      this.choose(this.at.filter, "");
    } else if (event.key === "Escape" && this.at.open) {
      this.close();
      this.grid.focus({ preventScroll: true });
    } else {
      // What is typed here is not a command to the notebook.
      if (event.target === this.search) event.stopPropagation();
      return;
    }
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  // -- one item

  open(reveal = false) {
    this.at.open = true;
    this.reveal ||= reveal;
    const row = this.row(this.at.selected);
    this.wanted = row?.[0]; // not loaded yet: `paint` comes back
    if (row) this.ask({ kind: "item", place: row[0] });
  }

  close() {
    this.at.open = false;
    this.wanted = undefined;
    this.detail.hidden = true;
  }

  describe(item) {
    if (!item) return;
    const [, a, b, name, repeat, label, model, , , , , changed] = item.row;
    const close = h("button", { class: "close", type: "button", "aria-label": "Close", title: "Close (Esc)" }, "×");
    close.addEventListener("click", () => {
      this.close();
      this.grid.focus({ preventScroll: true });
    });
    const what = `${name}${this.state.repeats > 1 ? ` #${repeat + 1}` : ""} · ${label} · ${model}`;
    const body = h("div", { class: "body" });
    if (changed) body.append(h("div", { class: "note" }, "The two were judged by other assertions."));
    body.append(h("div", { class: "two" }, this.side("A", "a", item), this.side("B", "b", item)));
    if (item.modes.length) body.append(...this.modes(item));
    const header = h("header", {}, mark(a), h("span", { "aria-hidden": "true" }, "→"), mark(b), h("span", { class: "what", title: what }, what), h("span", { class: "grow" }), close);
    this.detail.replaceChildren(header, body);
    this.detail.hidden = false;
    if (this.reveal) this.detail.scrollIntoView({ block: "nearest" });
    this.reveal = false;
    say(this.spoken, `${what}: ${a ?? "not in A"}, then ${b ?? "not in B"}.`);
  }

  side(letter, key, item) {
    const of = item[key];
    const part = h("div", { class: "part" }, h("h5", {}, h("b", { class: "letter" }, letter), this.state[key]));
    if (!of) {
      part.append(h("div", { class: "note" }, "This side does not have the item."));
      return part;
    }
    const facts = [
      ["Latency", of.latency_ms != null && `${count(Math.round(of.latency_ms))} ms`], ["Cost", of.cost_usd],
      ["Tokens", of.tokens_input != null && `${count(of.tokens_input)} in, ${of.tokens_output == null ? "?" : count(of.tokens_output)} out`],
      ["Score", of.score != null && of.score.toFixed(2)], ["From", of.cached && "the store"],
    ].filter(([, value]) => value);
    if (facts.length) part.append(h("div", { class: "facts" }, ...facts.map(([title, value]) => h("span", {}, `${title} `, h("b", {}, value)))));
    part.append(this.answer(item, key));
    const cut = item.cut[key === "a" ? 0 : 1];
    if (cut) part.append(h("div", { class: "note" }, `Cut here: the whole answer has ${count(cut)} characters.`));
    if (!of.verdicts.length && of.message) part.append(h("pre", {}, of.message));
    const verdicts = of.verdicts.map((verdict) => {
      const said = h("span", {}, verdict.message, verdict.reason ? h("span", { class: "code" }, ` ${verdict.reason}`) : "");
      const line = h("div", { class: "verdict", role: "listitem" }, mark(verdict.outcome), h("span", {}, [verdict.name, ...verdict.facts].join(", ")), said);
      line.style.paddingLeft = `${18 * Math.min(6, verdict.depth)}px`;
      return line;
    });
    if (of.more_verdicts) verdicts.push(h("div", { class: "note" }, `and ${count(of.more_verdicts)} more`));
    if (verdicts.length) part.append(h("div", { class: "said", role: "list", "aria-label": `Verdicts ${letter}` }, ...verdicts));
    return part;
  }

  answer(item, key) {
    const pre = h("pre", { class: "answer", "aria-label": `Answer ${key.toUpperCase()}` });
    const pieces = sideOf(item.diff, key);
    for (const [of, text] of pieces) {
      if (of === "gap") {
        const gap = h("button", { class: "gap", type: "button", title: "Show what both have here" }, `… ${count(text.length)} characters …`);
        gap.addEventListener("click", () => gap.replaceWith(document.createTextNode(text)));
        pre.append(gap);
      } else if (of === "both" || item[key === "a" ? "b" : "a"] === null) pre.append(text);
      else pre.append(h(of === "a" ? "del" : "ins", {}, text));
    }
    if (!pieces.length) pre.append(h("span", { class: "note" }, "(empty)"));
    return pre;
  }

  modes(item) {
    const row = (mode) => {
      const share = (key) => {
        const bar = h("i", { class: "share", "data-s": key });
        bar.style.width = `${100 * mode[`share_${key}`]}%`;
        return h("td", { class: "n" }, `${count(mode[key])} · ${percent(mode[`share_${key}`])}`, h("span", { class: "track" }, bar));
      };
      return h("tr", {}, h("td", { class: "mode" }, mode.text), share("a"), share("b"), h("td", { "data-c": mode.change.split(" ")[0] }, mode.change));
    };
    const head = h("tr", {}, ...[["mode", "answer"], ["n", "A"], ["n", "B"], ["", ""]].map(([kind, text]) => h("th", { class: kind, scope: "col" }, text)));
    const table = h("table", { class: "modes", "aria-label": "Answers over all repeats" }, h("thead", {}, head), h("tbody", {}, ...item.modes.map(row)));
    const more = item.more_modes ? [h("div", { class: "note" }, `and ${count(item.more_modes)} more answers`)] : [];
    return [h("h5", {}, "Answers over all repeats of this case"), h("div", { class: "wide" }, table), ...more];
  }
}

async function render({ model, el }) {
  let channel;
  try {
    channel = await model.widget_manager.get_model(model.get("channel"));
  } catch {
    el.textContent = "This live view has ended. Run the cell again.";
    return undefined;
  }
  const view = new View(model, channel, el);
  return () => view.dispose();
}

export default { render };
