// The card editor. Python checks, renders and keeps the card (card_editor.py lists the messages); this takes what is typed.
// It goes on where `card_draft.js` ends; they are given to the browser as one module.
// Templates and whatever others wrote may hold anything, so they reach the page as text only, never as HTML.

import { Greeting } from "./greeting.js";

const SEND_MS = 250; // after the last key
const APART_MS = 600; // between two sends
const LONGEST_MS = 1200; // without a send while somebody types on
const LARGE = 20_000; // characters
const PATIENCE_MS = 4000; // before what is not answered is sent again
const TYPES = ["string", "integer", "number", "boolean", "enum", "list", "json", "datetime", "secret"];
const ROLES = ["system", "user", "assistant"];
const NUMBERS = [["temperature", "0–2"], ["top_p", "0–1"], ["max_tokens", "none"], ["seed", "none"]];

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    // Notebooks have styles of their own for names as common as "row".
    if (name === "class") node.className = value.split(" ").map((one) => (one === "pce" ? one : `pce-${one}`)).join(" ");
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children); // strings become text nodes
  return node;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Put a value into a field without taking the caret out of the hands of who types. */
function put(node, value) {
  if (node.value === value) return;
  const before = node.value;
  const caret = document.activeElement === node && "selectionEnd" in node ? node.selectionEnd : null;
  node.value = value;
  if (caret !== null) node.selectionStart = node.selectionEnd = caretAfter(caret, before, value);
}

function button(text, title, act, more = {}) {
  return h("button", { type: "button", class: "button", title, onclick: act, ...more }, text);
}

/** The lines of a difference, those that came and went in their colours and with their signs. */
function linesOf(lines) {
  if (!lines.length) return h("div", { class: "hint" }, "no change");
  const words = { "+": "added", "-": "removed" };
  return h("div", { class: "diff", role: "group", "aria-label": "Difference" }, ...lines.map(([sign, text]) =>
    h("div", { class: "line", "data-sign": sign }, h("span", { class: "sign", ...(words[sign] ? { "aria-label": words[sign] } : {}) }, sign === "@" ? "⋯" : sign), h("span", {}, text))));
}

let views = 0;
// What somebody looks at survives when the front end draws the same output anew; by model, which stays the same.
const memory = new WeakMap();

class View {
  constructor(model, channel, el) {
    Object.assign(this, { model, channel, el });
    this.uid = `e${++views}-${Math.random().toString(36).slice(2, 8)}`;
    this.asked = this.made = 0;
    this.pending = new Map(); // rid → what is waited for
    this.status = model.get("state");
    this.at = memory.get(channel) ?? { past: new Past(), form: null, known: null, revision: -1 };
    memory.set(channel, this.at);
    this.seen = null;
    this.sent = -Infinity;
    this.nodes = { messages: new Map(), examples: new Map(), variables: new Map() };
    this.ended = new AbortController();
    this.build();
    this.listen();
    if (!this.at.form) this.recall();
    this.begin();
    this.show();
  }

  // -- its parts

