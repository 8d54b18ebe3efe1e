"""What a person decides waits for that person."""

from __future__ import annotations

import pytest

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.results import Outcome
from tests.core.judges.script import Bench, judged, saying


@pytest.mark.parametrize("kind", ["human", "not-human"])
@pytest.mark.parametrize("text", ["Hello.", None])
def test_it_is_unscored_until_somebody_rates_it(kind: str, text: str | None) -> None:
    bench = Bench(saying("never"))
    one = judged(Assertion(kind, "Is it kind?"), text, bench)
    assert (one.outcome, one.reason, one.score) == (Outcome.UNSCORED, "needs_human", None)
    assert one.message == "Nobody has rated this yet. Is it kind?"
    assert bench.asked == []


def test_the_question_is_a_text() -> None:
    with pytest.raises(CardError, match="human"):
        Assertion("human", 5)
