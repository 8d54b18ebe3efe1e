import assert from "node:assert/strict";
import { test } from "node:test";

// What the browser gets: written by test_front_end.py.
const view = await import(process.env.RUN_VIEW_MODULE);
const { ROW, WINDOW } = view;

test("only the rows around what is seen are drawn", () => {
  const { first, last, offset, height } = view.place(5000 * ROW, 12 * ROW, 20000);
  assert.equal(height, 20000 * ROW);
  assert.ok(first <= 5000 && last >= 5012 && last - first <= 60);
  assert.equal(offset, first * ROW);
});

test("a short table is drawn whole", () => {
  assert.deepEqual(view.place(0, 12 * ROW, 3), { first: 0, last: 3, offset: 0, height: 3 * ROW });
  assert.deepEqual(view.place(0, 12 * ROW, 0), { first: 0, last: 0, offset: 0, height: 0 });
});

test("scrolled beyond the end, as after a filter, nothing is drawn that is not there", () => {
  const { first, last } = view.place(90000, 300, 4);
  assert.ok(first <= last && last <= 4);
});

test("both ends of ten million rows can be reached", () => {
  const total = 10_000_000;
  const viewport = 12 * ROW;
  const { height } = view.place(0, viewport, total);
  assert.ok(height <= 8_000_000);
  const end = view.place(height - viewport, viewport, total);
  assert.equal(end.last, total);
  const bottom = end.offset + (end.last - end.first) * ROW;
  assert.ok(Math.abs(bottom - height) < 1, `${bottom} ${height}`);
  assert.equal(view.place(0, viewport, total).first, 0);
});

test("a row is brought into view with as little movement as possible", () => {
  const viewport = 10 * ROW;
  assert.equal(view.scrollFor(5, 0, viewport, 100), 0);
  assert.equal(view.scrollFor(10, 0, viewport, 100), ROW);
  assert.equal(view.scrollFor(3, 20 * ROW, viewport, 100), 3 * ROW);
});

test("a row far down a squeezed table is where it was scrolled to", () => {
  const total = 10_000_000;
  const viewport = 12 * ROW;
  for (const index of [0, 1234567, 9_999_999]) {
    const top = view.scrollFor(index, 4_000_000, viewport, total);
    const { first, last } = view.place(top, viewport, total);
    assert.ok(first <= index && index < last, `${index} in ${first}..${last}`);
  }
});

test("the windows of a range", () => {
  assert.deepEqual(view.windowsFor(0, 1), [0]);
  assert.deepEqual(view.windowsFor(WINDOW - 1, WINDOW + 1), [0, 1]);
  assert.deepEqual(view.windowsFor(WINDOW, 2 * WINDOW), [1]);
  assert.deepEqual(view.windowsFor(0, 0), []);
});

test("the cache forgets what was not used for longest", () => {
  const cache = new view.Lru(2);
  cache.set("a", 1);
  cache.set("b", 2);
  cache.get("a");
  cache.set("c", 3);
  assert.deepEqual([cache.get("a"), cache.get("b"), cache.get("c")], [1, undefined, 3]);
});

test("a lost tick is noticed and an old one ignored", () => {
  assert.equal(view.compare(4, 5), "next");
  assert.equal(view.compare(4, 4), "next");
  assert.equal(view.compare(4, 6), "gap");
  assert.equal(view.compare(4, 3), "old");
});

test("numbers and times for people", () => {
  assert.equal(view.count(1234567), "1,234,567");
  assert.equal(view.milliseconds(null), "–");
  assert.equal(view.milliseconds(0), "0 ms");
  assert.equal(view.milliseconds(1234.4), "1,234 ms");
  assert.equal(view.milliseconds(12345), "12.3 s");
  assert.equal(view.duration(0), "0:00");
  assert.equal(view.duration(59.6), "1:00");
  assert.equal(view.duration(3725), "1:02:05");
});

test("the time that is left is only said when it is more than a guess", () => {
  assert.equal(view.remaining(10, 50, 100), 10);
  assert.equal(view.remaining(10, 2, 100), null);
  assert.equal(view.remaining(0.5, 50, 100), null);
  assert.equal(view.remaining(null, 50, 100), null);
  assert.equal(view.remaining(10, 100, 100), null);
});

test("what tells names apart is behind the last separator they share", () => {
  assert.equal(view.shared(["support-triage@690247", "support-triage@ee7d26"]), "support-triage@".length);
  assert.equal(view.shared(["ollama:llama3.2", "ollama:llama3.1"]), "ollama:".length);
  assert.equal(view.shared(["ollama:a", "openai:b"]), 0);
  assert.equal(view.shared(["card v1", "card v2"]), "card ".length);
  assert.equal(view.shared(["only one"]), 0);
  assert.equal(view.shared([]), 0);
  assert.equal(view.shared(["a:b", "a:b:c"]), "a:".length);
});

test("a name that is too long loses its beginning and not what tells it apart", () => {
  assert.deepEqual(view.halves("support-triage@690247", false), ["support-triage", "@690247"]);
  assert.deepEqual(view.halves("card v2", false), ["card", " v2"]);
  assert.deepEqual(view.halves("690247", false), ["", "690247"]);
  assert.deepEqual(view.halves("ollama:llama3:8b", true), ["ollama:", "llama3:8b"]);
  assert.deepEqual(view.halves("", true), ["", ""]);
});
