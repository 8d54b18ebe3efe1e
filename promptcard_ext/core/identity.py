"""Identity by content: the same thing has the same id in every process, run and database."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """Return the one JSON text of ``value``: sorted keys, no spaces, no NaN.

    Raises:
        TypeError: ``value`` holds something that is not JSON.
        ValueError: ``value`` holds NaN or an infinity.
    """
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def json_key(value: Any) -> Any:
    """Return something hashable that is equal for equal JSON values: 1 equals 1.0, and true is not 1."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, list | tuple):
        return ("list", tuple(json_key(item) for item in value))
    if isinstance(value, dict):
        return ("mapping", frozenset((name, json_key(item)) for name, item in value.items()))
    return value


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of ``value``, 64 hexadecimal digits."""
    # surrogatepass: a lone surrogate in a test case is odd, but it must have an identity too.
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def refuse_constant(name: str) -> None:
    """Refuse NaN and the infinities, which Python's JSON reader takes and JSON does not know (``parse_constant``).

    Raises:
        ValueError: Always.
    """
    raise ValueError(f"{name} is not JSON")
