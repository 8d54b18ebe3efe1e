// What opens below the grid of the case table: assertions with the verdicts they lead to, what a paste would do, a
// conflict, and what flips when everything is saved. This follows case_table.js in one module and uses what it has.

const CHECK_MS = 150; // after the last key
const COMMON = ["threshold", "weight", "metric", "transform"];

// -- without a page ----------------------------------------------------------------------------------------------------

/** The kind in a type: without `not-`. */
export function kindOf(type) {
  return type.trim().replace(/^not-/, "");
}

/** Types to choose from: kinds, and their negations once somebody begins to type one. */
export function typesFor(kinds, typed) {
  return typed.trim().startsWith("not") ? kinds.map((kind) => `not-${kind}`) : kinds;
}

/** Arguments that an assertion could still get. */
export function argumentsLeft(entry, given) {
  return (entry?.arguments ?? COMMON.map((name) => [name, ""])).filter(([name]) => !(name in given));
}

/** What a paste would do, in words. */
export function pasteSummary({ changed, rows, added, misfits }) {
  const plural = (n, what) => `${n.toLocaleString("en-US")} ${what}${n === 1 ? "" : "s"}`;
  const parts = [`${plural(changed, "cell")} in ${plural(rows + added, "row")} change${changed === 1 ? "s" : ""}`];
  if (added) parts.push(`${plural(added, "row")} ${added === 1 ? "is" : "are"} new`);
  if (misfits) parts.push(`${plural(misfits, "cell")} ${misfits === 1 ? "does" : "do"} not fit`);
  return parts.join(", ");
}

// -- completion --------------------------------------------------------------------------------------------------------

/** Completion below a text box; the table hands it the keys, because nothing else gets them. */
class Combo {
  constructor(input, options, parent, { hint = () => "", pick } = {}) {
    Object.assign(this, { input, options, hint, at: -1, found: [] });
    this.pick = pick ?? ((text) => {
      input.value = text;
      input.dispatchEvent(new Event("input", { bubbles: true }));
    });
    this.id = `pct-combo-${Math.random().toString(36).slice(2, 9)}`;
    this.list = h("ul", { class: "options", role: "listbox", id: this.id, hidden: "" });
    parent.append(this.list);
    input.combo = this;
    for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-controls", this.id], ["aria-expanded", "false"], ["autocomplete", "off"]]) input.setAttribute(name, value);
    input.addEventListener("input", () => this.show());
    input.addEventListener("blur", () => this.hide());
  }

  show() {
    if (document.activeElement !== this.input) return;
    const typed = this.input.value;
    this.found = suggest(this.options(typed), typed, 60);
    if (this.found.length === 1 && this.found[0] === typed) this.found = [];
    this.at = this.found.length && typed.trim() ? 0 : -1;
    this.draw();
  }

  draw() {
    this.list.hidden = !this.found.length;
    this.input.setAttribute("aria-expanded", String(!this.list.hidden));
    Object.assign(this.list.style, { left: `${this.input.offsetLeft}px`, top: `${this.input.offsetTop + this.input.offsetHeight + 2}px` });
    this.list.replaceChildren(...this.found.map((text, i) => {
      const hint = this.hint(text);
      const node = h("li", { class: "option", role: "option", id: `${this.id}-${i}`, "aria-selected": String(i === this.at) }, h("b", {}, text), hint ? h("span", {}, hint) : "");
      node.addEventListener("pointerdown", (event) => {
        event.preventDefault(); // the box keeps the focus
        this.choose(i);
      });
      return node;
    }));
    if (this.at >= 0) {
      this.input.setAttribute("aria-activedescendant", `${this.id}-${this.at}`);
      const option = this.list.children[this.at];
      this.list.scrollTop = reveal(option.offsetTop, option.offsetTop + option.offsetHeight, this.list.scrollTop, this.list.clientHeight);
    } else this.input.removeAttribute("aria-activedescendant");
  }

  hide() {
    this.found = [];
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
  }

