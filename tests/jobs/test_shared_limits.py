"""Limits that hold for all workers together: shares, what a refusal does to everybody, death, and no Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from redis import Redis

from promptcard_ext.core.contract.credentials import NewCredential, NewNetworkRule
from promptcard_ext.core.engine.limiter import Limiter
from promptcard_ext.core.errors import ProviderError
from server_ext.db.engine import Database
from server_ext.embedded import Services
from server_ext.jobs.context import Context
from server_ext.jobs.shared_limits import SharedLimits
from server_ext.keys import KeyRing
from server_ext.limits import shares as shares_module
from server_ext.limits.shares import START, Shares, Wish
from server_ext.redis_line import RedisLine
from server_ext.services import credentials, items, network_rules
from tests.conftest import StartWorker
from tests.run_async import run_async
from tests.stub_server import Behaviour, Stub
from tests.support import Tenant, wait_for

KEY = "https://api.example.com/v1#1a2b"
REFUSED = ProviderError("no", code="provider_429", retryable=True)


class Asker:
    """A worker as far as shares are concerned: it uses at once what it is given."""

    def __init__(self, url: str, name: str) -> None:
        self.shares = Shares(RedisLine(url), "test", name)
        self.flying = 0

    def ask(self, wanted: int, **more: Any) -> int:
        share = self.shares.ask(Wish(KEY, "example", wanted, self.flying, **more))
        # Calls that are made are not taken back; they end by the next time.
        self.flying = min(wanted, share.granted)
        return share.granted


NewAsker = Callable[[str], Asker]


@pytest.fixture
def asker(services: Services, redis: Redis) -> Iterator[NewAsker]:
    redis.flushall()
    made: list[Asker] = []

    def make(name: str) -> Asker:
        made.append(Asker(services.redis_url, name))
        return made[-1]

    yield make
    for one in made:
        one.shares.close()
    redis.flushall()


def test_one_worker_alone_gets_what_it_wants_up_to_the_limit(asker: NewAsker) -> None:
    assert asker("a").ask(5, limit=30) == 5
    assert asker("a").ask(50, limit=30) == 30


def test_workers_come_to_share_evenly_and_never_have_more_than_the_limit(asker: NewAsker) -> None:
    workers = [asker(name) for name in "abc"]
    assert workers[0].ask(100, limit=30) == 30
    for _ in range(6):
        for worker in workers:
            worker.ask(100, limit=30)
            assert sum(one.flying for one in workers) <= 30
    assert [worker.flying for worker in workers] == [10, 10, 10]


def test_what_one_does_not_want_is_for_the_others(asker: NewAsker) -> None:
    modest, greedy = asker("a"), asker("b")
    for _ in range(3):
        modest.ask(4, limit=30)
        greedy.ask(100, limit=30)
    assert (modest.flying, greedy.flying) == (4, 26)


def test_more_workers_than_calls_take_turns(asker: NewAsker) -> None:
    workers = [asker(name) for name in "abcd"]
    served: set[int] = set()

    def round_of_questions() -> bool:
        for place, worker in enumerate(workers):
            if worker.ask(10, limit=1):
                served.add(place)
            assert sum(one.flying for one in workers) <= 1
        return len(served) == 4

    wait_for(round_of_questions, 20)


def test_a_refusal_that_one_worker_meets_slows_all(asker: NewAsker) -> None:
    first, second = asker("a"), asker("b")
    for _ in range(4):
        first.ask(10)
        second.ask(10)
    assert first.flying + second.flying == START
    first.ask(10, cut=0.5, age_s=0.0, refusals=1)
    second.ask(10)
    first.ask(10)
    assert first.flying + second.flying == START // 2


def test_a_refusal_of_a_call_from_before_the_last_cut_says_nothing_new(asker: NewAsker) -> None:
    one = asker("a")
    one.ask(40)
    for _ in range(5):
        one.ask(40, cut=0.5, age_s=5.0, refusals=1)
    assert one.ask(40) == START // 2


def test_answers_raise_the_limit_while_it_is_used(asker: NewAsker) -> None:
    one = asker("a")
    one.ask(100)
    assert one.ask(100, answers=30) == START + 30
    for _ in range(10):
        one.ask(3, answers=1000)
    assert one.ask(1000) < 2_000  # what nobody uses does not grow without end


def test_a_wait_that_a_provider_asks_for_holds_everybody(asker: NewAsker) -> None:
    first, second = asker("a"), asker("b")
    first.ask(10, hold_s=7.0)
    share = second.shares.ask(Wish(KEY, "example", 10, 0))
    assert 6 < share.hold_s <= 7


def test_the_slots_of_a_worker_that_died_come_back(asker: NewAsker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares_module, "TTL_S", 0.5)
    dead, alive = asker("a"), asker("b")
    dead.ask(30, limit=30)
    assert alive.ask(30, limit=30) == 0
    wait_for(lambda: alive.ask(30, limit=30) == 30, 10)


def test_the_slots_of_a_worker_that_ends_are_free_at_once(asker: NewAsker) -> None:
    ending, other = asker("a"), asker("b")
    ending.ask(30, limit=30)
    ending.flying = 0
    ending.ask(0, limit=30)
    assert other.ask(30, limit=30) == 30


def context(url: str, keys: KeyRing, **more: int) -> Context:
    return Context("postgresql://nowhere/", url, "w", keys, installation="test", **more)


async def occupy(limiter: Limiter, calls: int) -> list[asyncio.Task[None]]:
    """Let so many calls come in, which stay."""
    tasks = [asyncio.create_task(limiter.wait()) for _ in range(calls)]
    await asyncio.sleep(0)
    return tasks


async def until(look: Callable[[], object], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not look():
            await asyncio.sleep(0.01)


def give_up(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()


def test_two_workers_keep_to_a_limit_of_all(services: Services, redis: Redis, keys: KeyRing) -> None:
    redis.flushall()

    async def main() -> None:
        setting = context(services.redis_url, keys, calls_total=12)
        one, two = Limiter(50, 50), Limiter(50, 50)
        async with SharedLimits(setting, uuid4(), "a") as first, SharedLimits(setting, uuid4(), "b") as second:
            first.begun(KEY, "example", one)
            second.begun(KEY, "example", two)
            assert (one.enter(), two.enter()) == (False, False)  # nothing before it was asked for
            tasks = await occupy(one, 30) + await occupy(two, 3)
            await until(lambda: one.in_flight + two.in_flight == 12)
            give_up(tasks)

    run_async(main())


def test_a_429_that_one_worker_meets_reaches_the_other(services: Services, redis: Redis, keys: KeyRing) -> None:
    redis.flushall()

    async def main() -> None:
        setting = context(services.redis_url, keys)
        one, two = Limiter(50, 50), Limiter(50, 50)

        def calls_end() -> None:
            for limiter in (one, two):
                if limiter.in_flight:
                    limiter.leave()

        async with SharedLimits(setting, uuid4(), "a") as first, SharedLimits(setting, uuid4(), "b") as second:
            first.begun(KEY, "example", one)
            second.begun(KEY, "example", two)
            tasks = await occupy(one, 500) + await occupy(two, 500)
            await until(lambda: one.in_flight + two.in_flight == START)
            one.refused(REFUSED, asyncio.get_running_loop().time())
            await until(lambda: calls_end() or one.in_flight + two.in_flight <= START // 2)
            assert min(one.waiting, two.waiting) > 0  # not for want of calls
            assert int(two.limit) == 50  # nor by what it has heard itself
            give_up(tasks)

    run_async(main())


def test_a_worker_without_redis_goes_on_with_a_part(keys: KeyRing) -> None:
    async def main() -> None:
        limiter = Limiter(50, 50)
        async with SharedLimits(context("unix:///nowhere/valkey.sock", keys), uuid4(), "a") as limits:
            limits.begun(KEY, "example", limiter)
            tasks = await occupy(limiter, 30)
            await until(lambda: limiter.in_flight > 0)
            assert limiter.in_flight == START // 4
            give_up(tasks)

    run_async(main())


def test_one_process_makes_no_more_calls_than_it_may_over_all_its_providers(
    services: Services, redis: Redis, keys: KeyRing
) -> None:
    redis.flushall()

    async def main() -> None:
        task, judge = Limiter(50, 50), Limiter(50, 50)
        async with SharedLimits(context(services.redis_url, keys, most_calls=5), uuid4(), "a") as limits:
            limits.begun("task", "example", task)
            limits.begun("judge", "example", judge)
            tasks = await occupy(task, 30) + await occupy(judge, 30)
            await until(lambda: task.in_flight + judge.in_flight == 5)
            assert min(task.in_flight, judge.in_flight) >= 1
            await asyncio.sleep(0)
            assert task.in_flight + judge.in_flight == 5
            give_up(tasks)

    run_async(main())


@pytest.fixture
def keys(database: Database) -> KeyRing:
    return database.keys


def test_a_run_waits_for_a_provider_that_is_down_and_tells_of_it(tenant: Tenant, start_worker: StartWorker) -> None:
    with Stub() as stub:
        # Opens it at the fifth to the eighth; so few are left then that the tries do not wait for half a minute each.
        stub.next(*[Behaviour(status=503)] * 8)
        with tenant.scope() as scope:
            network_rules.create(scope, NewNetworkRule("127.0.0.1", stub.port), "*")
            credentials.create(scope, NewCredential("openai", base_url=stub.url, key="sk-key"))
        run_id = tenant.start(["openai:m"], count=20, concurrency=8)
        start_worker()
        wait_for(lambda: tenant.status(run_id) == "completed", 60)
        assert len(stub.calls) == 20 + 8
    with tenant.scope() as scope:
        events, run = items.events_after(scope, run_id, 0)
    assert (run.counts.done, run.counts.errored) == (20, 0)
    assert [event.seq for event in events] == list(range(1, run.event_seq + 1))
    down, up = [event for event in events if event.kind.startswith("provider_")]
    assert (down.kind, down.payload) == (
        "provider_down",
        {"provider": "openai", "role": "task", "code": "provider_5xx"},
    )
    assert (up.kind, up.payload["lasted_s"] > 0) == ("provider_up", True)
