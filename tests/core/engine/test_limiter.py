"""The limiter: starts low, grows while it is answered, is cut when it is refused."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.engine.limiter import Limiter
from promptcard_ext.core.errors import ProviderError
from promptcard_ext.core.ports import Quota
from tests.run_async import run_async

REFUSED = ProviderError("no", code="provider_429", retryable=True)
TROUBLE = ProviderError("no", code="provider_5xx", retryable=True)
WRONG = ProviderError("no", code="provider_refused")


def with_limiter(start: int, ceiling: int, body: Callable[[Limiter], Awaitable[None]]) -> None:
    async def main() -> None:
        await body(Limiter(start, ceiling))

    run_async(main())


def test_it_admits_as_many_as_its_limit_and_no_more() -> None:
    async def body(limiter: Limiter) -> None:
        assert [limiter.enter() for _ in range(4)] == [True, True, True, False]

    with_limiter(3, 10, body)


def test_every_answer_admits_one_more_until_the_first_refusal() -> None:
    async def body(limiter: Limiter) -> None:
        for _ in range(5):
            limiter.answered()
        assert int(limiter.limit) == 7
        limiter.refused(REFUSED, asyncio.get_running_loop().time())
        assert int(limiter.limit) == 3
        for _ in range(4):
            limiter.answered()
        assert int(limiter.limit) == 4  # about one more per round of answers from now on

    with_limiter(2, 100, body)


def test_calls_of_before_a_cut_do_not_cut_again() -> None:
    async def body(limiter: Limiter) -> None:
        began = asyncio.get_running_loop().time()
        for _ in range(16):
            limiter.refused(REFUSED, began - 1)
        assert int(limiter.limit) == 8

    with_limiter(16, 16, body)


@pytest.mark.parametrize(("error", "limit"), [(REFUSED, 8), (TROUBLE, 12), (WRONG, 16)])
def test_what_is_not_the_fault_of_the_load_does_not_cut(error: ProviderError, limit: int) -> None:
    async def body(limiter: Limiter) -> None:
        limiter.refused(error, asyncio.get_running_loop().time())
        assert int(limiter.limit) == limit

    with_limiter(16, 16, body)


def test_little_quota_slows_down_before_the_refusal_comes() -> None:
    async def body(limiter: Limiter) -> None:
        limiter.answered(Quota(0.5))
        assert int(limiter.limit) == 11
        limiter.answered(Quota(0.05))
        limiter.answered(Quota(0.04))
        assert int(limiter.limit) == 8  # cut once, not once an answer
        assert limiter.history[-1].why == "little quota left"

    with_limiter(10, 20, body)


def test_a_quota_that_is_used_up_holds_everybody_until_it_is_whole_again() -> None:
    async def body(limiter: Limiter) -> None:
        limiter.answered(Quota(0.0, reset_s=0.05))
        began = asyncio.get_running_loop().time()
        assert not limiter.enter()
        await limiter.wait()
        assert asyncio.get_running_loop().time() - began >= 0.04

    with_limiter(4, 4, body)


def test_another_ceiling_holds_at_once() -> None:
    async def body(limiter: Limiter) -> None:
        for _ in range(4):
            assert limiter.enter()
        limiter.retune(2)
        waiting = asyncio.ensure_future(limiter.wait())
        limiter.leave()
        limiter.leave()
        await asyncio.sleep(0)
        assert not waiting.done()
        limiter.leave()
        await waiting
        assert limiter.in_flight == 2

    with_limiter(4, 4, body)


def test_one_who_stops_waiting_takes_no_slot() -> None:
    async def body(limiter: Limiter) -> None:
        assert limiter.enter()
        first, second = asyncio.ensure_future(limiter.wait()), asyncio.ensure_future(limiter.wait())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        limiter.leave()
        await second
        assert limiter.in_flight == 1

    with_limiter(1, 1, body)


def test_one_who_is_admitted_and_cancelled_at_once_gives_the_slot_on() -> None:
    async def body(limiter: Limiter) -> None:
        assert limiter.enter()
        first, second = asyncio.ensure_future(limiter.wait()), asyncio.ensure_future(limiter.wait())
        await asyncio.sleep(0)
        limiter.leave()  # admits the first, which has not run yet
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await second
        assert limiter.in_flight == 1

    with_limiter(1, 1, body)


@given(
    start=st.integers(1, 50),
    ceiling=st.integers(1, 50),
    events=st.lists(st.sampled_from(["answer", "refusal", "trouble", "scarce", "retune"]), max_size=60),
)
def test_the_limit_stays_between_one_and_the_ceiling(start: int, ceiling: int, events: list[str]) -> None:
    async def body(limiter: Limiter) -> None:
        clock = asyncio.get_running_loop().time
        for place, event in enumerate(events):
            if event == "answer":
                limiter.answered()
            elif event == "scarce":
                limiter.answered(Quota(0.01))
            elif event == "retune":
                limiter.retune(1 + place % 50)
            else:
                limiter.refused(REFUSED if event == "refusal" else TROUBLE, clock())
            assert 1 <= limiter.limit <= limiter.ceiling

    with_limiter(start, ceiling, body)
