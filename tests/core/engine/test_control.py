"""Pausing, resuming, retuning and deadlines."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from promptcard_ext.core.engine import Control, EngineOptions, execute
from promptcard_ext.core.errors import RunError, Unavailable
from promptcard_ext.core.events import ItemFinished, RunFinished
from promptcard_ext.core.item import Item
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.core.pricing import PriceBook
from promptcard_ext.core.results import ItemResult
from tests.core.fakes import Fake, plan
from tests.run_async import run_async


async def drive(number: int, fake: Fake, control: Control, **options: Any) -> list[Any]:
    """Run a plan of so many items and return its events."""
    events = execute(
        plan(number).prepare(),
        lambda _: fake,
        prices=PriceBook([]),
        options=EngineOptions(**options),
        control=control,
    )
    async with asyncio.timeout(10):
        return [event async for event in events]


def test_a_paused_run_finishes_what_is_in_flight_and_starts_nothing() -> None:
    async def main() -> None:
        control, answer_now = Control(), asyncio.Event()

        async def behave(request: Request, call: int) -> Reply:
            if call == 3:
                control.pause()
            await answer_now.wait()
            return Reply("x", 1.0)

        fake = Fake(behave)
        running = asyncio.ensure_future(drive(10, fake, control, concurrency=3))
        while len(fake.requests) < 3:
            await asyncio.sleep(0)
        answer_now.set()
        for _ in range(50):
            await asyncio.sleep(0)
        assert (len(fake.requests), fake.in_flight, control.paused) == (3, 0, True)
        control.resume()
        events = await running
        assert sum(isinstance(event, ItemFinished) for event in events) == 10
        assert not events[-1].cancelled

    run_async(main())


def test_a_run_may_be_paused_before_it_begins() -> None:
    async def main() -> None:
        control, fake = Control(), Fake()
        control.pause()
        running = asyncio.ensure_future(drive(2, fake, control))
        for _ in range(50):
            await asyncio.sleep(0)
        assert fake.requests == []
        control.cancel()
        assert (await running)[-1].cancelled

    run_async(main())


@pytest.mark.parametrize(("before", "after"), [(2, 7), (7, 2)])
def test_another_concurrency_holds_while_the_run_goes_on(before: int, after: int) -> None:
    async def main() -> None:
        control, gate = Control(), asyncio.Semaphore(0)

        async def behave(request: Request, call: int) -> Reply:
            await gate.acquire()
            return Reply("x", 1.0)

        fake = Fake(behave)
        running = asyncio.ensure_future(drive(60, fake, control, concurrency=before))
        while fake.in_flight < before:
            await asyncio.sleep(0)
        control.retune(after)
        for _ in range(20):  # those in flight come back, others take their place
            gate.release()
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert fake.in_flight == after
        assert control.limits() == {"fake": after}
        for _ in range(60):
            gate.release()
        await running

    run_async(main())


def test_a_concurrency_of_nothing_is_refused() -> None:
    with pytest.raises(RunError) as caught:
        Control().retune(0)
    assert caught.value.code == "run_options"


def test_a_run_ends_at_its_deadline_and_keeps_what_it_has() -> None:
    async def behave(request: Request, call: int) -> Reply:
        if call > 3:
            await asyncio.Event().wait()
        return Reply("x", 1.0)

    events = run_async(drive(9, Fake(behave), Control(), concurrency=2, deadline_s=0.05))
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert (last.cancelled, last.reason, last.counts.done) == (True, "deadline", 3)


def test_a_run_that_was_stopped_says_why() -> None:
    control = Control()
    control.cancel("the kernel restarts")
    last = run_async(drive(3, Fake(), control))[-1]
    assert (last.cancelled, last.reason) == (True, "the kernel restarts")


def test_a_run_that_is_to_finish_answers_what_is_in_flight_and_begins_nothing() -> None:
    async def main() -> None:
        control, answer_now = Control(), asyncio.Event()

        async def behave(request: Request, call: int) -> Reply:
            await answer_now.wait()
            return Reply("x", 1.0)

        fake = Fake(behave)
        running = asyncio.ensure_future(drive(50, fake, control, concurrency=20, start_concurrency=3))
        while len(fake.requests) < 3:
            await asyncio.sleep(0)
        control.finish(60, "closing time")
        answer_now.set()
        events = await running
        assert (len(fake.requests), fake.in_flight) == (3, 0)
        assert sum(isinstance(event, ItemFinished) for event in events) == 3
        assert (events[-1].cancelled, events[-1].reason) == (True, "closing time")

    run_async(main())


def test_what_is_not_answered_in_time_is_given_up() -> None:
    async def main() -> None:
        control = Control()

        async def behave(request: Request, call: int) -> Reply:
            if call == 2:
                control.finish(0.05)
                await asyncio.Event().wait()
            return Reply("x", 1.0)

        fake = Fake(behave)
        events = await drive(10, fake, control, concurrency=1)
        assert sum(isinstance(event, ItemFinished) for event in events) == 1
        assert (len(fake.requests), events[-1].cancelled) == (2, True)

    run_async(main())


def test_what_is_in_flight_is_answered_when_nothing_more_can_be_announced() -> None:
    async def main() -> None:
        answer_now, opened = asyncio.Event(), list[list[int]]()

        class Announcer:
            async def open(self, items: Sequence[Item]) -> None:
                if opened:
                    answer_now.set()
                    raise Unavailable("The database is away.")
                opened.append([item.ordinal for item in items])

        async def behave(request: Request, call: int) -> Reply:
            await answer_now.wait()
            return Reply("x", 1.0)

        events = execute(
            plan(20).prepare(),
            lambda _: Fake(behave),
            prices=PriceBook([]),
            options=EngineOptions(concurrency=3, claim=4),
            attempts=Announcer(),
        )
        results: list[ItemResult] = []

        async def follow() -> None:
            async for event in events:
                if isinstance(event, ItemFinished):
                    results.append(event.result)  # noqa: PERF401  It ends with an error, and then they count.

        with pytest.raises(Unavailable):
            await asyncio.wait_for(follow(), 10)
        assert [result.ordinal for result in results] == [0, 1, 2]
        assert all(result.generation for result in results)
        assert opened == [[0, 1, 2, 3]]

    run_async(main())
