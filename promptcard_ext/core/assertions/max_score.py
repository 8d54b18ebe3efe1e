"""The max-score assertion: the answers of a case are compared by what the other assertions said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from promptcard_ext.core.assertions.base import Assertion, Contender, Contested, Finding, register
from promptcard_ext.core.assertions.limits import refuse_options
from promptcard_ext.core.assertions.select_best import NO_ANSWER, NOTHING_TO_COMPARE
from promptcard_ext.core.ports import Asker
from promptcard_ext.core.results import Outcome, Verdict

METHODS = ("average", "sum")
OPTIONS = ("method", "weights", "threshold")
_EPSILON = 1e-9
NOTHING_TO_SCORE = Finding(
    Outcome.UNSCORED, "nothing_to_score", "The case has no other assertion that weighs, so there are no scores."
)


class _Rules(NamedTuple):
    method: str
    weights: Mapping[str, float]
    threshold: float | None


class _Range(NamedTuple):
    """Between which two totals an answer is: they are the same once all its verdicts are pass or fail."""

    low: float
    high: float


@register("max-score")
def max_score(assertion: Assertion) -> Contested:
    """No other answer of the case has a higher total of the other assertions' points; ties all pass.

    ``value`` or ``options`` may have a ``method`` (``average``, ``sum``), ``weights`` by assertion type and a
    ``threshold``, the least total that passes.
    """
    rules = _rules(assertion)

    async def contest(contenders: Sequence[Contender], asker: Asker) -> list[Finding]:
        ranges = {
            place: _range(contender.verdicts, rules)
            for place, contender in enumerate(contenders)
            if contender.answer is not None
        }
        known = {place: one for place, one in ranges.items() if one is not None}
        found = []
        for place in range(len(contenders)):
            if place not in ranges:
                found.append(NO_ANSWER)
            elif len(ranges) < 2:
                found.append(NOTHING_TO_COMPARE)
            else:
                found.append(_finding(place, known, contenders, rules) if place in known else NOTHING_TO_SCORE)
        return found

    return Contested(contest)


def _rules(assertion: Assertion) -> _Rules:
    refuse_options(assertion, *OPTIONS)
    given: dict[str, Any] = dict(assertion.options)
    if assertion.value is not None:
        if not isinstance(assertion.value, dict) or not set(assertion.value) <= set(OPTIONS):
            raise assertion.invalid(f"'value' must be a mapping with {', '.join(OPTIONS)}, or nothing")
        given |= assertion.value
    method, weights = given.get("method", METHODS[0]), given.get("weights", {})
    threshold = given.get("threshold", assertion.threshold)
    if method not in METHODS:
        raise assertion.invalid(f"its method is {method!r:.60}; it must be one of {', '.join(METHODS)}")
    if not isinstance(weights, dict) or not all(_is_number(weight) and weight >= 0 for weight in weights.values()):
        raise assertion.invalid("its weights must be numbers from 0 by assertion type")
    if threshold is not None and not _is_number(threshold):
        raise assertion.invalid("its threshold must be a number")
    return _Rules(method, weights, threshold)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e6


def _range(verdicts: Sequence[Verdict], rules: _Rules) -> _Range | None:
    total = low = high = 0.0
    for verdict in verdicts:
        weight, points = _weight(verdict, rules), verdict.points
        total += weight
        low += weight * (0.0 if points is None else points)
        high += weight * (1.0 if points is None else points)
    if not total:
        return None
    share = total if rules.method == "average" else 1.0
    return _Range(low / share, high / share)


def _weight(verdict: Verdict, rules: _Rules) -> float:
    return rules.weights.get(verdict.type, verdict.weight)


def _finding(place: int, ranges: Mapping[int, _Range], contenders: Sequence[Contender], rules: _Rules) -> Finding:
    own = ranges[place]
    score = own.low if rules.method == "average" and own.low == own.high else None
    most = max(ranges.values(), key=lambda one: one.low)
    if rules.threshold is not None and own.high < rules.threshold - _EPSILON:
        return Finding(Outcome.FAIL, "score_below_threshold", f"{own.high:g} is below {rules.threshold:g}.", score)
    if own.high < most.low - _EPSILON:
        return Finding(Outcome.FAIL, "not_best", f"{own.high:g}, and another answer has {most.low:g}.", score)
    sure = rules.threshold is None or own.low >= rules.threshold - _EPSILON
    others = [one.high for other, one in ranges.items() if other != place]
    if sure and own.low >= max(others, default=0.0) - _EPSILON:
        return Finding(Outcome.PASS, None, f"{own.low:g}, the highest of {len(ranges)}.", score)
    return _undecided(place, contenders, rules)


def _undecided(place: int, contenders: Sequence[Contender], rules: _Rules) -> Finding:
    # One of its own first: that is where a person would look.
    verdicts = [*contenders[place].verdicts, *(one for other in contenders for one in other.verdicts)]
    open_ = next((one for one in verdicts if one.points is None and _weight(one, rules)), None)
    because = f" ('{open_.type}': {open_.reason})" if open_ is not None else ""
    return Finding(
        Outcome.UNSCORED, "contest_undecided", f"A missing verdict could change which answer is best{because}."
    )