  choose(i) {
    const text = this.found[i];
    this.hide();
    this.pick(text);
    this.hide();
  }

  onKey({ key, ctrlKey, metaKey }) {
    if (ctrlKey || metaKey) return false;
    if (this.list.hidden) {
      if (key !== "ArrowDown" || (this.input.tagName === "TEXTAREA" && this.input.value)) return false;
      this.show();
      return true;
    }
    if (key === "ArrowDown" || key === "ArrowUp") {
      this.at = (this.at + (key === "ArrowDown" ? 1 : this.found.length - 1) + (this.at < 0 && key === "ArrowUp" ? 1 : 0)) % this.found.length;
      this.draw();
    } else if ((key === "Enter" || key === "Tab") && this.at >= 0) {
      this.choose(this.at);
      return key === "Enter"; // Tab goes on
    } else if (key === "Escape") this.hide();
    else return false;
    return true;
  }
}

// -- assertions of one case --------------------------------------------------------------------------------------------

class AssertionPanel {
  constructor(table, row) {
    Object.assign(this, { table, row, key: row[0] });
    this.again = this.judging = false;
  }

  async start() {
    const { table } = this;
    table.catalogue ??= table.ask({ kind: "kinds" }).then(({ body }) => new Map(body.map((entry) => [entry.kind, entry])));
    const [{ forms, name, wrong }, kinds] = await Promise.all([table.ask({ kind: "forms", key: this.key }), table.catalogue]);
    if (!forms) return;
    this.kinds = kinds;
    this.forms = forms;
    this.list = h("div", { class: "forms", role: "list" });
    this.result = h("div", { class: "result", "aria-live": "polite" });
    const add = button("Add assertion", "Add an assertion", () => this.add());
    const apply = button("Apply", "Put these assertions into the table (Ctrl+Enter); Save writes them", () => this.apply(), "button primary");
    const foot = h("footer", {}, add, h("span", { class: "grow" }), button("Cancel", "Close (Esc)", () => table.close()), apply);
    const lost = wrong ? h("p", { class: "bad" }, "What was written into the cell is no list of assertions. It is replaced by what is applied here.") : "";
    table.open(`Assertions of ${name}`, [table.header(`Assertions of ${name || `row ${this.row[1]}`}`), lost, this.list, foot, this.result], () => this.apply());
    if (!forms.length) this.forms.push({ type: "", value: "", json: false, arguments: {} });
    this.fill();
    this.list.querySelector("input")?.focus({ preventScroll: true });
    this.update();
  }

  add() {
    this.forms.push({ type: "", value: "", json: false, arguments: {} });
    this.fill();
    this.list.lastChild.querySelector("input").focus();
  }

  fill() {
    this.problems = [];
    this.list.replaceChildren(...this.forms.map((form, i) => this.form(form, i)));
  }

