// What the panel says and writes, without a page.

/** Text that nobody trusts, made fit to be shown: control characters are shown, not obeyed. As `safe_text.harmless`. */
export function harmless(text) {
  return String(text ?? "")
    .replaceAll("\r\n", "\n")
    .replace(/[\u0000-\u0008\u000b-\u001f]/g, (one) => String.fromCharCode(0x2400 + one.charCodeAt(0)))
    .replaceAll("\u007f", "␡")
    .replace(/[\u0080-\u009f\u202a-\u202e\u2066-\u2069\ufffe\uffff]/g, "�")
    .toWellFormed();
}

/** A string in Python; what it holds can only be text there. */
export function pythonText(text) {
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const HOME = "personal";

/** Python that connects to a workspace. */
export function connectCode(workspace) {
  return workspace === HOME ? "pc.connect()" : `pc.connect(workspace=${pythonText(workspace)})`;
}

/** Python that fetches a card. */
export function cardCode(name, workspace) {
  return `${connectCode(workspace)}.card(${pythonText(name)})`;
}

/** Python that opens the editor of a card. */
export function editCode(name, workspace) {
  return workspace === HOME ? `pc.edit(${pythonText(name)})` : `${connectCode(workspace)}.edit(${pythonText(name)})`;
}

/** Python that shows a run, live as long as it runs. */
export function runCode(id, workspace) {
  const place = workspace === HOME ? "" : `, workspace=${pythonText(workspace)}`;
  return `pc.attach(${pythonText(id)}${place})`;
}

const IMPORT = "import promptcard_ext as pc";

/** `code`, with the import in front of it when none of the notebook's cells has one. */
export function withImport(code, sources) {
  const known = sources.some((source) => /^\s*(import promptcard_ext as pc\b|%load_ext promptcard_ext\b)/m.test(source));
  return known ? code : `${IMPORT}\n\n${code}`;
}

const ENDED = new Set(["completed", "cancelled", "failed"]);

/** Whether a run has ended. */
export function ended(status) {
  return ENDED.has(status);
}

/** What is said of a run's passes: the rate with its denominator, or how far it is. */
export function rateText(counts) {
  const judged = counts.passed + counts.failed;
  if (!judged) return counts.done ? "not judged" : "–";
  // Never rounded to all or nothing: 999 of 1,000 are not 100 %.
  const percent = Math.min(counts.failed ? 99 : 100, Math.max(counts.passed ? 1 : 0, Math.round((100 * counts.passed) / judged)));
  return `${percent} % of ${number(judged)}`;
}

/** The share of a run that is done, 0 to 1. */
export function progress(counts) {
  return counts.total ? Math.min(1, counts.done / counts.total) : 0;
}

/** The facts about a run that belong behind its name, each with its label. */
export function runFacts(run) {
  const { counts, plan } = run;
  const facts = [
    ["Card", (plan.versions ?? []).map((one) => one.label).join(", ") || plan.card],
    ["Models", plan.models.join(", ")],
    ["Items", counts.done === counts.total ? number(counts.total) : `${number(counts.done)} of ${number(counts.total)}`],
    ["Outcomes", `${number(counts.passed)} passed, ${number(counts.failed)} failed`],
  ];
  if (counts.errored) facts.push(["Errors", number(counts.errored)]);
  if (counts.unscored) facts.push(["Not judged", number(counts.unscored)]);
  if (counts.priced) facts.push(["Cost", `$${money(counts.cost_usd)}`]);
  facts.push(["Started", run.started_at ? new Date(run.started_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) : "waits in the queue"]);
  if (run.error?.message) facts.push(["Problem", run.error.message]);
  return facts;
}

function money(text) {
  const value = Number(text);
  return value >= 1 || value === 0 ? value.toFixed(2) : value.toPrecision(2);
}

export function number(value) {
  return value.toLocaleString("en-US");
}

/** How long ago a moment was. */
export function ago(moment, now) {
  const seconds = Math.max(0, (now - new Date(moment).getTime()) / 1000);
  if (seconds < 60) return "just now";
  for (const [size, unit] of [[60, "min"], [3600, "h"], [86400, "d"]]) {
    const next = { min: 3600, h: 86400, d: Infinity }[unit];
    if (seconds < next) return `${Math.floor(seconds / size)} ${unit} ago`;
  }
  return "";
}

/** Takes text of an event stream as it comes, and calls back with each whole event. */
export class EventReader {
  #rest = "";
  constructor(onEvent) {
    this.onEvent = onEvent;
  }
  push(text) {
    const blocks = (this.#rest + text).split("\n\n");
    this.#rest = blocks.pop();
    for (const block of blocks) this.#event(block);
  }
  #event(block) {
    const fields = {};
    for (const line of block.split("\n")) {
      const at = line.indexOf(":");
      if (at > 0) fields[line.slice(0, at)] = line.slice(at + 1).trimStart();
    }
    if (fields.event) this.onEvent(fields.event);
  }
}

/** What to tell somebody whose server did not answer as hoped: a heading, and what to do. */
export function trouble(error) {
  if (error.status === 404 && !error.code) {
    return ["No Prompt Cards here", "This Jupyter server runs without Prompt Cards. Start one with “jupyter promptcards lab”."];
  }
  if (error.code === "hub_not_supported") {
    return ["On a JupyterHub", "Cards and runs of a Hub are kept by its service. This panel and pc.connect() find it when the Hub's operator sets PROMPTCARDS_URL."];
  }
  // Jupyter lets in, and somebody else does not: that one says what to do.
  if (error.status === 403 && error.hint) return [error.message, error.hint];
  if (error.status === 401 || error.status === 403) {
    return ["Not logged in", "Prompt Cards does not know who you are. Log in to Jupyter again, then reload the page."];
  }
  if (!error.status) return ["No answer", "The Jupyter server cannot be reached."];
  return [error.message || "Something went wrong", error.hint || ""];
}
