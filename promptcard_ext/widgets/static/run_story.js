// Everything about one item: what was asked and answered, every verdict, what judges said, and what to do with it.

import { copyText, count, h, milliseconds, say } from "./page.js";

const MOST_REPEATS = 40;

/** The lines of facts of an item: title and text, without those that say nothing. */
export function factsOf(item) {
  const out = item.tokens_output == null ? "?" : count(item.tokens_output);
  return [
    ["Latency", item.latency_ms != null && milliseconds(item.latency_ms)], ["First token", item.ttft_ms != null && milliseconds(item.ttft_ms)],
    ["Tokens", item.tokens_input != null && `${count(item.tokens_input)} in, ${out} out`],
    ["Cost", item.latency_ms != null && (item.cost_usd ?? "not priced")], ["Finished", item.finish_reason],
    ["Attempts", item.attempts > 1 && String(item.attempts)], ["Score", item.score != null && item.score.toFixed(2)],
    ["From", item.cached && "the store"], ["Further", item.calls.join(", ")],
  ].filter(([, value]) => value);
}

/** The panel of one item; `view` asks the kernel. */
export class Story {
  constructor(view) {
    this.view = view;
    this.panel = h("section", { class: "detail", id: `${view.uid}-detail`, tabindex: "-1", "aria-label": "One item", hidden: "" });
    this.repeats = [];
  }

  clear() {
    this.panel.hidden = true;
    this.ordinal = undefined;
  }

  /** Show an item; `repeats` are the other answers to the same question. */
  show(item, repeats, reveal) {
    const again = this.ordinal === item.row[0] && !this.panel.hidden;
    this.ordinal = item.row[0];
    this.repeats = repeats;
    const [, outcome, name, repeat, label, model] = item.row;
    const what = `${name}${repeat ? ` #${repeat + 1}` : ""} · ${label} · ${model}`;
    const close = h("button", { class: "close", type: "button", "aria-label": "Close", title: "Close (Esc)" }, "×");
    close.addEventListener("click", () => this.view.closeItem());
    this.prompt = h("div", { class: "prompt" });
    this.said = h("span", { class: "told", role: "status" });
    const body = h("div", { class: "body" }, this.actions(item), this.switcher(), this.facts(item), this.prompt, ...this.answer(item), ...this.verdicts(item), ...this.judges(item));
    const scrolled = again ? this.panel.querySelector(".pcv-body").scrollTop : 0;
    this.panel.replaceChildren(h("header", {}, mark(outcome), h("span", { class: "what", title: what }, what), h("span", { class: "grow" }), close), body);
    this.panel.hidden = false;
    body.scrollTop = scrolled;
    if (reveal) this.panel.scrollIntoView({ block: "nearest" });
    say(this.view.spoken, `${what}: ${outcome}.`);
    if (again && this.told) this.tellStory(this.told);
    else {
      this.told = null;
      this.view.ask({ kind: "story", ordinal: this.ordinal });
    }
  }

  facts(item) {
    return h("div", { class: "facts" }, ...factsOf(item).map(([title, value]) => h("span", {}, `${title} `, h("b", {}, value))));
  }

  switcher() {
    if (this.repeats.length < 2) return "";
    const buttons = this.repeats.slice(0, MOST_REPEATS).map(([ordinal, outcome], i) => {
      const button = h("button", { class: "chip", type: "button", "aria-pressed": String(ordinal === this.ordinal) }, h("span", { class: "dot", "data-o": outcome }), `#${i + 1} ${outcome || "open"}`);
      button.disabled = !outcome;
      button.addEventListener("click", () => this.view.openItem(ordinal, this.repeats, false));
      return button;
    });
    return h("div", { class: "chips", role: "group", "aria-label": "Repeats" }, ...buttons);
  }

  actions(item) {
    const ordinal = item.row[0];
    const cannot = this.view.state.cannot;
    const made = [
      ["Copy as case", "", () => this.view.ask({ kind: "case", ordinal })],
      ["Copy answer", item.output === null ? "There is no answer." : "", async () => this.tell((await copyText(item.output)) ? "The answer is in the clipboard." : "The browser does not let us copy.")],
      ["Promote to case", cannot.promote ?? (item.output === null ? "There is no answer." : ""), () => this.order("promote", ordinal)],
      ["Run again", cannot.again ?? "", () => this.order("again", ordinal)],
      ["Compare", this.view.cannotCompare(), () => this.view.compareItem(ordinal)],
    ];
    const buttons = made.map(([text, why, act]) => this.view.button(text, why, act, (reason) => this.tell(reason)));
    return h("div", { class: "actions", role: "group", "aria-label": "Actions" }, ...buttons, this.said);
  }

  order(action, ordinal) {
    this.tell("…");
    this.view.ask({ kind: "do", action, ordinal, epoch: this.view.state.epoch });
  }

  tell(text) {
    say(this.said, text);
  }

  /** The prompt and the attempts have come. */
  tellStory(content) {
    this.told = content;
    const parts = [];
    if (content.problem) parts.push(h("h5", {}, "Prompt"), h("div", { class: "note" }, content.problem));
    else {
      parts.push(h("h5", {}, "Prompt"));
      if (content.note) parts.push(h("div", { class: "note" }, content.note));
      for (const [role, text] of content.messages) parts.push(h("div", { class: "role" }, role), h("pre", {}, text));
      if (content.cut) parts.push(h("div", { class: "note" }, "The prompt is cut here."));
      if (content.attempts.length) parts.push(h("h5", {}, "Calls on record"), h("pre", {}, content.attempts.join("\n")));
    }
    this.prompt.replaceChildren(...parts);
  }

  answer(item) {
    const parts = [];
    if (item.row[1] !== "pass" && item.message && !item.verdicts.length) parts.push(h("h5", {}, "What happened"), h("pre", {}, item.message));
    if (item.output !== null) {
      parts.push(h("h5", {}, "Answer"), h("pre", {}, item.output || "(empty)"));
      if (item.cut) parts.push(h("div", { class: "note" }, `Cut here: the whole answer has ${count(item.cut)} characters.`));
    }
    if (item.tool_calls.length) parts.push(h("h5", {}, "Tool calls"), h("pre", {}, item.tool_calls.join("\n")));
    if (item.raw !== null) parts.push(h("h5", {}, item.output === null ? "The reply could not be read; it was kept" : "Not all of the reply could be read"), h("pre", {}, item.raw));
    return parts;
  }

  verdicts(item) {
    if (!item.verdicts.length) return [];
    const lines = item.verdicts.map((verdict) => {
      const what = [verdict.name, ...verdict.facts].join(", ");
      const said = h("span", {}, verdict.message, verdict.reason ? h("span", { class: "code" }, ` ${verdict.reason}`) : "");
      // Parts of a set stand further in, below it; more than a few levels would leave no room.
      const line = h("div", { class: "verdict", role: "listitem" }, mark(verdict.outcome), h("span", {}, what), said);
      line.style.paddingLeft = `${18 * Math.min(6, verdict.depth)}px`;
      return line;
    });
    if (item.more_verdicts) lines.push(h("div", { class: "note" }, `and ${count(item.more_verdicts)} more`));
    return [h("h5", {}, "Verdicts"), h("div", { class: "said", role: "list" }, ...lines)];
  }

  judges(item) {
    return item.said.flatMap((one) => [h("h5", {}, `${one.purpose} ${one.model}`), h("pre", {}, one.text || "(no text)")]);
  }
}

function mark(outcome) {
  return h("span", { class: "o" }, h("span", { class: "dot", "data-o": outcome }), outcome);
}