  form(form, i) {
    const about = h("div", { class: "about" });
    const problem = h("div", { class: "bad", role: "status" });
    const values = h("span", { class: "combo wide" });
    const given = h("div", { class: "arguments" });
    const type = h("input", { class: "input", type: "text", value: form.type, placeholder: "kind, such as contains", "aria-label": `Kind of assertion ${i + 1}`, spellcheck: "false" });
    const kinds = h("span", { class: "combo" }, type);
    const value = h("textarea", { class: "input", rows: "1", placeholder: "value", "aria-label": `Value of assertion ${i + 1}`, spellcheck: "false" });
    const isJson = h("input", { type: "checkbox" });
    value.value = form.value;
    isJson.checked = form.json;
    values.append(value);
    const size = () => {
      value.style.height = "auto";
      if (value.scrollHeight) value.style.height = `${Math.min(180, value.scrollHeight + 2)}px`;
    };
    const tell = () => {
      const entry = this.kinds.get(kindOf(form.type));
      say(about, entry ? [entry.about, entry.needs.length ? `Needs: ${entry.needs.join(", ")}; not judged here.` : ""].filter(Boolean).join(" ") : "");
      values.hidden = Boolean(entry) && !entry.value && !form.value;
      json.hidden = values.hidden;
      value.placeholder = entry?.values[0] ?? "value";
    };
    const json = h("label", { class: "check", title: "The value is written as JSON" }, isJson, "JSON");
    new Combo(type, (typed) => typesFor([...this.kinds.keys()], typed), kinds, { hint: (name) => this.kinds.get(kindOf(name))?.about ?? "" });
    new Combo(value, () => this.kinds.get(kindOf(form.type))?.values ?? [], values);
    type.addEventListener("input", () => {
      form.type = type.value;
      const entry = this.kinds.get(kindOf(form.type));
      if (entry && !form.value) isJson.checked = form.json = entry.json;
      tell();
      this.later();
    });
    value.addEventListener("input", () => {
      form.value = value.value;
      size();
      this.later();
    });
    isJson.addEventListener("change", () => {
      form.json = isJson.checked;
      this.later();
    });
    const remove = button("×", "Remove this assertion", () => {
      this.forms.splice(i, 1);
      this.fill();
      this.update();
      (this.list.children[Math.min(i, this.forms.length - 1)]?.querySelector("input") ?? this.table.panel).focus();
    }, "close");
    const fillArguments = (focus) => {
      given.replaceChildren(...Object.keys(form.arguments).map((name) => this.argument(form, name, fillArguments)), this.more(form, fillArguments));
      if (focus) [...given.querySelectorAll("input")].find((box) => box.dataset.name === focus)?.focus();
    };
    fillArguments();
    tell();
    setTimeout(size);
    this.problems[i] = problem;
    return h("div", { class: "form", role: "listitem" }, h("div", { class: "line" }, kinds, values, json, remove), about, given, problem);
  }

  argument(form, name, refill) {
    const box = h("input", { class: "input", type: "text", value: form.arguments[name], "data-name": name, spellcheck: "false" });
    box.addEventListener("input", () => {
      form.arguments[name] = box.value;
      this.later();
    });
    const remove = button("×", `Remove ${name}`, () => {
      delete form.arguments[name];
      refill();
      this.later();
    }, "close");
    return h("label", { class: "argument" }, name.replace("options.", ""), box, remove);
  }

  more(form, refill) {
    const box = h("input", { class: "input more", type: "text", placeholder: "+ argument", "aria-label": "Add an argument", spellcheck: "false" });
    const left = () => argumentsLeft(this.kinds.get(kindOf(form.type)), form.arguments);
    const parent = h("span", { class: "combo" }, box);
    new Combo(box, () => left().map(([name]) => name), parent, {
      hint: (name) => left().find(([known]) => known === name)?.[1] ?? "",
      pick: (name) => {
        form.arguments[name] = "";
        refill(name);
      },
    });
    return parent;
  }

  // -- while somebody types

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.update(), CHECK_MS);
  }

  /** What is there to be applied: a line that nothing was written into is none. */
  written() {
    return this.forms.filter((form) => form.type.trim() || form.value);
  }

  async update() {
    const wanted = this.written();
    const { problems } = await this.table.ask({ kind: "check", forms: wanted });
    if (!this.list.isConnected || !problems) return;
    this.forms.forEach((form, i) => say(this.problems[i], problems[wanted.indexOf(form)] ?? ""));
    if (problems.some(Boolean)) say(this.result, this.table.state.answers ? "Stored answers are judged as soon as nothing is wrong here." : "");
    else this.judge();
  }

  async judge() {
    if (!this.table.state.answers) return;
    if (this.judging) {
      this.again = true; // the newest text wins
      return;
    }
    this.judging = true;
    this.result.classList.add("pct-waiting");
    const { judged, refused } = await this.table.ask({ kind: "judge", key: this.key, forms: this.written() });
    this.judging = false;
    if (!this.list.isConnected) return;
    this.result.classList.remove("pct-waiting");
    if (this.again) {
      this.again = false;
      this.judge();
    } else this.result.replaceChildren(...(judged ? [...flipNodes(judged), ...latestNodes(judged)] : [refused ?? ""]));
  }

  async apply() {
    const { refused } = await this.table.ask({ kind: "assert", key: this.key, forms: this.written() });
    if (!refused) this.table.close();
  }
}

