"""Reading JSON that a model server wrote: strictly where it is JSON, forgivingly where it is nearly JSON."""

from __future__ import annotations

import codecs
import json
import math
from typing import Any

import msgspec

MAX_DEPTH = 100
_LONGEST_NUMBER = 100
_DECODER = msgspec.json.Decoder()
# Those in which a server may really write. Others are not tried: some decode in quadratic time, some unpack.
_CHARSETS = frozenset(
    {"ascii", "big5", "cp1250", "cp1251", "cp1252", "cp932", "euc_jp", "euc_kr", "gb18030", "gb2312", "gbk",
     "iso8859-1", "iso8859-2", "iso8859-5", "iso8859-9", "iso8859-15", "koi8-r", "shift_jis", "utf-16", "utf-32"}
)  # fmt: skip


def decode(raw: bytes, content_type: str = "") -> Any:
    """Return the JSON value of ``raw``, as `read` reads it.

    Example:
        >>> decode(b'{"logprob": -Infinity}')
        {'logprob': None}
    """
    return read(raw, content_type)[0]


def read(raw: bytes, content_type: str = "") -> tuple[Any, bool]:
    """Return the JSON value of ``raw``, and whether it is whole.

    What is not quite JSON is read as far as its meaning is plain: ``NaN``, infinities and numbers beyond a float become
    None (and the value is not whole), control characters may stand in texts as they are, half an emoji (cut off by a
    token limit) is kept, and a byte order mark or a charset other than UTF-8 is followed. Bytes that are no text in
    their charset are not guessed.

    Args:
        content_type: Header of the reply; its charset is used when the bytes are not UTF-8.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    try:
        return _DECODER.decode(raw), True
    except (msgspec.DecodeError, UnicodeDecodeError):
        lost: list[str] = []
        return _forgiving(lost).decode(text_of(raw, content_type)), not lost


def _forgiving(lost: list[str]) -> json.JSONDecoder:
    """Return a decoder that notes in ``lost`` what it has replaced by None."""

    def constant(name: str) -> None:
        lost.append(name[:20])

    def whole_number(digits: str) -> int | None:
        # Longer ones are no counts and no identifiers; Python refuses to convert them, and nothing could store them.
        if len(digits) <= _LONGEST_NUMBER:
            return int(digits)
        constant(digits)
        return None

    def number(digits: str) -> float | None:
        value = float(digits)
        if math.isfinite(value):
            return value
        constant(digits)
        return None

    return json.JSONDecoder(strict=False, parse_constant=constant, parse_int=whole_number, parse_float=number)


def text_of(raw: bytes, content_type: str = "") -> str:
    """Return the text of ``raw``: by its byte order mark, else as UTF-8, else in the charset of ``content_type``.

    Raises:
        ValueError: It is none of them.
    """
    # Byte order marks, and the zeros that UTF-16 and UTF-32 put into the braces and quotes of JSON.
    encoding = json.detect_encoding(raw)
    if encoding != "utf-8":
        return raw.decode(encoding)
    try:
        # With halves of surrogate pairs, which some servers write as if they were characters.
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        charset = _charset(content_type)
        if charset is None:
            raise
        return raw.decode(charset)


def _charset(content_type: str) -> str | None:
    _, found, rest = content_type.lower().partition("charset=")
    try:
        name = codecs.lookup(rest.partition(";")[0].strip(" \"'")).name if found else ""
    except (LookupError, ValueError):
        return None
    return name if name in _CHARSETS else None


def too_deep(value: Any) -> bool:
    """Tell whether lists and mappings are nested in each other more than 100 times, and so could not be stored."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [item for box in level if isinstance(box, dict | list) for item in _inside(box)]
        if not level:
            return False
    return True


def _inside(box: dict[str, Any] | list[Any]) -> Any:
    return box.values() if isinstance(box, dict) else box


def to_json(value: Any) -> bytes:
    """Return ``value`` as JSON; a lone surrogate, which has no UTF-8, is written as an escape."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(msgspec.to_builtins(value), separators=(",", ":"), allow_nan=False).encode()
