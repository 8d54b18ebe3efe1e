"""How values show themselves in a notebook; what draws them lies above this layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

# Set by `promptcard_ext.kernel.value_html`: gives the HTML of a value, or None when it has none.
draw: Callable[[Any], str | None] | None = None
T = TypeVar("T")


def html_of(value: Any) -> str | None:
    """Return a value as HTML without scripts; None where there is no notebook to show it."""
    return None if draw is None else draw(value)


class Listing(list[T]):
    """A list that a notebook shows as a table."""

    def _repr_html_(self) -> str | None:
        return html_of(self)
