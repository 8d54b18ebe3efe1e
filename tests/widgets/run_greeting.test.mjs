import assert from "node:assert/strict";
import { test } from "node:test";

const { Greeting } = await import(process.env.RUN_VIEW_MODULE);

test("the first question is asked again, each time after twice as long, until it is answered", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  let asked = 0;
  const greeting = new Greeting(() => void asked++, new AbortController().signal, 10);
  assert.deepEqual([asked, greeting.open], [1, true]);
  for (const [later, times] of [[9, 1], [1, 2], [19, 2], [1, 3], [39, 3], [1, 4]]) {
    t.mock.timers.tick(later);
    assert.equal(asked, times);
  }
  greeting.answered();
  t.mock.timers.tick(10_000);
  assert.deepEqual([asked, greeting.open], [4, false]);
});

test("it is asked no more when the view has gone, or when there is nobody to ask", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const view = new AbortController();
  const asked = { seen: 0, dead: 0 };
  new Greeting(() => void asked.seen++, view.signal, 10);
  new Greeting(() => ++asked.dead < 0, view.signal, 10);
  view.abort();
  t.mock.timers.tick(10_000);
  assert.deepEqual(asked, { seen: 1, dead: 1 });
});
