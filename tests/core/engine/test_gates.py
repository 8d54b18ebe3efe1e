"""Runs that share their gates keep to one concurrency, whatever they call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from promptcard_ext.core.engine import EngineOptions, execute
from promptcard_ext.core.engine.gates import Gates
from promptcard_ext.core.engine.seats import Seats
from promptcard_ext.core.events import ItemFinished
from promptcard_ext.core.ports import Reply, Request
from promptcard_ext.core.pricing import PriceBook
from tests.core.fakes import Fake, echo, plan
from tests.run_async import run_async


class Counted:
    """Providers of several keys whose calls are counted together."""

    def __init__(self) -> None:
        self.in_flight = self.peak = 0

    def of(self, name: str) -> Fake:
        async def behave(request: Request, number: int) -> Reply:
            self.in_flight += 1
            self.peak = max(self.peak, self.in_flight)
            await asyncio.sleep(0.001)
            self.in_flight -= 1
            return await echo(request, number)

        provider = Fake(behave)
        provider.endpoint = name
        return provider


def run_beside(gates: Callable[[EngineOptions], list[Gates]], items: int = 40, width: int = 5) -> tuple[int, int]:
    """Run two plans at once, each by a provider of its own; return the results and the most calls in flight."""
    counted = Counted()
    options = EngineOptions(concurrency=width)

    async def one(name: str, its: Gates) -> int:
        provider, prepared = counted.of(name), plan(items).prepare()
        events = execute(prepared, lambda _: provider, prices=PriceBook(()), options=options, gates=its)
        return sum([isinstance(event, ItemFinished) async for event in events])

    async def main() -> int:
        async with asyncio.timeout(20):
            return sum(await asyncio.gather(*(one(f"p{n}", its) for n, its in enumerate(gates(options)))))

    return run_async(main()), counted.peak


def test_two_runs_with_the_same_gates_make_no_more_calls_than_one() -> None:
    assert run_beside(lambda options: [Gates(options)] * 2) == (80, 5)


def test_two_runs_with_gates_of_their_own_make_twice_as_many() -> None:
    assert run_beside(lambda options: [Gates(options), Gates(options)]) == (80, 10)


def test_a_seat_that_is_given_up_while_it_is_waited_for_goes_to_the_next() -> None:
    async def main() -> list[str]:
        seats = Seats()
        seen: list[str] = []
        seats.offer(1)

        async def sit(name: str) -> None:
            async with seats:
                seen.append(name)

        async with seats:
            second, third = asyncio.create_task(sit("second")), asyncio.create_task(sit("third"))
            await asyncio.sleep(0)
        second.cancel()  # the seat was its own by now, but it has not sat down
        async with asyncio.timeout(5):
            await third
        return seen

    assert run_async(main()) == ["third"]


@pytest.mark.parametrize("more", [2, 1])
def test_seats_that_are_added_are_taken_by_those_who_wait(more: int) -> None:
    async def main() -> int:
        seats, stay = Seats(), asyncio.Event()
        sitting = 0

        async def sit() -> None:
            nonlocal sitting
            async with seats:
                sitting += 1
                await stay.wait()

        seats.offer(1)
        tasks = [asyncio.create_task(sit()) for _ in range(4)]
        await asyncio.sleep(0)
        seats.offer(more)
        await asyncio.sleep(0)
        found = sitting
        stay.set()
        seats.offer(4)
        await asyncio.gather(*tasks)
        return found

    assert run_async(main()) == more
