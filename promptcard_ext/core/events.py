"""What the engine says while it works."""

from __future__ import annotations

from msgspec import Struct

from promptcard_ext.core.results import Counts, ItemResult


class RunStarted(Struct, frozen=True, tag="started"):
    """The first call is about to be made."""

    total: int


class ItemFinished(Struct, frozen=True, tag="item"):
    """One item has its result."""

    result: ItemResult


class RunFinished(Struct, frozen=True, tag="finished"):
    """Nothing more will come.

    Attributes:
        cancelled: Whether items were left without a result.
        reason: Why, when it was stopped: ``cancelled``, ``deadline``, or what `Control.cancel` was told.
    """

    counts: Counts
    cancelled: bool = False
    reason: str | None = None


RunEvent = RunStarted | ItemFinished | RunFinished
