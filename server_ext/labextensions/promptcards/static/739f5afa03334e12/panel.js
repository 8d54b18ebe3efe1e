// The side panel: cards and recent runs of a workspace, each of which can be put into a notebook.
// Names, titles and messages may hold anything, so they reach the page as text only, never as HTML.

import { ago, cardCode, editCode, ended, harmless, number, progress, rateText, runCode, runFacts, trouble } from "./listing.js";

const TYPING_MS = 250; // after the last key, before the server is asked
const SETTLE_MS = 700; // a run that goes on changes all the time: lists are asked for no more often than this
const SIGNS = { completed: "✓", failed: "✕", cancelled: "○", paused: "‖", pausing: "‖", queued: "…" };

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children); // strings become text nodes
  return node;
}

function button(text, does, attributes = {}) {
  return h("button", { type: "button", class: "pcl-button", onclick: does, ...attributes }, text);
}

/** One list: its heading, its rows, and what stands there instead of rows. */
class Section {
  constructor(title, draw) {
    this.draw = draw;
    this.rows = new Map(); // key → row
    this.open = new Set(); // keys of the rows whose details are seen
    this.count = h("span", { class: "pcl-count" });
    this.list = h("ul", { class: "pcl-list", "aria-label": title });
    this.note = h("div", { class: "pcl-note" }, "Loading …");
    this.el = h("section", { class: "pcl-section" }, h("h2", {}, title, this.count), this.list, this.note);
  }

