"""The items of a report: those that did not pass and why, and those that did."""

from collections.abc import Iterator

import pytest

from promptcard_ext import report
from promptcard_ext.core.results import Generation, ItemResult, Outcome, Verdict
from promptcard_ext.report.page import page
from tests.report.conftest import item, versions
from tests.report.test_words import of, said


@pytest.mark.parametrize("many", [100, 101, 130])
def test_lists_end_after_a_hundred_items_of_an_outcome_and_say_so(many: int) -> None:
    run = of(versions("p" * many, "f" * many))
    left = many - 100
    for piece in (report.failures(run), report.passes(run)):
        assert piece._repr_html_().count("<tr>") == 1 + min(many, 100)
        assert (f"The first 100 are shown, {left} more are not." in said(piece)) == (left > 0)
        assert ("more" in said(piece)) == (left > 0)


def test_many_failures_hide_neither_errors_nor_what_was_not_judged() -> None:
    results = [item(i, "fail") for i in range(150)]
    results += [item(150, "error", message="It broke."), item(151, "unscored", message="Nobody knows.")]
    text = said(report.failures(of(results)))
    assert text.index("150 failed") < text.index("1 ended in an error") < text.index("1 not judged")
    assert "It broke." in text
    assert "Nobody knows." in text
    why = said(report.reasons(of(results)))
    assert "fail fail_code 150 99 % error error_code 1 below 1 % unscored unscored_code 1 below 1 %" in why


def test_parts_of_sets_scores_weights_calls_and_unreadable_replies_are_seen() -> None:
    parts = (
        Verdict("a", "contains", Outcome.PASS, metric="manners"),
        Verdict("b", "regex", Outcome.FAIL, "no_match", "No digits.", weight=2.0),
    )
    whole = Verdict("s", "assert-set", Outcome.FAIL, "no_match", "No digits.", 0.33, parts=parts)
    call = [{"type": "function", "function": {"name": "weather", "arguments": '{"city": "Bonn"}'}}]
    made = Generation("p", "m", "h", None, 1.0, tool_calls=call)
    unread = Generation("p", "m", "h", None, 0.0, raw="<html>502")
    results = [
        item(0, "fail", verdicts=(whole,), score=0.33, generation=made, cached=True),
        item(1, "error", reason="broken_reply", verdicts=(), generation=unread),
    ]
    text = said(report.failures(of(results)))
    assert "fail score 0.33 case 0 greet@1 ollama:tiny from the store fail assert-set, score 0.33" in text
    assert "pass contains (manners) fail regex, weight 2: No digits. no_match" in text
    assert '→ weather({"city": "Bonn"})' in text
    assert "The reply could not be read; it was kept: <html>502" in text


def test_a_page_of_ten_thousand_results_stays_small_and_reads_them_once_one_by_one() -> None:
    read: list[int] = []
    long = Generation("p", "m", "h", "&" * 5_000, 1.0)

    def results() -> Iterator[ItemResult]:
        read.append(0)
        for i in range(10_000):
            read[-1] += 1
            yield item(i, ("pass", "fail", "error", "unscored")[i % 4], generation=long, message="&" * 900)

    html = page(report.ReportRun({"name": "big"}, results))
    assert read == [10_000]
    assert len(html.encode()) < 2_500_000
    assert html.count("<details") == 4
    assert html.count("The first 100 are shown, 2,400 more are not.") == 4


def test_failures_show_the_answer_and_the_reason_the_failed_first() -> None:
    broken = item(0, "error", reason="timeout", message="too late", generation=None)
    text = said(report.failures(of([broken, item(1), item(2, "fail", reason="no_match")])))
    assert text.index("why 2 no_match answer 2") < text.index("too late timeout")
    assert "answer 1" not in text


def test_long_answers_are_cut_and_their_length_is_said() -> None:
    long = Generation("ollama", "tiny", "h", "word " * 40_000, 1.0)
    piece = report.failures(of([item(0, "fail", generation=long)]))
    assert len(piece.html) < 2_000
    assert "200,000 characters, the beginning is shown" in said(piece)
    tall = Generation("ollama", "tiny", "h", "\n" * 300 + "a\n" * 100, 1.0)
    assert report.failures(of([item(0, "fail", generation=tall)])).html.count("\n") < 20


def test_when_all_passed_there_is_no_table() -> None:
    assert said(report.failures(of([item(0)]))) == "Every item passed."
