"""Cursors."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.errors import CardError
from server_ext.services.paging import decode_cursor, encode_cursor, page


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    st.integers(-(2**62), 2**62),
    st.datetimes(timezones=st.just(UTC)),
    st.uuids(),
)
def test_a_cursor_gives_back_the_key_that_it_was_made_of(name: str, number: int, time: datetime, key: UUID) -> None:
    cursor = encode_cursor(name, number, time, key)
    assert decode_cursor(cursor, str, int, datetime, UUID) == (name, number, time, key)
    assert cursor.isascii()
    assert not set(cursor) & set("+/=&?#% ")


@given(st.text(max_size=300))
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(CardError) as refusal:
        # No random text is the base64 of a JSON list of a text and a number.
        decode_cursor(text, str, int)
    assert refusal.value.code == "cursor_invalid"


@pytest.mark.parametrize("cursor", ["x" * 100_000, encode_cursor("a"), encode_cursor(1, "a"), encode_cursor("a", 1, 2)])
def test_a_cursor_of_another_list_is_refused(cursor: str) -> None:
    with pytest.raises(CardError) as refusal:
        decode_cursor(cursor, str, int)
    assert refusal.value.code == "cursor_invalid"


@given(st.lists(st.integers(), unique=True, max_size=40).map(sorted), st.integers(1, 12))
def test_pages_together_are_the_list(rows: list[int], limit: int) -> None:
    seen: list[int] = []
    cursor: str | None = None
    while True:
        after = decode_cursor(cursor, int)[0] if cursor else None
        rest = [row for row in rows if after is None or row > after][: limit + 1]
        one = page(rest, limit, lambda row: (row,), lambda row: row)
        seen += one.items
        assert len(one.items) <= limit
        if one.next is None:
            break
        cursor = one.next
    assert seen == rows
