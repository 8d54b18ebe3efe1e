"""Pages of a list by keyset: the cursor is the sort key of the last row shown, so writes between pages do no harm."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from promptcard_ext.core.contract.page import Page
from promptcard_ext.core.errors import CardError

T = TypeVar("T")
MAX_CURSOR = 2_000


def encode_cursor(*key: object) -> str:
    """Return the opaque text for the sort key of a row."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode()


def decode_cursor(cursor: str, *kinds: type[Any]) -> tuple[Any, ...]:
    """Return the sort key behind a cursor.

    Args:
        kinds: Type of each value: str, int, float, `datetime`, `UUID`.

    Raises:
        CardError: It was not made by `encode_cursor` for such values (``cursor_invalid``).

    Example:
        >>> decode_cursor(encode_cursor("greet", 3), str, int)
        ('greet', 3)
    """
    try:
        if len(cursor) > MAX_CURSOR:
            raise ValueError
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        values = msgspec.json.decode(text, type=list[Any])
        if len(values) != len(kinds):
            raise ValueError
        return tuple(msgspec.convert(value, kind) for value, kind in zip(values, kinds, strict=True))
    except (binascii.Error, ValueError, RecursionError):
        raise CardError(
            "This cursor is not one of this list.",
            hint="Give 'next' of the last page as it is, or leave 'cursor' out to start anew.",
            code="cursor_invalid",
        ) from None


def page(rows: Sequence[Any], limit: int, key: Callable[[Any], tuple[Any, ...]], build: Callable[[Any], T]) -> Page[T]:
    """Return the page of rows that were read with ``limit + 1``.

    Args:
        key: Sort key of a row, as `decode_cursor` will give it back.
        build: Makes the entry of a row.
    """
    shown = rows[:limit]
    return Page([build(row) for row in shown], encode_cursor(*key(shown[-1])) if len(rows) > limit else None)
