"""Who is best of several, from comparisons of two at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import combinations
from typing import NamedTuple

from promptcard_ext.core.judges.asking import together


class Match(NamedTuple):
    """How two compared.

    Attributes:
        better: The one that is better; None for a tie.
        known: Whether somebody judged; if not, it may have been either, or a tie.
    """

    better: int | None
    known: bool = True


class Standing(NamedTuple):
    """Where one stands.

    Attributes:
        best: True when it is better than all others, False when another one is; None when that is not known or tied.
        score: Share of the others that it beats, ties as halves; None where not all of it was compared.
    """

    best: bool | None
    score: float | None = None


Meet = Callable[[int, int], Awaitable[Match]]


async def all_pairs(names: Sequence[int], meet: Meet) -> dict[int, Standing]:
    """Compare each with each, all at the same time.

    The best is the one with more points (1 for a win, a half for a tie) than any other, whatever the comparisons that
    nobody judged would have given.
    """
    pairs = list(combinations(names, 2))
    matches = await together(meet(*pair) for pair in pairs)
    low, high = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for pair, match in zip(pairs, matches, strict=True):
        for name in pair:
            won = 0.5 if match.better is None else float(match.better == name)
            low[name] += won if match.known else 0.0
            high[name] += won if match.known else 1.0
    return {
        name: Standing(_best(name, low, high), low[name] / (len(names) - 1) if low[name] == high[name] else None)
        for name in names
    }


def _best(name: int, low: dict[int, float], high: dict[int, float]) -> bool | None:
    others = [other for other in low if other != name]
    if all(low[name] > high[other] for other in others):
        return True
    return False if any(low[other] > high[name] for other in others) else None


async def knockout(names: Sequence[int], meet: Meet) -> dict[int, Standing]:
    """Compare in rounds; who loses is out.

    A tie, or a comparison that nobody judged, puts nobody out; those two do not meet again. It rests on transitivity:
    the winner was not compared with all.
    """
    alive, met = list(names), set[frozenset[int]]()
    standings: dict[int, Standing] = {}
    while pairs := _round(alive, met):
        met.update(map(frozenset, pairs))
        for (one, other), match in zip(pairs, await together(meet(*pair) for pair in pairs), strict=True):
            if match.known and match.better is not None:
                loser = other if match.better == one else one
                alive.remove(loser)
                standings[loser] = Standing(False)
    for name in alive:
        standings[name] = Standing(True if len(alive) == 1 else None)
    return standings


def _round(alive: Sequence[int], met: set[frozenset[int]]) -> list[tuple[int, int]]:
    free, pairs = list(alive), []
    while free:
        one = free.pop(0)
        other = next((name for name in free if frozenset((one, name)) not in met), None)
        if other is not None:
            free.remove(other)
            pairs.append((one, other))
    return pairs
