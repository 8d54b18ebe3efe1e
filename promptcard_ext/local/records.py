"""Values as lines of JSON, exactly: what comes back is what went in, whatever a model wrote."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def encode(value: Any) -> bytes:
    """Return ``value`` as JSON on one line.

    Lone surrogates, which have no UTF-8, are written as UTF-8 would write them if it could (three bytes); NaN and the
    infinities, which JSON does not know, as Python writes them. Lines without them, nearly all, are plain JSON.

    Example:
        >>> encode({"output": "a\\ud800", "logprobs": [float("-inf")]})
        b'{"output":"a\\xed\\xa0\\x80","logprobs":[-Infinity]}'
    """
    try:
        text = msgspec.json.encode(value)
    except (UnicodeEncodeError, TypeError):
        return _encode_slowly(msgspec.to_builtins(value))
    # msgspec writes NaN as null; a look for null is cheap, and it is rare: fields that are not set are left out.
    if b"null" not in text:
        return text
    plain = msgspec.to_builtins(value)
    return text if _is_finite(plain) else _encode_slowly(plain)


def decoder(kind: type[T]) -> Callable[[bytes], T]:
    """Return the function that reads what `encode` wrote.

    It raises `ValueError` when a line is not JSON, or not of this ``kind``.
    """
    quick = msgspec.json.Decoder(kind)

    def decode(line: bytes) -> T:
        try:
            return quick.decode(line)
        except ValueError:
            return msgspec.convert(_decode_slowly(line), kind)

    return decode


def _encode_slowly(plain: Any) -> bytes:
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def _decode_slowly(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8", "surrogatepass"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_is_finite(part) for part in value.values())
    return not isinstance(value, list | tuple) or all(_is_finite(part) for part in value)
