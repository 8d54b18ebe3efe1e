"""The switch that stops calls of a provider that is down: when it opens, what waits, when it closes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from promptcard_ext.core.engine import breaker as breaker_module
from promptcard_ext.core.engine.breaker import FAILURES, Breaker, Outage
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.core.results import Outcome
from tests.core.fakes import Fake, echo, plan, run
from tests.run_async import run_async

DOWN = ProviderError("gone", code="provider_5xx", retryable=True)
BUSY = ProviderError("later", code="provider_429", retryable=True)
UNSENT = ProviderError("wrong", code="setting_not_supported", sent=False)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of some milliseconds."""
    monkeypatch.setattr(breaker_module, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(breaker_module, "LONGEST_PAUSE_S", 0.1)


def with_breaker(body: Callable[[Breaker, list[Outage]], Awaitable[None]], outage_s: float = 10.0) -> None:
    async def main() -> None:
        told: list[Outage] = []
        await body(Breaker("key", "example", "task", outage_s, told.append), told)

    run_async(main())


def now() -> float:
    return asyncio.get_running_loop().time()


def opened(breaker: Breaker) -> Breaker:
    for _ in range(FAILURES):
        breaker.failed(DOWN, now(), object())
    return breaker


def test_a_prompt_that_a_provider_breaks_on_is_no_outage() -> None:
    async def body(breaker: Breaker, told: list[Outage]) -> None:
        for _ in range(20):
            for call in ("one", "another"):
                breaker.failed(DOWN, now(), call)
        assert not breaker.is_open

    with_breaker(body)


@pytest.mark.parametrize("error", [BUSY, UNSENT])
def test_only_failures_that_say_that_it_is_down_open_it(error: ProviderError) -> None:
    async def body(breaker: Breaker, told: list[Outage]) -> None:
        for _ in range(20):
            breaker.failed(error, now(), object())
        assert not breaker.is_open
        assert told == []

    with_breaker(body)


def test_one_answer_in_between_keeps_it_closed() -> None:
    async def body(breaker: Breaker, told: list[Outage]) -> None:
        for _ in range(10):
            for _ in range(FAILURES - 1):
                breaker.failed(DOWN, now(), object())
            breaker.succeeded()
        assert not breaker.is_open

    with_breaker(body)


def test_a_refusal_is_an_answer() -> None:
    async def body(breaker: Breaker, told: list[Outage]) -> None:
        opened(breaker).failed(BUSY, now(), object())
        assert not breaker.is_open

    with_breaker(body)


def test_open_it_lets_one_call_at_a_time_try_and_the_others_wait() -> None:
    async def body(breaker: Breaker, told: list[Outage]) -> None:
        opened(breaker)
        waiting = [asyncio.create_task(breaker.admit(60)) for _ in range(10)]
        done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [True]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in rest)
        breaker.succeeded()
        assert await asyncio.gather(*rest) == [False] * 9
        assert [(one.down, one.code) for one in told] == [(True, "provider_5xx"), (False, "provider_5xx")]
        assert told[1].lasted_s > 0.02

    with_breaker(body)


def test_after_a_try_that_fails_the_next_comes_later() -> None:
    async def body(breaker: Breaker, told: list[Outage]) -> None:
        opened(breaker)
        pauses = []
        for _ in range(4):
            before = now()
            assert await breaker.admit(60)
            pauses.append(now() - before)
            breaker.failed(DOWN, now(), object())
        assert pauses[3] >= 0.1 > 0.02 <= pauses[0]
        assert len(told) == 1

    with_breaker(body)


def test_a_try_without_an_end_does_not_keep_the_next_from_trying() -> None:
    async def body(breaker: Breaker, told: list[Outage]) -> None:
        opened(breaker)
        assert await breaker.admit(0.05)
        assert await asyncio.wait_for(breaker.admit(0.05), 5)

    with_breaker(body)


def test_calls_fail_when_it_stays_down_for_too_long() -> None:
    async def body(breaker: Breaker, told: list[Outage]) -> None:
        opened(breaker)

        async def try_again_and_again() -> None:
            while await breaker.admit(0):
                breaker.failed(DOWN, now(), object())

        with pytest.raises(ProviderError) as refused:
            await try_again_and_again()
        assert (refused.value.code, refused.value.sent) == ("provider_down", False)
        assert not breaker.has_patience

    with_breaker(body, outage_s=0.3)


def test_without_an_outage_to_wait_for_it_never_opens() -> None:
    async def body(breaker: Breaker, told: list[Outage]) -> None:
        assert not opened(breaker).is_open

    with_breaker(body, outage_s=0)


@pytest.mark.parametrize(("concurrency", "lost"), [(1, 2), (8, 0)])
def test_a_run_outlives_an_outage(concurrency: int, lost: int) -> None:
    async def behave(request: Request, number: int) -> Reply:
        if 10 <= number < 40:
            raise ProviderError("gone", code="provider_5xx", retryable=True)
        return await echo(request, number)

    provider = Fake(behave)
    results, _ = run(plan(40), provider, outage_s=20, backoff_s=0.01, concurrency=concurrency)
    assert [result.outcome for result in results].count(Outcome.ERROR) == lost
    assert len(results) == 40
    assert len(provider.requests) == 40 - lost + 30


def test_items_that_wait_for_too_long_fail_and_say_why() -> None:
    async def behave(request: Request, number: int) -> Reply:
        raise ProviderError("gone", code="provider_unreachable", retryable=True, sent=False)

    provider = Fake(behave)
    results, _ = run(plan(20), provider, outage_s=0.3, backoff_s=0.01, concurrency=4)
    assert {result.outcome for result in results} == {Outcome.ERROR}
    assert {result.reason for result in results} >= {"provider_down"}
    assert len(provider.requests) < 60  # not five for each


def test_a_judge_that_is_down_does_not_stop_the_answers() -> None:
    async def body(judge: Breaker, told: list[Outage]) -> None:
        task = Breaker("key", "example", "task", 10)
        opened(judge)
        assert not task.is_open

    with_breaker(body)
