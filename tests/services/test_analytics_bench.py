"""The benchmark of analytics loads, checks and asks; how long that takes is no matter here."""

from __future__ import annotations

from bench import analytics
from bench.questions import questions


def test_a_small_year_is_loaded_and_its_sums_are_those_of_its_rows() -> None:
    found = analytics.run(20_000, 3)
    assert set(found.asked) == {question.name for question in questions()}
    assert 0 < found.error < 0.01
    text, _ = analytics.report({20_000: found})
    assert "20 slowest cases of all time" in text
