"""Judging one answer by all its assertions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import Assertion, Compiled, Finding
from promptcard_ext.core.assertions.transform import TransformFailed, transformed
from promptcard_ext.core.errors import PromptCardError, ProviderError
from promptcard_ext.core.ports import Asker
from promptcard_ext.core.results import Outcome, Verdict


def judge(checks: Sequence[Compiled], answer: Answer) -> tuple[Verdict, ...]:
    """Return one verdict per assertion, in order; none of them may need a further call."""
    return tuple(check_one(one, answer) for one in checks)


async def grade(checks: Sequence[Compiled], answer: Answer, asker: Asker) -> tuple[Verdict, ...]:
    """Return one verdict per assertion, in order; further calls are made at the same time."""
    return tuple(await asyncio.gather(*(grade_one(one, answer, asker) for one in checks)))


async def grade_one(one: Compiled, answer: Answer, asker: Asker) -> Verdict:
    """Return the verdict of one assertion, which may need further calls."""
    if one.grade is None:
        return check_one(one, answer)
    try:
        return verdict(one, await one.grade(_seen(one, answer), asker))
    except TransformFailed as error:
        return _untransformed(one, error)
    except ProviderError as error:
        return verdict(one, outage(error))
    except Exception as error:  # noqa: BLE001  A broken check is our error; it must not look like a failed answer.
        return verdict(one, _crash(error))


def check_one(one: Compiled, answer: Answer) -> Verdict:
    """Return the verdict of one assertion that is a pure function of the answer."""
    assert one.check is not None
    try:
        return verdict(one, one.check(_seen(one, answer)))
    except TransformFailed as error:
        return _untransformed(one, error)
    except Exception as error:  # noqa: BLE001  As above.
        return verdict(one, _crash(error))


def outage(error: ProviderError) -> Finding:
    """Return what a further call that failed means for the verdict: nobody judged, or our error; never pass or fail."""
    outcome = Outcome.UNSCORED if error.code in NOT_ASKED else Outcome.ERROR
    return Finding(outcome, error.code, str(error))


# Nothing broke: the run decided not to ask.
NOT_ASKED = frozenset({"budget_exhausted", "budget_unpriced", "not_recorded"})


def verdict(one: Compiled, finding: Finding) -> Verdict:
    """Return the verdict for what a check found, negation applied."""
    assertion = one.assertion
    outcome, reason, message, score = finding.outcome, finding.reason, finding.message, finding.score
    if assertion.negated:
        outcome, reason, message, score = _negated(assertion, finding)
    return Verdict(
        one.uid, assertion.type, outcome, reason, message, score, assertion.metric, assertion.weight, finding.parts
    )


def _negated(assertion: Assertion, finding: Finding) -> tuple[Outcome, str | None, str, float | None]:
    outcome = finding.outcome.negated()
    if outcome is finding.outcome:
        return outcome, finding.reason, finding.message, finding.score
    score = None if finding.score is None else 1.0 - finding.score
    if outcome is Outcome.PASS:
        return outcome, None, "", score
    return outcome, f"{assertion.kind}_held", f"'{assertion.kind}' holds, and it should not.", score


def _seen(one: Compiled, answer: Answer) -> Answer:
    source = one.assertion.transform
    return answer if source is None else transformed(source, answer)


def _untransformed(one: Compiled, error: TransformFailed) -> Verdict:
    # The same under negation: an answer without the field in question has not been shown to be free of anything.
    assertion, (outcome, reason, message, *_) = one.assertion, error.finding
    return Verdict(one.uid, assertion.type, outcome, reason, message, None, assertion.metric, assertion.weight)


def _crash(error: Exception) -> Finding:
    if isinstance(error, PromptCardError):
        return Finding(Outcome.ERROR, error.code, str(error))
    return Finding(Outcome.ERROR, "assertion_crashed", f"{type(error).__name__}: {error!s:.300}")
