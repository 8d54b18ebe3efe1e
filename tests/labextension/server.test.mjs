import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Refused, Server } from "../../labextension/src/server.js";

/** A server by JupyterLab's functions: `answer` says what comes of a request. */
function server(answer) {
  const asked = [];
  const connection = {
    makeSettings: () => ({ baseUrl: "http://host/user/ada/" }),
    makeRequest: async (url, init, settings) => {
      asked.push({ url, init, settings });
      return answer(url, init, asked.length);
    },
  };
  const join = (...parts) => parts.map((part) => part.replace(/\/$/, "")).join("/");
  return { asked, made: new Server(connection, join) };
}

const json = (value, status = 200) => new Response(JSON.stringify(value), { status });

test("requests go below the base URL, and what is in them stays in its place", async () => {
  const { asked, made } = server(() => json({ items: [] }));
  await made.labels("team", "a/b?c");
  await made.runs("team", "x&limit=1");
  const [labels, runs] = asked.map((one) => new URL(one.url));
  assert.equal(labels.pathname, "/user/ada/promptcards/api/v1/workspaces/team/cards/a%2Fb%3Fc/labels");
  assert.equal(runs.searchParams.get("name"), "x&limit=1");
  assert.equal(runs.searchParams.get("limit"), "20");
  assert.notEqual(asked[0].init.cache, "no-store"); // JupyterLab would add a parameter that the server refuses
});

test("a search finds cards, a list has them all", async () => {
  const { made } = server((url) => json(url.includes("/search?") ? { items: [{ card: 1 }], next: null } : { items: [2], next: "x" }));
  assert.deepEqual(await made.cards("team", "greet"), { items: [1], next: null });
  assert.deepEqual(await made.cards("team", ""), { items: [2], next: "x" });
});

test("a refusal tells what the server says, and one without an answer has no status", async () => {
  const { made } = server(() => json({ code: "starting", message: "Soon.", hint: "Wait." }, 503));
  await assert.rejects(made.workspaces(), { status: 503, code: "starting", message: "Soon.", hint: "Wait." });
  const page = server(() => new Response("<html>", { status: 404 })).made;
  await assert.rejects(page.workspaces(), (error) => error instanceof Refused && error.status === 404 && error.code === "");
  const gone = server(() => { throw new TypeError("no network"); }).made;
  await assert.rejects(gone.workspaces(), { status: 0 });
});

test("following tells what has changed, begins anew after a break, and ends when nobody looks", async () => {
  const stop = new AbortController();
  const stream = 'event: start\ndata: {}\n\nevent: run\ndata: {"key": "r"}\n\nevent: label\ndata: {"key": "c/l"}\n\n';
  const { asked, made } = server((url, init, count) => {
    if (count === 2) throw new TypeError("no network");
    return new Response(stream);
  });
  const seen = [];
  await made.follow("team", (what) => {
    seen.push(what);
    if (seen.length === 7) stop.abort();
  }, stop.signal);
  assert.deepEqual(seen, ["all", "runs", "cards", "all", "all", "runs", "cards"]);
  assert.equal(asked.length, 3);
  assert.ok(asked.every((one) => one.init.signal === stop.signal));
});

test("events that somebody in between keeps back do not keep the lists back", async () => {
  mock.timers.enable({ apis: ["setInterval"] });
  let send;
  const stop = new AbortController();
  const { made } = server(() => new Response(new ReadableStream({
    start: (stream) => {
      send = (text) => stream.enqueue(new TextEncoder().encode(text));
      stop.signal.addEventListener("abort", () => stream.close());
    },
  })));
  const seen = [];
  let heard;
  const news = new Promise((done) => (heard = done));
  const followed = made.follow("team", (what) => (seen.push(what), what === "runs" && heard()), stop.signal);
  mock.timers.tick(4999);
  assert.deepEqual(seen, []);
  mock.timers.tick(5001);
  assert.deepEqual(seen, ["all", "all"]);
  send('event: run\ndata: {"key": "r"}\n\n');
  await news;
  mock.timers.tick(60_000);
  assert.deepEqual(seen, ["all", "all", "runs"]);
  stop.abort();
  await followed;
  mock.timers.reset();
});
