"""Text and JSON that PostgreSQL would refuse, made storable and back again.

PostgreSQL stores neither NUL nor lone surrogates, and its JSON knows neither NaN nor infinity. A model may answer with
any of them, and the answer was paid for. So each such character is written as an escape of five characters, the first
of them U+FDD0: a code point that Unicode reserves for internal use and that stands in no text for interchange. It is
escaped too, and so every string comes back exactly as it was.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec

_MARK = "\ufdd0"
_MARK_BYTES = _MARK.encode()
_UNSAFE = re.compile("[\x00\ufdd0\ud800-\udfff]")
_ESCAPE = re.compile(_MARK + "([0-9a-f]{4})")
# What must not reach jsonb, in the output of json.dumps: there a NUL is already written as an escape.
_UNSAFE_JSON = re.compile("\\\\u0000|[\ufdd0\ud800-\udfff]")
# No escape of a character looks like these: they do not go on with a hexadecimal digit.
_NOT_FINITE = {_MARK + "nan": math.nan, _MARK + "inf": math.inf, _MARK + "-inf": -math.inf}


def pg_safe(text: str) -> str:
    """Return ``text`` in a form that PostgreSQL stores; text without odd characters comes back as it is.

    Example:
        >>> pg_restore(pg_safe("a\\x00b"))
        'a\\x00b'
    """
    return _UNSAFE.sub(lambda match: f"{_MARK}{ord(match[0]):04x}", text)


def pg_restore(text: str) -> str:
    """Return the text that `pg_safe` was given."""
    if _MARK not in text:
        return text
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)


def pg_safe_json(value: Any) -> Any:
    """Return a JSON value in which every string and key is safe, and NaN and infinities are strings."""
    if isinstance(value, str):
        return pg_safe(value)
    if isinstance(value, float) and not math.isfinite(value):
        return _MARK + ("nan" if math.isnan(value) else "inf" if value > 0 else "-inf")
    if isinstance(value, dict):
        return {pg_safe(k) if isinstance(k, str) else k: pg_safe_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [pg_safe_json(item) for item in value]
    return value


def pg_restore_json(value: Any) -> Any:
    """Return the value that `pg_safe_json` was given (a tuple comes back as a list)."""
    if isinstance(value, str):
        return _NOT_FINITE[value] if value in _NOT_FINITE else pg_restore(value)
    if isinstance(value, dict):
        return {pg_restore(key): pg_restore_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [pg_restore_json(item) for item in value]
    return value


def dump_json(value: Any) -> str:
    """Return JSON text that a ``jsonb`` column accepts; the engine uses it for every value."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:  # NaN or infinity
        return json.dumps(pg_safe_json(value), ensure_ascii=False)
    if _UNSAFE_JSON.search(text):
        return json.dumps(pg_safe_json(value), ensure_ascii=False)
    return text


def load_json(text: str | bytes) -> Any:
    """Return the value that `dump_json` was given."""
    value = msgspec.json.decode(text)
    marked = _MARK in text if isinstance(text, str) else _MARK_BYTES in text
    return pg_restore_json(value) if marked else value
