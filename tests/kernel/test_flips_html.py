"""What a notebook shows of a re-grade, and of any two judgements that are compared."""

from __future__ import annotations

import pytest
from IPython.core.formatters import DisplayFormatter
from msgspec.structs import replace

import promptcard_ext as pc
from promptcard_ext.core.results import Outcome, Verdict
from promptcard_ext.kernel.flips_html import flips_html
from promptcard_ext.stats.flips import flips
from tests.kernel.page import HOSTILE, Page, assert_nothing_is_obeyed
from tests.widgets.fakes import result


def test_it_shows_outcomes_before_and_now_the_net_change_and_each_item_that_flipped() -> None:
    before = [result(0), result(1, "fail"), result(2, "fail"), result(3, "unscored"), result(4, "error", None)]
    after = [result(0, "fail"), result(1), result(2), result(3), result(4, "error", None)]
    page = Page(flips_html(flips(before, after)))
    assert page.open == []
    assert "4 of 5 items flipped: 2 fail → pass, 1 pass → fail, 1 unscored → pass" in page.text
    assert "1 of 5 passed before, 3 now (+2)" in page.text
    assert (
        "before \\ now pass fail error unscored pass 0 1 · · fail 2 0 · · error · · 1 · unscored 1 · · 0" in page.text
    )
    assert "case 1 card v1 simulated:a fail pass no longer missing" in page.text


def test_what_got_worse_comes_first() -> None:
    before = [result(0, "fail"), result(1), result(2, "unscored")]
    text = Page(flips_html(flips(before, [result(0), result(1, "fail"), result(2)]))).text
    assert text.index("case 1") < text.index("case 0") < text.index("case 2")


def test_repeats_are_numbered_when_there_are_some() -> None:
    before = [result(k, "fail", case_uid="u", case="one", repeat=k) for k in range(2)]
    text = Page(flips_html(flips(before, [replace(each, outcome=Outcome.PASS) for each in before]))).text
    assert "one #1" in text
    assert "one #2" in text


def test_assertions_that_came_went_and_flipped_are_told_by_kind() -> None:
    old = (Verdict("a", "contains", Outcome.FAIL, "missing"), Verdict("b", "regex", Outcome.PASS))
    new = (Verdict("a2", "contains", Outcome.PASS), Verdict("c", "equals", Outcome.PASS))
    before, after = replace(result(0, "fail"), verdicts=old), replace(result(0), verdicts=new)
    text = Page(flips_html(flips([before], [after]))).text
    assert "contains 1 fail → pass 1 0 0" in text
    assert "equals none 0 1 0" in text
    assert "regex none 0 0 1" in text


def test_where_nothing_changed_there_is_no_list() -> None:
    page = Page(flips_html(flips([result(0)], [result(0)])))
    assert "0 of 1 items flipped" in page.text
    assert "(±0)" in page.text
    assert "details" not in page.tags


def test_items_of_one_side_only_are_counted() -> None:
    text = Page(flips_html(flips([result(0), result(1)], [result(1), result(2), result(3)]))).text
    assert "1 item only before · 2 items only now" in text


def test_a_long_list_is_folded_and_a_very_long_one_stays_below_150_kb() -> None:
    def page_of(number: int) -> str:
        before = [result(n, outcome="fail", case=f"{n} " + "&" * 150) for n in range(number)]
        return flips_html(flips(before, [replace(one, outcome=Outcome.PASS, reason=None) for one in before]))

    assert "<details open>" in page_of(20)
    assert "<details>" in page_of(21)
    page = page_of(3000)
    assert len(page.encode()) < 150_000
    assert "more are not listed" in page


def test_no_text_is_obeyed() -> None:
    said = (Verdict("v", HOSTILE, Outcome.FAIL, HOSTILE, HOSTILE),)
    bad = result(0, "fail", case=HOSTILE, label=HOSTILE, model=HOSTILE, reason=HOSTILE, verdicts=said)
    better = replace(bad, outcome=Outcome.PASS, verdicts=(replace(said[0], outcome=Outcome.PASS),))
    assert_nothing_is_obeyed(flips_html(flips([bad], [better])))
    assert_nothing_is_obeyed(flips_html(flips([better], [bad])))


@pytest.mark.parametrize("part", ["whole", "flips"])
def test_a_notebook_shows_a_re_grade_and_its_flips_as_tables(part: str) -> None:
    run = pc.run(pc.Card("greet", "Hello {{ who }}"), [{"who": "Ada"}], "simulated:echo").wait()
    again = pc.regrade(run, assertions=[pc.Assertion("contains", "Bob")])
    data, _ = DisplayFormatter().format(again if part == "whole" else again.flips)
    assert "1 of 1 items flipped" in data["text/html"]
    assert "1 of 1 items flipped" in data["text/plain"]