  build() {
    const id = (name) => `${this.uid}-${name}`;
    this.name = h("span", { class: "name" });
    this.version = h("span", { class: "pill" });
    this.where = h("span", { class: "hint where" });
    this.spoken = h("span", { class: "status", role: "status", "aria-live": "polite" });
    this.undoing = button("↶", "Undo (Ctrl-Z)", () => this.travel("undo"), { "aria-label": "Undo" });
    this.redoing = button("↷", "Redo (Ctrl-Shift-Z)", () => this.travel("redo"), { "aria-label": "Redo" });
    this.back = button("Discard", "Back to the saved version; undo brings the draft back", () => this.leap("discard"));
    this.past = button("History", "Versions, and how they differ", () => this.toggle("history"), { "aria-expanded": "false" });
    this.saving = button("Save version", "Save a version (Ctrl-S)", () => this.toggle("save"), { class: "button main", "aria-expanded": "false" });
    this.alert = h("div", { class: "alert", role: "alert", hidden: true });
    this.panels = {
      save: h("section", { class: "panel", "aria-label": "Save a version", hidden: true }),
      history: h("section", { class: "panel", "aria-label": "History", tabindex: "-1", hidden: true }),
      conflict: h("section", { class: "panel", "aria-label": "What somebody else stored", tabindex: "-1", hidden: true }),
    };
    this.note = h("input", { type: "text", maxlength: "500", placeholder: "What is new? (Enter saves)", "aria-label": "What is new in this version", "data-own": "" });
    this.panels.save.append(h("div", { class: "bar" }, this.note, button("Save", "Enter", () => this.save(), { class: "button main" }), button("Cancel", "Escape", () => this.toggle(""))));
    this.fields = {
      title: this.input(["title"], { placeholder: "Title", "aria-label": "Title", class: "title" }),
      description: this.area(["description"], { placeholder: "Description: for people, not for the model", "aria-label": "Description", rows: "1" }),
    };
    this.tags = h("input", { type: "text", placeholder: "Tags, separated by commas", "aria-label": "Tags", "data-own": "", oninput: () => this.set(["tags"], tagsOf(this.tags.value)) });
    this.messages = h("div", { class: "list" });
    this.examples = h("div", { class: "list" });
    this.variables = h("div", { class: "list", role: "group", "aria-label": "Variables" });
    this.free = h("div", { class: "hint" });
    this.settings = h("div", { class: "settings" });
    this.numbers = Object.fromEntries(NUMBERS.map(([name, hint]) => [name, this.input(["settings", name], { inputmode: "decimal", placeholder: hint })]));
    this.settings.append(...NUMBERS.map(([name]) => h("label", {}, h("span", {}, name), this.numbers[name])));
    this.other = this.area(["settings", "other"], { rows: "1", placeholder: '{"stop": ["END"], "response_format": {"type": "json_object"}}', class: "code", "aria-label": "Other settings as JSON" });
    this.wrong = { settings: h("ul", { class: "wrong" }), "": h("ul", { class: "wrong" }) };
    this.more = h("details", { class: "fold" }, h("summary", {}, "Examples"), this.examples, button("+ Example", "A question with its right answer, before the last user message", () => this.add("examples", { user: "", assistant: "" })));
    const heading = (text, ...more) => h("div", { class: "heading" }, h("h4", { class: "h" }, text), ...more);
    const left = h("div", { class: "left" },
      h("div", { class: "naming" }, this.fields.title, this.tags, this.fields.description), this.wrong[""],
      heading("Messages", button("+ Message", "Another message at the end", () => this.add("messages", { role: this.nextRole(), content: "" }))), this.messages, this.more,
      heading("Variables", button("+ Variable", "Declare a variable", () => this.declare(""))), this.free, this.variables,
      heading("Model settings"), this.settings, this.other, this.wrong.settings);
    this.buildAround(left, id);
  }

  buildAround(left, id) {
    this.case = h("select", { "aria-label": "Case for the preview", onchange: () => this.look() });
    this.find = h("input", { type: "search", placeholder: "Find a case", "aria-label": "Find a case", "data-own": "", hidden: true, onchange: () => this.loadCases() });
    this.priced = h("input", { type: "text", placeholder: "Model, for the cost", "aria-label": "Model for the cost", "data-own": "", list: id("models"), onchange: () => this.look() });
    this.known = h("datalist", { id: id("models") });
    this.facts = h("div", { class: "facts" });
    this.preview = h("div", { class: "preview", tabindex: "0", role: "region", "aria-label": "Preview" });
    const right = h("aside", { class: "right" },
      h("div", { class: "heading" }, h("h4", { class: "h" }, "Preview")), h("div", { class: "bar" }, this.case, this.find, this.priced, this.known), this.facts, this.preview);
    this.body = h("div", { class: "body" }, left, right);
    this.root = h("div", { class: "pce", "data-lm-suppress-shortcuts": "true" },
      h("div", { class: "head" }, this.name, this.version, this.where, this.spoken, h("span", { class: "bar acts" }, this.undoing, this.redoing, this.back, this.past, this.saving)),
      this.alert, ...Object.values(this.panels), this.body);
    this.el.replaceChildren(this.root);
  }

  input(path, attributes = {}) {
    const node = h("input", { type: "text", spellcheck: "false", ...attributes });
    node.addEventListener("input", () => this.set(path, node.value));
    return node;
  }

  /** A text that grows with what is in it; marks lie behind it. */
  area(path, attributes = {}) {
    const node = h("textarea", { rows: "2", spellcheck: "true", ...attributes, ...(attributes.class === "code" ? { spellcheck: "false" } : {}) });
    const behind = h("div", { class: "behind", "aria-hidden": "true" });
    const box = h("div", { class: `area${attributes.class ? ` ${attributes.class}` : ""}` }, behind, node);
    node.addEventListener("input", () => this.set(path, node.value));
    return Object.assign(box, { node, behind });
  }

