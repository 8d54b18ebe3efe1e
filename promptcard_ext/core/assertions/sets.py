"""Assertions made of assertions: assert-set and cascade."""

from __future__ import annotations

from collections.abc import Sequence

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions import judging
from promptcard_ext.core.assertions.base import Assertion, Check, Compiled, Finding, Graded, compiled, register
from promptcard_ext.core.composition import combine
from promptcard_ext.core.ports import Asker
from promptcard_ext.core.results import Outcome, Verdict


@register("assert-set")
def assert_set(assertion: Assertion) -> Check | Graded:
    """Hold when all inside hold; with a ``threshold``, when the weighted mean of their scores reaches it."""
    inner = _inner(assertion)
    if all(one.check for one in inner):
        return lambda answer: _sum_up(assertion, judging.judge(inner, answer))

    async def grade(answer: Answer, asker: Asker) -> Finding:
        return _sum_up(assertion, await judging.grade(inner, answer, asker))

    return Graded(grade)


def _inner(assertion: Assertion) -> tuple[Compiled, ...]:
    if not assertion.assertions:
        raise assertion.invalid("it has no 'assertions'")
    inner = tuple(compiled(one) for one in assertion.assertions)
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
    for verdict in verdicts:
        if verdict.weight > 0 and verdict.outcome is outcome:
            below = f"Score {score:.2f} is below {threshold:g}. " if threshold is not None and score is not None else ""
            return verdict.reason, below + verdict.message
    if verdicts and outcome is Outcome.FAIL:
        return "score_below_threshold", f"Score {score or 0:.2f} is below {threshold or 0:g}."
    if verdicts:
        return "nothing_weighs", "Every assertion has weight 0."
    return "no_assertions", "The case has no assertion."


@register("cascade")
def cascade(assertion: Assertion) -> Check | Graded:
    """Ask the assertions inside in order, cheapest first, until one settles it.

    An assertion settles it as pass when its score reaches ``options.pass_at`` (default 1), and as fail when its score
    is at most ``options.fail_at`` (default: never). The last one decides by itself. One that is error or unscored
    settles nothing.
    """
    inner = _inner(assertion)
    pass_at, fail_at = _limit(assertion, "pass_at", 1.0), _limit(assertion, "fail_at", -1.0)

    def settles(verdict: Verdict) -> bool:
        points = verdict.points
        return points is not None and (points >= pass_at or points <= fail_at)

    if all(one.check for one in inner):

        def check(answer: Answer) -> Finding:
            parts: list[Verdict] = []
            for one in inner:
                parts.append(judging.check_one(one, answer))
                if settles(parts[-1]):
                    break
            return _settled(parts, len(inner), pass_at)

        return check

    async def grade(answer: Answer, asker: Asker) -> Finding:
        parts: list[Verdict] = []
        for one in inner:
            parts.append(await judging.grade_one(one, answer, asker))
            if settles(parts[-1]):
                break
        return _settled(parts, len(inner), pass_at)

    return Graded(grade)


def _settled(parts: list[Verdict], available: int, pass_at: float) -> Finding:
    last = parts[-1]
    outcome = last.outcome
    if len(parts) < available and last.points is not None:
        outcome = Outcome.PASS if last.points >= pass_at else Outcome.FAIL
    reason = None if outcome is Outcome.PASS else last.reason or "cascade_failed"
    return Finding(outcome, reason, "" if outcome is Outcome.PASS else last.message, last.points, tuple(parts))


def _limit(assertion: Assertion, name: str, default: float) -> float:
    value = assertion.options.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise assertion.invalid(f"'options.{name}' must be a number between 0 and 1")
    return float(value)
