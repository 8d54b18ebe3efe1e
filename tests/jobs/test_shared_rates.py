"""Limits by the minute that hold for all workers together: portions, fairness, debts, death, and no Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from redis import Redis

from promptcard_ext.core.contract.credentials import NewCredential, NewNetworkRule
from promptcard_ext.core.engine.limiter import Limiter
from promptcard_ext.core.engine.weights import Weight
from promptcard_ext.core.errors import SetupError
from promptcard_ext.core.per_minute import PerMinute, burst, fill
from server_ext.embedded import Services
from server_ext.jobs.context import Context
from server_ext.jobs.portion import Portion
from server_ext.jobs.shared_limits import SharedLimits
from server_ext.keys import KeyRing
from server_ext.limits import portions as portions_module
from server_ext.limits.portions import Demand, Grant, Portions
from server_ext.redis_line import RedisLine
from server_ext.services import credentials, network_rules
from server_ext.settings import CallRates, Settings
from tests.conftest import StartWorker
from tests.run_async import run_async
from tests.stub_server import Stub
from tests.support import Tenant, wait_for
from tests.valkey import OwnValkey

KEY = "https://api.example.com/v1#1a2b"


class Asker:
    """A worker as far as portions are concerned.

    Attributes:
        had: All that it was given, calls.
        tokens: The same of tokens.
    """

    def __init__(self, url: str, name: str, limit: PerMinute) -> None:
        self.portions = Portions(RedisLine(url), "test", name)
        self.limit, self.had, self.tokens = limit, 0, 0

    def ask(self, wanted: int, tokens: int = 0, back: int = 0, tokens_back: int = 0) -> Grant:
        demand = Demand(KEY, "example", self.limit, wanted, tokens, back, tokens_back)
        (grant,) = self.portions.ask([demand])
        self.had += grant.requests - back
        self.tokens += grant.tokens - tokens_back
        return grant


NewAsker = Callable[..., Asker]


@pytest.fixture
def asker(services: Services, redis: Redis) -> Iterator[NewAsker]:
    redis.flushall()
    made: list[Asker] = []

    def make(name: str, requests: int | None = None, tokens: int | None = None) -> Asker:
        made.append(Asker(services.redis_url, name, PerMinute(requests, tokens)))
        return made[-1]

    yield make
    redis.flushall()


def may_have_begun(limit: float, began: float) -> float:
    """Return the most that a bucket can have given since ``began``; 5 ms for clocks that differ."""
    return burst(limit) + fill(limit) * (time.monotonic() - began + 0.005)


def passed(seconds: float) -> Callable[[], bool]:
    """Return what tells whether so much time has passed."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def test_one_worker_alone_takes_what_it_wants_and_no_more_than_there_is(asker: NewAsker) -> None:
    one = asker("a", 600)
    assert one.ask(4).requests == 4
    assert one.ask(1000).requests < 9
    assert one.ask(0).requests == 0


def test_what_has_no_limit_is_granted(asker: NewAsker) -> None:
    assert asker("a", tokens=600).ask(1000, 5)[:2] == (1000, 5)
    assert asker("b", 600).ask(3, 100_000)[:2] == (3, 100_000)


def test_six_workers_take_no_more_than_the_limit_and_even_parts(asker: NewAsker) -> None:
    workers, began = [asker(name, 6000, 60_000) for name in "abcdef"], time.monotonic()
    while sum(worker.had for worker in workers) < 300:
        for worker in workers:
            worker.ask(50, 500)
            assert sum(worker.had for worker in workers) <= may_have_begun(6000, began)
            assert sum(worker.tokens for worker in workers) <= may_have_begun(60_000, began)
    # The first one found the bucket full and nobody else there; by now the others have had as much.
    assert max(worker.had for worker in workers) - min(worker.had for worker in workers) <= 4


def test_who_asks_right_after_another_gets_no_less(asker: NewAsker) -> None:
    early, late = asker("a", 3000), asker("b", 3000)
    while early.had + late.had < 151:
        early.ask(60)
        late.ask(60)
        wait_for(passed(0.04))
    assert abs(early.had - late.had) <= 6


def test_what_one_does_not_want_is_for_the_others(asker: NewAsker) -> None:
    modest, greedy, began = asker("a", 6000), asker("b", 6000), time.monotonic()
    greedy.ask(200)
    rounds = 0
    while modest.had + greedy.had < 200:
        wait_for(passed(0.04))  # four calls come in, at least
        rounds += 1
        modest.ask(1)
        greedy.ask(200)
    assert modest.had + greedy.had <= may_have_begun(6000, began)
    assert modest.had == rounds
    assert greedy.had > 150


