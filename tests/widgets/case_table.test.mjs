import assert from "node:assert/strict";
import { test } from "node:test";

const STATIC = "../../promptcard_ext/widgets/static";
const table = await import(`${STATIC}/case_table.js`);
const panel = await import(`${STATIC}/assertion_panel.js`);
const { ROW, WINDOW } = table;

test("only a few of very many rows are drawn, and the last ones can be reached", () => {
  const { first, last } = table.visible(0, 10 * ROW, 10_000);
  assert.equal(first, 0);
  assert.ok(last < 40);
  assert.equal(table.visible(10_000 * ROW - 10 * ROW, 10 * ROW, 10_000).last, 10_000);
  assert.deepEqual(table.visible(0, 300, 0), { first: 0, last: 0 });
  const beyond = table.visible(90_000, 300, 4);
  assert.ok(beyond.first <= beyond.last && beyond.last <= 4);
});

test("the windows of a range", () => {
  assert.deepEqual(table.windowsFor(0, 1), [0]);
  assert.deepEqual(table.windowsFor(WINDOW - 1, WINDOW + 1), [0, 1]);
  assert.deepEqual(table.windowsFor(0, 0), []);
});

test("a cell is brought into sight with as little movement as possible", () => {
  assert.equal(table.reveal(50, 80, 0, 100), 0);
  assert.equal(table.reveal(90, 120, 0, 100), 20);
  assert.equal(table.reveal(10, 40, 100, 100), 10);
  assert.equal(table.reveal(110, 140, 100, 100, 52), 58, "not below the column that stays");
});

test("keys lead from cell to cell and not out of the table", () => {
  const size = { rows: 10, columns: 4, page: 5 };
  const from = (row, column, key, more = {}) => table.moved({ row, column }, key, { ...size, ...more });
  assert.deepEqual(from(0, 0, "ArrowDown"), { row: 1, column: 0 });
  assert.deepEqual(from(0, 0, "ArrowUp"), { row: 0, column: 0 });
  assert.deepEqual(from(9, 3, "ArrowRight"), { row: 9, column: 3 });
  assert.deepEqual(from(2, 2, "ArrowDown", { ctrl: true }), { row: 9, column: 2 });
  assert.deepEqual(from(2, 2, "Home"), { row: 2, column: 0 });
  assert.deepEqual(from(2, 2, "End", { ctrl: true }), { row: 9, column: 3 });
  assert.deepEqual(from(7, 0, "PageDown"), { row: 9, column: 0 });
  assert.equal(from(0, 0, "x"), null);
  assert.equal(table.moved({ row: 0, column: 0 }, "ArrowDown", { rows: 0, columns: 4 }), null);
});

test("Tab goes to the next row at the end of one, and out of the table at its end", () => {
  assert.deepEqual(table.tabbed({ row: 0, column: 3 }, false, 2, 4), { row: 1, column: 0 });
  assert.deepEqual(table.tabbed({ row: 1, column: 0 }, true, 2, 4), { row: 0, column: 3 });
  assert.equal(table.tabbed({ row: 1, column: 3 }, false, 2, 4), null);
  assert.equal(table.tabbed({ row: 0, column: 0 }, true, 2, 4), null);
});

test("a selection is the same whichever corner it began at", () => {
  const a = { row: 4, column: 1 };
  const b = { row: 2, column: 3 };
  assert.deepEqual(table.rect(a, b), table.rect(b, a));
  assert.deepEqual(table.rect(a, b), { top: 2, bottom: 4, left: 1, right: 3 });
});

test("old state that comes late is not shown", () => {
  assert.ok(table.isNews(null, { revision: 0 }));
  assert.ok(table.isNews({ revision: 3 }, { revision: 3 }));
  assert.ok(!table.isNews({ revision: 3 }, { revision: 2 }));
});

test("what the table holds is said in words", () => {
  const none = { added: 0, changed: 0, removed: 0, problems: 0, conflicts: 0, quarantined: 0 };
  assert.equal(table.summary({ ...none, total: 1 }), "1 case");
  assert.equal(table.summary({ ...none, total: 1200, added: 2, removed: 1 }), "1,200 cases · 2 new · 1 to be deleted");
});

test("what begins with the typed text is suggested first", () => {
  const kinds = ["not-mine", "contains", "icontains", "contains-all"];
  assert.deepEqual(table.suggest(kinds, "con"), ["contains", "contains-all", "icontains"]);
  assert.deepEqual(table.suggest(kinds, "CONTAINS-"), ["contains-all"]);
  assert.equal(table.suggest(kinds, "", 2).length, 2);
});

test("the cache forgets what was not used for longest", () => {
  const cache = new table.Lru(2);
  cache.set("a", 1);
  cache.set("b", 2);
  cache.get("a");
  cache.set("c", 3);
  assert.deepEqual([cache.get("a"), cache.get("b"), cache.get("c")], [1, undefined, 3]);
});

test("a negated kind is completed once somebody begins to negate", () => {
  assert.deepEqual(panel.typesFor(["contains"], "con"), ["contains"]);
  assert.deepEqual(panel.typesFor(["contains"], "not"), ["not-contains"]);
  assert.equal(panel.kindOf(" not-contains "), "contains");
});

test("an argument that is there is not offered again", () => {
  const entry = { arguments: [["threshold", "limit"], ["weight", "how much"]] };
  assert.deepEqual(panel.argumentsLeft(entry, { weight: "2" }), [["threshold", "limit"]]);
  assert.ok(panel.argumentsLeft(undefined, {}).length > 1);
});

test("a paste is summed up", () => {
  assert.equal(panel.pasteSummary({ changed: 1, rows: 1, added: 0, misfits: 0 }), "1 cell in 1 row changes");
  assert.equal(panel.pasteSummary({ changed: 1200, rows: 2, added: 598, misfits: 3 }), "1,200 cells in 600 rows change, 598 rows are new, 3 cells do not fit");
});