// -- verdicts ----------------------------------------------------------------------------------------------------------

function mark(outcome) {
  return h("span", { class: "o" }, h("span", { class: "dot", "data-o": outcome }), outcome);
}

function cells(names, rows) {
  const head = h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, name)));
  const body = rows.map((row) => h("tr", {}, ...row.map((cell) => h("td", {}, cell))));
  return h("div", { class: "list", tabindex: "0" }, h("table", {}, h("thead", {}, head), h("tbody", {}, ...body)));
}

/** Old verdicts against new ones. */
function flipNodes(judged) {
  const facts = [];
  if (judged.runs) facts.push(`${count(judged.runs)} run${judged.runs === 1 ? "" : "s"}`);
  if (judged.older) facts.push("older runs were not looked at");
  if (judged.without_answer) facts.push(`${count(judged.without_answer)} without an answer`);
  if (judged.unjudged) facts.push(`${count(judged.unjudged)} verdicts need a judge and are unscored here`);
  const nodes = [h("h5", {}, judged.text)];
  const moves = judged.moves.filter(([before, now]) => before !== now);
  if (judged.moves.length) {
    const rows = [...moves, ...judged.moves.filter(([before, now]) => before === now)];
    nodes.push(cells(["before", "now", "answers"], rows.map(([before, now, n]) => [mark(before), mark(now), count(n)])));
  }
  if (judged.items.length) {
    const repeats = judged.items.some((item) => item[4]);
    nodes.push(cells(["case", "card version", "model", "before", "now", "why", "run"], judged.items.map(([run, name, label, model, repeat, before, now, why]) => [
      repeats ? `${name} #${repeat + 1}` : name, label, model, mark(before), mark(now), why, run,
    ])));
  }
  if (judged.more_items) facts.push(`${count(judged.more_items)} more flips are not listed`);
  if (facts.length) nodes.push(h("p", { class: "note" }, facts.join(" · ")));
  return nodes;
}

function latestNodes(judged) {
  if (!judged.latest.length) return [];
  return [h("h5", {}, `Latest answer${judged.latest.length === 1 ? "" : "s"}, in the run “${judged.latest[0].run}”`), ...judged.latest.map(answerNode)];
}

function answerNode(answer) {
  const name = [answer.label, answer.model, answer.repeat ? `#${answer.repeat + 1}` : ""].filter(Boolean).join(" · ");
  const before = answer.before && answer.before !== answer.outcome ? [mark(answer.before), "→"] : [];
  const lines = answer.verdicts.map(([path, outcome, what, message]) => {
    const line = h("div", { class: "verdict", role: "listitem" }, mark(outcome), h("b", {}, what), h("span", {}, message));
    line.style.paddingLeft = `${16 * (path.split(".").length - 1)}px`;
    return line;
  });
  const output = answer.output === null ? [] : [h("pre", {}, answer.output || "(empty)", answer.cut ? " …" : "")];
  return h("div", { class: "answer" }, h("div", { class: "line" }, h("b", {}, name), ...before, mark(answer.outcome), answer.verdicts.length ? "" : answer.message), h("div", { role: "list" }, ...lines), ...output);
}

// -- pasting -----------------------------------------------------------------------------------------------------------