def test_who_wanted_nothing_for_long_has_no_first_right_to_everything(asker: NewAsker) -> None:
    busy, idle = asker("a", 6000), asker("b", 6000)
    idle.ask(0)
    while busy.had < 200:
        busy.ask(50)
        idle.ask(0)
    before = busy.had
    while idle.had < 30:
        idle.ask(50)
        busy.ask(50)
    assert busy.had - before >= 20


def test_what_is_put_back_is_for_the_others_at_once(asker: NewAsker) -> None:
    first, second = asker("a", 60), asker("b", 60)
    assert first.ask(2).requests == 2
    assert second.ask(2).requests == 0
    first.ask(0, back=2)
    assert second.ask(2).requests == 2


def test_what_took_more_than_was_expected_is_paid_for_by_all(asker: NewAsker) -> None:
    first, second = asker("a", tokens=6000), asker("b", tokens=6000)
    first.ask(1, 100)
    first.ask(1, 100, tokens_back=-400)
    assert second.ask(1, 100).tokens == 0
    wait_for(lambda: second.ask(1, 100).tokens > 0, 20)


def test_what_a_worker_wanted_that_died_is_not_kept_for_long(asker: NewAsker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions_module, "LIVE_S", 0.2)
    alive, dead = asker("a", 60), asker("b", 60)
    alive.ask(2)
    dead.ask(50)  # has been served less, so what comes next is kept for it
    wait_for(lambda: alive.ask(50).requests == 1, 20)


def test_a_worker_that_ends_leaves_nothing_behind(asker: NewAsker) -> None:
    ending, other = asker("a", 600), asker("b", 600)
    ending.ask(11)
    assert other.ask(0).askers == 2
    (grant,) = ending.portions.ask([Demand(KEY, "", ending.limit, 0, 0, 11)], ends=True)
    assert grant.askers == 1
    assert other.ask(11).requests == 11


def test_a_redis_that_has_forgotten_everything_is_told_again(asker: NewAsker, redis: Redis) -> None:
    one = asker("a", 600)
    assert one.ask(50).requests == 11
    redis.flushall()
    redis.script_flush()
    assert one.ask(50).requests == 11


def test_a_portion_keeps_no_more_than_the_bucket_can_hold() -> None:
    portion = Portion(KEY, "example", PerMinute(60, 6000))
    portion.fill(portion.demand(50, 9000), Grant(2, 101, 1))
    portion.take(1, 101)
    portion.take(0, -4000)  # what one before was expected to take and did not
    following = portion.demand(50, 9000)
    assert (following.requests, following.requests_back) == (1, 0)
    assert (following.tokens, following.tokens_back) == (0, 4000 - 101)
    assert portion.admits(9000)


class Calls:
    """Calls of a limiter that are made as fast as they are let; they end at once.

    Attributes:
        began: When, by the clock of all processes of this machine.
    """

    def __init__(self, limiter: Limiter, number: int, tokens: float = 0.0) -> None:
        self.began: list[float] = []
        self._limiter, self._left, self._weight = limiter, number, Weight(tokens)
        self.tasks = [asyncio.create_task(self._work()) for _ in range(16)]

    async def _work(self) -> None:
        while self._left > 0:
            self._left -= 1
            if not self._limiter.enter(self._weight):
                await self._limiter.wait(self._weight)
            self.began.append(time.monotonic())
            await asyncio.sleep(0)
            self._limiter.leave()

    def stop(self) -> None:
        for task in self.tasks:
            task.cancel()


def context(url: str, keys: KeyRing, rates: CallRates) -> Context:
    return Context("postgresql://nowhere/", url, "w", keys, installation="test", rates=rates)


