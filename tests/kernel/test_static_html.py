"""What a saved notebook keeps of a run."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from promptcard_ext.core.results import Call, Generation, ItemResult, Outcome, Tokens, Verdict
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.static_html import run_html
from promptcard_ext.stats.derived import DerivedMetric
from tests.kernel.page import HOSTILE, Page
from tests.widgets.fakes import handle, result


def page_of(*results: ItemResult, **setup: object) -> Page:
    run = run_of(*results)
    if setup:
        run.setup = SimpleNamespace(**setup)  # type: ignore[assignment]
    page = Page(run_html(run))
    assert page.open == []
    return page


def run_of(*results: ItemResult) -> RunHandle:
    run = handle(total=len(results))
    run.feed(results, status="completed")
    return run


def graded(ordinal: int, score: float, **more: object) -> ItemResult:
    outcome = "pass" if score >= 0.5 else "fail"
    said = Verdict("u", "llm-rubric", Outcome(outcome), None, "", score, "tone")
    return replace(result(ordinal, outcome), verdicts=(said,), score=score, **more)


@pytest.mark.parametrize("text", ["&" * 5000, "漢" * 5000, "plain " * 1000])
def test_it_stays_below_150_kb(text: str) -> None:
    run = handle(total=5000)
    run.feed(result(i, "fail", text, message=text, case=text[:200]) for i in range(5000))
    page = run_html(run)
    assert len(page.encode()) < 150_000
    assert "5,000 items, " in page


def test_it_stays_below_150_kb_whatever_there_is_much_of() -> None:
    parts = tuple(Verdict("p", "regex", Outcome.FAIL, "no_match", "&" * 1000, 0.5, "&" * 300) for _ in range(50))
    odd = Generation(
        "p", "m", "h", "&" * 5000, 1.0, raw="&" * 5000,
        tool_calls=[{"function": {"name": "&" * 900, "arguments": "&" * 900}}] * 30,
    )  # fmt: skip
    run = handle(total=400)
    run.feed(
        replace(
            graded(i, 0.25, generation=odd),
            label=f"{i}{'&' * 300}", model="&" * 300, case="&" * 300,
            verdicts=(
                Verdict("s", "assert-set", Outcome.FAIL, "no_match", "", 0.5, f"{i}{'&' * 300}", parts=parts),
                Verdict("b", "select-best", Outcome.FAIL, "not_best", "&" * 300),
                Verdict("m", "metamorphic", Outcome.FAIL, "held", parts=(
                    Verdict("t", f"metamorphic:{i}{'&' * 300}", Outcome.FAIL, "held"),
                )),
            ),
        )
        for i in range(400)
    )  # fmt: skip
    page = run_html(run)
    assert len(page.encode()) < 150_000
    assert "more are not listed" in page


def test_what_did_not_pass_comes_first() -> None:
    text = page_of(result(0, case="fine"), result(1, "unscored", case="open"), result(2, "fail", case="bad")).text
    assert text.index("bad") < text.index("open") < text.index("fine")


def test_there_is_no_script_whatever_the_texts_are() -> None:
    parts = (Verdict("p", HOSTILE, Outcome.FAIL, HOSTILE, HOSTILE, metric=HOSTILE),)
    verdicts = tuple(Verdict("v", HOSTILE, Outcome.FAIL, HOSTILE, HOSTILE, 0.5, HOSTILE, 1, parts) for _ in range(2))
    odd = Generation("p", "m", "h", HOSTILE, 1.0, raw=HOSTILE, tool_calls=[{"function": {"name": HOSTILE}}])
    calls = (Call(HOSTILE, odd),)
    bad = replace(
        result(0, "fail", label=HOSTILE, model=HOSTILE, case=HOSTILE, message=HOSTILE),
        verdicts=verdicts, generation=odd, calls=calls, reason=HOSTILE, score=0.5,
    )  # fmt: skip
    page = page_of(bad)
    assert {"script", "img"}.isdisjoint(page.tags)
    assert page.text.count("alert(1)") > 10
    assert "http" not in run_html(run_of(bad))


def test_repeats_make_the_interval_no_narrower_than_the_cases_allow() -> None:
    once = page_of(*(result(i, "pass" if i else "fail", case_uid=f"u{i}") for i in range(4)))
    thrice = page_of(
        *(result(3 * i + k, "pass" if i else "fail", case_uid=f"u{i}", repeat=k) for i in range(4) for k in range(3))
    )
    assert "75% [30–95] of 4" in once.text
    assert "75% [30–95] of 12 4 cases" in thrice.text
    assert "case 1 #2" in thrice.text


def test_what_is_undecided_is_told_with_what_it_may_make_of_the_rate() -> None:
    text = page_of(result(0), result(1), result(2, "fail"), result(3, "error")).text
    assert "67% [21–94] of 3, 1 without verdict 50–75% once all are judged" in text
    assert "once all are judged" not in page_of(result(0), result(1, "fail")).text


def test_scores_metrics_and_formulas_are_there_when_they_say_more_than_passes() -> None:
    formula = DerivedMetric("twice", "2 * tone / __count")
    text = page_of(graded(0, 0.75), graded(1, 0.25), derived_metrics=(formula,)).text
    assert "score [95 %]" in text
    assert "tone card v1 simulated:a 0.50 [" in text
    assert "twice card v1 simulated:a 1 over 2 items" in text
    plain = page_of(result(0), result(1, "fail")).text
    assert "score [95 %]" not in plain
    assert "metric" not in plain


def test_judges_and_the_store_are_told_with_what_was_spent() -> None:
    judge = Generation("p", "judge", "h", "{}", 1.0, Tokens(5, 5), cost_usd=Decimal("0.25"))
    asked = replace(result(0, cost="0.5"), calls=(Call("judge", judge), Call("judge", judge, cached=True)), cached=True)
    text = page_of(asked, result(1, cost="0.5")).text
    assert "1 of 2 answers from the store · $0.7500 spent this time · 2 judge calls, 1 from the store, $0.5000" in text
    assert "$1.5000" in text


def test_the_parts_of_a_set_stand_below_it() -> None:
    parts = (
        Verdict("a", "contains", Outcome.PASS, metric="manners"),
        Verdict("b", "regex", Outcome.FAIL, "no_match", "No digits.", weight=2.0),
        Verdict("c", "latency", Outcome.FAIL, "too_slow", "Slow.", weight=0.0),
    )
    whole = Verdict("s", "assert-set", Outcome.FAIL, "no_match", "No digits.", 0.33, parts=parts)
    run = run_of(replace(result(0, "fail"), verdicts=(whole, Verdict("d", "equals", Outcome.PASS))))
    page = Page(run_html(run))
    assert page.open == []
    assert (
        "fail assert-set , score 0.33 pass contains (manners) fail regex , weight 2: No digits. "
        "fail latency , informs only: Slow."
    ) in page.text
    assert page.tags.count("ul") == 2
    assert "equals" not in page.text


def test_comparisons_and_changed_prompts_have_tables() -> None:
    best = [
        replace(
            result(i, ("pass", "fail")[i % 2], model=f"simulated:{i % 2}", case_uid=f"u{i // 2}"),
            verdicts=(Verdict("b", "select-best", Outcome(("pass", "fail")[i % 2]), None, ""),),
        )
        for i in range(4)
    ]
    assert "select-best card v1 simulated:0 100% [34–100] of 2" in page_of(*best).text
    parts = (
        Verdict("t", "metamorphic:typo", Outcome.PASS),
        Verdict("t", "metamorphic:case", Outcome.UNSCORED, "no_text"),
    )
    changed = replace(result(0), verdicts=(Verdict("m", "metamorphic", Outcome.UNSCORED, "no_text", parts=parts),))
    text = page_of(changed).text
    assert "typo card v1 simulated:a 100% [21–100] of 1" in text
    assert "case card v1 simulated:a no verdict (0 of 1)" in text


def test_an_answer_is_shown_as_what_it_is() -> None:
    call = [{"type": "function", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}]
    made = replace(result(0), generation=Generation("p", "m", "h", None, 1.0, tool_calls=call))
    unread = replace(result(1, "error"), generation=Generation("p", "m", "h", None, 0.0, raw="<html>502"))
    partly = replace(result(2), generation=Generation("p", "m", "h", "half", 1.0, raw='{"half'))
    text = page_of(made, unread, partly).text
    assert '→ weather({"city": "Bonn"})' in text
    assert "The reply could not be read; it was kept: <html>502" in text
    assert 'half Not all of it could be read: {"half' in text
