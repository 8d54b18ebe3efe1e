"""Bodies and queries are read strictly."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from promptcard_ext.core import wire
from promptcard_ext.core.errors import CardError
from server_ext.api.reading import MAX_BODY_BYTES, MAX_DEPTH, read_body, read_query


class Body(Struct, forbid_unknown_fields=True):
    name: str = ""
    value: Any = None


class Query(Struct, forbid_unknown_fields=True):
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    tag: list[str] = []
    archived: bool = False


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_what_json_can_say_is_read_as_it_was_meant(value: Any) -> None:
    raw = wire.encode({"value": value})
    assert wire.encode(read_body(raw, Body).value) == wire.encode(value)


def nested(depth: int) -> bytes:
    return b'{"value": ' + b"[" * depth + b"]" * depth + b"}"


def test_a_body_may_be_nested_64_deep_and_no_deeper() -> None:
    assert read_body(nested(MAX_DEPTH - 1), Body).value is not None
    with pytest.raises(CardError, match="nested deeper than 64"):
        read_body(nested(MAX_DEPTH), Body)
    with pytest.raises(CardError, match="nested deeper than 64"):
        read_body(nested(500_000), Body)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"name": "a", "name": "b"}', "'name' is there twice"),
        (b'{"value": {"x": {"y": 1, "y": 1}}}', "'y' is there twice"),
        (b'{"value": NaN}', "NaN"),
        (b'{"value": -Infinity}', "-Infinity"),
        (b'{"value": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"name": "\xff"}', "UTF-8"),
        (b'\xef\xbb\xbf{"name": "a"}', "BOM"),
        (b'{"name": "a"} {}', "Extra data"),
        (b"{'name': 'a'}", "property name"),
        (b'{"nam": "a"}', "nam"),
        (b'{"name": 1}', "name"),
        (b'{"name": "\\ud83d"}', "surrogate"),
        (b'{"\\udc00": 1}', "surrogate"),
    ],
)
def test_what_does_not_fit_is_refused_and_named(raw: bytes, said: str) -> None:
    with pytest.raises(CardError, match=said) as refusal:
        read_body(raw, Body)
    assert refusal.value.code == "request_invalid"


def test_a_body_may_have_as_many_bytes_as_the_limit_and_no_more() -> None:
    frame = len(b'{"name": ""}')
    assert read_body(b'{"name": "' + b"x" * (MAX_BODY_BYTES - frame) + b'"}', Body).name
    with pytest.raises(CardError) as refusal:
        read_body(b'{"name": "' + b"x" * (MAX_BODY_BYTES - frame + 1) + b'"}', Body)
    assert refusal.value.code == "request_too_large"


def test_a_query_is_read_by_the_types_of_its_parameters() -> None:
    read = read_query({"limit": [b"7"], "tag": [b"a", b"b"], "archived": [b"true"], "token": [b"x"]}, Query)
    assert (read.limit, read.tag, read.archived) == (7, ["a", "b"], True)
    assert read_query({}, Query) == Query()


@pytest.mark.parametrize(
    "given",
    [
        {"limit": [b"0"]},
        {"limit": [b"x"]},
        {"limit": [b"1e1"]},
        {"limit": ["７".encode()]},
        {"limit": [b"9" * 5000]},
        {"limit": [b"7", b"8"]},
        {"limit": [b"\xff"]},
        {"colour": [b"red"]},
        {"archived": [b"perhaps"]},
    ],
)
def test_a_parameter_that_does_not_fit_is_refused(given: dict[str, list[bytes]]) -> None:
    with pytest.raises(CardError) as refusal:
        read_query(given, Query)
    assert refusal.value.code == "request_invalid"


def test_null_is_no_value_of_a_parameter() -> None:
    class Since(Struct, forbid_unknown_fields=True, rename={"since": "from"}):
        since: datetime | None = None
        name: str | None = None

    for text in (b"null", b"NULL"):
        with pytest.raises(CardError, match="'from'"):
            read_query({"from": [text]}, Since)
    assert read_query({"name": [b"null"]}, Since).name == "null"


@pytest.mark.parametrize("text", [b"0.5", b"1795856160", b"-1", b"today"])
def test_a_number_is_no_time(text: bytes) -> None:
    class Since(Struct, forbid_unknown_fields=True):
        since: Annotated[datetime, Meta(tz=True)] | None = None

    with pytest.raises(CardError, match="is not a time"):
        read_query({"since": [text]}, Since)
    assert read_query({"since": [b"2026-01-31T12:00:00Z"]}, Since).since is not None
