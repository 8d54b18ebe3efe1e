// The live view of a run. The kernel sends totals; this asks for the rows it shows (run_view.py lists the messages).

import { Greeting } from "./greeting.js";
import { Lru, OUTCOMES, ROW, WINDOW, compare, count, duration, h, milliseconds, place, say, sayName, scrollFor, shared, windowsFor } from "./page.js";
import { Choices, Controls, copyCase, questionOf } from "./run_controls.js";
import { Matrix } from "./run_matrix.js";
import { Story } from "./run_story.js";

export { Lru, ROW, WINDOW, compare, count, duration, halves, milliseconds, place, remaining, scrollFor, shared, windowsFor } from "./page.js";

const KEEP = 120; // windows remembered
const IN_FLIGHT = 4;
const PATIENCE_MS = 4000; // before an unanswered request is repeated; doubled each time
const LONG = new Set(["story", "case", "do", "others"]); // what is answered when it is done, and done once
const LOOK_MS = 20_000; // before somebody who goes on looking is mentioned again
const SILENCE_MS = 5000; // before a running run is asked whether it still runs
const COLUMNS = [
  ["outcome", "outcome"], ["case", "case"], ["label", "card version"], ["model", "model"],
  ["answer", "answer"], ["n", "latency"], ["why", "why"],
];
const BEGINNING = { outcome: "", changed: "", text: "", sort: "", descending: false, matrix: null, scroll: 0, selected: -1, ordinal: null, repeats: [], open: false, focused: false };

