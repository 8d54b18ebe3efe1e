"""Response modes: the different answers that repeats of one question gave, and how often each came."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from promptcard_ext.core.identity import canonical_json, refuse_constant

MAX_JSON_CHARS = 100_000
Change = Literal["appeared", "vanished", "more often", "less often", "as often"]


class Mode(Struct, frozen=True):
    """One answer that came at least once.

    Attributes:
        text: As it was first given.
        a, b: How often each side gave it.
        share_a, share_b: The same as a share of the side's answers, 0 to 1.
    """

    text: str
    a: int
    b: int
    share_a: float
    share_b: float

    @property
    def change(self) -> Change:
        """How often it came, from ``a`` to ``b``; what chance alone might do is not taken into account."""
        if not self.a or not self.b:
            return "appeared" if not self.a else "vanished"
        if abs(self.share_b - self.share_a) < 1e-12:
            return "as often"
        return "more often" if self.share_b > self.share_a else "less often"


def response_modes(a: Iterable[str], b: Iterable[str]) -> list[Mode]:
    """Return the different answers of two sides, those first whose share differs most.

    Answers are the same when `normal_form` makes them so.

    Example:
        >>> [(mode.text, mode.a, mode.b, mode.change) for mode in response_modes(["Yes", "yes."], ["no", "Yes"])]
        [('Yes', 2, 1, 'less often'), ('no', 0, 1, 'appeared')]
    """
    texts: dict[str, str] = {}
    first, second = (_counted(side, texts) for side in (list(a), list(b)))
    total_a, total_b = max(1, first.total()), max(1, second.total())
    modes = [
        Mode(text, first[form], second[form], first[form] / total_a, second[form] / total_b)
        for form, text in texts.items()
    ]
    return sorted(modes, key=lambda mode: (-abs(mode.share_b - mode.share_a), -(mode.a + mode.b)))


def _counted(side: Sequence[str], texts: dict[str, str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in side:
        form = normal_form(text)
        texts.setdefault(form, text)
        counts[form] += 1
    return counts


def mode_distance(a: Iterable[int], b: Iterable[int]) -> float:
    """Return how far apart two sides' answers are, 0 for the same shares and 1 for no common answer.

    It is the total variation distance: half of the sum of what the shares differ by.

    Args:
        a, b: For each answer something that is equal for equal answers; neither is empty.

    Example:
        >>> mode_distance([1, 1, 2, 2], [1, 2, 2, 2])
        0.25
    """
    first, second = Counter(a), Counter(b)
    total_a, total_b = first.total(), second.total()
    return sum(abs(first[each] / total_a - second[each] / total_b) for each in first.keys() | second.keys()) / 2


def normal_form(text: str) -> str:
    """Return what is the same for answers that say the same.

    JSON is compared as JSON: the order of names and white space do not matter. Of other texts case, white space and
    signs at the end do not.

    Example:
        >>> normal_form(' Paris. ') == normal_form("paris"), normal_form('{"b": 1, "a": 2}')
        (True, '{"a":2,"b":1}')
    """
    stripped = text.strip()
    if stripped[:1] in ("{", "[") and len(stripped) <= MAX_JSON_CHARS:
        try:
            return canonical_json(json.loads(stripped, parse_constant=refuse_constant))
        except (ValueError, RecursionError):
            pass
    plain = " ".join(stripped.casefold().split())
    return plain.rstrip(".!") or plain
