"""What two texts have in common, word by word, and what only one of them has."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

# Of each text; what is beyond is not compared.
MAX_WORDS = 4_000
# Beyond so many words that differ, two texts have little in common and are shown as a whole.
MAX_EDITS = 600

# A word with the white space behind it, a sign, or white space at the beginning of a line.
_WORD = re.compile(r"\w+[^\S\n]*|[^\w\s][^\S\n]*|\n|[^\S\n]+")


class Piece(NamedTuple):
    """A stretch of text.

    Attributes:
        side: ``both``, or ``a`` or ``b`` for what only that text has.
    """

    side: Literal["both", "a", "b"]
    text: str


def word_diff(a: str, b: str) -> list[Piece]:
    """Return both texts as pieces: those of ``a`` and ``both`` make up the first text, the others the second.

    The method is Myers' ("An O(ND) Difference Algorithm and Its Variations", Algorithmica 1 (1986)), bounded: texts are
    cut after 4,000 words, and texts with more than 600 differences are not compared word by word.

    Example:
        >>> [tuple(piece) for piece in word_diff("say hello now", "say goodbye now")]
        [('both', 'say '), ('a', 'hello '), ('b', 'goodbye '), ('both', 'now')]
    """
    first, second = _words(a), _words(b)
    shortest = min(len(first), len(second))
    start = 0
    while start < shortest and first[start] == second[start]:
        start += 1
    end = 0
    while end < shortest - start and first[-1 - end] == second[-1 - end]:
        end += 1
    middle = _edits(first[start : len(first) - end], second[start : len(second) - end])
    tail = first[len(first) - end :]
    return _merged([*(Piece("both", word) for word in first[:start]), *middle, *(Piece("both", w) for w in tail)])


def _words(text: str) -> list[str]:
    words: list[str] = []
    for match in _WORD.finditer(text):
        if len(words) == MAX_WORDS:
            return [*words, "…"]
        words.append(match.group())
    return words


def _edits(a: list[str], b: list[str]) -> list[Piece]:
    if not a or not b:
        return [*(Piece("a", word) for word in a), *(Piece("b", word) for word in b)]
    trace = _trace(a, b)
    if trace is None:
        return [Piece("a", "".join(a)), Piece("b", "".join(b))]
    pieces: list[Piece] = []
    x, y = len(a), len(b)
    for edits in range(len(trace) - 1, -1, -1):
        furthest, diagonal = trace[edits], x - y
        down = diagonal == -edits or (diagonal != edits and furthest[diagonal - 1] < furthest[diagonal + 1])
        before = diagonal + 1 if down else diagonal - 1
        from_x = furthest.get(before, 0)
        from_y = from_x - before
        while x > max(from_x, 0) and y > max(from_y, 0):
            x, y = x - 1, y - 1
            pieces.append(Piece("both", a[x]))
        if edits and down:
            y -= 1
            pieces.append(Piece("b", b[y]))
        elif edits:
            x -= 1
            pieces.append(Piece("a", a[x]))
    return pieces[::-1]


def _trace(a: list[str], b: list[str]) -> list[dict[int, int]] | None:
    """Return for each number of edits how far each diagonal was reached before it; None when it takes too many."""
    furthest = {1: 0}
    trace: list[dict[int, int]] = []
    for edits in range(min(len(a) + len(b), MAX_EDITS) + 1):
        trace.append(dict(furthest))
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (diagonal != edits and furthest[diagonal - 1] < furthest[diagonal + 1])
            x = furthest[diagonal + 1] if down else furthest[diagonal - 1] + 1
            y = x - diagonal
            while x < len(a) and y < len(b) and a[x] == b[y]:
                x, y = x + 1, y + 1
            furthest[diagonal] = x
            if x >= len(a) and y >= len(b):
                return trace
    return None


def _merged(pieces: list[Piece]) -> list[Piece]:
    """Return the pieces with neighbours put together; of words that differ, those of ``a`` come first."""
    merged: list[Piece] = []
    waiting: dict[Literal["a", "b"], str] = {"a": "", "b": ""}

    def flush() -> None:
        for side in ("a", "b"):
            if waiting[side]:
                merged.append(Piece(side, waiting[side]))
                waiting[side] = ""

    for side, text in pieces:
        if side != "both":
            waiting[side] += text
        elif merged and merged[-1].side == "both" and not waiting["a"] and not waiting["b"]:
            merged[-1] = Piece("both", merged[-1].text + text)
        else:
            flush()
            merged.append(Piece("both", text))
    flush()
    return merged