async function openPaste(table, request) {
  const { paste, token } = await table.change(request);
  if (!paste) return;
  const isSmall = !paste.misfits && !paste.added && paste.changed <= 20;
  const isAgain = "separator" in request;
  if (isSmall && !isAgain) {
    const { refused } = await table.ask({ kind: "paste", token, fit: false });
    if (!refused) table.tell(paste.changed ? `${pasteSummary(paste)}. Ctrl+Z takes it back.` : "Nothing is other than it was.");
    return;
  }
  const done = async (fit) => {
    const { refused } = await table.ask({ kind: "paste", token, fit });
    if (refused) return;
    table.close();
    table.tell("Pasted. Ctrl+Z takes it back.");
  };
  const again = () => openPaste(table, { ...request, separator: separator.value, header: header.checked });
  const separator = table.select("What separates the cells", [["", "cells: found by itself"], ["tab", "cells between tabs"], ["comma", "cells between commas"], ["semicolon", "cells between semicolons"]], again);
  separator.value = request.separator ?? "";
  const header = h("input", { type: "checkbox" });
  header.checked = paste.header;
  header.addEventListener("change", again);
  const nodes = [table.header(`Paste: ${pasteSummary(paste)}`), h("div", { class: "line" }, separator, h("label", { class: "check" }, header, "the first row names the columns"))];
  if (paste.misfits) {
    nodes.push(h("h5", {}, "Does not fit"), cells(["row", "column", "pasted", "why"], paste.problems.map(([row, ...texts]) => [count(row), ...texts])));
  }
  if (paste.changed) nodes.push(h("h5", {}, "Changes"), cells(["row", "column", "is", "will be"], paste.changes.map(([row, ...texts]) => [count(row), ...texts])));
  const more = paste.misfits + paste.changed - paste.problems.length - paste.changes.length;
  if (more) nodes.push(h("p", { class: "note" }, `and ${count(more)} more`));
  const go = button(paste.misfits ? "Paste what fits" : "Paste", "Paste (Ctrl+Enter)", () => done(true), "button primary");
  const all = paste.misfits ? [button("Paste all, mark what does not fit", "Such rows cannot be saved before they are mended", () => done(false))] : [];
  nodes.push(h("footer", {}, h("span", { class: "grow" }), button("Cancel", "Close (Esc)", () => table.close()), ...all, go));
  table.open("Paste", nodes, () => done(true), go);
}

// -- conflicts and saving ----------------------------------------------------------------------------------------------

async function openConflict(table, row) {
  const { conflict } = await table.ask({ kind: "conflict", key: row[0] });
  if (!conflict) return;
  const end = (take) => async () => {
    await table.ask({ kind: "resolve", key: row[0], take });
    table.close();
  };
  const mine = button(conflict.gone ? "Keep it, as a new case" : "Keep mine", "Saved over theirs with the next Save", end("mine"), "button primary");
  const theirs = button(conflict.gone ? "Delete it here, too" : "Take theirs", "What was changed here is dropped; Undo brings it back", end("theirs"));
  const text = conflict.gone ? "Somebody else has deleted this case." : conflict.cells.length ? "Somebody else has changed this case since it was read." : "Somebody else has made the same change.";
  const table_ = conflict.cells.length ? [cells(["column", "here", "saved by somebody else"], conflict.cells)] : [];
  table.open("Conflict", [table.header(`Conflict in row ${row[1]}`), h("p", {}, text), ...table_, h("footer", {}, h("span", { class: "grow" }), theirs, mine)], null, mine);
}

async function openReview(table) {
  if (table.save.hidden || table.save.disabled) return;
  const save = () => {
    if (!table.panel.hidden) table.close();
    table.ask({ kind: "save" });
  };
  if (!table.state.answers) return void save();
  table.tell("Looking at what flips…");
  const { judged, refused } = await table.ask({ kind: "review" });
  if (!refused) table.tell("");
  if (!refused && !judged?.answers) return void save();
  const go = button("Save", "Save (Ctrl+Enter)", save, "button primary");
  const found = judged ? flipNodes(judged) : [h("p", { class: "bad" }, "What flips could not be found out.")];
  const foot = h("footer", {}, h("span", { class: "note" }, "Nothing was called, and stored results stay as they are."), h("span", { class: "grow" }), button("Cancel", "Close (Esc)", () => table.close()), go);
  table.open("Before saving", [table.header(`Save: ${summary(table.state)}`), ...found, foot], save, go);
}
