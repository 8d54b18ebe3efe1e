"""Entries of a comparison as the browser gets them: differences, one line of the table, or both sides of one item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from promptcard_ext.core.results import ItemResult
from promptcard_ext.kernel.comparison import Comparison
from promptcard_ext.kernel.comparison_words import difference_text, name_text, value_text, word_text
from promptcard_ext.kernel.safe_text import harmless
from promptcard_ext.kernel.seen_answer import seen_answer
from promptcard_ext.stats.compared import ComparedGroup, MetricDifference
from promptcard_ext.stats.response_modes import Mode
from promptcard_ext.stats.word_diff import word_diff
from promptcard_ext.widgets.item_state import item_state

MAX_LINES = 120
MAX_NAME_CHARS = 200
MAX_ANSWER_CHARS = 160
# Of each answer that is compared word by word.
MAX_DIFF_CHARS = 60_000
MAX_MODES = 20
MAX_MODE_CHARS = 600


def group_rows(groups: Sequence[ComparedGroup]) -> dict[str, Any]:
    """Return the differences, one line for each metric of each version and model, and how many are left out."""
    lines: list[dict[str, Any]] = []
    for place, group in enumerate(groups):
        if lines and len(lines) + len(group.metrics) > MAX_LINES:
            return {"lines": lines, "more_groups": len(groups) - place}
        lines += [_metric(group, metric) for metric in group.metrics]
    return {"lines": lines, "more_groups": 0}


def _metric(group: ComparedGroup, metric: MetricDifference) -> dict[str, Any]:
    name, difference = metric.metric, metric.difference or metric.among_same
    line: dict[str, Any] = {
        "label": _renamed(group.label_a, group.label_b),
        "model": _renamed(group.model_a, group.model_b),
        "metric": _name(name_text(metric)),
        "word": word_text(metric),
        "kind": metric.word,
        "left_out": metric.left_out,
        "among_same": bool(metric.withheld) and difference is not None,
    }
    if difference is not None:
        line |= {"a": value_text(name, difference.a), "b": value_text(name, difference.b)}
        line |= {"text": difference_text(name, difference), "mean": difference.mean}
        line |= {"low": difference.low, "high": difference.high}
    return line


def _renamed(a: str, b: str) -> str:
    return _name(b) if a == b else f"{_name(a)} → {_name(b)}"


def entry_row(comparison: Comparison, place: int) -> list[Any]:
    """Return one line.

    It has the place; outcomes in a and b (null where a side does not have it); case; repeat; version; model; answers in
    a and b; latencies in a and b in ms; whether the assertions changed.
    """
    entry = comparison.entries[place]
    a, b = comparison.results(entry)
    some, pair = entry.some, entry.pair
    return [
        place,
        None if a is None else str(a.outcome),
        None if b is None else str(b.outcome),
        _name(some.case),
        some.repeat,
        _renamed((entry.a or some).label, (entry.b or some).label),
        _renamed((entry.a or some).model, (entry.b or some).model),
        *(_line(_answer(one)) for one in (a, b)),
        *(None if row is None else row.latency_ms for row in entry),
        pair is not None and pair.assertions_changed,
    ]


def entry_state(comparison: Comparison, place: int) -> dict[str, Any]:
    """Return everything about one entry: both sides without their answers, and the answers as pieces.

    Where the question was asked several times, ``modes`` tells which answers came how often.
    """
    entry = comparison.entries[place]
    a, b = comparison.results(entry)
    answers = [_answer(one) for one in (a, b)]
    pieces = word_diff(*(answer[:MAX_DIFF_CHARS] for answer in answers))
    modes = comparison.modes(entry) if comparison.repeats > 1 else []
    return {
        "row": entry_row(comparison, place),
        "a": _side(a),
        "b": _side(b),
        "diff": [[piece.side, harmless(piece.text)] for piece in pieces],
        "same": bool(a and b) and answers[0] == answers[1],
        "cut": [len(answer) if len(answer) > MAX_DIFF_CHARS else 0 for answer in answers],
        "modes": [_mode(mode) for mode in modes[:MAX_MODES]],
        "more_modes": max(0, len(modes) - MAX_MODES),
    }


def _side(result: ItemResult | None) -> dict[str, Any] | None:
    if result is None:
        return None
    # The answers are in the pieces; twice they would be too much.
    return {**item_state(result), "row": None, "output": None, "raw": None, "cut": 0}


def _mode(mode: Mode) -> dict[str, Any]:
    text = harmless(mode.text[:MAX_MODE_CHARS] + ("…" if len(mode.text) > MAX_MODE_CHARS else ""))
    return {"text": text, "a": mode.a, "b": mode.b, "share_a": mode.share_a, "share_b": mode.share_b} | {
        "change": mode.change
    }


def _answer(result: ItemResult | None) -> str:
    if result is None:
        return ""
    seen = seen_answer(result.generation)
    return seen.text or "\n".join(f"→ {call}" for call in seen.calls) or seen.raw or ""


def _name(text: str) -> str:
    return harmless(text[:MAX_NAME_CHARS])


def _line(text: str) -> str:
    return harmless(" ".join(text[: 4 * MAX_ANSWER_CHARS].split())[:MAX_ANSWER_CHARS])
