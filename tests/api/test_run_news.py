"""What is heard of a run comes in order, or it is known that something is missing."""

from __future__ import annotations

from server_ext.api.run_news import MOST_AHEAD, MOST_AHEAD_BYTES, Message, RunNews


def message(seq: int, size: int = 10) -> Message:
    return Message(seq, bytes(size))


def taken(news: RunNews, last: int) -> list[int]:
    return [one.seq for one in news.take(last)]


def test_events_are_given_in_order_each_once() -> None:
    news = RunNews()
    for seq in (4, 2, 3, 1, 3):
        news.bring(message(seq))
    assert taken(news, 1) == [2, 3, 4]
    assert taken(news, 4) == []
    assert news.ahead_since is None
    assert not news.lacks(4)


def test_an_event_ahead_waits_for_those_before_it() -> None:
    news = RunNews()
    news.bring(message(3))
    news.hint(3)
    assert taken(news, 1) == []
    since = news.ahead_since
    assert since is not None
    assert not news.lacks(1)  # number 2 may still come: its worker was overtaken
    assert taken(news, 1) == []
    assert news.ahead_since == since
    news.bring(message(2))
    assert taken(news, 1) == [2, 3]
    assert news.ahead_since is None


def test_an_event_that_was_announced_and_has_not_come_is_lacking() -> None:
    news = RunNews()
    news.hint(2)
    assert news.lacks(1)
    assert not news.lacks(2)
    news.clear()
    assert not news.lacks(1)
    news.hint()
    assert news.lacks(10**9)


def test_what_waits_is_bounded() -> None:
    news = RunNews()
    for seq in range(2, MOST_AHEAD + 3):
        news.bring(message(seq))
    assert news.lacks(1)
    assert taken(news, 1) == list(range(2, MOST_AHEAD + 2))
    half = MOST_AHEAD_BYTES // 2
    for seq in (101, 102, 103):
        news.bring(message(seq, half))
    assert taken(news, 100) == [101, 102]
    assert news.lacks(102)
    news.clear()
    news.bring(message(103, half))
    assert taken(news, 102) == [103]
