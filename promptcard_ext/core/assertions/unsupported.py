"""The place of an assertion that was written for another tool and does not run here."""

from __future__ import annotations

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import Assertion, Check, Finding, register
from promptcard_ext.core.results import Outcome


@register("unsupported")
def unsupported(assertion: Assertion) -> Check:
    """Nobody judges this: ``value`` is the assertion as it was written for another tool.

    An import gives it weight 0, so that it is in every ledger and decides nothing. With a weight it keeps its item from
    passing.
    """
    name = assertion.metric or "An assertion"
    finding = Finding(
        Outcome.UNSCORED, "not_carried_over", f"{name} was written for another tool and does not run here."
    )

    def check(answer: Answer) -> Finding:
        return finding

    return check
