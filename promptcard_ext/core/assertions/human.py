"""The human assertion: a person decides."""

from __future__ import annotations

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import Assertion, Check, Finding, register
from promptcard_ext.core.results import Outcome


@register("human")
def human(assertion: Assertion) -> Check:
    """A person rates the answer, by what ``value`` says; until then it is unscored."""
    if assertion.value is not None and not isinstance(assertion.value, str):
        raise assertion.invalid("'value' must be a text for the person who rates, or nothing")
    asked = f" {assertion.value:.500}" if assertion.value else ""
    waiting = Finding(Outcome.UNSCORED, "needs_human", f"Nobody has rated this yet.{asked}")

    def check(answer: Answer) -> Finding:
        return waiting

    return check