let views = 0;
const PAGE = Math.random().toString(36).slice(2); // another one after the page was loaded anew
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
    this.plan = null;
    const fresh = () => ({ ...BEGINNING, follow: !this.state.frozen, epoch: this.state.epoch, run: this.state.run_id, cache: new Lru(KEEP), columns: new Set(), items: new Set(), keys: new Map() });
    this.at = { ...(memory.get(channel) ?? fresh()), focused: false };
    this.refocus = Boolean(memory.get(channel)?.focused);
    memory.set(channel, this.at);
    this.nodes = [];
    this.same = { label: 0, model: 0 }; // beginnings that are left out in the table
    this.ended = new AbortController();
    this.build();
    this.listen();
    this.greeting = new Greeting(() => this.ask({ kind: "ready", page: PAGE }), this.ended.signal);
    this.update();
  }

  // -- its parts

  build() {
    this.title = h("span", { class: "name" });
    this.pill = h("span", { class: "pill" });
    this.progress = h("span", { class: "progress" });
    this.controls = new Controls(this);
    this.bar = h("div", { class: "bar", role: "progressbar", "aria-label": "Progress", "aria-valuemin": "0" });
    this.facts = h("div", { class: "facts" });
    this.notes = h("div", { class: "note", hidden: "" });
    this.problem = h("p", { class: "problem", role: "alert", hidden: "" });
    this.groups = h("div", { class: "side" });
    this.choices = new Choices(this);
    this.matrix = new Matrix(this);
    this.story = new Story(this);
    const titles = COLUMNS.map(([name, text]) => h("span", { class: name, role: "columnheader" }, text));
    this.rows = h("div", { class: "rows", role: "rowgroup" });
    this.space = h("div", { class: "space", role: "presentation" }, this.rows);
    this.empty = h("div", { class: "empty" });
    this.scroll = h("div", { class: "scroll", role: "presentation", tabindex: "-1" }, this.space, this.empty);
    this.grid = h(
      "div", { class: "grid", role: "grid", tabindex: "0", "aria-label": "Results", "aria-readonly": "true", "aria-multiselectable": "true", "aria-colcount": COLUMNS.length },
      h("div", { class: "titles", role: "rowgroup" }, h("div", { class: "row", role: "row", "aria-rowindex": "1" }, ...titles)), this.scroll,
    );
    this.below = h("div", { class: "below", hidden: "" });
    this.spoken = h("div", { class: "sr", role: "status", "aria-live": "polite" });
    this.note = h("div", { class: "note", hidden: "" });
    this.root = h(
      "div", { class: "pcv" },
      h("div", { class: "head" }, this.title, this.pill, this.progress, h("span", { class: "grow" }), this.controls.buttons),
      this.controls.form, this.bar, this.facts, this.controls.purse, this.notes, this.problem, this.groups, this.choices.chips, this.choices.bar,
      this.choices.marked, this.grid, this.matrix.grid, this.note, this.story.panel, this.below, this.spoken,
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
    this.choices.newest.addEventListener("click", () => {
      this.at.follow = true;
      this.draw();
    });
    this.rows.addEventListener("click", (event) => {
      const row = event.target.closest(".pcv-row");
      if (!row || String(getSelection())) return; // somebody marks text
      this.grid.focus({ preventScroll: true });
      this.select(Number(row.dataset.index));
      if (event.ctrlKey || event.metaKey) this.markItem();
      else this.open(true);
    });
    this.scroll.addEventListener("scroll", () => this.onScroll());
    const touched = () => (this.touched = performance.now());
    for (const kind of ["wheel", "touchmove", "pointerdown"]) this.scroll.addEventListener(kind, touched, { passive: true });
    addEventListener("pointermove", (event) => event.buttons && this.scroll.contains(event.target) && touched(), { signal, passive: true });
    for (const kind of ["pointermove", "pointerdown", "wheel", "keydown", "focusin"]) {
      this.root.addEventListener(kind, () => this.lookedAt(), { signal, passive: true });
    }
    // Before the notebook sees the keys, which would move from cell to cell; only those meant for the table are taken.
    addEventListener("keydown", (event) => this.onKey(event), { capture: true, signal });
    for (const grid of [this.grid, this.matrix.grid]) {
      grid.addEventListener("focusin", () => (this.at.focused = true));
      // Later, because being taken off the page also looks like losing the focus.
      grid.addEventListener("focusout", () => setTimeout(() => (this.at.focused = this.at.focused && (!this.root.isConnected || grid.contains(document.activeElement)))));
    }
    this.sizes = new ResizeObserver(() => {
      this.root.classList.toggle("pcv-narrow", this.root.clientWidth < 760);
      this.draw();
    });
    this.sizes.observe(this.root);
    // Notebooks take outputs that are out of sight off the page, and they come back scrolled to the top.
    this.sight = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      this.scroll.scrollTop = this.at.scroll;
      this.matrix.restore();
      this.draw();
    });
    for (const scroll of [this.scroll, this.matrix.scroll]) this.sight.observe(scroll);
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
    this.belowView?.remove();
  }

  // -- talking with the kernel

  ask(request, tries = 0) {
    if (this.channel.comm_live === false) return false;
    const rid = `${this.uid}-${++this.asked}`;
    this.pending.set(rid, { request, tries, sent: performance.now() });
    this.channel.send({ ...request, rid });
    return true;
  }

  heardBack() {
    if (!this.greeting.open) return;
    this.greeting.answered();
    for (const [rid, one] of this.pending) if (one.request.kind === "ready") this.pending.delete(rid);
  }

  /** The view stays as long as somebody uses it. */
  lookedAt() {
    const now = performance.now();
    if (now - (this.mentioned ?? -Infinity) < LOOK_MS || this.channel.comm_live === false) return;
    this.mentioned = now;
    this.channel.send({ kind: "look" });
  }

  waiting(kind) {
    return [...this.pending.values()].filter((one) => one.request.kind === kind);
  }

  receive(content, buffers) {
    const known = this.pending.get(content.rid);
    if (!known) return; // another view asked
    this.pending.delete(content.rid);
    this.heardBack();
    this.heard = performance.now();
    const body = buffers?.length ? JSON.parse(new TextDecoder().decode(buffers[0])) : null;
    // What it has found so far comes with the answer; the totals may be older.
    if (content.found) this.state.found[known.request.key] = content.found;
    this.understand(content, known.request, body);
  }

  understand(content, request, body) {
    if (content.kind === "snapshot") {
      this.plan = content.plan;
      this.take(content.state, false);
    } else if (content.kind === "rows") this.keep(request, body);
    else if (content.kind === "cells") this.matrix.keep(request, content, body);
    else if (content.kind === "item" && request.ordinal === this.wanted) this.describe(body);
    else if (content.kind === "story" && request.ordinal === this.wanted) this.story.tellStory(content);
    else if (content.kind === "case") copyCase(this, content);
    else if (content.kind === "others") this.choices.takeOthers(content);
    else if (content.kind === "do" || content.kind === "compare") this.tellDone(request, content);
  }

  tellDone(request, content) {
    const text = content.problem ?? content.said ?? "";
    if (request.ordinal !== undefined && this.at.open) this.story.tell(text);
    else this.tell(text);
    if (!content.problem && request.action === "again") this.reread = request.epoch;
  }

  take(state, ticked) {
    const order = compare(this.state.revision, state.revision);
    if (order === "old") return;
    this.heard = this.received = performance.now();
    this.state = state;
    if (state.epoch !== this.at.epoch) this.begin(state);
    if (ticked && order === "gap" && !this.waiting("resync").length) this.ask({ kind: "resync" });
    this.update();
  }

  /** Everything is counted anew, or this is another run: nothing that was loaded holds any more. */
  begin(state) {
    if (state.run_id !== this.at.run) {
      this.close();
      Object.assign(this.at, { columns: new Set(), items: new Set(), ordinal: null, repeats: [], changed: "" });
    }
    Object.assign(this.at, { epoch: state.epoch, run: state.run_id, cache: new Lru(KEEP), keys: new Map(), follow: !state.frozen, scroll: 0, selected: -1 });
    this.short.clear();
    this.stopping = false;
    this.ask({ kind: "resync" });
  }

  pulse() {
    if (!this.root.isConnected) return;
    const now = performance.now();
    for (const [rid, one] of this.pending) {
      if (one.request.kind === "ready" || LONG.has(one.request.kind) || now - one.sent < PATIENCE_MS * 2 ** Math.min(one.tries, 5)) continue;
      this.pending.delete(rid);
      this.ask(one.request, one.tries + 1);
    }
    if (!this.state.frozen && now - this.heard > SILENCE_MS && !this.waiting("resync").length && !this.greeting.open) {
      this.ask({ kind: "resync" });
    }
    this.update();
  }

  // -- totals

  // -- what is asked for

  get question() {
    return questionOf(this.at);
  }

  /** Whether what is shown is a part, or in another order. */
  asking() {
    return Boolean(this.at.outcome || this.question);
  }

  get key() {
    const asked = JSON.stringify(this.question ?? [this.at.outcome, "", "", "", false]);
    if (!this.at.keys.has(asked)) this.at.keys.set(asked, `q${this.uid}-${this.at.keys.size}`);
    return this.at.keys.get(asked);
  }

  /** What was found so far: number, looked at, revision, problem. */
  get found() {
    return this.state.found[this.key] ?? [0, 0, -1, ""];
  }

  /** What names the rows of the list in memory; another order is other rows. */
  rowKey() {
    return this.question ? `${this.key}|${this.found[2]}` : this.at.outcome;
  }

  foundKey() {
    return this.asking() ? `${this.key}|${this.found[2]}` : "";
  }

  questioned() {
    if (this.question) return { question: this.question, key: this.key };
    return this.at.outcome ? { question: [this.at.outcome, "", "", "", false], key: this.key } : {};
  }

  /** What to say about a search that goes on, or has failed. */
  searching() {
    const [n, looked, , problem] = this.found;
    if (!this.question) return "";
    if (problem) return problem;
    return looked < this.state.done ? `${count(n)} found, ${count(looked)} of ${count(this.state.done)} looked at…` : `${count(n)} found`;
  }

  choose(change) {
    if (Object.entries(change).every(([name, value]) => this.at[name] === value)) return;
    this.close();
    Object.assign(this.at, change, { selected: -1, scroll: 0 });
    this.at.follow = !this.state.frozen && !this.at.sort;
    this.scroll.scrollTop = this.matrix.scroll.scrollTop = 0;
    this.matrix.at.row = -1;
    this.update();
  }

  look(matrix) {
    this.at.matrix = matrix;
    this.close();
    this.update();
  }

  /** Whether the matrix is shown: where there is more than one column, unless somebody has chosen. */
  get matrixed() {
    const { grid } = this.state;
    return Boolean(grid) && (this.at.matrix ?? grid[0] * grid[1] > 1);
  }

  /** How much of the names all versions, or all models, have in common. */
  sameNames() {
    const { labels, models } = this.plan;
    return { label: shared(labels), model: shared(models) };
  }

  // -- what is marked

  markColumn(column) {
    const { columns } = this.at;
    if (!columns.delete(column)) columns.add(column);
    this.marking();
  }

  markItem() {
    const ordinal = this.row(this.at.selected)?.[0];
    if (ordinal === undefined) return;
    const { items } = this.at;
    if (!items.delete(ordinal)) items.add(ordinal);
    this.marking();
  }

  unmark() {
    this.at.columns.clear();
    this.at.items.clear();
    this.marking();
  }

  marking() {
    this.ask({ kind: "select", columns: [...this.at.columns], ordinals: [...this.at.items] });
    this.update();
  }

  cannotCompare() {
    return this.state.compares ? "" : "Nobody compares: give the view view.on_compare(...).";
  }

  compareMarked() {
    this.ask({ kind: "compare", columns: [...this.at.columns], ordinals: [...this.at.items] });
  }

  compareItem(ordinal) {
    const width = this.plan ? this.plan.labels.length * this.plan.models.length : 0;
    const columns = width === 2 ? [0, 1] : this.plan ? [ordinal % width] : [];
    this.ask({ kind: "compare", columns, ordinals: [ordinal], ordinal });
  }

  /** Show what Python has put below the results, such as a comparison: a widget of its own. */
  async tellBelow() {
    const { below: id = "", below_text: text = "" } = this.state;
    if (this.belowShown === id + text) return;
    this.belowShown = id + text;
    this.belowView?.remove();
    this.belowView = undefined;
    this.below.hidden = !id && !text;
    const close = h("button", { class: "button", type: "button" }, "Close the comparison");
    close.addEventListener("click", () => this.ask({ kind: "compare", columns: [], ordinals: [] }));
    this.below.replaceChildren(h("div", { class: "below-head" }, h("span", { class: "grow" }, text), close));
    if (!id) return;
    const manager = this.model.widget_manager;
    const view = await manager.create_view(await manager.get_model(id));
    if (this.belowShown !== id + text) return view.remove();
    this.belowView = view;
    this.below.append(view.el);
    this.below.scrollIntoView?.({ block: "nearest" });
  }

  /** A button that says why it does nothing. */
  button(text, why, act, tell) {
    const button = h("button", { class: "button", type: "button", "aria-disabled": String(Boolean(why)), title: why }, text);
    button.addEventListener("click", () => (why ? tell(why) : act()));
    return button;
  }

  // -- totals

  get total() {
    if (this.question) return this.found[0];
    return this.at.outcome ? this.state[this.at.outcome] : this.state.done;
  }

  update() {
    const s = this.state;
    this.tellBelow();
    say(this.title, s.name);
    this.title.title = s.name;
    say(this.pill, { cancelling: "stopping" }[s.status] ?? s.status);
    this.pill.dataset.s = s.status;
    say(this.progress, `${count(s.done)} of ${count(s.total)}`);
    this.controls.update();
    this.segments(this.bar, s, s.total);
    this.bar.setAttribute("aria-valuemax", s.total);
    this.bar.setAttribute("aria-valuenow", s.done);
    this.bar.setAttribute("aria-valuetext", `${s.done} of ${s.total}: ${OUTCOMES.map((o) => `${s[o]} ${o}`).join(", ")}`);
    this.tellFacts();
    this.problem.hidden = !s.problem;
    say(this.problem, s.problem);
    this.tellGroups();
    this.choices.update();
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
    if (s.per_s !== null) facts.push(["Speed", s.per_s < 10 ? `${s.per_s.toFixed(1)}/s` : `${count(Math.round(s.per_s))}/s`]);
    if (s.retries) facts.push(["Retries", count(s.retries)]);
    if (s.elapsed_s !== null) {
      const elapsed = s.elapsed_s + (s.frozen ? 0 : (performance.now() - this.received) / 1000);
      facts.push([s.frozen ? "Took" : "Elapsed", elapsed < 1 ? "under 1 s" : duration(elapsed)]);
      const left = s.status === "running" && s.per_s ? (s.total - s.done) / s.per_s : null;
      if (left) facts.push(["Left, about", duration(left)]);
    }
    if (s.run_id) facts.push(["Attach", `pc.attach("${s.run_id}")`]);
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

  draw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (this.root.isConnected) this.paint();
    });
  }

  paint() {
    const matrixed = this.matrixed;
    this.grid.hidden = matrixed;
    this.matrix.grid.hidden = !matrixed;
    if (matrixed) {
      this.choices.newest.hidden = true;
      if (this.plan) this.matrix.paint();
    } else this.paintList();
    if (this.channel.comm_live === false) this.tell("The kernel is gone: rows that were not shown before cannot be loaded any more.");
    if (this.reread !== undefined && this.reread !== this.state.epoch && this.state.frozen) {
      // Asked again in the same run: the old answer stood there until the new one has come.
      this.reread = undefined;
      if (this.at.open) this.openItem(this.at.ordinal, this.at.repeats, false);
    }
    if (this.at.open && this.wanted === undefined) this.open();
    if (this.refocus && document.activeElement === document.body) this.focusGrid();
    this.refocus = false;
  }

  focusGrid() {
    (this.matrixed ? this.matrix.grid : this.grid).focus({ preventScroll: true });
  }

  paintList() {
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
    this.choices.newest.hidden = Boolean(this.at.sort) || this.at.follow || this.state.frozen || total * ROW <= viewport;
    this.empty.hidden = total > 0;
    say(this.empty, this.question ? this.searching() || "Looking…" : this.at.outcome ? `Nothing here is “${this.at.outcome}”.` : this.state.frozen ? "There are no results." : "Waiting for the first answer…");
    this.load(first, last);
  }

  addRow() {
    const node = h("div", { class: "row", role: "row" }, ...COLUMNS.map(([name]) => h("span", { class: name, role: "gridcell" })));
    node.firstChild.append(h("span", { class: "dot" }), document.createTextNode(""));
    this.rows.append(node);
    return node;
  }

  fillRow(node, index) {
    const row = this.row(index);
    const marked = row !== undefined && this.at.items.has(row[0]);
    node.classList.toggle("pcv-here", index === this.at.selected);
    node.setAttribute("aria-selected", String(marked));
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
    return this.at.cache.get(`${this.rowKey()}|${Math.floor(index / WINDOW)}`)?.[index % WINDOW];
  }

  load(first, last) {
    if (this.greeting.open) return;
    const { total } = this;
    const loading = this.waiting("rows");
    const now = performance.now();
    let free = IN_FLIGHT - loading.length;
    // Nothing is found before it is asked for.
    for (const w of this.question && !total ? [0] : windowsFor(first, last)) {
      const key = `${this.rowKey()}|${w}`;
      const expected = Math.min(WINDOW, total - w * WINDOW);
      const known = this.at.cache.get(key)?.length ?? 0;
      if ((known >= expected && (total || this.state.found[this.key])) || free <= 0 || loading.some((one) => one.request.window === key)) continue;
      if (now - (this.short.get(key) ?? -Infinity) < 1000) continue;
      free--;
      const wanted = this.question ? { ...this.questioned(), outcome: "" } : { outcome: this.at.outcome };
      this.ask({ kind: "rows", from: w * WINDOW, to: (w + 1) * WINDOW, ...wanted, window: key });
    }
  }

  keep({ window: key, outcome, question, key: asked, from }, rows) {
    const whole = question ? this.state.found[asked][0] : outcome ? this.state[outcome] : this.state.done;
    const expected = Math.min(WINDOW, whole - from);
    // Less than the totals promise: not to be asked for again at once, without end.
    if (rows.length < expected) this.short.set(key, performance.now());
    else this.short.delete(key);
    if (rows.length >= (this.at.cache.get(key)?.length ?? 0)) this.at.cache.set(key, rows);
    this.draw();
  }

  onScroll() {
    this.at.scroll = this.scroll.scrollTop;
    const end = this.scroll.scrollHeight - this.scroll.clientHeight - this.scroll.scrollTop < ROW;
    if (end) this.at.follow = !this.at.sort && (!this.state.frozen || this.at.follow);
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
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || !this.root.contains(event.target)) return;
    const [inList, inMatrix] = [this.grid, this.matrix.grid].map((grid) => grid.contains(event.target));
    if (event.key === "Escape" && !this.controls.form.hidden) this.controls.closeForm();
    else if (event.key === "Escape" && this.at.open) this.closeItem();
    else if (inMatrix ? !this.matrix.key(event.key) : !inList || !this.listKey(event.key)) {
      // What is typed into a field is not for the notebook, which would run, cut or leave the cell.
      const pressed = event.target.tagName === "BUTTON" && /^( |Enter)$/.test(event.key);
      if (pressed || /^(INPUT|SELECT)$/.test(event.target.tagName)) event.stopPropagation();
      return;
    }
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  listKey(key) {
    const page = Math.max(1, Math.floor(this.scroll.clientHeight / ROW) - 1);
    const here = this.at.selected;
    const moves = {
      ArrowDown: here + 1, ArrowUp: here < 0 ? 0 : here - 1, PageDown: here + page, PageUp: here - page, Home: 0, End: this.total - 1,
    };
    if (key in moves) {
      this.select(moves[key]);
      if (this.at.open) this.open();
    } else if (key === "Enter") {
      if (here >= 0) this.open(true);
    } else if (key === " ") {
      if (here >= 0) this.markItem();
    } else return false;
    return true;
  }

  // -- one item

  open(reveal = false) {
    if (this.matrixed || this.at.selected < 0) {
      if (this.at.ordinal !== null) this.openItem(this.at.ordinal, this.at.repeats, reveal);
      return;
    }
    this.at.open = true;
    this.reveal ||= reveal;
    const row = this.row(this.at.selected);
    if (row) this.openItem(row[0], [], reveal);
    else this.wanted = undefined; // not loaded yet: `paint` comes back
  }

  /** Open an item; `repeats` are the places and outcomes of all answers to the same question. */
  openItem(ordinal, repeats, reveal) {
    Object.assign(this.at, { open: true, ordinal, repeats });
    this.reveal ||= reveal;
    this.wanted = ordinal;
    this.ask({ kind: "item", ordinal });
  }

  close() {
    this.at.open = false;
    this.wanted = undefined;
    this.story.clear();
  }

  closeItem() {
    this.close();
    this.focusGrid();
  }

  describe(item) {
    if (!item) return;
    this.story.show(item, this.at.repeats, this.reveal);
    this.reveal = false;
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
