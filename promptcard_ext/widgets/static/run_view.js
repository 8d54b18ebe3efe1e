// The live view of a run. The kernel sends totals; this asks for the rows it shows (run_view.py lists the messages).
// Names, answers and reasons may hold anything, so they reach the page as text only, never as HTML.

export const ROW = 28; // px, as in run_view.css
export const WINDOW = 100; // rows asked for at once
const KEEP = 60; // windows remembered
const OVERSCAN = 8; // rows drawn above and below what is seen
const MAX_PX = 8_000_000; // browsers cannot draw boxes much higher than that
const IN_FLIGHT = 4;
const PATIENCE_MS = 4000; // before an unanswered request is repeated; doubled each time
const SILENCE_MS = 5000; // before a running run is asked whether it still runs
const OUTCOMES = ["pass", "fail", "error", "unscored"];
const COLUMNS = [
  ["outcome", "outcome"], ["case", "case"], ["label", "card version"], ["model", "model"],
  ["answer", "answer"], ["n", "latency"], ["why", "why"],
];

// -- without a page ----------------------------------------------------------------------------------------------------

/** Which rows to draw (`first` up to, not including, `last`) and where the first one goes, in px. */
export function place(scrollTop, viewport, total) {
  const real = total * ROW;
  const drawn = Math.min(real, MAX_PX);
  // Very long tables are squeezed: one pixel of the scroll bar is then more than one pixel of table.
  const top = real > drawn ? (scrollTop / Math.max(1, drawn - viewport)) * (real - viewport) : scrollTop;
  const first = Math.max(0, Math.min(total, Math.floor(top / ROW)) - OVERSCAN);
  const last = Math.min(total, Math.ceil((top + viewport) / ROW) + OVERSCAN);
  return { first, last, offset: scrollTop - (top - first * ROW), height: drawn };
}

/** Where to scroll so that row `index` is seen, moving no further than needed. */
export function scrollFor(index, scrollTop, viewport, total) {
  const real = total * ROW;
  const drawn = Math.min(real, MAX_PX);
  const scale = real > drawn ? (real - viewport) / Math.max(1, drawn - viewport) : 1;
  const top = scrollTop * scale;
  if (index * ROW < top) return (index * ROW) / scale;
  if ((index + 1) * ROW > top + viewport) return ((index + 1) * ROW - viewport) / scale;
  return scrollTop;
}

/** The windows that hold rows `first` up to `last`. */
export function windowsFor(first, last) {
  const found = [];
  for (let w = Math.floor(first / WINDOW); w * WINDOW < last; w++) found.push(w);
  return found;
}

/** A map that forgets what was not used for longest. */
export class Lru {
  constructor(size) {
    this.size = size;
    this.map = new Map();
  }
  get(key) {
    const value = this.map.get(key);
    if (value !== undefined) {
      this.map.delete(key);
      this.map.set(key, value);
    }
    return value;
  }
  set(key, value) {
    this.map.delete(key);
    this.map.set(key, value);
    if (this.map.size > this.size) this.map.delete(this.map.keys().next().value);
  }
}

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

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    // Notebooks have styles of their own for names as common as "row".
    if (name === "class") node.className = value === "pcv" || !value ? value : `pcv-${value}`;
    else node.setAttribute(name, value);
  }
  node.append(...children); // strings become text nodes
  return node;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function sayName(cell, text, whole, isModel) {
  const node = cell.querySelector(".pcv-halves") ?? cell;
  if (!node.children.length) node.append(h("span", { class: "first" }), h("span", { class: "last" }));
  halves(text, isModel).forEach((part, i) => say(node.children[i], part));
  cell.title = whole;
  // Two boxes would be read out as two words.
  if (whole) cell.setAttribute("aria-label", whole);
  else cell.removeAttribute("aria-label");
}

let views = 0;
// What somebody looks at survives when the front end draws the same output anew; by model, which stays the same.
const memory = new WeakMap();

