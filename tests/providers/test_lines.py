"""Cutting streams: the same however they arrive, and in linear time."""

import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.providers.lines import Events, Lines

STREAM = st.lists(
    st.sampled_from(
        [b"data: one", b"data:two", b"data", b": comment", b"event: x", b"id: 7", b"retry: 5", b"\n", b"\r\n", b"\n\n",
         b"\r\n\r\n", b"\r", b"x", b"\xef\xbb\xbf", b"data: [DONE]", b" ", b"\xff"]
    ),
    max_size=30,
).map(b"".join)  # fmt: skip


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(STREAM, st.lists(st.integers(0, 500)))
def test_lines_are_the_same_wherever_the_stream_is_cut(data: bytes, places: list[int]) -> None:
    lines = Lines(10_000)
    found = [line for part in cut(data, places) for line in lines.feed(part)]
    assert found + lines.end() == data.splitlines()


@given(STREAM, st.lists(st.integers(0, 500)))
def test_events_are_the_same_wherever_the_stream_is_cut(data: bytes, places: list[int]) -> None:
    def read(parts: list[bytes]) -> tuple[list[bytes], list[bytes]]:
        events = Events(10_000)
        found = [event for part in parts for event in events.feed(part)]
        return found + events.end(), events.other

    assert read(cut(data, places)) == read([data])


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:a\r\n\r\ndata:  b\r\n\r\n", [b"a", b" b"]),
        (b"data: a\rdata: b\r\r", [b"a\nb"]),
        (b": ping\n\n: ping\n\ndata: a\n\n", [b"a"]),
        (b"event: delta\nid: 1\ndata: a\nretry: 3\n\n", [b"a"]),
        (b"data: a", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"\n\n\n", []),
        (b"", []),
    ],
)
def test_events_are_read_as_the_standard_says(stream: bytes, expected: list[bytes]) -> None:
    events = Events(1000)
    assert events.feed(stream) + events.end() == expected


def test_what_is_no_event_is_kept_apart() -> None:
    events = Events(1000)
    assert events.feed(b'{"choices":\n[]}\n') + events.end() == []
    assert b"".join(events.other) == b'{"choices":[]}'


@pytest.mark.parametrize("data", [b"x" * 2000, b"data: " + b"x" * 2000, b"data: x\n" * 500, b"nonsense\n" * 500])
def test_an_event_that_does_not_end_is_given_up(data: bytes) -> None:
    events = Events(1000)

    def feed() -> None:
        for place in range(0, len(data), 100):
            events.feed(data[place : place + 100])

    with pytest.raises(OverflowError):
        feed()


def test_what_was_not_returned_can_still_be_shown() -> None:
    events = Events(1000)
    events.feed(b"data: a\n\ndata: b\ndata: c")
    assert events.rest() == b"b\ndata: c"


@pytest.mark.parametrize("make", [Lines, Events])
def test_one_long_line_takes_linear_time(make: Callable[[int], Lines | Events]) -> None:
    # 10 MB in parts of 100 bytes: joined at each part they would be 500 GB of copying.
    reader, part = make(20_000_000), b"x" * 100
    started = time.process_time()
    for _ in range(100_000):
        reader.feed(part)
    assert time.process_time() - started < 5
    assert len(reader.rest()) == 10_000_000
