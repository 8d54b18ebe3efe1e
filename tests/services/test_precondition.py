"""Changes on condition."""

from __future__ import annotations

import pytest
from msgspec import UNSET, Struct, UnsetType

from promptcard_ext.core.errors import CardError, Conflict
from server_ext.services.precondition import etag_of, if_match


class Head(Struct, frozen=True):
    title: str
    text: str = ""
    revision: int = 1


class Patch(Struct, frozen=True):
    title: str | UnsetType = UNSET
    text: str | UnsetType = UNSET


NOW = Head("Mine", "one\ntwo\n", 3)


@pytest.mark.parametrize(
    "header", [f'"{etag_of(NOW)}"', f'W/"{etag_of(NOW)}"', f'"other", "{etag_of(NOW)}"', "*", etag_of(NOW)]
)
def test_the_state_that_was_read_may_be_changed(header: str) -> None:
    if_match(header)(NOW)


def test_a_change_without_condition_is_refused() -> None:
    with pytest.raises(CardError) as refusal:
        if_match(None)(NOW)
    assert refusal.value.code == "if_match_missing"


def test_a_change_of_another_state_is_refused_with_that_state_and_the_difference() -> None:
    old = etag_of(Head("Mine", "one\n", 2))
    with pytest.raises(Conflict) as refusal:
        if_match(f'"{old}"', Patch(title="Mine", text="one\nthree\n"))(NOW)

    assert refusal.value.code == "etag_mismatch"
    assert refusal.value.current == NOW
    assert refusal.value.diff.keys() == {"text"}
    assert "-two" in refusal.value.diff["text"]["unified"]
    assert "+three" in refusal.value.diff["text"]["unified"]


def test_the_tag_is_of_the_content_and_of_nothing_else() -> None:
    assert etag_of(NOW) == etag_of(Head("Mine", "one\ntwo\n", 3))
    assert len({etag_of(NOW), etag_of(Head("Mine", "one\ntwo", 3)), etag_of(Head("Mine", "one\ntwo\n", 4))}) == 3
