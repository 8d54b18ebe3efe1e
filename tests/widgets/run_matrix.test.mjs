import assert from "node:assert/strict";
import { test } from "node:test";

// What the browser gets: written by test_front_end.py.
const view = await import(process.env.RUN_VIEW_MODULE);
const { CELL } = view;

test("only the columns that are seen are drawn, and a few beside them", () => {
  assert.deepEqual(view.across(0, 5 * CELL, 2500), { first: 0, last: 7 });
  assert.deepEqual(view.across(100 * CELL, 5 * CELL, 2500), { first: 98, last: 107 });
  assert.deepEqual(view.across(2495 * CELL, 5 * CELL, 2500), { first: 2493, last: 2500 });
  assert.deepEqual(view.across(0, 5 * CELL, 2), { first: 0, last: 2 });
});

test("scrolled beyond the last column nothing is drawn that is not there", () => {
  const { first, last } = view.across(9000, 300, 4);
  assert.ok(first <= last && last <= 4);
});

test("a column is brought into view with as little movement as possible", () => {
  assert.equal(view.scrollLeftFor(2, 0, 5 * CELL), 0);
  assert.equal(view.scrollLeftFor(5, 0, 5 * CELL), CELL);
  assert.equal(view.scrollLeftFor(1, 3 * CELL, 5 * CELL), CELL);
});

test("a cell says how many passed of those that were judged, and errors apart from failures", () => {
  assert.equal(view.brief("pppf"), "3/4");
  assert.equal(view.brief("ppe."), "2/2 1 err");
  assert.equal(view.brief("eu.."), "1 err 1 uns");
  assert.equal(view.brief("...."), "");
  assert.equal(view.brief("f"), "fail");
  assert.equal(view.spell("pfeu."), "1 pass, 1 fail, 1 error, 1 unscored, 1 open");
});

test("few repeats are ticks, many are shares", () => {
  assert.equal(view.picture("pf").match(/transparent/g).length, 2);
  const shares = view.picture("p".repeat(75) + "f".repeat(25));
  assert.match(shares, /var\(--pass\) 0\.00% 75\.00%/);
  assert.match(shares, /var\(--fail\) 75\.00% 100\.00%/);
});

test("the place of an item is that of the plan: repeats outside, versions inside", () => {
  const plan = { repeats: 3, labels: ["c@1", "c@2"], models: ["p:a"] };
  assert.deepEqual([0, 1, 2].map((repeat) => view.ordinalOf(plan, 1, 1, repeat)), [7, 9, 11]);
});

test("opening a cell shows what did not pass first", () => {
  assert.equal(view.worth("ppfp"), 2);
  assert.equal(view.worth("pppp"), 0);
  assert.equal(view.worth("..p."), 2);
  assert.equal(view.worth("...."), 0);
});

test("what the kernel keeps at hand is no question", () => {
  const at = { outcome: "fail", changed: "", text: " ", sort: "", descending: true };
  assert.equal(view.questionOf(at), null);
  assert.deepEqual(view.questionOf({ ...at, text: " refund " }), ["fail", "", "refund", "", false]);
  assert.deepEqual(view.questionOf({ ...at, sort: "cost" }), ["fail", "", "", "cost", true]);
});

test("amounts of money", () => {
  assert.deepEqual(["1.50", " 2 ", "", "1,5", "-1", "1e3", "x"].map((text) => view.isAmount(text, false)), [true, true, false, false, false, false, false]);
  assert.ok(view.isAmount("", true));
});

test("half characters are not sent", () => {
  assert.equal(view.wellFormed("a\ud800b"), "a\ufffdb");
  assert.equal(view.wellFormed("a\u{1f600}b"), "a\u{1f600}b");
});

test("an item without an answer tells no latency and no cost", () => {
  const item = { calls: [], cached: false, score: null, finish_reason: undefined };
  assert.deepEqual(view.factsOf(item), []);
  const titles = view.factsOf({ ...item, latency_ms: 5, tokens_input: 3, tokens_output: null, attempts: 2 }).map(([title]) => title);
  assert.deepEqual(titles, ["Latency", "Tokens", "Cost", "Attempts"]);
});
