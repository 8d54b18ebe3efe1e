"""Short ways from an assertion and an answer to a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.assertions.base import compiled
from promptcard_ext.core.assertions.judging import judge
from promptcard_ext.core.results import Generation, Outcome, Verdict

PASS, FAIL, ERROR, UNSCORED = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED


def answer(text: str | None, latency_ms: float = 1.0, cost: str | None = None, **more: Any) -> Generation:
    return Generation("p", "m", "h", text, latency_ms, cost_usd=None if cost is None else Decimal(cost), **more)


def verdict(assertion: Assertion, generation: Generation, variables: Mapping[str, Any] | None = None) -> Verdict:
    (one,) = judge([compiled(assertion, variables)], Answer(generation.output, generation, variables or {}))
    return one


def of(kind: str, value: Any, text: str | None, **more: Any) -> Verdict:
    """Return the verdict of one kind on a text; ``more`` are fields of the assertion."""
    return verdict(Assertion(kind, value, **more), answer(text))


def outcome(kind: str, value: Any, text: str | None, **more: Any) -> Outcome:
    return verdict(Assertion(kind, value), answer(text, **more)).outcome
