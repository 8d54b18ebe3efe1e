"""Lists, a page at a time."""

from __future__ import annotations

from typing import Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")


class Page(Struct, Generic[T], frozen=True):
    """One page of a list.

    Attributes:
        items: The entries, in the order of the list.
        next: What to give as ``cursor`` for the next page; null at the end.
    """

    items: list[T]
    next: str | None = None
