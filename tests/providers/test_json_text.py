"""Reading what is JSON, and what is nearly JSON."""

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.providers.json_text import MAX_DEPTH, decode, read, text_of, to_json, too_deep

NUMBERS = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)  # fmt: skip


@given(VALUES)
def test_json_is_read_as_json_reads_it(value: Any) -> None:
    assert read(json.dumps(value).encode()) == (value, True)


@given(VALUES, st.sampled_from(["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"]))
def test_unicode_in_another_coat_is_the_same(value: Any, encoding: str) -> None:
    # Lone surrogates have no form in these, so they come as escapes.
    assert decode(json.dumps({"v": value}).encode(encoding)) == {"v": value}


@pytest.mark.parametrize("raw", [b'"\xff"', b"", b"{", b'{"a":\x00}', b"{'a': 1}", b"{} {}", b"<html>", b"nan"])
def test_what_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):
        decode(raw)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"[NaN, Infinity, -Infinity, 1]", [None, None, None, 1]),
        (b"[1e400, -1e999, 1e-999]", [None, None, 0.0]),
        (b"[" + b"9" * 5000 + b"]", [None]),
        (b"[0." + b"9" * 5000 + b", NaN]", [1.0, None]),
    ],
)
def test_a_number_that_is_none_is_unknown_and_said_to_be_lost(raw: bytes, value: Any) -> None:
    assert read(raw) == (value, False)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a": "\\ud83d"}', {"a": "\ud83d"}),
        (b'"\xed\xa0\xbd"', "\ud83d"),
        (b'"nul \x00, line\nfeed"', "nul \x00, line\nfeed"),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"\xef\xbb\xbf[1]", [1]),
    ],
)
def test_odd_texts_are_read_without_loss(raw: bytes, value: Any) -> None:
    assert read(raw) == (value, True)


def test_the_charset_counts_only_when_the_bytes_are_not_utf8() -> None:
    latin = '{"a": "café"}'.encode("latin-1")
    assert decode(latin, "application/json; charset=ISO-8859-1") == {"a": "café"}
    assert decode(latin, 'application/json; charset="windows-1252"; x=y') == {"a": "café"}
    assert decode('{"a": "café"}'.encode(), "application/json; charset=latin-1") == {"a": "café"}


@pytest.mark.parametrize(
    "charset", ["utf-8", "", "nope", "zlib", "punycode", "unicode_escape", "rot13", "\x00", "utf-7"]
)
def test_other_charsets_are_not_tried(charset: str) -> None:
    with pytest.raises(ValueError):
        decode('{"a": "café"}'.encode("latin-1"), f"application/json; charset={charset}")


@given(st.binary(max_size=200), st.text(max_size=40))
def test_any_bytes_are_read_or_refused(raw: bytes, content_type: str) -> None:
    for reader in (decode, text_of):
        with contextlib.suppress(ValueError, RecursionError):
            reader(raw, content_type)


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000])
def test_deep_nesting_is_said_to_be_deep(raw: bytes) -> None:
    with pytest.raises((RecursionError, ValueError)):
        decode(raw)


@pytest.mark.parametrize("raw", [b"9" * 10_000_000, b"0." + b"9" * 10_000_000, b'"' + b"\\ud83d" * 1_600_000 + b'"'])
def test_ten_megabytes_of_one_value_are_read_in_time(raw: bytes) -> None:
    started = time.process_time()
    decode(raw)
    assert time.process_time() - started < 5


def test_depth_is_that_of_boxes_in_boxes() -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    assert not too_deep(value)
    assert too_deep([value])
    assert too_deep({"a": value})
    assert not too_deep([[]] * 1000)


def test_what_is_sent_is_json_whatever_is_in_it() -> None:
    for value in ({"a": "half \ud83d", "b": [1, None]}, [{"é": "🎉"}]):
        assert json.loads(to_json(value)) == value
