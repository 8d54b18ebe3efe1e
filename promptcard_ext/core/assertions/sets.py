"""Assertions made of assertions: assert-set and cascade."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions import judging
from promptcard_ext.core.assertions.base import (
    Assertion,
    Check,
    Compiled,
    Finding,
    Graded,
    compiled_as_it_is,
    register,
)
from promptcard_ext.core.assertions.limits import refuse_options, share
from promptcard_ext.core.composition import combine
from promptcard_ext.core.ports import Asker
from promptcard_ext.core.results import Outcome, Verdict


@register("assert-set")
def assert_set(assertion: Assertion) -> Check | Graded:
    """Hold when all inside hold; with a ``threshold``, when the weighted mean of their scores reaches it."""
    inner = _inner(assertion)
    if assertion.threshold is not None:
        share(assertion, 0.0)
    if all(one.check for one in inner):
        return lambda answer: _sum_up(assertion, judging.judge(inner, answer))

    async def grade(answer: Answer, asker: Asker) -> Finding:
        return _sum_up(assertion, await judging.grade(inner, answer, asker))

    return Graded(grade)


def _inner(assertion: Assertion) -> tuple[Compiled, ...]:
    if not assertion.assertions:
        raise assertion.invalid("it has no 'assertions'")
    inner = tuple(compiled_as_it_is(one) for one in assertion.assertions)
    for one in inner:
        if one.contest is not None:
            raise assertion.invalid(f"'{one.assertion.type}' compares answers, and cannot stand inside a set")
    return inner


def _sum_up(assertion: Assertion, parts: tuple[Verdict, ...]) -> Finding:
    outcome, score = combine(parts, assertion.threshold)
    if outcome is Outcome.PASS:
        return Finding(outcome, score=score, parts=parts)
    reason, message = explain(outcome, parts, assertion.threshold, score)
    return Finding(outcome, reason, message, score, parts)


def explain(
    outcome: Outcome, verdicts: Sequence[Verdict], threshold: float | None = None, score: float | None = None
) -> tuple[str | None, str]:
    """Return reason and message of a combination: those of the first verdict that is to blame."""
    if outcome is Outcome.PASS:
        return None, ""
    if (culprit := _culprit(outcome, verdicts)) is not None:
        below = f"Score {score:.2f} is below {threshold:g}. " if threshold is not None and score is not None else ""
        return culprit.reason, below + culprit.message
    if outcome is Outcome.FAIL:
        return "score_below_threshold", f"Score {score or 0:.2f} is below {threshold or 0:g}."
    if verdicts:
        return "nothing_weighs", "Every assertion has weight 0."
    return "no_assertions", "The case has no assertion."


def _culprit(outcome: Outcome, verdicts: Sequence[Verdict]) -> Verdict | None:
    """Return the first verdict with this outcome, or the part with it of one whose score is not known."""
    weighing = [verdict for verdict in verdicts if verdict.weight > 0]
    for verdict in weighing:
        if verdict.outcome is outcome:
            return verdict
    if outcome is Outcome.FAIL:
        return None
    unclear = [verdict for verdict in weighing if verdict.points is None]
    return next((found for one in unclear if (found := _culprit(outcome, one.parts)) is not None), None)


class _Limits(NamedTuple):
    """At which points an assertion of a cascade settles it."""

    pass_at: float
    fail_at: float

    def settled(self, verdict: Verdict) -> Outcome | None:
        """Return what the verdict settles the cascade as, or None."""
        points = verdict.points
        if points is None:
            return None
        if points >= self.pass_at:
            return Outcome.PASS
        return Outcome.FAIL if points <= self.fail_at else None

    def hopeless(self, verdict: Verdict) -> bool:
        """Tell whether nothing that follows can decide: the verdict is unknown, and could have gone both ways."""
        return verdict.points is None and self.fail_at >= 0


@register("cascade")
def cascade(assertion: Assertion) -> Check | Graded:
    """Ask the assertions inside in order, cheapest first, until one settles it.

    An assertion settles it as pass when its score reaches ``options.pass_at`` (default 1), and as fail when its score
    is at most ``options.fail_at`` (default: never). The last one decides by itself. One that is error or unscored
    settles nothing, and what follows then decides only where that one could not have decided otherwise.
    """
    inner, limits = _inner(assertion), _limits(assertion)
    if not all(one.assertion.weight for one in inner):
        raise assertion.invalid("an assertion of weight 0 decides nothing, and cannot stand in a cascade")

    def done(part: Verdict) -> bool:
        return limits.settled(part) is not None or limits.hopeless(part)

    if all(one.check for one in inner):

        def check(answer: Answer) -> Finding:
            parts: list[Verdict] = []
            for one in inner:
                parts.append(judging.check_one(one, answer))
                if done(parts[-1]):
                    break
            return _conclusion(parts, limits, len(inner))

        return check

    async def grade(answer: Answer, asker: Asker) -> Finding:
        parts: list[Verdict] = []
        for one in inner:
            parts.append(await judging.grade_one(one, answer, asker))
            if done(parts[-1]):
                break
        return _conclusion(parts, limits, len(inner))

    return Graded(grade)


def _conclusion(parts: list[Verdict], limits: _Limits, available: int) -> Finding:
    last, unknown = parts[-1], [part for part in parts[:-1] if part.points is None]
    outcome: Outcome | None = last.outcome if len(parts) == available else limits.settled(last)
    if outcome is Outcome.PASS and limits.fail_at < 0:
        return Finding(outcome, score=None if unknown else last.points, parts=tuple(parts))
    if unknown or outcome is None:
        return _open(parts, [*unknown, last])
    if outcome is Outcome.PASS:
        return Finding(outcome, score=last.points, parts=tuple(parts))
    return Finding(outcome, last.reason or "cascade_failed", last.message, last.points, tuple(parts))


def _open(parts: list[Verdict], unknown: list[Verdict]) -> Finding:
    """Return the finding of a cascade that nobody could decide: an error when something broke."""
    for outcome in (Outcome.ERROR, Outcome.UNSCORED):
        if (culprit := _culprit(outcome, unknown)) is not None:
            return Finding(outcome, culprit.reason, culprit.message, parts=tuple(parts))
    raise AssertionError("a verdict without points is undecided, or has a part that is")


def _limits(assertion: Assertion) -> _Limits:
    refuse_options(assertion, "pass_at", "fail_at")
    limits = _Limits(_limit(assertion, "pass_at", 1.0), _limit(assertion, "fail_at", -1.0))
    if limits.fail_at >= limits.pass_at:
        raise assertion.invalid("'options.fail_at' must be below 'options.pass_at'")
    return limits


def _limit(assertion: Assertion, name: str, default: float) -> float:
    if name not in assertion.options:
        return default
    value = assertion.options[name]
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise assertion.invalid(f"'options.{name}' must be a number between 0 and 1")
    return float(value)
