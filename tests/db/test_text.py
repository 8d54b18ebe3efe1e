"""Every string and JSON value survives PostgreSQL, whatever a model put into it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server_ext.db import tables
from server_ext.db.engine import Database
from server_ext.db.text import dump_json, load_json, pg_restore, pg_restore_json, pg_safe, pg_safe_json

# All code points, surrogates included, and more often those that matter.
texts = st.text(st.characters(categories=None) | st.sampled_from("\0\ufdd0\ud83d\ude00\\u0d8ninfa\U0001f600"))
numbers = st.integers(-(2**63), 2**63) | st.floats() | st.booleans() | st.none()
values = st.recursive(
    texts | numbers, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
)


def same(left: Any, right: Any) -> bool:
    """Compare with NaN equal to itself."""
    if isinstance(left, float) and math.isnan(left):
        return isinstance(right, float) and math.isnan(right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


@settings(deadline=None)
@given(texts)
def test_text_comes_back_as_it_was(text: str) -> None:
    safe = pg_safe(text)
    assert pg_restore(safe) == text
    assert "\0" not in safe
    safe.encode("utf-8")


@settings(deadline=None)
@given(values)
def test_json_comes_back_as_it_was(value: Any) -> None:
    assert same(value, pg_restore_json(pg_safe_json(value)))
    assert same(value, load_json(dump_json(value)))
    assert same(value, load_json(dump_json(value).encode()))


@settings(deadline=None)
@given(values)
def test_what_is_dumped_is_json_for_postgresql(value: Any) -> None:
    text = dump_json(value)
    text.encode("utf-8")
    json.loads(text, parse_constant=pytest.fail)


@pytest.mark.parametrize("text", ["", "plain", "naïve 😀", 'a literal \\u0000 and "quotes"'])
def test_ordinary_text_is_stored_unchanged(text: str) -> None:
    assert pg_safe(text) is text
    assert json.loads(dump_json([text])) == [text]


def test_a_text_that_looks_like_an_escape_is_not_taken_for_one() -> None:
    for text in ("\ufdd00000", "\ufdd0nan", "\ufdd0-inf", "\ufdd0"):
        assert load_json(dump_json(text)) == text


# Huge floats come back from numeric as the integer of their shortest decimal text; that is another value.
stored_values = st.recursive(
    texts
    | st.integers(-(2**63), 2**63)
    | st.sampled_from([math.nan, math.inf, -math.inf, 0.1, 1e-9, 1.5e10, None, True]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts, value=stored_values)
def test_postgresql_stores_every_answer(database: Database, text: str, value: Any) -> None:
    generations = tables.generations
    with database.transaction() as connection:
        columns = sa.select(sa.literal(text, tables.SafeText), sa.literal({"v": value}, generations.c.request.type))
        stored, document = connection.execute(columns).one()
    assert stored == text
    assert same(value, document["v"])
