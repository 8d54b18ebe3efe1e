"""How a notebook shows a summary."""

from __future__ import annotations

from IPython.core.formatters import DisplayFormatter
from msgspec.structs import replace

from promptcard_ext.core.results import Outcome, Verdict
from promptcard_ext.kernel.summary_table import SummaryTable
from promptcard_ext.stats.summary import summarise
from tests.kernel.page import HOSTILE, Page, assert_nothing_is_obeyed
from tests.widgets.fakes import handle, result


def test_it_is_a_list_and_shows_itself_as_a_table() -> None:
    run = handle(total=3)
    run.feed([result(0), result(1, "fail"), result(2, label="card v2", cost="0.5")], status="completed")
    summary = run.summary()
    assert summary == summarise(run.results())
    data, _ = DisplayFormatter().format(summary)
    assert data["text/plain"] == (
        "card v1 · simulated:a: 50% [9–91] of 2, not priced (0 of 2)\n"
        "card v2 · simulated:a: 100% [21–100] of 1, $0.5000"
    )
    page = Page(data["text/html"])
    assert page.open == []
    assert "card v1 simulated:a 50% [9–91] of 2 1 1 0 0 10 ms 10 ms not priced (0 of 2)" in page.text
    assert "score [95" not in page.text


def test_scores_metrics_and_cases_are_there_when_they_say_more() -> None:
    said = (Verdict("u", "llm-rubric", Outcome.PASS, None, "", 0.75, "tone"),)
    results = [
        result(3 * i + k, case_uid=f"u{i}", repeat=k, verdicts=said, score=0.75) for i in range(2) for k in range(3)
    ]
    text = Page(SummaryTable(summarise(results))._repr_html_()).text
    assert "100% [34–100] of 6 2 cases 0.75 [" in text
    assert "tone card v1 simulated:a 0.75 [" in text
    assert "cost not priced (0 of 6)" in text


def test_without_results_it_says_so() -> None:
    summary = handle().summary()
    assert repr(summary) == "<no result yet>"
    assert "No result yet." in Page(summary._repr_html_()).text


def test_no_text_is_obeyed() -> None:
    said = (Verdict("v", "equals", Outcome.FAIL, "missing", HOSTILE, 0.5, HOSTILE),)
    bad = replace(result(0, "fail", label=HOSTILE, model=HOSTILE), verdicts=said, score=0.5)
    summary = SummaryTable(summarise([bad]))
    assert_nothing_is_obeyed(summary._repr_html_())
    assert not any(char in repr(summary) for char in "\x00\x1b\u202e\ud800")