  /** Show entries, with their keys. Rows that stay keep their element, and so the keyboard's focus. */
  show(entries, empty, more = "") {
    const known = this.rows;
    this.rows = new Map(entries.map(([key, entry]) => [key, known.get(key) ?? this.#row(key)]));
    for (const [key, row] of known) if (!this.rows.has(key)) row.el.remove();
    let before = null;
    for (const [key, entry] of entries) {
      const row = this.rows.get(key);
      const place = before ? before.nextSibling : this.list.firstChild;
      if (place !== row.el) this.list.insertBefore(row.el, place);
      before = row.el;
      row.entry = entry;
      this.#paint(key, row);
    }
    this.count.textContent = entries.length ? number(entries.length) + (more ? "+" : "") : "";
    this.note.replaceChildren(...(entries.length ? [more] : empty));
  }

  #row(key) {
    const head = h("button", { type: "button", class: "pcl-head", onclick: () => this.#toggle(key) });
    const row = { head, insert: h("button", { type: "button", class: "pcl-insert" }), body: h("div", { class: "pcl-body" }) };
    row.insert.addEventListener("click", () => row.drawn.insert());
    row.el = h("li", { class: "pcl-row", draggable: "true" }, h("div", { class: "pcl-line" }, head, row.insert), row.body);
    row.el.addEventListener("dragstart", (event) => {
      event.dataTransfer.setData("text/plain", row.drawn.code);
      event.dataTransfer.effectAllowed = "copy";
    });
    return row;
  }

  #paint(key, row) {
    row.drawn = this.draw(row.entry);
    row.head.replaceChildren(...row.drawn.head);
    row.insert.textContent = "+";
    row.insert.title = `Insert ${row.drawn.code} into the notebook`;
    row.insert.setAttribute("aria-label", `Insert ${row.drawn.name} into the notebook`);
    const open = this.open.has(key);
    row.head.setAttribute("aria-expanded", String(open));
    row.body.hidden = !open;
    // What somebody reads or clicks is made anew only when it says something else.
    const drawn = open ? JSON.stringify(row.entry) : "";
    if (drawn && drawn !== row.was) {
      const inside = row.body.contains(document.activeElement);
      row.body.replaceChildren(...row.drawn.body());
      if (inside) row.head.focus();
    }
    row.was = drawn;
    if (open) row.drawn.opened?.(row.body);
  }

  #toggle(key) {
    if (!this.open.delete(key)) this.open.add(key);
    this.#paint(key, this.rows.get(key));
  }
}

export class Panel {
  /**
   * `host` is what the panel is in: `insert(code, name)` puts code into the notebook, `welcome()` opens the welcome
   * notebook, `memory` keeps the chosen workspace (as localStorage does).
   */
  constructor(server, host) {
    Object.assign(this, { server, host });
    this.workspace = host.memory.getItem("promptcards:workspace") ?? "";
    this.labels = new Map(); // card → its labels, as long as nothing has changed
    this.seen = null; // what following stops with, as long as the panel is seen
    this.waiting = {}; // what is asked for soon
    this.asked = 0;
    this.search = h("input", { type: "search", class: "pcl-search", placeholder: "Search cards and runs", "aria-label": "Search cards and runs" });
    this.choice = h("select", { class: "pcl-choice", "aria-label": "Workspace", hidden: true, onchange: () => this.choose(this.choice.value) });
    this.spoken = h("div", { class: "pcl-spoken", role: "status" });
    this.problem = h("div", { class: "pcl-problem", role: "alert", hidden: true });
    this.cards = new Section("Cards", (card) => this.card(card));
    this.runs = new Section("Recent runs", (run) => this.run(run));
    this.lists = h("div", { class: "pcl-lists" }, this.cards.el, this.runs.el);
    this.el = h("div", { class: "pcl" }, h("div", { class: "pcl-top" }, this.search, this.choice), this.problem, this.lists, this.spoken);
    this.search.addEventListener("input", () => this.soon("all", TYPING_MS));
    this.el.addEventListener("keydown", (event) => this.key(event));
  }

  // -- being seen ----------------------------------------------------------------------------------------------------

  /** Begin to follow the server; called whenever the panel comes into view. */
  show() {
    if (this.seen) return;
    this.seen = new AbortController();
    this.start(this.seen.signal);
  }

  /** Ask for nothing any more; called whenever nobody sees the panel. */
  hide() {
    this.seen?.abort();
    this.seen = null;
    for (const timer of Object.values(this.waiting)) clearTimeout(timer);
    this.waiting = {};
  }

  async start(signal) {
    try {
      const known = await this.server.workspaces();
      if (signal.aborted) return;
      this.offer(known);
      this.well();
    } catch (error) {
      if (signal.aborted) return;
      this.fail(error);
      // A server that starts is there in a moment; one without us never will be, and is not asked for ever.
      if ((!error.status || error.status >= 500) && error.code !== "hub_not_supported") this.later(signal);
      return;
    }
    if (!this.workspace) return this.fail({ status: 200, message: "No workspace", hint: "You are in no workspace yet." });
    await this.server.follow(this.workspace, (what) => this.soon(what), signal);
  }

  later(signal) {
    const timer = setTimeout(() => this.start(signal), 3000);
    signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  }

  offer(known) {
    const slugs = known.map((one) => one.slug);
    if (!slugs.includes(this.workspace)) this.workspace = slugs[0] ?? "";
    this.choice.replaceChildren(...known.map((one) => h("option", { value: one.slug }, harmless(one.name))));
    this.choice.value = this.workspace;
    this.choice.hidden = known.length < 2;
  }

  choose(workspace) {
    this.hide();
    this.workspace = workspace;
    this.host.memory.setItem("promptcards:workspace", workspace);
    this.labels.clear();
    for (const section of [this.cards, this.runs]) section.show([], ["Loading …"]);
    this.show();
  }

  // -- lists ---------------------------------------------------------------------------------------------------------

  /** Ask for lists ("cards", "runs" or "all") in a moment; what is asked for already is not asked for twice. */
  soon(what, wait = SETTLE_MS) {
    if (!this.seen) return;
    if (what === "cards" || what === "all") this.labels.clear();
    const typed = wait === TYPING_MS;
    if (this.waiting[what] && !typed) return;
    clearTimeout(this.waiting[what]);
    // The first change is shown at once; those that follow it wait.
    const now = Date.now();
    const delay = typed ? wait : Math.max(0, (this.last?.[what] ?? 0) + wait - now);
    this.waiting[what] = setTimeout(() => {
      delete this.waiting[what];
      this.last = { ...this.last, [what]: Date.now() };
      this.load(what);
    }, delay);
  }

  async load(what) {
    const { workspace } = this;
    const text = this.search.value.trim().slice(0, 200);
    const asked = ++this.asked;
    this.newest = { ...this.newest, ...(what === "all" ? { cards: asked, runs: asked } : { [what]: asked }) };
    const stale = (list) => !this.seen || this.newest[list] !== asked || workspace !== this.workspace;
    try {
      const wanted = what === "all" ? ["cards", "runs"] : [what];
      await Promise.all(wanted.map(async (list) => {
        const answer = await this.server[list](workspace, text);
        if (!stale(list)) this[list === "cards" ? "showCards" : "showRuns"](answer, text);
      }));
      if (this.seen && workspace === this.workspace) this.well();
    } catch (error) {
      if (this.seen && workspace === this.workspace) this.fail(error);
    }
  }

  showCards(page, text) {
    const none = text ? ["No card fits."] : [
      h("p", {}, "No cards yet. The welcome notebook makes the first one in two minutes."),
      button("Open the welcome notebook", () => this.host.welcome()),
    ];
    this.cards.show(page.items.map((card) => [card.name, card]), none, page.next ? "More than these: search to find one." : "");
    this.say(text, `${page.items.length} cards`);
  }

  showRuns(runs, text) {
    const none = text ? "No run has that in its name." : "No runs yet. Runs of all who are in this workspace appear here.";
    this.runs.show(runs.map((run) => [run.id, run]), [none]);
  }

  well() {
    this.problem.hidden = true;
    this.lists.hidden = false;
  }

  fail(error) {
    const [what, hint] = trouble(error);
    this.lists.hidden = true;
    // The same again is neither said again nor made anew under somebody's hand.
    if (!this.problem.hidden && this.problem.dataset.what === what + hint) return;
    this.problem.dataset.what = what + hint;
    this.problem.replaceChildren(
      h("strong", {}, harmless(what)), h("p", {}, harmless(hint)),
      button("Try again", () => (this.hide(), this.show())),
    );
    this.problem.hidden = false;
  }

  say(text, what) {
    if (text) this.spoken.textContent = what;
  }

  // -- rows ----------------------------------------------------------------------------------------------------------

  card(card) {
    const name = harmless(card.name);
    const code = cardCode(card.name, this.workspace);
    const insert = () => this.host.insert(code, name);
    return {
      name, code, insert,
      head: [
        h("span", { class: "pcl-name", title: name }, name),
        h("span", { class: "pcl-meta" }, `v${card.latest_version}`),
        h("span", { class: "pcl-sub" }, harmless(card.title || card.tags.join(", "))),
      ],
      body: () => [
        ...(card.description ? [h("p", {}, harmless(card.description))] : []),
        h("div", { class: "pcl-tags" }, ...card.tags.map((tag) => h("span", { class: "pcl-tag" }, harmless(tag)))),
        h("div", { class: "pcl-labels" }),
        h("div", { class: "pcl-actions" },
          button("Insert", insert, { title: `Insert ${code}` }),
          button("Edit", () => this.host.insert(editCode(card.name, this.workspace), name), { title: "Insert an editor of this card" }),
          button("Runs", () => this.only(card.name), { title: "Search for this card and its runs" })),
      ],
      opened: (body) => this.showLabels(card.name, body.querySelector(".pcl-labels")),
    };
  }

  async showLabels(card, into) {
    if (!this.labels.has(card)) this.labels.set(card, this.server.labels(this.workspace, card));
    try {
      const found = await this.labels.get(card);
      into.replaceChildren(...found.map((one) => h("span", { class: "pcl-label" }, `${harmless(one.label)} → v${one.version}`)));
    } catch {
      this.labels.delete(card); // asked for again when the row is drawn again
    }
  }

  run(run) {
    const name = harmless(run.name);
    const code = runCode(run.id, this.workspace);
    const insert = () => this.host.insert(code, name);
    const { counts } = run;
    const live = !ended(run.status);
    const sub = live ? `${run.status} · ${number(counts.done)} of ${number(counts.total)}` : rateText(counts);
    const rest = [counts.errored ? `${number(counts.errored)} errors` : "", ago(run.created_at, Date.now())].filter(Boolean);
    const bar = h("span", { class: "pcl-bar" }, h("span"));
    bar.firstChild.style.width = `${100 * progress(counts)}%`;
    return {
      name, code, insert,
      head: [
        h("span", { class: `pcl-sign pcl-${run.status}${counts.failed + counts.errored ? "" : " pcl-clean"}`, title: run.status, role: "img", "aria-label": run.status }, SIGNS[run.status] ?? "▸"),
        h("span", { class: "pcl-name", title: name }, name),
        h("span", { class: "pcl-sub" }, [sub, ...rest].join(" · ")),
        ...(live ? [bar] : []),
      ],
      body: () => [
        h("dl", {}, ...runFacts(run).flatMap(([what, text]) => [h("dt", {}, what), h("dd", {}, harmless(text))])),
        h("div", { class: "pcl-actions" }, button("Insert", insert, { title: `Insert ${code}` })),
      ],
    };
  }

  only(text) {
    this.search.value = text;
    this.search.focus();
    this.soon("all", TYPING_MS);
  }

  // -- keyboard ------------------------------------------------------------------------------------------------------

  /** Up and down go from row to row, Escape empties the search; everything else is as browsers have it. */
  key(event) {
    if (event.key === "Escape" && this.search.value) {
      this.only("");
      event.preventDefault();
    }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    if (event.target === this.choice) return;
    const heads = [this.search, ...this.lists.querySelectorAll(".pcl-head")];
    const row = event.target.closest(".pcl-row")?.querySelector(".pcl-head") ?? this.search;
    const next = heads[heads.indexOf(row) + (event.key === "ArrowDown" ? 1 : -1)];
    if (!next) return;
    next.focus();
    event.preventDefault();
  }
}
