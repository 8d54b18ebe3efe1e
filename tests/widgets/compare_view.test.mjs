import assert from "node:assert/strict";
import { test } from "node:test";

// The whole module, as the browser gets it.
const view = await import(process.env.COMPARE_VIEW_MODULE);
const { ROW } = view;

test("only the rows around what is seen are drawn", () => {
  const { first, last, offset, height } = view.place(5000 * ROW, 12 * ROW, 100_000);
  assert.equal(height, 100_000 * ROW);
  assert.ok(first <= 5000 && last >= 5012 && last - first <= 60);
  assert.equal(offset, first * ROW);
  assert.deepEqual(view.place(0, 12 * ROW, 0), { first: 0, last: 0, offset: 0, height: 0 });
});

test("a row is brought into view with as little movement as possible, and both ends of a long table can be reached", () => {
  const viewport = 10 * ROW;
  assert.equal(view.scrollFor(5, 0, viewport, 100), 0);
  assert.equal(view.scrollFor(10, 0, viewport, 100), ROW);
  const total = 1_000_000;
  for (const index of [0, 123_456, total - 1]) {
    const { first, last } = view.place(view.scrollFor(index, 4_000_000, viewport, total), viewport, total);
    assert.ok(first <= index && index < last, `${first} ${index} ${last}`);
  }
});

test("an interval is drawn around zero in the middle", () => {
  const lines = [
    { metric: "score", mean: 0.1, low: -0.1, high: 0.3 }, { metric: "score", mean: -0.4, low: -0.5, high: -0.3 },
    { metric: "latency", mean: 900, low: null, high: null }, { metric: "cost" },
  ];
  assert.equal(view.reach(lines, "score"), 0.5);
  assert.equal(view.reach(lines, "latency"), 900);
  assert.equal(view.reach(lines, "cost"), 0);
  const first = view.onScale(lines[0], 0.5);
  assert.ok(first.start < 50 && first.start + first.width > 50 && first.point > 50);
  const second = view.onScale(lines[1], 0.5);
  assert.ok(second.start >= 0 && second.start + second.width < 50);
  assert.deepEqual(view.onScale(lines[2], 900), { start: null, width: 0, point: 98 });
  assert.equal(view.onScale({ mean: 0, low: 0, high: 0 }, 0).point, 50);
});

test("each side shows what both have and what it alone has", () => {
  const pieces = [["both", "say "], ["a", "hello "], ["b", "bye "], ["both", "now"]];
  assert.deepEqual(view.sideOf(pieces, "a"), [["both", "say "], ["a", "hello "], ["both", "now"]]);
  assert.deepEqual(view.sideOf(pieces, "b"), [["both", "say "], ["b", "bye "], ["both", "now"]]);
});

test("a long stretch that both have is shortened, and nothing of it is lost", () => {
  const text = "0123456789".repeat(100);
  const shown = view.sideOf([["both", text], ["a", text]], "a");
  assert.deepEqual(shown.map(([of]) => of), ["both", "gap", "both", "a"]);
  assert.equal(shown.slice(0, 3).map(([, part]) => part).join(""), text);
  assert.equal(shown[3][1], text);
});

test("what changed is shown first", () => {
  assert.equal(view.firstFilter({ flips: 2, answers: 5, only_a: 1, only_b: 0, all: 9 }), "flips");
  assert.equal(view.firstFilter({ flips: 0, answers: 5, only_a: 1, only_b: 0, all: 9 }), "answers");
  assert.equal(view.firstFilter({ flips: 0, answers: 0, only_a: 0, only_b: 0, all: 9 }), "all");
});

test("numbers are told with their sign", () => {
  assert.equal(view.latencyChange(100, 1250), "+1,150 ms");
  assert.equal(view.latencyChange(1250, 100), "−1,150 ms");
  assert.equal(view.latencyChange(0, 65000), "+65.0 s");
  assert.equal(view.latencyChange(5, 5.2), "±0 ms");
  assert.equal(view.latencyChange(null, 5), "–");
});

test("only none is 0 % and only all is 100 %", () => {
  assert.deepEqual([0, 0.001, 0.5, 0.999, 1].map(view.percent), ["0 %", "1 %", "50 %", "99 %", "100 %"]);
});

test("a cache forgets what was not used for longest", () => {
  const cache = new view.Lru(2);
  cache.set("a", 1);
  cache.set("b", 2);
  cache.get("a");
  cache.set("c", 3);
  assert.deepEqual([cache.get("a"), cache.get("b"), cache.get("c")], [1, undefined, 3]);
});
