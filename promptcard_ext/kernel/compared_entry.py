"""One line of a comparison."""

from __future__ import annotations

from typing import NamedTuple

from promptcard_ext.stats.joined_rows import Pair, Row


class Entry(NamedTuple):
    """One item, as both sides have it; None where a side does not have it."""

    a: Row | None
    b: Row | None

    @property
    def some(self) -> Row:
        """The row of ``b``, or else that of ``a``: for names."""
        row = self.b or self.a
        assert row is not None
        return row

    @property
    def pair(self) -> Pair | None:
        """Both rows, where both sides have it."""
        return None if self.a is None or self.b is None else Pair(self.a, self.b)
