import assert from "node:assert/strict";
import { test } from "node:test";

import * as listing from "../../labextension/src/listing.js";

const counts = { total: 56, done: 56, passed: 47, failed: 9, errored: 0, unscored: 0, priced: 0, cost_usd: "0" };

test("a name cannot become code", () => {
  for (const name of ['"); import os #', "\\", "\n", "\u2028", "ü", "'''", "{x}"]) {
    const code = listing.cardCode(name, "personal");
    assert.match(code, /^pc\.connect\(\)\.card\("(?:[^"\\\n]|\\.)*"\)$/);
    assert.ok(/^[\x20-\x7e]*$/.test(code));
  }
});

test("code names the workspace unless it is the usual one", () => {
  assert.equal(listing.cardCode("greet", "personal"), 'pc.connect().card("greet")');
  assert.equal(listing.cardCode("greet", "team"), 'pc.connect(workspace="team").card("greet")');
  assert.equal(listing.editCode("greet", "personal"), 'pc.edit("greet")');
  assert.equal(listing.editCode("greet", "team"), 'pc.connect(workspace="team").edit("greet")');
  assert.equal(listing.runCode("r1", "personal"), 'pc.attach("r1")');
  assert.equal(listing.runCode("r1", "team"), 'pc.attach("r1", workspace="team")');
});

test("the import is written once", () => {
  assert.equal(listing.withImport("pc.x", []), "import promptcard_ext as pc\n\npc.x");
  assert.equal(listing.withImport("pc.x", ["a = 1", "import os\nimport promptcard_ext as pc"]), "pc.x");
  assert.equal(listing.withImport("pc.x", ["%load_ext promptcard_ext"]), "pc.x");
  assert.match(listing.withImport("pc.x", ["# not import promptcard_ext as pc"]), /^import/);
});

test("what would steer the page is shown instead", () => {
  assert.equal(listing.harmless("a\u0000\u001b[31m\u202eb\r\nc\ud800"), "a␀␛[31m�b\nc\ufffd");
});

test("a rate has its denominator, and is never rounded to all or nothing", () => {
  assert.equal(listing.rateText(counts), "84 % of 56");
  assert.equal(listing.rateText({ ...counts, passed: 999, failed: 1 }), "99 % of 1,000");
  assert.equal(listing.rateText({ ...counts, passed: 1, failed: 999 }), "1 % of 1,000");
  assert.equal(listing.rateText({ ...counts, passed: 5, failed: 0 }), "100 % of 5");
  assert.equal(listing.rateText({ ...counts, passed: 0, failed: 5 }), "0 % of 5");
  assert.equal(listing.rateText({ ...counts, passed: 0, failed: 0 }), "not judged");
  assert.equal(listing.rateText({ ...counts, done: 0, passed: 0, failed: 0 }), "–");
});

test("a run tells its errors and its cost only when there are some", () => {
  const run = { counts, plan: { card: "greet", versions: [{ label: "greet@1" }], models: ["a:b"] }, started_at: null };
  assert.deepEqual(listing.runFacts(run).map(([what]) => what), ["Card", "Models", "Items", "Outcomes", "Started"]);
  const dear = { ...run, counts: { ...counts, errored: 1, unscored: 2, priced: 3, cost_usd: "0.01234" }, error: { message: "no" } };
  assert.deepEqual(listing.runFacts(dear).slice(4), [
    ["Errors", "1"], ["Not judged", "2"], ["Cost", "$0.012"], ["Started", "waits in the queue"], ["Problem", "no"],
  ]);
});

test("moments are told from now", () => {
  const now = Date.parse("2026-11-28T12:00:00Z");
  const told = (text) => listing.ago(text, now);
  assert.equal(told("2026-11-28T12:00:30Z"), "just now");
  assert.equal(told("2026-11-28T11:59:00Z"), "1 min ago");
  assert.equal(told("2026-11-28T10:00:01Z"), "1 h ago");
  assert.equal(told("2026-11-20T10:00:00Z"), "8 d ago");
});

test("events are read however they are cut", () => {
  const text = "retry: 1000\n\nid: 1\nevent: start\ndata: {}\n\n: still here\n\nid: 2\nevent: run\ndata: {\"key\": \"x\"}\n\n";
  for (const size of [1, 7, text.length]) {
    const seen = [];
    const reader = new listing.EventReader((kind) => seen.push(kind));
    for (let i = 0; i < text.length; i += size) reader.push(text.slice(i, i + size));
    assert.deepEqual(seen, ["start", "run"]);
  }
});

test("trouble says what to do", () => {
  assert.match(listing.trouble({ status: 404, code: "" })[1], /jupyter promptcards lab/);
  assert.match(listing.trouble({ status: 403 })[1], /Log in/);
  assert.deepEqual(listing.trouble({ status: 503, code: "starting", message: "It starts.", hint: "Wait." }), ["It starts.", "Wait."]);
  assert.match(listing.trouble({ status: 503, code: "hub_not_supported" })[1], /pc\.connect\(\)/);
  assert.match(listing.trouble({ status: 503, code: "hub_not_supported" })[1], /PROMPTCARDS_URL/);
  assert.deepEqual(
    listing.trouble({ status: 403, code: "hub_access_missing", message: "Not you.", hint: "Ask." }), ["Not you.", "Ask."],
  );
  assert.match(listing.trouble({ status: 0 })[1], /cannot be reached/);
});
