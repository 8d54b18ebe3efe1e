"""Verdicts for a reader: those that did not pass, with the parts of sets and cascades below their set."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from promptcard_ext.core.results import Outcome, Verdict
from promptcard_ext.stats.ledger import flattened


def verdict_lines(verdicts: Sequence[Verdict], most: int) -> tuple[list[tuple[int, Verdict]], int]:
    """Return the verdicts that did not pass with their depth, each followed by its parts, and how many more there are.

    Parts are there whatever they say: in a set, those that passed explain the score.

    Example:
        >>> parts = (Verdict("a", "regex", Outcome.PASS), Verdict("b", "equals", Outcome.FAIL))
        >>> lines, more = verdict_lines([Verdict("s", "assert-set", Outcome.FAIL, parts=parts)], 2)
        >>> [(depth, verdict.type) for depth, verdict in lines], more
        ([(0, 'assert-set'), (1, 'regex')], 1)
    """
    lines = [
        (path.count("."), verdict)
        for one in verdicts
        if one.outcome is not Outcome.PASS
        for path, verdict in flattened((one,))
    ]
    return lines[:most], max(0, len(lines) - most)


def outline(lines: Sequence[tuple[int, Verdict]], said: Callable[[Verdict], str]) -> str:
    """Return lines of `verdict_lines` as nested lists; ``said`` gives the HTML of one, already escaped."""
    html, level = [], -1
    for depth, verdict in lines:
        html.append("<ul>" if depth > level else "</li>" + "</ul></li>" * (level - depth))
        html.append(f"<li>{said(verdict)}")
        level = depth
    return "".join(html) + "</li></ul>" * (level + 1)


def verdict_name(verdict: Verdict) -> str:
    """Return the kind of an assertion with its metric, for example ``regex (tone)``."""
    return f"{verdict.type} ({verdict.metric})" if verdict.metric else verdict.type


def verdict_facts(verdict: Verdict) -> list[str]:
    """Return what there is to know beside the outcome: a score between 0 and 1, and what it weighs."""
    score = [] if verdict.score in (None, 0.0, 1.0) else [f"score {verdict.score:.2f}"]
    weight = [] if verdict.weight == 1 else [f"weight {verdict.weight:g}" if verdict.weight else "informs only"]
    return [*score, *weight]
