"""Assertions on what an answer took: latency, cost."""

from __future__ import annotations

from decimal import Decimal

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import PASSED, Assertion, Check, Finding, register
from promptcard_ext.core.results import Outcome


def _limit(assertion: Assertion) -> float:
    limit = assertion.threshold if assertion.threshold is not None else assertion.value
    if not isinstance(limit, int | float) or isinstance(limit, bool) or not limit >= 0:
        raise assertion.invalid("it needs a 'threshold' of 0 or more")
    return float(limit)


@register("latency")
def latency(assertion: Assertion) -> Check:
    """The provider answered within ``threshold`` milliseconds; a cached answer is judged by its stored latency."""
    limit = _limit(assertion)

    def check(answer: Answer) -> Finding:
        if answer.generation.latency_ms <= limit:
            return PASSED
        return Finding(
            Outcome.FAIL, "too_slow", f"It took {answer.generation.latency_ms:.0f} ms; the limit is {limit:.0f} ms."
        )

    return check


@register("cost")
def cost(assertion: Assertion) -> Check:
    """The call cost at most ``threshold`` USD; without a known price it is unscored, never free."""
    limit = Decimal(str(_limit(assertion)))

    def check(answer: Answer) -> Finding:
        if answer.generation.cost_usd is None:
            return Finding(Outcome.UNSCORED, "unpriced", f"The price of {answer.generation.model} is not known.")
        if answer.generation.cost_usd <= limit:
            return PASSED
        return Finding(
            Outcome.FAIL, "too_expensive", f"It cost ${answer.generation.cost_usd:f}; the limit is ${limit:f}."
        )

    return check
