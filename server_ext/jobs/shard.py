"""Runs a shard: the engine on one side, the recorder on the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from promptcard_ext.core.engine import Control, execute
from promptcard_ext.core.events import ItemFinished
from promptcard_ext.core.item import Item
from promptcard_ext.core.results import ItemResult
from server_ext.jobs.context import Context
from server_ext.jobs.heartbeat import Heartbeat
from server_ext.jobs.ledger import Ledger
from server_ext.jobs.recorder import Recorder
from server_ext.jobs.run_budget import RunBudget
from server_ext.jobs.run_calls import RunCalls
from server_ext.services import shards, tasks
from server_ext.services.run_control import Orders


class Pending:
    """The items of a shard that have no result yet; they tell when the last of them is about to be called."""

    def __init__(self, items: Sequence[Item], ran_out: Callable[[], None]) -> None:
        self._items, self._ran_out = items, ran_out

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[Item]:
        yield from self._items
        self._ran_out()


async def run(
    context: Context,
    lease: tasks.Lease,
    shard: shards.Shard,
    calls: RunCalls,
    heartbeat: Heartbeat,
    ledger: Ledger,
    ran_out: Callable[[], None],
) -> None:
    """Run what a shard still lacks. On return everything that was answered is recorded.

    Args:
        ledger: Knows afterwards, whatever happened, which items were called.
        ran_out: Called when there are more places for calls than calls.

    Raises:
        PromptCardError: The shard cannot be run at all, or its results cannot be stored.
    """
    control = Control()
    heartbeat.steer(control, context.grace_s)
    prepared = await asyncio.to_thread(shard.plan.prepare)
    budget = RunBudget(context.database, lease) if shard.limited else None
    options = calls.options(shard)
    calls.gates.retune(options.concurrency)
    heartbeat.follow(shard.orders, lambda orders: _obey(calls, orders, control, heartbeat, budget))
    recorder = Recorder(context, lease, prepared, shard.version_ids)
    items = {item.ordinal: item for item in shard.pending}
    events = execute(
        prepared,
        ledger.watch(calls.providers(shard.connections)),
        prices=calls.prices,
        options=options,
        control=control,
        attempts=ledger,
        items=Pending(shard.pending, ran_out),
        known=ledger.begin,
        budget=budget,
        gates=calls.gates,
    )
    try:
        async with recorder:
            async for event in events:
                if isinstance(event, ItemFinished):
                    final = not (heartbeat.hands_back and _cut_short(event.result))
                    await recorder.add(items[event.result.ordinal], event.result, final=final)
    finally:
        if budget is not None:
            await budget.close()


def _obey(calls: RunCalls, orders: Orders, control: Control, heartbeat: Heartbeat, budget: RunBudget | None) -> None:
    """Go on as the run is to go on from now."""
    control.retune(calls.width(orders.concurrency))
    if budget is not None:
        budget.recall()
    elif orders.limit_usd is not None:
        # The engine sets money aside from its first call on, or never.
        heartbeat.take_up_anew()


def _cut_short(result: ItemResult) -> bool:
    """Tell whether the stop kept an answer from being judged. A result is final, so such an item is done again."""
    return any(verdict.reason in ("interrupted", "group_incomplete") for verdict in result.verdicts)