  listen() {
    const signal = this.ended.signal;
    this.onState = () => {
      this.status = this.model.get("state");
      this.store();
      this.show();
    };
    this.onMessage = (content) => this.receive(content);
    this.onLive = () => this.show();
    this.model.on("change:state", this.onState);
    this.channel.on("msg:custom", this.onMessage);
    this.channel.on("comm_live_update", this.onLive);
    // Before the notebook sees the keys, which would move from cell to cell or run one.
    addEventListener("keydown", (event) => this.onKey(event), { capture: true, signal });
    addEventListener("pagehide", () => this.store(), { signal });
    this.sizes = new ResizeObserver(() => {
      this.root.classList.toggle("pce-narrow", this.root.clientWidth < 860);
      this.root.classList.toggle("pce-slim", this.root.clientWidth < 520);
    });
    this.sizes.observe(this.root);
    this.timer = setInterval(() => this.pulse(), 1000);
  }

  dispose() {
    this.flush(true);
    this.store();
    this.ended.abort();
    clearInterval(this.timer);
    clearTimeout(this.sending);
    this.sizes.disconnect();
    this.model.off("change:state", this.onState);
    this.channel.off("msg:custom", this.onMessage);
    this.channel.off("comm_live_update", this.onLive);
    this.pending.clear();
  }

  // -- talking with the kernel

  get dead() {
    return this.channel.comm_live === false;
  }

  ask(kind, more = {}, done = null) {
    if (this.dead) return;
    const rid = `${this.uid}-${++this.asked}`;
    this.pending.set(rid, { kind, more, done, sent: performance.now() });
    this.channel.send({ kind, rid, ...more });
  }

  /** Ask for something that may be refused, and say why when it is. */
  act(kind, more = {}, done = () => {}) {
    this.flush(true);
    this.ask(kind, more, (answer) => {
      this.warn(answer.problem ?? "", answer.code);
      if (!answer.problem) done(answer);
    });
  }

  waitsFor(kind) {
    return [...this.pending.values()].some((one) => one.kind === kind);
  }

  begin() {
    const greet = () => {
      this.ask("ready");
      return !this.dead;
    };
    this.greeting = new Greeting(greet, this.ended.signal);
  }

  heardBack() {
    if (!this.greeting.open) return;
    this.greeting.answered();
    for (const [rid, { kind }] of this.pending) if (kind === "ready") this.pending.delete(rid);
    this.loadCases();
  }

  receive(content) {
    const asked = this.pending.get(content.rid);
    this.pending.delete(content.rid);
    if (asked) this.heardBack();
    if (content.kind === "edited") this.follow(content);
    else if (content.kind === "seen") this.view(content);
    else if (asked?.kind === "ready") this.take(content);
    asked?.done?.(content);
    this.show();
  }

  /** A change that the kernel has made, of this view or another. */
  follow({ revision, changes: made }) {
    if (!this.at.known || revision <= this.at.revision) return;
    if (revision > this.at.revision + 1) {
      this.ask("ready"); // something in between was lost
      return;
    }
    Object.assign(this.at, rebased(this.at.known, this.at.form, made), { revision });
    if (this.early?.revision === revision) this.view(this.early);
    this.store();
    if (!this.waitsFor("edit") && this.mine().length) this.flushSoon();
  }

  /** Everything as the kernel has it; what was typed here and is not there yet stays. */
  take({ form, revision, status, seen }) {
    const before = this.at;
    const mine = before.form && before.editor === status.editor ? changes(before.known, before.form) : [];
    const kept = before.form && before.editor !== status.editor ? before.form : null;
    Object.assign(this.at, { known: form, form: applied(form, mine), revision, editor: status.editor });
    this.status = status;
    if (seen) this.view(seen);
    // Another editor, such as one in a kernel that was started anew: what it does not know is offered, not forced on it.
    this.offer = kept && !alike(kept, this.at.form) ? kept : null;
    if (mine.length) this.flushSoon();
    this.at.ready = true;
  }

  mine() {
    return this.at.known ? changes(this.at.known, this.at.form) : [];
  }

  flushSoon() {
    clearTimeout(this.sending);
    const now = performance.now();
    this.since ??= now;
    const pause = Math.min(SEND_MS, this.since + LONGEST_MS - now);
    this.sending = setTimeout(() => this.flush(), Math.max(0, pause, this.sent + APART_MS - now));
  }

  flush(now = false) {
    clearTimeout(this.sending);
    if (!this.at.ready || (!now && this.waitsFor("edit"))) return;
    const mine = this.mine();
    if (!mine.length) return;
    this.sent = performance.now();
    this.since = undefined;
    this.ask("edit", { changes: mine, by: this.uid }, (answer) => answer.problem && this.warn(answer.problem));
  }

  pulse() {
    if (!this.root.isConnected) return;
    const now = performance.now();
    if (this.at.ready && this.status.revision > this.at.revision && !this.waitsFor("ready")) this.ask("ready");
    for (const [rid, one] of this.pending) {
      if (this.greeting.open || now - one.sent < PATIENCE_MS || !["ready", "edit"].includes(one.kind)) continue;
      this.pending.delete(rid);
      if (one.kind === "ready") this.ask("ready");
      else this.flush();
    }
    this.show();
  }