class View {
  constructor(model, channel, el) {
    Object.assign(this, { model, channel, el });
    this.uid = `v${++views}-${Math.random().toString(36).slice(2, 8)}`;
    this.asked = 0;
    this.pending = new Map(); // rid → request
    this.short = new Map(); // window → when it was last found shorter than expected
    this.state = model.get("state");
    this.heard = this.received = performance.now();
    const before = memory.get(channel) ?? { outcome: "", scroll: 0, follow: !this.state.frozen, selected: -1, open: false, focused: false, cache: new Lru(KEEP) };
    this.at = { ...before, focused: false };
    this.refocus = before.focused;
    memory.set(channel, this.at);
    this.nodes = [];
    this.same = { label: 0, model: 0 }; // beginnings that are left out in the table
    this.ended = new AbortController();
    this.build();
    this.listen();
    this.ask({ kind: "ready" });
    this.update();
  }

  // -- its parts

  build() {
    const id = (name) => `${this.uid}-${name}`;
    this.title = h("span", { class: "name" });
    this.pill = h("span", { class: "pill" });
    this.progress = h("span", { class: "progress" });
    this.stop = h("button", { class: "stop", type: "button" });
    this.bar = h("div", { class: "bar", role: "progressbar", "aria-label": "Progress", "aria-valuemin": "0" });
    this.facts = h("div", { class: "facts" });
    this.notes = h("div", { class: "note", hidden: "" });
    this.problem = h("p", { class: "problem", role: "alert", hidden: "" });
    this.groups = h("div", { class: "side" });
    this.chips = h("div", { class: "chips", role: "group", "aria-label": "Filter by outcome" });
    this.chip = {};
    for (const outcome of ["", ...OUTCOMES]) {
      const number = h("b");
      const dot = outcome ? [h("span", { class: "dot", "data-o": outcome })] : [];
      const button = h("button", { class: "chip", type: "button", "aria-pressed": "false" }, ...dot, outcome || "all", number);
      button.addEventListener("click", () => this.filter(outcome));
      this.chip[outcome] = { button, number };
      this.chips.append(button);
    }
    this.newest = h("button", { class: "newest", type: "button", hidden: "" }, "Newest ↓");
    this.chips.append(this.newest);
    const titles = COLUMNS.map(([name, text]) => h("span", { class: name, role: "columnheader" }, text));
    this.rows = h("div", { class: "rows", role: "rowgroup" });
    this.space = h("div", { class: "space", role: "presentation" }, this.rows);
    this.empty = h("div", { class: "empty" });
    this.scroll = h("div", { class: "scroll", role: "presentation", tabindex: "-1" }, this.space, this.empty);
    this.grid = h(
      "div", { class: "grid", role: "grid", tabindex: "0", "aria-label": "Results", "aria-readonly": "true", "aria-colcount": COLUMNS.length },
      h("div", { class: "titles", role: "rowgroup" }, h("div", { class: "row", role: "row", "aria-rowindex": "1" }, ...titles)), this.scroll,
    );
    this.detail = h("section", { class: "detail", id: id("detail"), tabindex: "-1", "aria-label": "One item", hidden: "" });
    this.spoken = h("div", { class: "sr", role: "status", "aria-live": "polite" });
    this.note = h("div", { class: "note", hidden: "" });
    this.root = h(
      "div", { class: "pcv" },
      h("div", { class: "head" }, this.title, this.pill, this.progress, h("span", { class: "grow" }), this.stop),
      this.bar, this.facts, this.notes, this.problem, this.groups, this.chips, this.grid, this.detail, this.note, this.spoken,
    );
    this.el.replaceChildren(this.root);
  }

