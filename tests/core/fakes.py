"""A provider without a network, and short ways to a plan and its results."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.engine import Control, EngineOptions, execute
from promptcard_ext.core.events import ItemFinished, RunEvent, RunFinished
from promptcard_ext.core.item import Item
from promptcard_ext.core.matrix import Plan
from promptcard_ext.core.ports import Attempts, Reply, Request
from promptcard_ext.core.pricing import PriceBook
from promptcard_ext.core.results import Counts, ItemResult, Tokens
from tests.run_async import run_async

Behave = Callable[[Request, int], Awaitable[Reply]]


async def echo(request: Request, _: int) -> Reply:
    """Answer with the last message, at once."""
    return Reply(request.messages[-1].content, 1.0, Tokens(1, 1))


class Fake:
    """A provider that does what ``behave(request, number of the call)`` says."""

    name = "fake"
    price_key = ""
    endpoint = "fake"

    def __init__(self, behave: Behave = echo) -> None:
        self.behave = behave
        self.requests: list[Request] = []
        self.in_flight = self.peak = 0

    async def generate(self, request: Request) -> Reply:
        self.requests.append(request)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            return await self.behave(request, len(self.requests))
        finally:
            self.in_flight -= 1

    async def list_models(self) -> list[str]:
        return ["m"]

    async def close(self) -> None:
        pass


def cases(number: int, *assertions: Assertion) -> list[Case]:
    return [Case({"n": i}, assertions) for i in range(number)]


def plan(number: int = 1, *assertions: Assertion, repeats: int = 1, card: Card | None = None) -> Plan:
    return Plan([card or Card("c", "{{ n }}")], ["fake:m"], cases(number, *assertions), repeats)


def run(
    what: Plan,
    provider: Any = None,
    *,
    prices: PriceBook | None = None,
    control: Control | None = None,
    attempts: Attempts | None = None,
    items: Sequence[Item] | None = None,
    deadline_s: float = 20,
    **options: Any,
) -> tuple[list[ItemResult], RunFinished]:
    """Run to the end; return the results in order of completion and the last event."""

    async def main() -> list[RunEvent]:
        async with asyncio.timeout(deadline_s):
            return [
                event
                async for event in execute(
                    what.prepare(),
                    lambda _: provider or Fake(),
                    prices=prices or PriceBook([]),
                    options=EngineOptions(**{"backoff_s": 0.001} | options),
                    control=control,
                    attempts=attempts,
                    items=items,
                )
            ]

    events = run_async(main())
    last = events[-1]
    assert isinstance(last, RunFinished)
    return [event.result for event in events if isinstance(event, ItemFinished)], last


def only(results: tuple[list[ItemResult], RunFinished]) -> ItemResult:
    """Return the one result there is."""
    (result,) = results[0]
    return result


def consistent(counts: Counts) -> bool:
    """Tell whether the parts add up to the items done."""
    return counts.passed + counts.failed + counts.errored + counts.unscored == counts.done