async def until(look: Callable[[], object], timeout_s: float = 30.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not look():
            await asyncio.sleep(0.01)


def assert_together_within(began: list[float], limit: float) -> None:
    """Check that in no span of time more began than the limit allows and one look of all had handed out before."""
    began = sorted(began)
    slack = burst(limit)
    for first in range(0, len(began), 7):
        for last in range(first, len(began), 5):
            most = burst(limit) + fill(limit) * (began[last] - began[first] + 0.01)
            assert last - first + 1 <= most + slack


def test_six_workers_on_one_key_begin_no_more_than_it_allows(services: Services, redis: Redis, keys: KeyRing) -> None:
    redis.flushall()

    async def main() -> list[Calls]:
        setting = context(services.redis_url, keys, CallRates())
        async with AsyncExitStack() as stack:
            workers = []
            for name in "abcdef":
                limits = await stack.enter_async_context(SharedLimits(setting, uuid4(), name))
                limiter = Limiter(50, 50)
                limits.rates.limit(KEY, PerMinute(6000))
                limits.begun(KEY, "example", limiter)
                workers.append(Calls(limiter, 1000))
            await until(lambda: sum(len(worker.began) for worker in workers) >= 300)
            for worker in workers:
                worker.stop()
        return workers

    workers = run_async(main())
    assert_together_within([at for worker in workers for at in worker.began], 6000)
    assert min(len(worker.began) for worker in workers) > 10


def test_a_limit_of_everything_holds_over_keys_and_workspaces(services: Services, redis: Redis, keys: KeyRing) -> None:
    redis.flushall()

    async def main() -> list[Calls]:
        setting = context(services.redis_url, keys, CallRates(total=PerMinute(3000)))
        async with AsyncExitStack() as stack:
            found = []
            for name in "ab":
                limits = await stack.enter_async_context(SharedLimits(setting, uuid4(), name))
                for key in ("task", "judge"):
                    limiter = Limiter(50, 50)
                    limits.begun(key, "example", limiter)
                    found.append(Calls(limiter, 1000))
            await until(lambda: sum(len(calls.began) for calls in found) >= 160)
            for calls in found:
                calls.stop()
        return found

    found = run_async(main())
    assert_together_within([at for calls in found for at in calls.began], 3000)
    assert min(len(calls.began) for calls in found) > 10


def test_a_workspace_has_its_own_limit_and_leaves_others_theirs(
    services: Services, redis: Redis, keys: KeyRing
) -> None:
    redis.flushall()

    async def main() -> tuple[Calls, Calls]:
        setting = context(services.redis_url, keys, CallRates(workspace=PerMinute(600)))
        first, second = SharedLimits(setting, uuid4(), "a"), SharedLimits(setting, uuid4(), "b")
        async with first, second:
            one, two = Limiter(50, 50), Limiter(50, 50)
            first.begun(KEY, "example", one)
            second.begun(KEY, "example", two)
            calls = Calls(one, 1000), Calls(two, 1000)
            await until(lambda: min(len(each.began) for each in calls) >= 11)  # each has a bucket, and it was full
            for each in calls:
                each.stop()
        return calls

    for each in run_async(main()):
        assert_together_within(each.began, 600)


def test_tokens_of_all_workers_are_limited_too(services: Services, redis: Redis, keys: KeyRing) -> None:
    redis.flushall()

    async def main() -> list[Calls]:
        setting = context(services.redis_url, keys, CallRates(total=PerMinute(tokens=60_000)))
        async with AsyncExitStack() as stack:
            found = []
            for name in "abc":
                limits = await stack.enter_async_context(SharedLimits(setting, uuid4(), name))
                limiter = Limiter(50, 50)
                limits.begun(KEY, "example", limiter)
                assert limiter.pace is not None
                assert limiter.pace.counts_tokens
                found.append(Calls(limiter, 1000, tokens=20.0))
            await until(lambda: sum(len(calls.began) for calls in found) >= 150)
            for calls in found:
                calls.stop()
        return found

    # 20 tokens a call: 50 calls a second.
    assert_together_within([at for calls in run_async(main()) for at in calls.began], 60_000 / 20)


def test_without_a_limit_nothing_is_asked_and_nothing_is_kept(services: Services, redis: Redis, keys: KeyRing) -> None:
    redis.flushall()

    async def main() -> None:
        async with SharedLimits(context(services.redis_url, keys, CallRates()), uuid4(), "a") as limits:
            limiter = Limiter(50, 50)
            limits.rates.limit(KEY, PerMinute())
            limits.begun(KEY, "example", limiter)
            assert limiter.pace is None
            calls = Calls(limiter, 100)
            await until(lambda: len(calls.began) == 100)

    run_async(main())
    assert not list(redis.scan_iter("*:rate:*"))


def test_a_limit_that_changes_holds_from_then_on(services: Services, redis: Redis, keys: KeyRing) -> None:
    redis.flushall()

    async def main() -> None:
        async with SharedLimits(context(services.redis_url, keys, CallRates()), uuid4(), "a") as limits:
            limiter = Limiter(50, 50)
            limits.begun(KEY, "example", limiter)
            limits.rates.limit(KEY, PerMinute(1))
            calls = Calls(limiter, 30)
            await until(lambda: len(calls.began) == 1 and limiter.waiting)
            limits.rates.limit(KEY, PerMinute())
            await until(lambda: len(calls.began) == 30)

    run_async(main())


def test_what_waits_for_its_minute_keeps_no_slots_from_others(services: Services, redis: Redis, keys: KeyRing) -> None:
    redis.flushall()

    async def main() -> None:
        setting = Context("postgresql://nowhere/", services.redis_url, "w", keys, installation="test", calls_total=10)
        first, second = SharedLimits(setting, uuid4(), "a"), SharedLimits(setting, uuid4(), "b")
        async with first, second:
            slow, fast = Limiter(50, 50), Limiter(50, 50)
            first.rates.limit("slow", PerMinute(1))
            first.begun("slow", "slow", slow)
            second.begun("fast", "fast", fast)
            waiting = Calls(slow, 100)
            await until(lambda: slow.waiting > 10)
            staying = [asyncio.create_task(fast.wait()) for _ in range(30)]
            await until(lambda: fast.in_flight >= 8)  # its fair share alone would be 5
            waiting.stop()
            for task in staying:
                task.cancel()

    run_async(main())


def test_workers_go_on_with_their_part_while_redis_is_away(keys: KeyRing, tmp_path: Path) -> None:
    with OwnValkey(tmp_path) as valkey:

        async def main() -> tuple[list[float], list[float]]:
            setting = context(valkey.url, keys, CallRates(total=PerMinute(1200)))
            async with AsyncExitStack() as stack:
                workers = []
                for name in "ab":
                    limits = await stack.enter_async_context(SharedLimits(setting, uuid4(), name))
                    limiter = Limiter(50, 50)
                    limits.begun(KEY, "example", limiter)
                    workers.append(Calls(limiter, 1000))
                await until(lambda: min(len(worker.began) for worker in workers) >= 12)
                await asyncio.to_thread(valkey.stop)
                stopped, before = time.monotonic(), [len(worker.began) for worker in workers]
                await until(
                    lambda: min(len(worker.began) - had for worker, had in zip(workers, before, strict=True)) >= 15
                )
                for worker in workers:
                    worker.stop()
            began = [at for worker in workers for at in worker.began]
            return began, [at for at in began if at > stopped]

        began, later = run_async(main())
    assert_together_within(began, 1200)
    assert len(later) >= 30


def test_a_worker_that_begins_without_redis_takes_a_quarter(keys: KeyRing) -> None:
    async def main() -> list[float]:
        setting = context("unix:///nowhere/valkey.sock", keys, CallRates(total=PerMinute(2400)))
        async with SharedLimits(setting, uuid4(), "a") as limits:
            limiter = Limiter(50, 50)
            limits.begun(KEY, "example", limiter)
            calls = Calls(limiter, 1000)
            await until(lambda: len(calls.began) >= 10)
            calls.stop()
        return calls.began

    assert_together_within(run_async(main()), 600)


def test_the_environment_says_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"REQUESTS_PER_MINUTE_TOTAL": "500", "TOKENS_PER_MINUTE_WORKSPACE": "9000000"}.items():
        monkeypatch.setenv(f"PROMPTCARDS_{name}", value)
    monkeypatch.setenv("PROMPTCARDS_REQUESTS_PER_MINUTE_KEY", "")
    found = Settings.from_environment().rates
    assert found == CallRates(PerMinute(500), PerMinute(tokens=9_000_000), PerMinute())
    monkeypatch.setenv("PROMPTCARDS_TOKENS_PER_MINUTE_KEY", "0")
    with pytest.raises(SetupError, match="PROMPTCARDS_TOKENS_PER_MINUTE_KEY"):
        Settings.from_environment()


@pytest.fixture
def keys(tenant: Tenant) -> KeyRing:
    return tenant.database.keys


def test_runs_of_several_workers_call_no_more_often_than_their_credential_says(
    tenant: Tenant, start_worker: StartWorker
) -> None:
    with Stub() as stub:
        with tenant.scope() as scope:
            network_rules.create(scope, NewNetworkRule("127.0.0.1", stub.port), "*")
            wanted = NewCredential("openai", base_url=stub.url, key="sk-key", requests_per_minute=1200)
            credentials.create(scope, wanted)
        runs = [tenant.start(["openai:m"], count=50, concurrency=40) for _ in range(2)]
        start_worker()
        start_worker()
        wait_for(lambda: {tenant.status(run_id) for run_id in runs} == {"completed"}, 60)
        assert len(stub.calls) == 100
        assert_together_within([call.at for call in stub.calls], 1200)