  // -- what the browser keeps

  get place() {
    return `promptcards:${this.status.key}`;
  }

  /** Keep what is typed in this tab until it is kept elsewhere, so that a reload loses nothing. */
  store() {
    const { form, known, revision, editor, ready } = this.at;
    if (!form || this.offer) return;
    const safe = ready && !this.mine().length && (!this.status.changed || (this.status.keeps && this.status.kept >= revision));
    try {
      if (safe) sessionStorage.removeItem(this.place);
      else sessionStorage.setItem(this.place, JSON.stringify({ form, known, revision, editor }));
      this.stored = true;
    } catch {
      this.stored = false; // no room, or not allowed
    }
  }

  recall() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(this.place));
      if (kept?.form && kept.known) Object.assign(this.at, kept);
    } catch {
      // Nothing that could be read.
    }
  }

  // -- changing

  set(path, value) {
    this.change(applied(this.at.form, [[path, value]]), path.join("."));
  }

  change(form, key = "") {
    this.at.past.note(this.at.form, key, performance.now());
    this.at.form = form;
    this.changed();
  }

  changed() {
    this.saved = "";
    this.show();
    this.store();
    this.flushSoon();
  }

  travel(way) {
    const form = this.at.form && this.at.past[way](this.at.form);
    if (!form) return;
    this.at.form = form;
    this.changed();
  }

  key() {
    return `n${this.uid}-${++this.made}`;
  }

  add(name, row, focus = "textarea") {
    const key = this.key();
    this.change(withRow(this.at.form, name, { key, ...row }));
    if (name === "examples") this.more.open = true;
    this.nodes[name].get(key).root.querySelector(focus)?.focus();
  }

  remove(name, key) {
    const rows = this.at.form[name];
    const next = rows[Math.min(rows.findIndex((row) => row.key === key) + 1, rows.length - 1)]?.key;
    this.change(withoutRow(this.at.form, name, key));
    (this.nodes[name].get(next)?.root.querySelector("button, input, textarea") ?? this.root.querySelector("button"))?.focus();
  }

  nextRole() {
    return this.at.form.messages.at(-1)?.role === "user" ? "assistant" : "user";
  }

  declare(...names) {
    const rows = names.map((name) => ({ key: this.key(), name, type: "string", description: "", trust: "trusted", default: null, values: "", limits: "" }));
    this.change({ ...this.at.form, variables: [...this.at.form.variables, ...rows] });
    this.nodes.variables.get(rows[0].key).name.focus();
  }

  // -- showing

  show() {
    const { form } = this.at;
    const s = this.status;
    // What is said of the draft may be older than its last change, which was answered meanwhile.
    const waiting = this.mine().length > 0 || s.revision < this.at.revision;
    const [mood, text] = standing(s, { dead: this.dead, stored: this.stored, waiting, saving: this.waitsFor("save"), valid: this.seen?.valid });
    say(this.name, s.name);
    say(this.version, s.version ? `v${s.version}` : "new");
    this.version.hidden = !s.version && !s.fresh;
    say(this.where, s.where);
    say(this.spoken, this.saved && mood === "ok" && !s.changed ? `Saved ${this.saved}` : text);
    this.spoken.dataset.mood = mood;
    this.body.inert = !form;
    if (!form) say(this.spoken, "Waiting for the kernel…");
    this.saving.disabled = !form || this.dead || this.waitsFor("save");
    this.back.disabled = !form || this.dead || !s.changed;
    this.past.disabled = this.dead;
    this.undoing.disabled = !this.at.past.back.length;
    this.redoing.disabled = !this.at.past.ahead.length;
    this.showAlert();
    if (!form) return;
    put(this.fields.title, form.title);
    this.paint(this.fields.description, form.description);
    if (document.activeElement !== this.tags) put(this.tags, form.tags.join(", "));
    this.showRows("messages", this.messages, form.messages, (row) => this.message(row), (node, row, i) => this.fillMessage(node, row, i));
    this.showRows("examples", this.examples, form.examples, (row) => this.example(row), (node, row) => this.fillExample(node, row));
    this.more.firstChild.textContent = form.examples.length ? `Examples (${form.examples.length})` : "Examples";
    this.showRows("variables", this.variables, form.variables, (row) => this.variable(row), (node, row) => this.fillVariable(node, row));
    this.showFree();
    for (const [name] of NUMBERS) put(this.numbers[name], form.settings[name]);
    this.paint(this.other, form.settings.other);
    for (const place of ["", "settings"]) this.tellWrong(this.wrong[place], place);
  }

  showAlert() {
    const s = this.status;
    const parts = [];
    if (this.offer) {
      parts.push(h("span", {}, "This browser tab has text of this card that was typed and is not in the draft. "),
        button("Take it", "Put it into the draft", () => this.accept(true), { class: "button main" }), button("Drop it", "Keep the draft as it is", () => this.accept(false)));
    } else if (s.conflict && this.panel !== "conflict") {
      parts.push(h("span", {}, "Somebody stored something else of this card meanwhile. Your draft is safe here. "), button("Choose…", "See both, and take what is right", () => this.toggle("conflict"), { class: "button main" }));
    } else if (this.problem) {
      parts.push(h("span", {}, this.problem), button("×", "Close", () => this.warn(""), { "aria-label": "Close", class: "button plain" }));
    }
    const key = parts.map((part) => part.textContent).join("|");
    if (this.alerted === key) return;
    this.alerted = key;
    this.alert.replaceChildren(...parts);
    this.alert.hidden = !parts.length;
  }

  warn(text, code = "") {
    this.problem = code === "conflict" ? "" : text;
    if (code === "conflict") this.toggle("conflict", true);
    this.show();
  }

  accept(yes) {
    const form = this.offer;
    this.offer = null;
    if (yes) this.change(form);
    else this.store();
    this.show();
  }

  /** Bring the nodes of a list in line with its rows; nodes stay with their rows, and the focus where it is. */
  showRows(name, list, rows, make, fill) {
    const nodes = this.nodes[name];
    const keys = new Set(rows.map((row) => row.key));
    for (const [key, node] of nodes) {
      if (keys.has(key)) continue;
      node.root.remove();
      nodes.delete(key);
    }
    const focused = document.activeElement;
    rows.forEach((row, i) => {
      if (!nodes.has(row.key)) nodes.set(row.key, make(row));
      const node = nodes.get(row.key);
      if (list.children[i] !== node.root) list.insertBefore(node.root, list.children[i] ?? null);
      fill(node, row, i);
    });
    if (focused !== document.activeElement && list.contains(focused)) focused.focus({ preventScroll: true });
  }

  /** The marks of a text as it is here now. */
  marksOf(where, text) {
    if (!this.seen || !this.at.known) return [];
    const marks = this.seen.marks.filter((mark) => mark.where === where);
    return shifted(marks, this.seen.texts.get(where) ?? text, text);
  }

  /** Put a text and the marks behind it into their box; returns the marks, or null when nothing is new. */
  paint(box, text, where = null) {
    put(box.node, text);
    if (box.text === text && box.from === this.seen) return null;
    Object.assign(box, { text, from: this.seen });
    const marks = where === null ? [] : this.marksOf(where, text);
    const draw = () => {
      const parts = painted(text, marks).map(({ text: part, kinds }) => (kinds.length === 1 && kinds[0] === "text" ? part : h("span", { class: kinds.join(" ") }, part)));
      // One more character: a line feed at the end has a line of its own.
      box.behind.replaceChildren(...parts, "\u200b");
    };
    clearTimeout(box.later);
    // Thousands of tags take longer to draw than there is time between two keys.
    if (text.length > LARGE && document.activeElement === box.node) box.later = setTimeout(draw, SEND_MS);
    else draw();
    return marks;
  }

  tellWrong(list, where, text = "", box = null) {
    const marks = this.marksOf(where, text).filter((mark) => mark.message);
    const key = JSON.stringify(marks);
    if (list.told === key) return;
    list.told = key;
    list.hidden = !marks.length;
    list.replaceChildren(...marks.slice(0, 20).map((mark) => {
      const said = `${mark.line ? `Line ${mark.line}: ` : ""}${mark.message}`;
      const to = () => {
        box.node.focus();
        box.node.setSelectionRange(mark.start, mark.end);
      };
      return h("li", { "data-kind": mark.kind }, box && mark.end > mark.start ? h("button", { type: "button", class: "link", title: "Go there", onclick: to }, said) : said);
    }));
  }

  // -- messages and examples

  message({ key }) {
    const role = h("select", { "aria-label": "Role", onchange: () => this.set(["messages", key, "role"], role.value) }, ...ROLES.map((one) => h("option", {}, one)));
    const box = this.area(["messages", key, "content"], { class: "code", placeholder: "Write {{ name }} where a value of the case is to stand." });
    const move = (by) => {
      this.change(moved(this.at.form, "messages", key, by));
      role.focus();
    };
    const up = button("↑", "Move up", () => move(-1), { "aria-label": "Move up", class: "button plain" });
    const down = button("↓", "Move down", () => move(1), { "aria-label": "Move down", class: "button plain" });
    const gone = button("×", "Remove this message", () => this.remove("messages", key), { "aria-label": "Remove this message", class: "button plain" });
    const wrong = h("ul", { class: "wrong", id: `${this.uid}-w-${key}` });
    box.node.setAttribute("aria-describedby", wrong.id);
    const root = h("div", { class: "message" }, h("div", { class: "bar" }, role, h("span", { class: "grow" }), up, down, gone), box, wrong);
    return { root, role, box, up, down, gone, wrong };
  }

  fillMessage(node, row, i) {
    const last = this.at.form.messages.length - 1;
    put(node.role, row.role);
    node.root.dataset.role = row.role;
    node.box.node.setAttribute("aria-label", `Message ${i + 1}, ${row.role}`);
    Object.assign(node.up, { disabled: i === 0 });
    Object.assign(node.down, { disabled: i === last });
    Object.assign(node.gone, { disabled: last === 0 });
    this.fillText(node.box, node.wrong, row.key, row.content);
  }

  fillText(box, wrong, where, text) {
    const marks = this.paint(box, text, where);
    if (!marks) return;
    this.tellWrong(wrong, where, text, box);
    box.node.setAttribute("aria-invalid", String(marks.some((mark) => mark.kind === "error")));
  }

  example({ key }) {
    const sides = ["user", "assistant"].map((side) => {
      const box = this.area(["examples", key, side], { class: "code", "aria-label": `Example, ${side}`, placeholder: side === "user" ? "Question" : "Right answer" });
      return { side, box, wrong: h("ul", { class: "wrong" }) };
    });
    const gone = button("×", "Remove this example", () => this.remove("examples", key), { "aria-label": "Remove this example", class: "button plain" });
    const parts = sides.flatMap(({ side, box, wrong }, i) => [h("div", { class: "bar" }, h("span", { class: "hint" }, side), h("span", { class: "grow" }), ...(i ? [] : [gone])), box, wrong]);
    return { root: h("div", { class: "message" }, ...parts), sides };
  }

  fillExample(node, row) {
    for (const { side, box, wrong } of node.sides) this.fillText(box, wrong, `${row.key}.${side}`, row[side]);
  }

  // -- variables

  variable({ key }) {
    const path = (field) => ["variables", key, field];
    const name = this.input(path("name"), { "aria-label": "Name", placeholder: "name", class: "code" });
    const select = (field, options) => {
      const node = h("select", { "aria-label": field, onchange: () => this.set(path(field), node.value) }, ...options.map((one) => h("option", {}, one)));
      return node;
    };
    const type = select("type", TYPES);
    const trust = select("trust", ["trusted", "untrusted"]);
    const required = h("input", { type: "checkbox", onchange: () => this.set(path("default"), required.checked ? null : "") });
    const standard = this.input(path("default"), { "aria-label": "Default", placeholder: "default", class: "code" });
    const values = this.input(path("values"), { placeholder: "values: a, b, c", "aria-label": "Values", class: "code" });
    const description = this.input(path("description"), { placeholder: "Description", "aria-label": "Description", spellcheck: "true" });
    const limits = this.input(path("limits"), { placeholder: 'Limits as JSON: {"max_length": 100}', "aria-label": "Limits as JSON", class: "code" });
    const uses = h("span", { class: "hint uses" });
    const gone = button("×", "Remove this variable", () => this.remove("variables", key), { "aria-label": "Remove this variable", class: "button plain" });
    const wrong = h("ul", { class: "wrong" });
    const more = h("div", { class: "bar more" }, values, description, limits, uses);
    const root = h("div", { class: "variable" }, h("div", { class: "bar" }, name, type, trust, h("label", { class: "check" }, required, "required"), standard, gone), more, wrong);
    return { root, name, type, trust, required, standard, values, description, limits, uses, wrong };
  }

  fillVariable(node, row) {
    for (const field of ["name", "type", "trust", "values", "description"]) put(node[field], row[field]);
    // One line has no room for the line feeds of JSON; it means the same without.
    if (document.activeElement !== node.limits) put(node.limits, row.limits.replace(/\s*\n\s*/g, " "));
    node.required.checked = row.default === null;
    node.standard.hidden = row.default === null;
    put(node.standard, row.default ?? "");
    node.values.hidden = row.type !== "enum";
    const uses = this.seen?.uses[row.name] ?? 0;
    say(node.uses, uses ? `used ${uses}×` : "not used");
    this.tellWrong(node.wrong, row.key);
  }

  /** What templates use and nobody has declared. */
  showFree() {
    const declared = new Set(this.at.form.variables.map((row) => row.name));
    const free = Object.keys(this.seen?.uses ?? {}).filter((name) => !declared.has(name));
    const key = `${declared.size}|${free.join()}`;
    if (this.free.told === key) return;
    this.free.told = key;
    this.free.hidden = !free.length;
    const text = declared.size ? "Used and not declared: " : "Taken from the messages, any text: ";
    this.free.replaceChildren(text, ...free.slice(0, 30).map((name) => button(name, `Declare ${name}`, () => this.declare(name), { "aria-label": `Declare ${name}` })),
      ...(free.length > 1 ? [button("Declare all", "Give each of them a type", () => this.declare(...free))] : []));
  }

  // -- preview

  loadCases() {
    this.ask("cases", { text: this.find.value }, ({ cases, models }) => {
      if (!cases) return;
      this.find.hidden = cases.length < 50 && !this.find.value;
      this.case.replaceChildren(h("option", { value: "" }, "sample values"), ...cases.map((one) => h("option", { value: one.uid }, one.name)));
      this.case.value = this.status.case;
      if (this.case.selectedIndex < 0) this.case.value = "";
      put(this.priced, this.status.model);
      this.known.replaceChildren(...models.map((name) => h("option", { value: name })));
    });
  }

  look() {
    this.ask("look", { case: this.case.value, model: this.priced.value });
  }

  view(seen) {
    if (!this.at.known) return;
    // What is seen of a change may be told before the change is.
    if (seen.revision > this.at.revision) this.early = seen;
    let { texts, marks } = this.seen ?? { texts: new Map(), marks: [] };
    // Marks are of the kernel's texts at a revision. Those of an earlier one than is known here do not fit any more.
    if (seen.revision === this.at.revision) {
      texts = new Map(this.at.known.messages.map((row) => [row.key, row.content]));
      for (const row of this.at.known.examples) for (const side of ["user", "assistant"]) texts.set(`${row.key}.${side}`, row[side]);
      marks = seen.marks.map(([where, start, end, kind, message, line]) => ({ where, start, end, kind, message, line }));
    }
    this.seen = { ...seen, texts, marks };
    this.store();
    const shown = seen.preview;
    if (!shown) {
      say(this.facts, "");
      this.preview.classList.add("pce-old");
      if (!this.preview.children.length) this.preview.replaceChildren(h("div", { class: "hint" }, "What is written is no card yet."));
      return;
    }
    this.preview.classList.remove("pce-old");
    const facts = shown.tokens ? [h("span", {}, tokens(shown.tokens))] : [];
    if (shown.cost) facts.push(h("span", { title: shown.cost.notes.join("\n") }, "one call ", h("b", {}, shown.cost.text)));
    this.facts.replaceChildren(...facts);
    const cut = (n) => (n ? [h("div", { class: "hint" }, `and ${count(n)} more characters`)] : []);
    const parts = shown.messages.map(({ role, text, cut: more }) => h("div", { class: "said", "data-role": role }, h("div", { class: "hint" }, role), h("div", { class: "text" }, text), ...cut(more)));
    this.preview.replaceChildren(...(shown.problem ? [h("div", { class: "problem" }, shown.problem)] : []), ...parts);
  }

  // -- panels

  toggle(name, keep = false) {
    const was = this.panel;
    this.panel = was === name && !keep ? "" : name;
    for (const [one, node] of Object.entries(this.panels)) node.hidden = one !== this.panel;
    this.saving.setAttribute("aria-expanded", String(this.panel === "save"));
    this.past.setAttribute("aria-expanded", String(this.panel === "history"));
    if (this.panel === "save") this.note.focus();
    if (this.panel === "history") this.openHistory();
    if (this.panel === "conflict") this.openConflict();
    if (!this.panel && was) (was === "history" ? this.past : this.saving).focus();
    this.show();
  }

  save() {
    if (this.waitsFor("save")) return; // what the kernel says of it may be a moment old
    this.act("save", { note: this.note.value }, ({ label }) => {
      this.note.value = "";
      if (this.panel === "save") this.toggle("");
      this.saved = label;
    });
    this.show();
  }

  openHistory() {
    const panel = this.panels.history;
    panel.replaceChildren(h("div", { class: "hint" }, "Reading the versions…"));
    panel.focus();
    this.act("history", {}, ({ versions }) => {
      const names = versions.map((one) => [String(one.version), `v${one.version}${one.labels.length ? ` (${one.labels.join(", ")})` : ""}`]);
      const options = (...first) => [...first, ...names].map(([value, text]) => h("option", { value }, text));
      const result = h("div", { class: "fields", role: "region", "aria-label": "Differences", "aria-live": "polite" });
      const base = h("select", { "aria-label": "Compare", onchange: () => compare() }, ...options());
      const other = h("select", { "aria-label": "with", onchange: () => compare() }, ...options(["draft", "the draft"]));
      const compare = () => this.act("compare", { base: base.value, other: other.value }, ({ fields }) =>
        result.replaceChildren(...(fields.length ? fields.map(({ label, lines }) => h("div", { class: "field" }, h("h5", { class: "h" }, label), linesOf(lines))) : [h("div", { class: "hint" }, "Nothing differs.")])));
      const rows = versions.map((one) => h("tr", {}, h("td", {}, `v${one.version}`), h("td", {}, ...one.labels.map((label) => h("span", { class: "pill" }, label))),
        h("td", { class: "wide" }, one.note), h("td", { class: "hint" }, one.at.slice(0, 16).replace("T", " "), one.by ? ` · ${one.by}` : ""),
        h("td", {}, button("Compare", `Compare version ${one.version} with the draft`, () => Object.assign(base, { value: String(one.version) }) && compare()),
          button("Edit from it", `Make the draft a copy of version ${one.version}; undo brings it back`, () => this.leap("take", { version: String(one.version) })))));
      const close = button("×", "Close (Escape)", () => this.toggle(""), { "aria-label": "Close", class: "button plain" });
      panel.replaceChildren(h("div", { class: "bar" }, h("h4", { class: "h" }, "History"), h("span", { class: "grow" }), close),
        h("div", { class: "scroll" }, h("table", {}, h("tbody", {}, ...rows))), h("div", { class: "bar" }, "Compare", base, "with", other), result);
      if (versions.length) compare();
    });
  }

  /** Have the kernel put another form in place of this one, which can be undone. */
  leap(kind, more = {}, done = () => {}) {
    this.at.past.note(this.at.form, "", performance.now());
    this.act(kind, more, done);
  }

  openConflict() {
    const panel = this.panels.conflict;
    panel.replaceChildren(h("div", { class: "hint" }, "Reading what they stored…"));
    panel.focus();
    this.act("choices", {}, ({ choices }) => {
      if (!choices) {
        this.toggle("");
        return;
      }
      const taken = {};
      const take = button("Take these", "Put what is chosen into the draft", () => this.settle(taken), { class: "button main" });
      const check = () => (take.disabled = choices.fields.some((field) => !taken[field.id]));
      const fields = choices.fields.map((field, i) => {
        if (field.chosen) taken[field.id] = field.chosen;
        const radio = (side, text) => {
          const box = h("input", { type: "radio", name: `${this.uid}-c${i}`, value: side, onchange: () => check((taken[field.id] = side)) });
          box.checked = field.chosen === side;
          return h("label", { class: "check" }, box, text);
        };
        return h("fieldset", { class: "field" }, h("legend", {}, field.label, field.chosen ? "" : " — changed by both"),
          h("div", { class: "sides" },
            h("div", {}, radio("theirs", `theirs (${choices.theirs})`), linesOf(field.theirs)),
            h("div", {}, radio("mine", "mine (this draft)"), linesOf(field.mine))),
          radio("base", `as before (${choices.base})`));
      });
      check();
      panel.replaceChildren(h("div", { class: "bar" }, h("h4", { class: "h" }, `Somebody stored ${choices.theirs} since ${choices.base}`), h("span", { class: "grow" }),
        button("Later", "The draft stays as it is (Escape)", () => this.toggle(""))), ...fields, h("div", { class: "bar" }, take));
      (panel.querySelector("input[type=radio]") ?? take).focus();
    });
  }

  settle(taken) {
    this.leap("resolve", { taken }, () => this.toggle("save", true));
  }

  // -- keys

  onKey(event) {
    if (!this.root.contains(event.target)) return;
    // Whatever is typed here is not for the notebook: neither letters that are its commands, nor Shift-Enter.
    event.stopImmediatePropagation();
    const command = event.ctrlKey || event.metaKey;
    const letter = event.key.toLowerCase();
    if (command && !event.altKey && letter === "s") this.panel === "save" ? this.save() : this.toggle("save");
    else if (command && "own" in event.target.dataset) return; // such a field undoes by itself
    else if (command && !event.altKey && letter === "z") this.travel(event.shiftKey ? "redo" : "undo");
    else if (command && !event.altKey && letter === "y") this.travel("redo");
    else if (event.key === "Escape" && this.panel) this.toggle("");
    else if (event.key === "Enter" && event.target === this.note && !event.isComposing) this.save();
    else return;
    event.preventDefault();
  }
}

async function render({ model, el }) {
  let channel;
  try {
    channel = await model.widget_manager.get_model(model.get("channel"));
  } catch {
    el.textContent = "This editor has ended. Run the cell again; what was typed is kept.";
    return undefined;
  }
  const view = new View(model, channel, el);
  return () => view.dispose();
}

export default { render };
