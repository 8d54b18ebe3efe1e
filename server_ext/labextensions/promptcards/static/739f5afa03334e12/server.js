// The server's REST interface, by the way that Jupyter's own front end takes: base URL, token and XSRF are its.

import { EventReader } from "./listing.js";

const PREFIX = "promptcards/api/v1";
const RUN_FIELDS = "id,name,status,plan,counts,created_at,started_at,finished_at,error";
const CARD_FIELDS = "name,title,description,tags,latest_version,updated_at";
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 30_000;
const KEPT_BACK_MS = 5000;

/** What the server refuses: `status` is 0 when there was no answer. */
export class Refused extends Error {
  constructor(status, answer = {}) {
    super(answer.message ?? `The server answered ${status}.`);
    Object.assign(this, { status, code: answer.code ?? "", hint: answer.hint ?? "" });
  }
}

export class Server {
  /** `connection` is ServerConnection of `@jupyterlab/services`, `join` is URLExt.join of `@jupyterlab/coreutils`. */
  constructor(connection, join) {
    this.connection = connection;
    this.join = join;
    this.settings = connection.makeSettings();
  }

  async workspaces() {
    return (await this.#get("workspaces", { limit: 200 })).items;
  }

  /** Cards by name; with a text, those that it finds, the best first. */
  async cards(workspace, text) {
    const at = `workspaces/${encodeURIComponent(workspace)}`;
    if (!text) return this.#get(`${at}/cards`, { limit: 200, fields: CARD_FIELDS });
    const found = await this.#get(`${at}/search`, { text, limit: 50 });
    return { items: found.items.map((one) => one.card), next: found.next };
  }

  async labels(workspace, card) {
    return (await this.#get(`workspaces/${encodeURIComponent(workspace)}/cards/${encodeURIComponent(card)}/labels`)).items;
  }

  /** The latest runs; with a text, those that have it in their name. */
  async runs(workspace, text) {
    const query = { limit: 20, fields: RUN_FIELDS, ...(text ? { name: text } : {}) };
    return (await this.#get(`workspaces/${encodeURIComponent(workspace)}/runs`, query)).items;
  }

  /**
   * Follow what changes in a workspace until `signal` aborts: `onChange("cards" | "runs" | "all")`.
   * Called with "all" at the beginning too, and whenever something may have been missed. After a broken connection it
   * comes back by itself, later each time. As long as no event comes at all, some proxy may keep them back until there
   * are more: then it is "all" every five seconds.
   */
  async follow(workspace, onChange, signal) {
    const what = { card: "cards", label: "cards", run: "runs", start: "all", reset: "all" };
    const path = `workspaces/${encodeURIComponent(workspace)}/events`;
    let wait = FIRST_RETRY_MS;
    while (!signal.aborted) {
      const asking = setInterval(() => onChange("all"), KEPT_BACK_MS);
      const events = new EventReader((kind) => {
        clearInterval(asking);
        wait = FIRST_RETRY_MS;
        if (what[kind]) onChange(what[kind]);
      });
      try {
        const text = (await this.#ask(path, {}, { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
        for (let part = await text.read(); !part.done; part = await text.read()) events.push(part.value);
      } catch {
        // Whoever asks for the lists now learns what is wrong.
        if (!signal.aborted) onChange("all");
      } finally {
        clearInterval(asking);
      }
      await pause(wait, signal);
      wait = Math.min(LAST_RETRY_MS, wait * 2);
    }
  }

  async #get(path, query = {}) {
    return (await this.#ask(path, query)).json();
  }

  async #ask(path, query, init = {}) {
    const text = new URLSearchParams(query).toString();
    const url = this.join(this.settings.baseUrl, PREFIX, path) + (text ? `?${text}` : "");
    let response;
    try {
      // Told to look into no cache, Jupyter's function would add the time to the query. Our answers are never cached.
      response = await this.connection.makeRequest(url, { cache: "default", ...init }, this.settings);
    } catch (error) {
      throw init.signal?.aborted ? error : new Refused(0);
    }
    if (response.ok) return response;
    throw new Refused(response.status, await response.json().catch(() => ({})));
  }
}

function pause(ms, signal) {
  return new Promise((done) => {
    if (signal.aborted) return done();
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
  });
}