  listen() {
    const signal = this.ended.signal;
    this.onState = () => this.take(this.model.get("state"), true);
    this.onMessage = (content, buffers) => this.receive(content, buffers);
    this.onLive = () => this.draw();
    this.model.on("change:state", this.onState);
    this.channel.on("msg:custom", this.onMessage);
    this.channel.on("comm_live_update", this.onLive);
    this.stop.addEventListener("click", () => {
      this.stopping = true;
      this.ask({ kind: "cancel" });
      this.draw();
    });
    this.newest.addEventListener("click", () => {
      this.at.follow = true;
      this.draw();
    });
    this.rows.addEventListener("click", (event) => {
      const row = event.target.closest(".pcv-row");
      if (!row || String(getSelection())) return; // somebody marks text
      this.grid.focus({ preventScroll: true });
      this.select(Number(row.dataset.index));
      this.open(true);
    });
    this.scroll.addEventListener("scroll", () => this.onScroll());
    const touched = () => (this.touched = performance.now());
    for (const kind of ["wheel", "touchmove", "pointerdown"]) this.scroll.addEventListener(kind, touched, { passive: true });
    addEventListener("pointermove", (event) => event.buttons && this.scroll.contains(event.target) && touched(), { signal, passive: true });
    // Before the notebook sees the keys, which would move from cell to cell; only those meant for the table are taken.
    addEventListener("keydown", (event) => this.onKey(event), { capture: true, signal });
    this.grid.addEventListener("focusin", () => (this.at.focused = true));
    // Later, because being taken off the page also looks like losing the focus.
    this.grid.addEventListener("focusout", () => setTimeout(() => (this.at.focused = this.at.focused && (!this.root.isConnected || this.grid.contains(document.activeElement)))));
    this.sizes = new ResizeObserver(() => {
      this.root.classList.toggle("pcv-narrow", this.root.clientWidth < 760);
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
    this.timer = setInterval(() => this.pulse(), 1000);
  }

  dispose() {
    this.ended.abort();
    clearInterval(this.timer);
    this.sizes.disconnect();
    this.sight.disconnect();
    this.model.off("change:state", this.onState);
    this.channel.off("msg:custom", this.onMessage);
    this.channel.off("comm_live_update", this.onLive);
    this.pending.clear();
  }

  // -- talking with the kernel

  ask(request, tries = 0) {
    if (this.channel.comm_live === false) return;
    const rid = `${this.uid}-${++this.asked}`;
    this.pending.set(rid, { request, tries, sent: performance.now() });
    this.channel.send({ ...request, rid });
  }

  waiting(kind) {
    return [...this.pending.values()].filter((one) => one.request.kind === kind);
  }

  receive(content, buffers) {
    const known = this.pending.get(content.rid);
    if (!known) return; // another view asked
    this.pending.delete(content.rid);
    this.heard = performance.now();
    const body = buffers?.length ? JSON.parse(new TextDecoder().decode(buffers[0])) : null;
    if (content.kind === "snapshot") this.take(content.state, false);
    if (content.kind === "rows") this.keep(known.request, body);
    if (content.kind === "item" && known.request.ordinal === this.wanted) this.describe(body);
  }

  take(state, ticked) {
    const order = compare(this.state.revision, state.revision);
    if (order === "old") return;
    this.heard = this.received = performance.now();
    this.state = state;
    if (ticked && order === "gap" && !this.waiting("resync").length) this.ask({ kind: "resync" });
    this.update();
  }

  pulse() {
    if (!this.root.isConnected) return;
    const now = performance.now();
    for (const [rid, one] of this.pending) {
      if (now - one.sent < PATIENCE_MS * 2 ** Math.min(one.tries, 5)) continue;
      this.pending.delete(rid);
      this.ask(one.request, one.tries + 1);
    }
    if (!this.state.frozen && now - this.heard > SILENCE_MS && !this.waiting("resync").length && !this.waiting("ready").length) {
      this.ask({ kind: "resync" });
    }
    this.update();
  }

  // -- totals

  get total() {
    return this.at.outcome ? this.state[this.at.outcome] : this.state.done;
  }

  update() {
    const s = this.state;
    say(this.title, s.name);
    this.title.title = s.name;
    say(this.pill, { cancelling: "stopping" }[s.status] ?? s.status);
    this.pill.dataset.s = s.status;
    say(this.progress, `${count(s.done)} of ${count(s.total)}`);
    this.stop.hidden = s.frozen;
    this.stop.disabled = s.status === "cancelling" || Boolean(this.stopping);
    say(this.stop, this.stop.disabled ? "Stopping…" : "Stop");
    this.segments(this.bar, s, s.total);
    this.bar.setAttribute("aria-valuemax", s.total);
    this.bar.setAttribute("aria-valuenow", s.done);
    this.bar.setAttribute("aria-valuetext", `${s.done} of ${s.total}: ${OUTCOMES.map((o) => `${s[o]} ${o}`).join(", ")}`);
    this.tellFacts();
    this.problem.hidden = !s.problem;
    say(this.problem, s.problem);
    this.tellGroups();
    for (const [outcome, { button, number }] of Object.entries(this.chip)) {
      say(number, count(outcome ? s[outcome] : s.done));
      button.setAttribute("aria-pressed", String(this.at.outcome === outcome));
    }
    this.announce();
    this.draw();
  }

  segments(bar, totals, whole) {
    if (!bar.children.length) bar.append(...OUTCOMES.map((outcome) => h("i", { "data-o": outcome })));
    OUTCOMES.forEach((outcome, i) => {
      bar.children[i].style.width = `${(100 * totals[outcome]) / Math.max(1, whole)}%`;
      bar.children[i].title = `${count(totals[outcome])} ${outcome}`;
    });
  }

  tellFacts() {
    const s = this.state;
    const facts = [["Pass rate", s.rate || "–"], ...(s.score ? [["Score", s.score]] : []), ["Cost", s.cost]];
    const [only, ...others] = s.groups;
    if (only && !others.length) {
      facts.unshift(["Model", only.model]);
      if (only.p50_ms !== null) facts.push(["Median latency", milliseconds(only.p50_ms)]);
    }
    if (s.elapsed_s !== null) {
      const elapsed = s.elapsed_s + (s.frozen ? 0 : (performance.now() - this.received) / 1000);
      facts.push([s.frozen ? "Took" : "Elapsed", elapsed < 1 ? "under 1 s" : duration(elapsed)]);
      const left = s.status === "running" ? remaining(s.elapsed_s, s.done, s.total) : null;
      if (left !== null) facts.push(["Left, about", duration(left)]);
    }
    say(this.notes, s.notes.join(" · "));
    this.notes.hidden = !s.notes.length;
    while (this.facts.children.length > facts.length) this.facts.lastChild.remove();
    facts.forEach(([name, value], i) => {
      if (!this.facts.children[i]) this.facts.append(h("span", {}, document.createTextNode(""), h("b")));
      const [text, bold] = this.facts.children[i].childNodes;
      if (text.data !== `${name} `) text.data = `${name} `;
      say(bold, value);
    });
  }

  tellGroups() {
    const { groups, more_groups: more } = this.state;
    this.groups.hidden = groups.length < 2;
    const [labels, models] = ["label", "model"].map((part) => [...new Set(groups.map((group) => group[part]))]);
    this.root.classList.toggle("pcv-one-label", labels.length < 2 && !more);
    this.root.classList.toggle("pcv-one-model", models.length < 2 && !more);
    const same = { label: shared(labels), model: shared(models) };
    if (more) same.label = same.model = 0; // somewhere there may be others
    if (same.label !== this.same.label || same.model !== this.same.model) this.same = same;
    if (this.groups.hidden) return;
    if (!this.body) {
      const head = [["who", "card version"], ["who", "model"], ["wide", "outcomes"], ["rate", "pass rate [95 %]"], ["score", "score [95 %]"], ["n", "p50"], ["cost", "cost"]];
      this.body = h("tbody");
      this.groups.append(h("table", { class: "groups" }, h("thead", {}, h("tr", {}, ...head.map(([kind, text]) => h("th", { class: kind, scope: "col" }, text)))), this.body));
    }
    const most = Math.max(...groups.map((group) => group.done));
    this.root.classList.toggle("pcv-no-score", !groups.some((group) => group.score));
    this.root.classList.toggle("pcv-no-cost", !groups.some((group) => group.priced)); // said above for the whole run
    groups.forEach((group, i) => {
      if (!this.body.children[i]) {
        const cells = ["who", "who", "wide", "rate", "score", "n", "cost"].map((kind) => h("td", { class: kind }));
        for (const cell of [cells[0], cells[1]]) cell.append(h("div", { class: "halves" }));
        cells[2].append(h("div", { class: "bar" }));
        this.body.append(h("tr", {}, ...cells));
      }
      const cells = this.body.children[i].children;
      sayName(cells[0], group.label, group.label, false);
      sayName(cells[1], group.model, group.model, true);
      const texts = [null, null, null, group.rate, group.score, milliseconds(group.p50_ms), group.cost];
      texts.forEach((text, k) => {
        if (text === null) return;
        say(cells[k], k === 6 ? text.replace(" (", "\n(") : text.replace(", ", ",\n"));
        cells[k].title = k === 3 || k === 6 ? [text, ...group.notes].join("\n") : text;
      });
      this.segments(cells[2].firstChild, group, most);
    });
    if (more) this.tell(`${count(more)} more combinations are not listed.`);
  }

  tell(text) {
    this.note.hidden = !text;
    say(this.note, text);
  }

  announce() {
    const s = this.state;
    // A quarter at a time: whoever listens is not to be told of every row.
    const step = s.frozen ? "end" : Math.floor((4 * s.done) / Math.max(1, s.total));
    const news = `${s.status} ${step}`;
    if (news === this.told) return;
    this.told = news;
    say(this.spoken, `${s.name}: ${s.status}, ${s.done} of ${s.total}, ${s.pass} pass, ${s.fail} fail, ${s.error} error.`);
  }

  // -- the table

  filter(outcome) {
    if (this.at.outcome === outcome) return;
    this.close();
    Object.assign(this.at, { outcome, selected: -1, scroll: 0, follow: !this.state.frozen });
    this.scroll.scrollTop = 0;
    this.update();
  }

  draw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (this.root.isConnected) this.paint();
    });
  }

  paint() {
    const total = this.total;
    // As high as the whole run needs, so that nothing below it moves while rows arrive.
    this.scroll.style.height = `${ROW * Math.max(3, Math.min(12, this.state.frozen ? this.state.done : this.state.total))}px`;
    const viewport = this.scroll.clientHeight;
    this.space.style.height = `${place(0, viewport, total).height}px`;
    if (this.at.follow) this.scroll.scrollTop = this.at.scroll = Math.max(0, this.scroll.scrollHeight - viewport);
    const { first, last, offset } = place(this.scroll.scrollTop, viewport, total);
    while (this.nodes.length < last - first) this.nodes.push(this.addRow());
    while (this.nodes.length > last - first) this.nodes.pop().remove();
    this.rows.style.transform = `translateY(${offset}px)`;
    this.nodes.forEach((node, i) => this.fillRow(node, first + i));
    this.grid.setAttribute("aria-rowcount", total + 1);
    const seen = this.at.selected >= first && this.at.selected < last;
    if (seen) this.grid.setAttribute("aria-activedescendant", `${this.uid}-${this.at.selected}`);
    else this.grid.removeAttribute("aria-activedescendant");
    this.newest.hidden = this.at.follow || this.state.frozen || total * ROW <= viewport;
    this.empty.hidden = total > 0;
    say(this.empty, this.at.outcome ? `Nothing here is “${this.at.outcome}”.` : this.state.frozen ? "There are no results." : "Waiting for the first answer…");
    if (this.channel.comm_live === false) this.tell("The kernel is gone: rows that were not shown before cannot be loaded any more.");
    this.load(first, last);
    if (this.at.open && this.wanted === undefined) this.open();
    if (this.refocus && document.activeElement === document.body) this.grid.focus({ preventScroll: true });
    this.refocus = false;
  }

  addRow() {
    const node = h("div", { class: "row", role: "row" }, ...COLUMNS.map(([name]) => h("span", { class: name, role: "gridcell" })));
    node.firstChild.append(h("span", { class: "dot" }), document.createTextNode(""));
    this.rows.append(node);
    return node;
  }

  fillRow(node, index) {
    const row = this.row(index);
    node.setAttribute("aria-selected", String(index === this.at.selected));
    if (node.shown === row && node.index === index && node.same === this.same) return;
    Object.assign(node, { shown: row, index, same: this.same });
    node.id = `${this.uid}-${index}`;
    node.dataset.index = index;
    node.setAttribute("aria-rowindex", index + 2);
    node.classList.toggle("pcv-wait", !row);
    const [, outcome, name, repeat, label, model, answer, latency, why] = row ?? [];
    const [first, ...cells] = node.children;
    first.dataset.o = outcome ?? "";
    first.firstChild.hidden = !row;
    first.lastChild.data = outcome ?? "";
    const texts = row ? [repeat ? `${name} #${repeat + 1}` : name, label, model, answer, milliseconds(latency), why] : ["", "", "", "", "", ""];
    texts.forEach((text, i) => {
      if (i === 1 || i === 2) sayName(cells[i], text.slice(i === 1 ? this.same.label : this.same.model), text, i === 2);
      else Object.assign(cells[i], { textContent: text, title: text });
    });
  }

  row(index) {
    return this.at.cache.get(`${this.at.outcome}|${Math.floor(index / WINDOW)}`)?.[index % WINDOW];
  }

  load(first, last) {
    const loading = this.waiting("rows");
    const now = performance.now();
    let free = IN_FLIGHT - loading.length;
    for (const w of windowsFor(first, last)) {
      const key = `${this.at.outcome}|${w}`;
      const expected = Math.min(WINDOW, this.total - w * WINDOW);
      const known = this.at.cache.get(key)?.length ?? 0;
      if (known >= expected || free <= 0 || loading.some((one) => one.request.key === key)) continue;
      if (now - (this.short.get(key) ?? -Infinity) < 1000) continue;
      free--;
      this.ask({ kind: "rows", from: w * WINDOW, to: (w + 1) * WINDOW, outcome: this.at.outcome, key });
    }
  }

  keep({ key, outcome, from }, rows) {
    const expected = Math.min(WINDOW, (outcome ? this.state[outcome] : this.state.done) - from);
    // Less than the totals promise: not to be asked for again at once, without end.
    if (rows.length < expected) this.short.set(key, performance.now());
    else this.short.delete(key);
    if (rows.length >= (this.at.cache.get(key)?.length ?? 0)) this.at.cache.set(key, rows);
    this.draw();
  }

  onScroll() {
    this.at.scroll = this.scroll.scrollTop;
    const end = this.scroll.scrollHeight - this.scroll.clientHeight - this.scroll.scrollTop < ROW;
    if (end) this.at.follow = !this.state.frozen || this.at.follow;
    else if (performance.now() - (this.touched ?? -Infinity) < 1000) this.at.follow = false;
    this.draw();
  }

  select(index) {
    const total = this.total;
    if (!total) return;
    this.at.selected = Math.max(0, Math.min(total - 1, index));
    this.at.follow = false;
    this.scroll.scrollTop = scrollFor(this.at.selected, this.scroll.scrollTop, this.scroll.clientHeight, total);
    this.draw();
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const inGrid = this.grid.contains(event.target);
    if (!inGrid && !this.detail.contains(event.target)) return;
    const page = Math.max(1, Math.floor(this.scroll.clientHeight / ROW) - 1);
    const here = this.at.selected;
    const moves = {
      ArrowDown: here + 1, ArrowUp: here < 0 ? 0 : here - 1, PageDown: here + page, PageUp: here - page, Home: 0, End: this.total - 1,
    };
    if (inGrid && event.key in moves) {
      this.select(moves[event.key]);
      if (this.at.open) this.open();
    } else if (inGrid && event.key === "Enter") {
      if (here >= 0) this.open(true);
    } else if (event.key === "Escape" && this.at.open) {
      this.close();
      this.grid.focus({ preventScroll: true });
    } else return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  // -- one item

  open(reveal = false) {
    this.at.open = true;
    this.reveal ||= reveal;
    const row = this.row(this.at.selected);
    this.wanted = row?.[0]; // not loaded yet: `paint` comes back
    if (row) this.ask({ kind: "item", ordinal: row[0] });
  }

  close() {
    this.at.open = false;
    this.wanted = undefined;
    this.detail.hidden = true;
  }

  describe(item) {
    if (!item) return;
    const [, outcome, name, repeat, label, model] = item.row;
    const close = h("button", { class: "close", type: "button", "aria-label": "Close", title: "Close (Esc)" }, "×");
    close.addEventListener("click", () => {
      this.close();
      this.grid.focus({ preventScroll: true });
    });
    const mark = (text) => h("span", { class: "o" }, h("span", { class: "dot", "data-o": text }), text);
    const what = `${name}${repeat ? ` #${repeat + 1}` : ""} · ${label} · ${model}`;
    const facts = [["Latency", item.latency_ms != null && milliseconds(item.latency_ms)], ["First token", item.ttft_ms != null && milliseconds(item.ttft_ms)],
      ["Tokens", item.tokens_input != null && `${count(item.tokens_input)} in, ${item.tokens_output == null ? "?" : count(item.tokens_output)} out`],
      ["Cost", item.latency_ms != null && (item.cost_usd ?? "not priced")], ["Finished", item.finish_reason], ["Attempts", item.attempts > 1 && String(item.attempts)],
      ["Score", item.score != null && item.score.toFixed(2)], ["From", item.cached && "the store"], ["Further", item.calls.join(", ")]];
    const body = h("div", { class: "body" });
    body.append(h("div", { class: "facts" }, ...facts.filter(([, value]) => value).map(([title, value]) => h("span", {}, `${title} `, h("b", {}, value)))));
    if (outcome !== "pass" && item.message && !item.verdicts.length) body.append(h("h5", {}, "What happened"), h("pre", {}, item.message));
    if (item.output !== null) {
      body.append(h("h5", {}, "Answer"), h("pre", {}, item.output || "(empty)"));
      if (item.cut) body.append(h("div", { class: "note" }, `Cut here: the whole answer has ${count(item.cut)} characters.`));
    }
    if (item.tool_calls.length) body.append(h("h5", {}, "Tool calls"), h("pre", {}, item.tool_calls.join("\n")));
    if (item.raw !== null) body.append(h("h5", {}, item.output === null ? "The reply could not be read; it was kept" : "Not all of the reply could be read"), h("pre", {}, item.raw));
    if (item.verdicts.length) {
      const lines = item.verdicts.map((verdict) => {
        const what = [verdict.name, ...verdict.facts].join(", ");
        const said = h("span", {}, verdict.message, verdict.reason ? h("span", { class: "code" }, ` ${verdict.reason}`) : "");
        // Parts of a set stand further in, below it; more than a few levels would leave no room.
        const line = h("div", { class: "verdict", role: "listitem" }, mark(verdict.outcome), h("span", {}, what), said);
        line.style.paddingLeft = `${18 * Math.min(6, verdict.depth)}px`;
        return line;
      });
      if (item.more_verdicts) lines.push(h("div", { class: "note" }, `and ${count(item.more_verdicts)} more`));
      body.append(h("h5", {}, "Verdicts"), h("div", { class: "said", role: "list" }, ...lines));
    }
    this.detail.replaceChildren(h("header", {}, mark(outcome), h("span", { class: "what", title: what }, what), h("span", { class: "grow" }), close), body);
    this.detail.hidden = false;
    if (this.reveal) this.detail.scrollIntoView({ block: "nearest" });
    this.reveal = false;
    say(this.spoken, `${what}: ${outcome}.`);
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
