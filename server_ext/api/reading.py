"""Bodies and queries of requests, read strictly: what does not fit is refused, nothing is guessed or dropped."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NoReturn, TypeVar

import msgspec

from promptcard_ext.core.errors import CardError

T = TypeVar("T")
MAX_BODY_BYTES = 2_000_000
MAX_DEPTH = 64
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# msgspec would take 1e3 for a whole number, too.
_WHOLE = re.compile(r"-?[0-9]{1,30}")
# And a number for the seconds since 1970.
_TIME = re.compile(r"[0-9]{4}-")
# What Jupyter takes from the query, and what every list and object has.
_NOT_OURS = frozenset({"token", "_xsrf", "fields"})


def read_body(raw: bytes, kind: type[T], limit: int = MAX_BODY_BYTES) -> T:
    """Return a JSON body as ``kind``; an empty body counts as ``{}``.

    Raises:
        CardError: It is larger than ``limit`` bytes (``request_too_large``), is not JSON, names a field twice, has a
            number that JSON does not know, is nested deeper than 64, or does not fit (``request_invalid``).
    """
    check_size(raw, limit)
    try:
        value = json.loads(raw.decode("utf-8") or "{}", object_pairs_hook=_unique, parse_constant=_no_number)
        if _deeper_than(value, MAX_DEPTH):
            _refuse(f"it is nested deeper than {MAX_DEPTH}")
        if _SURROGATE.search(raw):
            json.dumps(value, ensure_ascii=False).encode()
        return msgspec.convert(value, kind)
    except UnicodeDecodeError:
        _refuse("it is not UTF-8")
    except UnicodeEncodeError:
        # It could be stored, but no answer could give it back.
        _refuse("it has half of a surrogate pair, which is no character")
    except RecursionError:
        _refuse(f"it is nested deeper than {MAX_DEPTH}")
    except ValueError as error:  # also msgspec's and json's
        _refuse(str(error))


def check_size(raw: bytes, limit: int) -> None:
    """Raise `CardError` (``request_too_large``) when a body has more than ``limit`` bytes."""
    if len(raw) > limit:
        raise CardError(
            f"The request is larger than {limit:,} bytes.", code="request_too_large", hint="Send less at once."
        )


def read_query(given: Mapping[str, Sequence[bytes]], kind: type[T]) -> T:
    """Return query parameters as ``kind``, whose lists are parameters that may be given several times.

    Raises:
        CardError: One is unknown, given twice, or does not fit (``request_invalid``).
    """
    values: dict[str, Any] = {}
    lists, whole, times = _shapes(kind)  # type: ignore[arg-type]
    try:
        for name, texts in given.items():
            if name in _NOT_OURS:
                continue
            decoded = [text.decode("utf-8") for text in texts]
            if name not in lists and len(decoded) > 1:
                _refuse(f"'{name:.60}' is given twice")
            if name in whole and not all(_WHOLE.fullmatch(text) for text in decoded):
                _refuse(f"'{name}' is not a whole number")
            if name in times and not all(_TIME.match(text) for text in decoded):
                _refuse(f"'{name}' is not a time such as 2026-01-31T12:00:00Z")
            values[name] = decoded if name in lists else decoded[0]
        read = msgspec.convert(values, kind, strict=False)
    except ValueError as error:
        _refuse(str(error))
    if nulls := _nulls(read) & values.keys():
        _refuse(f"'{min(nulls)}' is null; leave it out instead")
    return read


def _nulls(read: Any) -> set[str]:
    """Return the names of the parameters that are None: msgspec takes the text ``null`` for it."""
    names = zip(read.__struct_fields__, read.__struct_encode_fields__, strict=True)
    return {name for field, name in names if getattr(read, field) is None}


@cache
def _shapes(kind: Any) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Return the names of the parameters that are lists, that are whole numbers, and that are times."""
    hints = typing.get_type_hints(kind)
    lists = frozenset(name for name, hint in hints.items() if list in (hint, typing.get_origin(hint)))
    whole, times = (
        frozenset(name for name, hint in hints.items() if hint is one or one in typing.get_args(hint))
        for one in (int, datetime)
    )
    return lists, whole, times


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"'{twice:.60}' is there twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number in JSON")


def _deeper_than(value: Any, most: int) -> bool:
    """Tell whether a JSON value is nested deeper than ``most``, level by level."""
    level = [value]
    for _ in range(most):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _refuse(why: str) -> NoReturn:
    raise CardError(f"The request does not fit: {why[:300].rstrip('.')}.", code="request_invalid") from None
