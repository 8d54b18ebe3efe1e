"""One cell of a plan."""

from __future__ import annotations

from typing import NamedTuple


class Item(NamedTuple):
    """One cell of the plan; indexes into the plan's cards, models and cases."""

    ordinal: int
    card: int
    model: int
    case: int
    repeat: int
