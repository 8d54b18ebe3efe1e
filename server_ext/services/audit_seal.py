"""The seal of an audit entry: an HMAC over everything it says and over the seal before it.

The key is the server's; the database never sees it. So even whoever owns the database can change nothing that the next
look would not find.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from server_ext.keys import Key

_HEADER = b"promptcards audit 1\n"
_FIELDS = (
    "workspace_id", "seq", "actor_id", "actor_kind", "actor_role", "via", "address", "request_id", "action",
    "object_type", "object_id", "key_id",
)  # fmt: skip
# A JSON array is unambiguous: no choice of values makes two different entries read the same.
_JSON = json.JSONEncoder(ensure_ascii=True, sort_keys=True, separators=(",", ":"), default=str)  # ids as texts


def seal(key: Key, entry: Mapping[str, Any], prev_hash: bytes, prev_mac: bytes) -> bytes:
    """Return the seal of an entry.

    Args:
        entry: Values by column, as they are written or as they were read: both give the same seal.
        prev_hash, prev_mac: Of the entry before; empty for the first, ``prev_mac`` also behind one without a seal.
    """
    said = [prev_mac.hex(), prev_hash.hex(), _moment(entry["at"]), _plain(entry["detail"])]
    said += [entry[name] for name in _FIELDS]
    return hmac.digest(key.secret, _HEADER + _JSON.encode(said).encode(), "sha256")


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def _plain(value: Any) -> Any:
    """Return a value in the one form that it has on its way into ``jsonb`` and on its way back."""
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _number(value: float) -> float | int:
    """Return a number as PostgreSQL gives it back, which writes 1e22 as digits and knows no -0."""
    exact = Decimal(repr(value))
    return int(exact) if exact.is_finite() and exact == exact.to_integral_value() else value
