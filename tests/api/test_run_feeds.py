"""What is read once for all who watch a run."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from promptcard_ext.core.contract.runs import RunOut
from server_ext.api.run_feeds import MAX_KEPT, RunFeeds
from server_ext.api.run_news import Message, RunNews
from server_ext.services.items import MAX_EVENTS, RunEventOut
from tests.support import Tenant


class Story:
    """A run whose events are told when the test says so."""

    def __init__(self, run: RunOut) -> None:
        self.run = run
        self.events: list[RunEventOut] = []
        self.reads = 0
        self.news: list[RunNews] = []
        self.feeds = RunFeeds(self._subscribe, lambda _, news: self.news.remove(news))

    def _subscribe(self, run_id: str, workspace_id: UUID) -> RunNews:
        self.news.append(RunNews())
        return self.news[-1]

    def tell(self, count: int, status: Any = "running") -> None:
        first = len(self.events) + 1
        self.events += [RunEventOut(seq, "items", {}, []) for seq in range(first, first + count)]
        self.run = replace(self.run, status=status, event_seq=len(self.events))
        for news in self.news:
            news.hint()

    async def read(self, after: int) -> tuple[list[RunEventOut], RunOut]:
        self.reads += 1
        return self.events[after : after + MAX_EVENTS], self.run


def story(tenant: Tenant) -> Story:
    return Story(tenant.run(tenant.start()))


async def reached(look: Any) -> None:
    async with asyncio.timeout(20):
        while not look():
            await asyncio.sleep(0.01)


async def test_many_watchers_cost_one_reader(tenant: Tenant) -> None:
    told = story(tenant)
    watchers = [told.feeds.enter(tenant.id, told.run, 0, told.read) for _ in range(200)]
    assert len({id(feed) for feed, _ in watchers}) == 1
    feed = watchers[0][0]
    told.tell(3)
    await reached(lambda: feed.last == 3 and all(woken.is_set() for _, woken in watchers))
    before = told.reads
    told.tell(2, "completed")
    await reached(lambda: feed.ended)
    assert told.reads - before <= 3
    found = feed.behind(1)
    assert found is not None
    assert [message.seq for message in found] == [2, 3, 4, 5]
    for one, woken in watchers:
        told.feeds.leave(str(told.run.id), one, woken)
    assert told.news == []


async def test_what_is_kept_is_bounded_and_whoever_is_further_behind_is_told_so(tenant: Tenant) -> None:
    told = story(tenant)
    feed, woken = told.feeds.enter(tenant.id, told.run, 0, told.read)
    told.tell(MAX_KEPT + 20)
    await reached(lambda: feed.last == MAX_KEPT + 20)
    assert feed.behind(19) is None
    rest = feed.behind(20)
    assert rest is not None
    assert [message.seq for message in rest] == list(range(21, MAX_KEPT + 21))
    assert feed.behind(feed.last) == []
    told.feeds.leave(str(told.run.id), feed, woken)


async def test_a_watcher_who_claims_to_be_ahead_holds_nobody_back(tenant: Tenant) -> None:
    told = story(tenant)
    told.tell(2)
    feed, ahead = told.feeds.enter(tenant.id, told.run, 10_000, told.read)
    _, woken = told.feeds.enter(tenant.id, told.run, 2, told.read)
    told.tell(1)
    await reached(lambda: woken.is_set() and feed.last == 3)
    for one in (ahead, woken):
        told.feeds.leave(str(told.run.id), feed, one)


async def test_a_feed_that_broke_is_replaced(tenant: Tenant) -> None:
    told = story(tenant)

    async def breaks(_: int) -> Any:
        raise ValueError("bug")

    broken, first = told.feeds.enter(tenant.id, told.run, 0, breaks)
    await reached(lambda: broken.problem is not None and first.is_set())
    whole, second = told.feeds.enter(tenant.id, told.run, 0, told.read)
    assert whole is not broken
    told.feeds.leave(str(told.run.id), broken, first)
    told.feeds.leave(str(told.run.id), whole, second)
    assert told.news == []


def direct(seq: int) -> Message:
    return Message(seq, b"by redis %d" % seq)


async def test_events_that_come_by_themselves_are_not_read(tenant: Tenant) -> None:
    told = story(tenant)
    told.tell(1)
    feed, woken = told.feeds.enter(tenant.id, told.run, 0, told.read)
    await reached(lambda: feed.last == 1)
    woken.clear()
    reads = told.reads
    for seq in (3, 2, 4):  # two workers: one overtakes the other
        told.news[0].bring(direct(seq))
        told.news[0].hint(seq)
        await asyncio.sleep(0)
    await reached(lambda: feed.last == 4 and woken.is_set())
    found = feed.behind(1)
    assert found == [direct(2), direct(3), direct(4)]
    assert told.reads == reads
    told.feeds.leave(str(told.run.id), feed, woken)


@pytest.mark.parametrize("hinted", [False, True])
async def test_an_event_that_is_missing_is_read(tenant: Tenant, hinted: bool) -> None:
    told = story(tenant)
    feed, woken = told.feeds.enter(tenant.id, told.run, 0, told.read)
    await reached(lambda: told.reads > 0)
    news = told.news[0]
    told.events = [RunEventOut(seq, "items", {}, []) for seq in (1, 2, 3)]
    news.bring(direct(1))
    if hinted:
        news.hint(2)
    news.bring(direct(3))
    await reached(lambda: feed.last == 3)
    found = feed.behind(0)
    assert found is not None
    assert [message.seq for message in found] == [1, 2, 3]
    assert (found[0], found[1] == direct(2)) == (direct(1), False)
    told.feeds.leave(str(told.run.id), feed, woken)


async def test_what_was_said_of_events_that_are_not_there_is_forgotten(tenant: Tenant) -> None:
    told = story(tenant)
    feed, woken = told.feeds.enter(tenant.id, told.run, 0, told.read)
    await reached(lambda: told.reads > 0)
    reads = told.reads
    told.news[0].hint(10**18)
    await reached(lambda: told.reads > reads)
    assert not told.news[0].lacks(feed.last)
    told.news[0].bring(direct(1))
    await reached(lambda: feed.last == 1)
    told.feeds.leave(str(told.run.id), feed, woken)
