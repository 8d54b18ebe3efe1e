"""JSON on its way out: always valid UTF-8, whatever a model wrote."""

from __future__ import annotations

from typing import Any

import msgspec


def encode(value: Any) -> bytes:
    """Return the JSON of ``value``.

    Lone surrogates, which a model may produce and which have no UTF-8, become U+FFFD here. What is stored keeps them.

    Example:
        >>> encode({"output": "a\\ud800"}).decode()
        '{"output":"a\ufffd"}'
    """
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_without_surrogates(msgspec.to_builtins(value)))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    return value
