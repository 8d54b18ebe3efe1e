"""Putting an answer together."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.providers.fields import log_probabilities, text_of_content
from promptcard_ext.providers.pieces import Pieces, ToolCalls


def joined(*pieces: Any) -> Any:
    calls = ToolCalls()
    for piece in pieces:
        calls.add(piece)
    return calls.whole()


def part(index: int | None, name: str = "", arguments: str = "", identity: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"index": index, "function": {"arguments": arguments} | ({"name": name} if name else {})}
    return found | ({"id": identity, "type": "function"} if identity else {})


def whole(name: str, arguments: str, identity: str) -> dict[str, Any]:
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


@given(st.text(max_size=60), st.text(max_size=60), st.lists(st.integers(0, 60)), st.booleans())
def test_arguments_are_the_same_however_they_are_cut(one: str, two: str, places: list[int], mixed: bool) -> None:
    edges = [0, *sorted(places), 60]
    cuts = list(pairwise(edges))
    firsts, seconds = ([part(i, arguments=text[a:b]) for a, b in cuts] for i, text in ((0, one), (1, two)))
    order = [piece for pair in zip(firsts, seconds, strict=True) for piece in pair] if mixed else [*firsts, *seconds]
    found = joined([part(0, "f", "", "a")], [part(1, "g", "", "b")], *([piece] for piece in order))
    assert found == [whole("f", one, "a"), whole("g", two, "b")]


def test_calls_without_an_index_begin_with_a_name_or_an_id() -> None:
    found = joined([part(None, "f", '{"a":')], [part(None, "", "1}")], [part(None, "g", "{}")])
    assert [call["function"] for call in found] == [
        {"name": "f", "arguments": '{"a":1}'},
        {"name": "g", "arguments": "{}"},
    ]
    assert joined([part(None, "f", "1", "x")], [part(None, "", "2", "x")]) == [whole("f", "12", "x")]


def test_calls_that_all_have_index_0_are_told_apart_by_their_ids() -> None:
    found = joined([part(0, "f", "1", "a")], [part(0, "g", "2", "b")], [part(0, "", "3")], [part(0, "", "4", "")])
    assert found == [whole("f", "1", "a"), whole("g", "234", "b")]


def test_a_name_that_is_repeated_is_not_doubled() -> None:
    assert joined([part(0, "f", "1", "a")], [part(0, "f", "2", "a")]) == [whole("f", "12", "a")]


@pytest.mark.parametrize("odd", ["text", 5, ["text"], [[1]], {"function": "f"}, [{"function": None}], {"index": "x"}])
def test_calls_of_another_form_are_kept_as_they_are(odd: Any) -> None:
    found = joined(odd)
    assert found
    assert all(word in str(found) for word in ("text", "f") if word in str(odd))


def test_arguments_that_are_no_text_stay_what_they_are() -> None:
    assert joined([{"function": {"name": "f", "arguments": {"a": 1}}}]) == [
        {"function": {"name": "f", "arguments": {"a": 1}}}
    ]


def test_calls_nested_too_deeply_are_refused() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    with pytest.raises(RecursionError):
        Pieces(100).add_calls([{"function": {"arguments": deep}}])


def test_more_text_than_allowed_is_refused() -> None:
    pieces = Pieces(10)
    pieces.add_content("12345")
    pieces.add_thought("12345")
    with pytest.raises(OverflowError):
        pieces.add_refusal("1")


def test_everything_received_can_be_shown() -> None:
    pieces = Pieces(100)
    assert pieces.received() == ""
    pieces.add_content("Hello")
    assert pieces.received() == "Hello"
    pieces.add_thought("half \ud83d")
    pieces.add_calls([part(0, "f", "{}", "a")])
    assert pieces.received().startswith('Hello\n{"reasoning":"half \\ud83d","tool_calls":[{')


@pytest.mark.parametrize(
    ("content", "text", "complete"),
    [
        ("plain", "plain", True),
        (None, None, True),
        ([{"type": "text", "text": "a"}, "b", {"type": "refusal", "refusal": "c"}], "abc", True),
        ([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}], "a", False),
        ([{"type": "thinking", "thinking": []}], None, False),
        ([], None, True),
        ({"text": "a"}, None, False),
        (7, None, False),
    ],
)
def test_the_text_of_a_content(content: Any, text: str | None, complete: bool) -> None:
    assert text_of_content(content) == (text, complete)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -9999}], (-0.5, -9999.0)),
        ([-1.0, 0], (-1.0, 0.0)),
        ([{"logprob": 1e-6}], (0.0,)),
        ([{"logprob": -0.5}, {"logprob": None}], None),
        ([{"logprob": float("-inf")}], None),
        ([{"logprob": 0.5}], None),
        ([{"logprob": True}], None),
        ([{"token": "a"}], None),
        (["a"], None),
        ([], None),
        (None, None),
        ("text", None),
    ],
)
def test_log_probabilities_are_all_known_or_none(entries: Any, expected: tuple[float, ...] | None) -> None:
    assert log_probabilities(entries) == expected
