// What steers a run, and what chooses among its results.

import { OUTCOMES, copyText, count, h, say } from "./page.js";

const SORTS = [["", "as they came"], ["case", "case"], ["outcome", "outcome"], ["latency", "latency"], ["cost", "cost"], ["score", "score"]];
const TYPING_MS = 300;

/** Whether a text is an amount of money, or empty where that is allowed. */
export function isAmount(text, mayBeEmpty) {
  return text.trim() === "" ? mayBeEmpty : /^\d+(\.\d+)?$/.test(text.trim());
}

/** What the kernel is asked for: null for what it keeps at hand, else outcome, changed, text, sort, descending. */
export function questionOf({ outcome, changed, text, sort, descending }) {
  const said = text.trim();
  return changed || said || sort ? [outcome, changed, said, sort, Boolean(descending && sort)] : null;
}

/** Pause, resume, stop, retry, budget; each says why it is not possible. */
export class Controls {
  constructor(view) {
    this.view = view;
    this.stop = h("button", { class: "stop", type: "button" });
    this.stop.addEventListener("click", () => {
      view.stopping = true;
      view.ask({ kind: "cancel" });
      view.update();
    });
    this.pause = this.make(() => this.do(this.view.state.status === "paused" || this.view.state.status === "pausing" ? "resume" : "pause"));
    this.retry = this.make(() => this.openForm("retry"));
    this.requeue = this.make(() => this.openForm("requeue"));
    this.budget = this.make(() => this.openForm("budget"));
    this.back = this.make(() => view.ask({ kind: "show" }));
    this.buttons = h("span", { class: "buttons", role: "group", "aria-label": "The run" }, this.back, this.pause, this.requeue, this.retry, this.budget, this.stop);
    this.purse = h("div", { class: "purse", hidden: "" }, h("div", { class: "bar", role: "img" }, h("i", { class: "gone" }), h("i", { class: "kept" })), h("span"));
    this.form = h("div", { class: "form", role: "group", "aria-label": "Before it is done", hidden: "" });
    this.form.addEventListener("keydown", (event) => event.key === "Enter" && event.target === this.input && this.submit());
  }

  make(act) {
    const button = h("button", { class: "button", type: "button" });
    button.addEventListener("click", () => (button.why ? this.view.tell(button.why) : act()));
    return button;
  }

  name(button, text, why) {
    say(button, text);
    button.why = why;
    // Not "disabled": the reason is to be reached by keyboard, too.
    button.setAttribute("aria-disabled", String(Boolean(why)));
    button.title = why || "";
  }

  update() {
    const { state } = this.view;
    const { cannot } = state;
    const waits = state.status === "paused" || state.status === "pausing";
    this.stop.hidden = state.frozen;
    this.stop.disabled = state.status === "cancelling" || Boolean(this.view.stopping);
    say(this.stop, this.stop.disabled ? "Stopping…" : "Stop");
    this.pause.hidden = state.frozen;
    this.name(this.pause, waits ? "Resume" : "Pause", waits ? cannot.resume : cannot.pause);
    this.retry.hidden = !state.frozen || !(state.error + state.unscored);
    this.name(this.retry, `Retry errors (${count(state.error)})`, cannot.retry);
    this.requeue.hidden = Boolean(cannot.requeue);
    this.name(this.requeue, "Call again", cannot.requeue);
    this.budget.hidden = Boolean(cannot.budget) && !state.money;
    this.name(this.budget, "Budget", cannot.budget);
    this.back.hidden = !state.back;
    this.name(this.back, `← ${state.back}`, "");
    this.tellMoney(state.money);
  }

  tellMoney(money) {
    this.purse.hidden = !money;
    if (!money) return;
    const [bar, text] = this.purse.children;
    bar.children[0].style.width = `${100 * money.gone}%`;
    bar.children[1].style.width = `${100 * money.kept}%`;
    const said = `$${money.spent} of $${money.limit} spent (${Math.round(100 * money.gone)} %)${money.held ? `, $${money.held} held for calls in flight` : ""}`;
    bar.setAttribute("aria-label", `Budget: ${said}`);
    this.purse.classList.toggle("pcv-nearly", money.gone >= 0.9);
    say(text, `Budget ${said}`);
  }

  do(action, more = {}) {
    this.view.tell("");
    this.view.ask({ kind: "do", action, ...more });
  }

  openForm(action) {
    const { state } = this.view;
    this.action = action;
    const input = h("input", { type: "text", inputmode: "decimal", class: "amount", "aria-label": "USD", placeholder: action === "retry" ? "as before" : "USD" });
    if (action === "budget" && state.money) input.value = state.money.limit;
    const words = {
      budget: "Budget of the whole run, in USD:",
      retry: `Ask ${count(state.error)} errors again. Budget in USD:`,
      requeue: "Calls that may have been made and paid for are made again.",
    };
    const go = h("button", { class: "button", type: "button" }, action === "budget" ? "Set" : action === "retry" ? "Retry" : "Call again");
    go.addEventListener("click", () => this.submit());
    const no = h("button", { class: "button", type: "button" }, "Cancel");
    no.addEventListener("click", () => this.closeForm());
    this.input = action === "requeue" ? null : input;
    this.form.replaceChildren(h("label", {}, words[action], ...(this.input ? [" ", input] : [])), go, no);
    this.form.hidden = false;
    (this.input ?? go).focus();
  }

  closeForm() {
    this.form.hidden = true;
    this.buttons.querySelector("button:not([hidden])")?.focus();
  }

