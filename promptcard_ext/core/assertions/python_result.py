"""What a check in Python may return, and what it means."""

from __future__ import annotations

import dataclasses
import inspect
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

from promptcard_ext.core.assertions.base import PASSED, Finding
from promptcard_ext.core.identity import digest
from promptcard_ext.core.results import Outcome, Verdict

MAX_PARTS = 100
MAX_DEPTH = 4


class NotAResult(Exception):
    """A check returned something that says neither yes nor no."""


def finding_of(said: Any, threshold: float | None, uid: str) -> Finding:
    """Return the finding that a check's result stands for.

    Args:
        said: True or false; a score; or a mapping (or an object with such attributes) with ``pass`` or ``pass_``,
            ``score``, ``reason``, ``componentResults``, ``namedScores``, or the last two in snake case.
        threshold: Least score that passes; without one a score above 0 does.
        uid: Identity of the assertion, from which those of its parts are made.

    Raises:
        NotAResult: It is something else.
    """
    return _finding(said, threshold, uid, 0)


def _finding(said: Any, threshold: float | None, uid: str, depth: int) -> Finding:
    said = _plain(said)
    if isinstance(said, bool):
        return PASSED if said else Finding(Outcome.FAIL, "check_failed", "The check says no.")
    if isinstance(said, numbers.Real):
        return _scored(_number(said), True, threshold, "", ())
    fields = _fields(said)
    if fields is None:
        raise NotAResult(
            f"The check returned {_kind(said)}; it must return true or false, a number, or a mapping with 'pass'."
        )
    passed, score = _plain(fields.get("pass", fields.get("pass_"))), _plain(fields.get("score"))
    reason = str(fields.get("reason") or "")[:1000]
    parts = _parts(fields, uid, depth)
    if passed is None and score is not None:
        return _scored(_number(score), True, threshold, reason, parts)
    if not isinstance(passed, bool):
        raise NotAResult(f"The check's 'pass' is {_kind(passed)}; it must be true or false.")
    if score is None:
        # With parts a missing score would mean that one of them is undecided.
        sure = float(passed) if parts else None
        if passed:
            return Finding(Outcome.PASS, score=sure, parts=parts)
        return Finding(Outcome.FAIL, "check_failed", reason or "The check says no.", sure, parts)
    return _scored(_number(score), passed, threshold, reason, parts, above=None)


def _scored(
    score: float,
    passed: bool,
    threshold: float | None,
    reason: str,
    parts: tuple[Verdict, ...],
    above: float | None = 0.0,
) -> Finding:
    """Return pass or fail of a score; what a check may say is any number, a verdict's score is from 0 to 1."""
    shown = min(1.0, max(0.0, score))
    if not passed:
        return Finding(Outcome.FAIL, "check_failed", reason or "The check says no.", shown, parts)
    if threshold is not None and score < threshold - 1e-9:
        message = f"Score {score:g} is below {threshold:g}. {reason}".strip()
        return Finding(Outcome.FAIL, "score_below_threshold", message, shown, parts)
    if threshold is None and above is not None and score <= above:
        return Finding(Outcome.FAIL, "check_failed", reason or f"The score is {score:g}.", shown, parts)
    return Finding(Outcome.PASS, score=shown, parts=parts)


def _plain(value: Any) -> Any:
    """Return the Python value of a scalar of numpy."""
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") and value.size == 1 else value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise NotAResult(f"The check's 'score' is {_kind(value)}; it must be a number.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise NotAResult(f"The check's score is {number}, which says nothing.")
    return number


def _fields(said: Any) -> Mapping[str, Any] | None:
    if isinstance(said, Mapping):
        return said
    if dataclasses.is_dataclass(said) and not isinstance(said, type):
        return {field.name: getattr(said, field.name) for field in dataclasses.fields(said)}
    return None


def _parts(fields: Mapping[str, Any], uid: str, depth: int) -> tuple[Verdict, ...]:
    components = fields.get("componentResults", fields.get("component_results")) or ()
    named = fields.get("namedScores", fields.get("named_scores")) or {}
    if not isinstance(components, Sequence) or isinstance(components, str | bytes) or not isinstance(named, Mapping):
        raise NotAResult("The check's 'componentResults' must be a list, and its 'namedScores' a mapping.")
    if depth >= MAX_DEPTH or len(components) + len(named) > MAX_PARTS:
        raise NotAResult(f"The check's result has more than {MAX_PARTS} parts, or is nested deeper than {MAX_DEPTH}.")
    parts = []
    for place, component in enumerate(components):
        found = _finding(component, None, digest([uid, place]), depth + 1)
        parts.append(_verdict(found, digest([uid, place]), None))
    for name, score in named.items():
        found = Finding(Outcome.PASS, score=min(1.0, max(0.0, _number(_plain(score)))))
        # A named score informs; whether it is good enough nobody has said.
        parts.append(_verdict(found, digest([uid, str(name)]), str(name)[:100], weight=0.0))
    return tuple(parts)


def _verdict(found: Finding, uid: str, metric: str | None, weight: float = 1.0) -> Verdict:
    return Verdict(uid, "python", found.outcome, found.reason, found.message, found.score, metric, weight, found.parts)


def _kind(value: Any) -> str:
    if inspect.iscoroutine(value):
        value.close()
        return "a coroutine (it must not be async)"
    return "None" if value is None else f"{type(value).__name__} {value!r:.100}"
