"""Limits by the minute: no minute ever sees more, nobody waits longer than must be, and what waits can be stopped."""

from __future__ import annotations

import asyncio
import time
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.card import Message, ModelSettings
from promptcard_ext.core.engine import Control, EngineOptions, execute
from promptcard_ext.core.engine.gates import Gates
from promptcard_ext.core.engine.limiter import Limiter
from promptcard_ext.core.engine.pace import Buckets
from promptcard_ext.core.engine.weights import Weight, Weights
from promptcard_ext.core.errors import ProviderError, RunError
from promptcard_ext.core.events import ItemFinished
from promptcard_ext.core.per_minute import PerMinute, burst, fill
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.core.pricing import PriceBook
from promptcard_ext.core.results import Tokens
from tests.core.fakes import Fake, plan, run
from tests.run_async import run_async


class Clock:
    """Seconds that go forward when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def most_in_a_minute(began: list[tuple[float, float]]) -> float:
    """Return the largest sum of what began in a span of less than a minute."""
    most, first, total = 0.0, 0, 0.0
    for at, amount in began:
        total += amount
        while began[first][0] <= at - 60 + 1e-6:
            total -= began[first][1]
            first += 1
        most = max(most, total)
    return most


# Bursts, idle times of any length, and trickles: who asks how often at what time is for hypothesis to say.
ARRIVALS = st.lists(st.tuples(st.floats(0, 90), st.integers(1, 60)), max_size=40)


@given(limit=st.one_of(st.integers(1, 20), st.integers(21, 2000)), arrivals=ARRIVALS)
def test_no_minute_sees_more_calls_than_the_limit(limit: int, arrivals: list[tuple[float, int]]) -> None:
    clock = Clock()
    pace, began = Buckets(PerMinute(limit), clock), []
    for pause_s, calls in arrivals:
        clock.now += pause_s
        began += [(clock.now, 1.0) for _ in range(calls) if pace.begin(0) == 0]
    assert most_in_a_minute(began) <= limit


@given(limit=st.integers(1, 3000), patience=st.floats(0, 0.3))
def test_who_comes_when_told_to_uses_the_limit_but_for_a_sixtieth(limit: int, patience: float) -> None:
    clock = Clock()
    pace, began, end = Buckets(PerMinute(limit), clock), [], 1000.0 + 600
    while clock.now < end:
        wait_s = pace.begin(0)
        if not wait_s:
            began.append((clock.now, 1.0))
        elif len(began) % 7:
            clock.now += wait_s
        else:
            clock.now += wait_s + patience * min(1, wait_s)
    assert most_in_a_minute(began) <= limit
    assert len(began) >= 10 * limit * 59 / 60 * (1 - patience / 6) - 1


@given(
    limit=st.integers(10, 100_000),
    calls=st.lists(st.tuples(st.floats(0, 20), st.floats(1, 5000), st.floats(0, 1)), max_size=60),
)
def test_no_minute_sees_more_tokens_than_the_limit_and_a_call(
    limit: int, calls: list[tuple[float, float, float]]
) -> None:
    clock, began = Clock(), []
    pace = Buckets(PerMinute(tokens=limit), clock)
    for pause_s, tokens, _ in calls:
        clock.now += pause_s
        if not pace.begin(tokens):
            began.append((clock.now, tokens))
    largest = max([tokens for _, tokens in began], default=0)
    assert most_in_a_minute(began) <= limit * 59 / 60 + max(largest, burst(limit)) + 1e-6


def test_a_call_larger_than_a_second_is_worth_begins_and_the_next_one_pays_for_it() -> None:
    clock = Clock()
    pace = Buckets(PerMinute(tokens=6000), clock)
    assert pace.begin(1000) == 0
    assert pace.begin(1) == pytest.approx((1000 - burst(6000) + 1) / fill(6000))


def test_what_was_not_taken_is_there_for_the_next() -> None:
    clock = Clock()
    pace = Buckets(PerMinute(tokens=6000), clock)
    pace.begin(1000)
    pace.put_back(0, 990)
    assert pace.begin(90) == 0
    pace.put_back(0, -50)  # it took more than was expected
    assert pace.begin(1) > 0
    pace.put_back(0, 10_000)  # more than fits in
    assert pace.begin(burst(6000)) == 0
    assert pace.begin(1) > 0


def test_a_call_needs_both_of_its_limits() -> None:
    clock = Clock()
    pace = Buckets(PerMinute(60, 600), clock)
    assert [pace.begin(1) for _ in range(2)] == [0, 0]
    assert pace.begin(1) == pytest.approx(1 / fill(60))
    pace.put_back(1, 0)
    assert pace.begin(11) == pytest.approx(2 / fill(600))
    assert pace.begin(1) == 0  # what did not begin took nothing


def test_who_waits_for_its_minute_has_no_slot() -> None:
    async def main() -> None:
        limiter = Limiter(5, 5)
        limiter.regulate(Buckets(PerMinute(1), asyncio.get_running_loop().time))
        assert limiter.enter()
        waiting = asyncio.ensure_future(limiter.wait())
        await asyncio.sleep(0)
        limiter.leave()
        assert (limiter.in_flight, limiter.waiting, waiting.done()) == (0, 1, False)
        limiter.regulate(None)
        async with asyncio.timeout(5):
            await waiting
        assert limiter.in_flight == 1

    run_async(main())


def test_who_is_woken_is_woken_by_the_clock_and_in_order() -> None:
    async def main() -> None:
        limiter, seen, start = Limiter(50, 50), [], asyncio.get_running_loop().time()
        limiter.regulate(Buckets(PerMinute(1200), asyncio.get_running_loop().time))

        async def call(number: int) -> None:
            if not limiter.enter():
                await limiter.wait()
            seen.append((number, asyncio.get_running_loop().time()))
            limiter.leave()

        async with asyncio.timeout(20):
            await asyncio.gather(*(call(number) for number in range(35)))
        assert [number for number, _ in seen] == list(range(35))
        assert_paced(start, [at for _, at in seen], 1200)

    run_async(main())


def test_one_who_stops_waiting_gives_its_turn_and_its_part_to_the_next() -> None:
    async def main() -> None:
        limiter = Limiter(5, 5)
        limiter.regulate(Buckets(PerMinute(tokens=6), asyncio.get_running_loop().time))
        small_weight = Weight(0.1)
        assert limiter.enter(Weight(1))
        large, small = (
            asyncio.ensure_future(limiter.wait(Weight(1000))),
            asyncio.ensure_future(limiter.wait(small_weight)),
        )
        await asyncio.sleep(0)
        large.cancel()
        async with asyncio.timeout(5):
            await small
        limiter.leave()
        limiter.withdraw(small_weight)
        assert limiter.in_flight == 0
        assert limiter.enter(Weight(0.1))  # what the small one did not use

    run_async(main())


def assert_paced(start: float, began: list[float], limit: float, each: float = 1.0, in_flight: int = 0) -> None:
    """Check what a bucket can have given since ``start``; it holds however slow the machine is."""
    for number, at in enumerate(sorted(began), 1):
        assert each * (number - in_flight) <= burst(limit) + fill(limit) * (at - start) + 1e-6


def test_a_run_keeps_to_its_requests_per_minute_and_waiting_is_no_failure() -> None:
    began: list[float] = []

    async def behave(_: Request, number: int) -> Reply:
        began.append(time.monotonic())
        return Reply("x", 1.0, Tokens(1, 1))

    start = time.monotonic()
    results, end = run(plan(20), Fake(behave), requests_per_minute=600, timeout_s=0.05, concurrency=4)
    assert (end.counts.done, end.counts.errored) == (20, 0)
    assert {result.generation.attempts for result in results if result.generation} == {1}
    assert_paced(start, began, 600)


def test_each_key_has_its_own_rate() -> None:
    fast, slow = Fake(), Fake()
    slow.endpoint = "slow"

    async def main() -> None:
        gates = Gates(EngineOptions(requests_per_minute=60))
        assert [gates.limiter(fast).enter() for _ in range(3)] == [True, True, False]
        assert gates.limiter(slow).enter()

    run_async(main())


def test_repetitions_count_as_calls() -> None:
    async def behave(_: Request, number: int) -> Reply:
        if number <= 2:
            raise ProviderError("later", code="provider_429", retryable=True)
        return Reply("x", 1.0)

    async def main() -> None:
        options = EngineOptions(requests_per_minute=60, backoff_s=0.001)
        gates, fake, control = Gates(options), Fake(behave), Control()
        task = asyncio.ensure_future(collect(fake, control, options, gates, items=1))
        async with asyncio.timeout(10):
            while gates.limiter(fake).waiting == 0:
                await asyncio.sleep(0.001)
        assert len(fake.requests) == 2  # the third is to wait for its second
        gates.limiter(fake).regulate(None)
        assert (await task)[-1].counts.done == 1

    run_async(main())


async def collect(fake: Fake, control: Control, options: EngineOptions, gates: Gates, items: int = 3) -> list[Any]:
    events = execute(
        plan(items).prepare(), lambda _: fake, prices=PriceBook([]), options=options, control=control, gates=gates
    )
    async with asyncio.timeout(15):
        return [event async for event in events]


@pytest.mark.parametrize("order", ["cancel", "finish"])
def test_a_run_that_waits_for_its_minute_can_be_stopped(order: str) -> None:
    async def main() -> None:
        options = EngineOptions(requests_per_minute=1)
        gates, fake, control = Gates(options), Fake(), Control()
        task = asyncio.ensure_future(collect(fake, control, options, gates))
        while gates.limiter(fake).waiting < 2:
            await asyncio.sleep(0)
        if order == "cancel":
            control.cancel()
        else:
            control.finish(60.0)
        events = await task
        (answered,) = [event.result for event in events if isinstance(event, ItemFinished)]
        assert answered.generation is not None
        assert (events[-1].cancelled, len(fake.requests)) == (True, 1)

    run_async(main())


def test_a_run_that_is_paused_while_it_waits_begins_nothing_and_loses_no_turn() -> None:
    async def main() -> None:
        options = EngineOptions(requests_per_minute=1)
        gates, fake, control = Gates(options), Fake(), Control()
        task = asyncio.ensure_future(collect(fake, control, options, gates))
        limiter = gates.limiter(fake)
        while limiter.waiting < 2:
            await asyncio.sleep(0)
        control.pause()
        await asyncio.sleep(0)
        limiter.regulate(None)
        while limiter.waiting:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (len(fake.requests), limiter.in_flight) == (1, 0)
        control.resume()
        assert (await task)[-1].counts.done == 3

    run_async(main())


def expected(weights: Weights, asked: Request) -> float:
    return weights.of(asked).reckon()


def request(text: str, max_tokens: int | None = None) -> Request:
    return Request("m", (Message("user", text),), ModelSettings(max_tokens=max_tokens))


def test_calls_are_expected_to_be_as_long_as_the_answers_before() -> None:
    weights = Weights()
    short = request("Say hello.")
    assert expected(weights, short) > 4096
    assert expected(weights, request("Say hello.", 100)) < 130
    weights.unused(short, 0, Tokens(8, 20))
    assert 25 < expected(weights, short) < 50
    assert expected(weights, request("Say hello. " * 500)) > 1000
    for _ in range(100):
        weights.unused(short, 0, Tokens(8, 520))
    assert 400 < expected(weights, short) < 600
    assert expected(weights, request("Say hello.", 100)) < 130


def test_what_waits_is_reckoned_by_what_was_learnt_meanwhile() -> None:
    weights = Weights()
    waits = weights.of(request("Say hello."))
    assert waits.reckon() > 4096
    weights.unused(request("Say hello."), 0, Tokens(8, 20))
    assert waits.reckon() == waits.tokens < 50


def test_what_an_answer_did_not_take_is_known_when_the_provider_tells() -> None:
    weights = Weights()
    assert weights.unused(request("x"), 100.0, Tokens(30, 20)) == 50
    assert weights.unused(request("x"), 100.0, Tokens(130, 20)) == -50
    assert weights.unused(request("x"), 100.0, Tokens(30)) == 70  # vectors have no output
    assert weights.unused(request("x"), 100.0, Tokens()) == 0


def test_a_run_keeps_to_its_tokens_per_minute_as_they_were_used() -> None:
    began: list[float] = []

    async def behave(_: Request, number: int) -> Reply:
        began.append(time.monotonic())
        return Reply("x", 1.0, Tokens(10, 10))

    # 20 tokens each: 30 calls a second. Expected to take 4,096 at first, which is put right by the first answer.
    start = time.monotonic()
    _, end = run(plan(60), Fake(behave), tokens_per_minute=36_000, concurrency=8)
    assert (end.counts.done, end.counts.errored) == (60, 0)
    assert_paced(start, began, 36_000, each=20, in_flight=8)


def test_a_failed_call_takes_no_tokens_but_one_of_unknown_fate_does() -> None:
    async def fail(code: str, *, retryable: bool) -> float:
        async def behave(_: Request, number: int) -> Reply:
            raise ProviderError("no", code=code, retryable=retryable)

        options = EngineOptions(tokens_per_minute=60_000, max_unclear=0, backoff_s=0.001)
        gates, fake = Gates(options), Fake(behave)
        limiter = gates.limiter(fake)
        await collect(fake, Control(), options, gates, items=1)
        assert limiter.pace is not None
        return limiter.pace.begin(burst(60_000) / 2)

    assert run_async(fail("provider_refused", retryable=False)) == 0
    assert 0 < run_async(fail("broken_reply", retryable=True)) < inf


@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute"])
def test_a_limit_is_more_than_nothing(name: str) -> None:
    with pytest.raises(RunError, match=name) as refused:
        EngineOptions(**{name: 0})
    assert refused.value.code == "run_options"