  submit() {
    const text = this.input?.value.trim() ?? "";
    if (this.input && !isAmount(text, this.action === "retry")) {
      this.view.tell(`“${text}” is no amount of money: write 1.50.`);
      this.input.focus();
      return;
    }
    this.do(this.action, text ? { budget: text } : {});
    this.closeForm();
  }
}

/** Outcome, changed, text, order, list or matrix; and what is marked. */
export class Choices {
  constructor(view) {
    this.view = view;
    this.chip = {};
    this.chips = h("div", { class: "chips", role: "group", "aria-label": "Filter by outcome" });
    for (const outcome of ["", ...OUTCOMES]) {
      const number = h("b");
      const dot = outcome ? [h("span", { class: "dot", "data-o": outcome })] : [];
      const button = h("button", { class: "chip", type: "button", "aria-pressed": "false" }, ...dot, outcome || "all", number);
      button.addEventListener("click", () => view.choose({ outcome }));
      this.chip[outcome] = { button, number };
      this.chips.append(button);
    }
    this.text = h("input", { class: "search", type: "search", placeholder: "Search answers and cases", "aria-label": "Search answers, cases and messages" });
    this.text.value = view.at.text;
    this.text.addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => view.choose({ text: wellFormed(this.text.value) }), TYPING_MS);
    });
    this.changed = h("select", { class: "changed", "aria-label": "Changed against" });
    this.changed.addEventListener("change", () => {
      if (this.changed.value === "?") this.askOthers();
      else view.choose({ changed: this.changed.value });
    });
    this.sort = h("select", { class: "sort", "aria-label": "Order" }, ...SORTS.map(([value, text]) => h("option", { value }, text)));
    this.sort.value = view.at.sort;
    this.sort.addEventListener("change", () => view.choose({ sort: this.sort.value }));
    this.turn = h("button", { class: "button", type: "button", "aria-label": "Descending" });
    this.turn.addEventListener("click", () => view.choose({ descending: !view.at.descending }));
    this.looks = ["List", "Matrix"].map((text, i) => {
      const button = h("button", { class: "chip", type: "button", "aria-pressed": "false" }, text);
      button.addEventListener("click", () => view.look(i === 1));
      return button;
    });
    this.newest = h("button", { class: "newest", type: "button", hidden: "" }, "Newest ↓");
    this.hits = h("span", { class: "hits", role: "status" });
    this.switch = h("span", { class: "looks", role: "group", "aria-label": "Layout" }, ...this.looks);
    this.bar = h("div", { class: "choices" }, this.text, h("label", {}, "Changed ", this.changed), h("label", {}, "Order ", this.sort), this.turn, this.hits, h("span", { class: "grow" }), this.newest, this.switch);
    this.marked = h("div", { class: "marked", hidden: "" });
    this.others = [];
  }

  askOthers() {
    this.changed.value = this.view.at.changed;
    this.view.ask({ kind: "others" });
  }

  /** Other runs have come. */
  takeOthers(content) {
    this.others = content.others ?? [];
    this.asked = true;
    this.view.tell(content.problem ?? (this.others.length ? "Choose a run under “Changed”." : "There is no other run to compare with."));
    this.known = "";
    this.update();
    this.changed.focus();
  }

  update() {
    const { at, state, plan } = this.view;
    for (const [outcome, { button, number }] of Object.entries(this.chip)) {
      say(number, count(outcome ? state[outcome] : state.done));
      button.setAttribute("aria-pressed", String(at.outcome === outcome));
    }
    this.tellChanged(plan);
    this.turn.hidden = !at.sort;
    say(this.turn, at.descending ? "↓" : "↑");
    this.turn.setAttribute("aria-pressed", String(at.descending));
    this.switch.hidden = !state.grid;
    this.looks.forEach((button, i) => button.setAttribute("aria-pressed", String(this.view.matrixed === (i === 1))));
    say(this.hits, this.view.searching());
    this.tellMarked();
  }

  tellChanged(plan) {
    const labels = plan && plan.labels.length > 1 ? plan.labels : [];
    const options = [["", "–"], ...labels.map((label) => [`version:${label}`, `against ${label}`]), ...this.others.map(([id, name]) => [`run:${id}`, `against ${name}`]), ...(this.asked ? [] : [["?", "against another run…"]])];
    const known = JSON.stringify(options);
    if (known === this.known) return;
    this.known = known;
    this.changed.replaceChildren(...options.map(([value, text]) => h("option", { value }, text)));
    this.changed.value = options.some(([value]) => value === this.view.at.changed) ? this.view.at.changed : "";
  }

  tellMarked() {
    const { columns, items } = this.view.at;
    this.marked.hidden = !columns.size && !items.size;
    if (this.marked.hidden) return;
    const text = [columns.size && `${columns.size} column${columns.size > 1 ? "s" : ""}`, items.size && `${count(items.size)} item${items.size > 1 ? "s" : ""}`];
    const words = `${text.filter(Boolean).join(", ")} marked`;
    const why = this.view.cannotCompare();
    const state = `${words}|${why}`;
    if (this.marked.state === state) return;
    this.marked.state = state;
    const compare = this.view.button("Compare", why, () => this.view.compareMarked(), (reason) => this.view.tell(reason));
    const clear = h("button", { class: "button", type: "button" }, "Clear");
    clear.addEventListener("click", () => this.view.unmark());
    this.marked.replaceChildren(h("span", {}, words), compare, clear);
  }
}

/** A text without half characters, which cannot be sent. */
export function wellFormed(text) {
  return text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd");
}

/** Copy the case that the kernel has written, and tell. */
export async function copyCase(view, content) {
  const told = content.problem ?? ((await copyText(content.text)) ? "The case is in the clipboard, as YAML." : "The browser does not let us copy.");
  view.story.tell(told);
}
