import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

const source = await readFile(new URL("../../promptcard_ext/widgets/static/card_draft.js", import.meta.url), "utf-8");
const draft = await import(`data:text/javascript;charset=utf-8,${encodeURIComponent(source)}`);

const form = (content = "Hi {{ who }}") => ({
  title: "", description: "", tags: ["a"],
  messages: [{ key: "m0", role: "system", content: "Be brief." }, { key: "m1", role: "user", content }],
  examples: [], variables: [],
  settings: { temperature: "", other: "" },
});
const said = (text) => draft.pieces(text).map(({ kind, start, end }) => [kind, text.slice(start, end)]);

test("a template falls into text, output, statements and comments", () => {
  assert.deepEqual(said("a {{ b }}{% if c %}d{# e #}"), [["text", "a "], ["out", "{{ b }}"], ["tag", "{% if c %}"], ["text", "d"], ["note", "{# e #}"]]);
  assert.deepEqual(said("plain"), [["text", "plain"]]);
  assert.deepEqual(said(""), []);
});

test("a tag that is not closed goes to the end, and one inside of another is part of it", () => {
  assert.deepEqual(said("a {{ b {% c %}"), [["text", "a "], ["out", "{{ b {% c %}"]]);
  assert.deepEqual(said("{{ {{ a }}"), [["out", "{{ {{ a }}"]]);
});

test("painted parts cover the text exactly, with every mark on its part", () => {
  const text = "Hi {{ who }} and {{ tone }}!";
  const marks = [{ start: 6, end: 9, kind: "variable" }, { start: 8, end: 20, kind: "error" }, { start: 0, end: 0, kind: "warning" }, { start: 20, end: 999, kind: "warning" }];
  const parts = draft.painted(text, marks);
  assert.equal(parts.map((part) => part.text).join(""), text);
  assert.deepEqual(parts.find((part) => part.text === "wh").kinds, ["out", "variable"]);
  assert.deepEqual(parts.find((part) => part.text === "o").kinds, ["out", "variable", "error"]);
  assert.deepEqual(draft.painted("", marks), []);
});

test("marks move with the text and are gone where something was typed", () => {
  const marks = [{ start: 0, end: 2 }, { start: 6, end: 9 }, { start: 12, end: 15 }];
  assert.deepEqual(draft.shifted(marks, "ab 345 678 012 456", "ab 345 678X 012 456"), [{ start: 0, end: 2 }, { start: 6, end: 9 }, { start: 13, end: 16 }]);
  assert.deepEqual(draft.shifted(marks, "ab 345678 012 456", "ab 345X78 012 456").map((mark) => mark.start), [0, 12]);
  assert.deepEqual(draft.shifted(marks, "same", "same"), marks);
});

test("the caret stays where it was typed when the text changes around it", () => {
  assert.equal(draft.caretAfter(3, "one two", "one two three"), 3);
  assert.equal(draft.caretAfter(7, "one two", "zero one two"), 12);
  assert.equal(draft.caretAfter(6, "one two", "one three"), 9);
  assert.equal(draft.caretAfter(2, "ab", ""), 0);
});

test("changes name only what has changed, and applied they make the other form", () => {
  const before = form();
  const after = draft.applied(before, [[["messages", "m1", "content"], "Bye"], [["settings", "temperature"], "0.5"], [["tags"], ["a", "b"]]]);
  const found = draft.changes(before, after);
  assert.deepEqual(found, [[["tags"], ["a", "b"]], [["messages", "m1", "content"], "Bye"], [["settings", "temperature"], "0.5"]]);
  assert.deepEqual(draft.applied(before, found), after);
  assert.deepEqual(draft.changes(before, form()), []);
});

test("rows that came, went or moved are sent as the whole list", () => {
  const before = form();
  for (const after of [draft.withRow(before, "messages", { key: "n", role: "user", content: "" }), draft.withoutRow(before, "messages", "m0"), draft.moved(before, "messages", "m1", -1)]) {
    assert.deepEqual(draft.changes(before, after), [[["messages"], after.messages]]);
  }
  assert.equal(draft.moved(before, "messages", "m0", -1), before);
});

test("a change of a row that is gone changes nothing", () => {
  assert.deepEqual(draft.applied(form(), [[["messages", "gone", "content"], "x"]]), form());
});

test("what others change arrives, and what is typed here and not sent yet stays", () => {
  const known = form();
  const here = draft.applied(known, [[["messages", "m1", "content"], "mine"]]);
  const theirs = [[["title"], "Theirs"], [["messages", "m1", "content"], "theirs"], [["messages", "m0", "content"], "Be long."]];
  const next = draft.rebased(known, here, theirs);
  assert.equal(next.form.messages[1].content, "mine");
  assert.deepEqual([next.form.title, next.form.messages[0].content], ["Theirs", "Be long."]);
  assert.equal(next.known.messages[1].content, "theirs");
  // Its own change comes back: nothing is left to send.
  const own = draft.rebased(next.known, next.form, [[["messages", "m1", "content"], "mine"]]);
  assert.deepEqual(draft.changes(own.known, own.form), []);
});

test("typing without a pause is one step back, other fields and pauses are others", () => {
  const past = new draft.Past();
  past.note("0", "title", 0);
  past.note("1", "title", 500);
  past.note("2", "title", 2000);
  past.note("3", "tags", 2100);
  assert.deepEqual([past.undo("4"), past.undo("3"), past.undo("2")], ["3", "2", "0"]);
  assert.equal(past.undo("0"), null);
  assert.deepEqual([past.redo("0"), past.redo("2")], ["2", "3"]);
  past.note("3", "title", 9000);
  assert.equal(past.redo("5"), null);
});

test("steps that can be undone do not grow without end", () => {
  const past = new draft.Past();
  for (let i = 0; i < 500; i++) past.note(i, "", i);
  assert.equal(past.back.length, 200);
});

test("the standing of a draft is told in the order of what matters", () => {
  const status = { version: 3, changed: true, keeps: true, kept: 2, revision: 2, notice: "", conflict: false, saving: false };
  const told = (more, here = {}) => draft.standing({ ...status, ...more }, { waiting: false, valid: true, dead: false, ...here });
  assert.deepEqual(told({}), ["ok", "Draft kept"]);
  assert.equal(told({ kept: 1 })[1], "Draft changed…");
  assert.equal(told({}, { waiting: true })[1], "Draft changed…");
  assert.equal(told({}, { waiting: true, saving: true })[1], "Saving…");
  assert.equal(told({ saving: true })[1], "Saving…");
  assert.equal(told({}, { valid: false })[0], "bad");
  assert.equal(told({ changed: false })[1], "Version 3, nothing changed");
  assert.equal(told({ keeps: false })[1], "Changed, not saved");
  assert.equal(told({ conflict: true })[0], "bad");
  assert.match(told({ conflict: true }, { dead: true, stored: true })[1], /kernel is gone.*browser tab/);
});

test("forms are alike whatever the keys of their rows", () => {
  const other = form();
  other.messages[0].key = "x";
  assert.ok(draft.alike(form(), other));
  assert.ok(!draft.alike(form(), form("Bye")));
});

test("tags come out of a line", () => {
  assert.deepEqual(draft.tagsOf(" a, b,,a ,c d "), ["a", "b", "c d"]);
});

test("tokens are told with their range", () => {
  assert.equal(draft.tokens({ low: 900, mid: 1200, high: 1500 }), "about 1,200 tokens (900 to 1,500)");
});
