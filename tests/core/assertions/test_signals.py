"""Why the answer ended, what it took."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.signals import standard_reason
from promptcard_ext.core.errors import CardError
from tests.core.assertions.judged import FAIL, PASS, UNSCORED, answer, verdict


@pytest.mark.parametrize(
    ("wanted", "given", "expected"),
    [
        ("stop", "stop", PASS),
        ("Stop", "STOP", PASS),
        ("stop", "end_turn", PASS),
        ("stop", "stop_sequence", PASS),
        ("length", "max_tokens", PASS),
        ("length", "MAX_TOKENS", PASS),
        ("max_tokens", "length", PASS),
        ("content_filter", "content-filter", PASS),
        ("content_filter", "refusal", PASS),
        ("tool_calls", "function_call", PASS),
        ("tool_calls", "tool_use", PASS),
        ("stop", "length", FAIL),
        ("load", "load", PASS),
        ("load", "stop", FAIL),
    ],
)
def test_spellings_of_providers_are_equal(wanted: str, given: str, expected: Any) -> None:
    generation = answer(None, finish_reason=given)
    assert verdict(Assertion("finish-reason", wanted), generation).outcome is expected
    negated = verdict(Assertion("not-finish-reason", wanted), generation)
    assert negated.outcome is expected.negated()


@pytest.mark.parametrize("kind", ["finish-reason", "not-finish-reason"])
@pytest.mark.parametrize("given", [None, ""])
def test_what_the_provider_did_not_say_is_no_evidence_either_way(kind: str, given: str | None) -> None:
    one = verdict(Assertion(kind, "stop"), answer("x", finish_reason=given))
    assert (one.outcome, one.reason) == (UNSCORED, "no_finish_reason")


@pytest.mark.parametrize("value", [None, "", " ", 5, ["stop"]])
def test_a_reason_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(CardError):
        Assertion("finish-reason", value)


@given(st.text())
def test_a_standard_reason_is_standard(reason: str) -> None:
    assert standard_reason(standard_reason(reason)) == standard_reason(reason)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_latency_is_the_providers_also_of_a_stored_answer(took: float, limit: float) -> None:
    # A stored answer is judged by the latency it once had; reading it from the store took none.
    assert (verdict(Assertion("latency", threshold=limit), answer("x", took)).outcome is PASS) == (took <= limit)


@given(st.decimals(0, 10, places=6), st.decimals(0, 10, places=6))
def test_cost_is_compared_as_money(cost: Decimal, limit: Decimal) -> None:
    one = verdict(Assertion("cost", threshold=float(limit)), answer("x", cost=str(cost)))
    assert (one.outcome is PASS) == (cost <= limit)
