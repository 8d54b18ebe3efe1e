"""Runs a shard: the engine on one side, the recorder on the other."""

from __future__ import annotations

import asyncio

from promptcard_ext.core.engine import Control, EngineOptions, execute
from promptcard_ext.core.engine.breaker import Outage
from promptcard_ext.core.events import ItemFinished
from promptcard_ext.core.results import ItemResult
from promptcard_ext.providers import Providers
from server_ext.jobs import batch_mode, live
from server_ext.jobs.context import Context
from server_ext.jobs.heartbeat import Heartbeat
from server_ext.jobs.ledger import Ledger
from server_ext.jobs.recorder import Recorder
from server_ext.jobs.run_budget import RunBudget
from server_ext.jobs.shared_limits import SharedLimits
from server_ext.services import connections, outages, prices, shards, tasks
from server_ext.services.run_control import Orders

# So long items wait for a provider that is down, before they fail.
OUTAGE_S = 300.0


def run(context: Context, lease: tasks.Lease, heartbeat: Heartbeat, ledger: Ledger) -> None:
    """Run what a shard still lacks. On return everything that was answered is recorded.

    Args:
        ledger: Knows afterwards, whatever happened, which items were called.

    Raises:
        PromptCardError: The shard cannot be run at all, or its results cannot be stored.
    """
    shard = shards.load(context.database, lease, shared_keys=context.shared_keys)
    if not shard.pending:
        return
    if shard.document.execution == "batch":
        batch_mode.run(context, lease, heartbeat, ledger, shard)
        return
    control = Control()
    heartbeat.steer(control, context.grace_s)
    announce(context, lease)
    asyncio.run(_drive(context, lease, shard, control, heartbeat, ledger))


async def _drive(
    context: Context,
    lease: tasks.Lease,
    shard: shards.Shard,
    control: Control,
    heartbeat: Heartbeat,
    ledger: Ledger,
) -> None:
    prepared = shard.plan.prepare()
    width = _width(context, shard.orders)
    budget = RunBudget(context.database, lease) if shard.limited else None
    heartbeat.follow(shard.orders, lambda orders: _obey(context, orders, control, heartbeat, budget))
    # Announced in portions of what can be in flight: what a dead worker leaves unknown is then about what it called.
    options = EngineOptions(
        concurrency=width,
        timeout_s=shard.document.timeout_s,
        outage_s=OUTAGE_S,
        claim=width,
        max_unclear=0 if shard.on_unknown == "hold" else 1,
        judges=tuple(shard.document.judges),
        embedder=shard.document.embedder,
    )
    providers = Providers(shard.connections.options)
    asker = f"{context.worker}:{lease.task_id}"
    limits = SharedLimits(context, lease.workspace_id, asker, lambda outage: _tell(context, lease, outage))
    recorder = Recorder(context, lease, prepared, shard.version_ids)
    items = {item.ordinal: item for item in shard.pending}
    events = execute(
        prepared,
        ledger.watch(providers),
        prices=await asyncio.to_thread(prices.load, context.database, lease.workspace_id),
        options=options,
        control=control,
        attempts=ledger,
        items=shard.pending,
        known=ledger.begin,
        traffic=limits,
        budget=budget,
    )
    try:
        async with recorder, limits:
            async for event in events:
                if isinstance(event, ItemFinished):
                    final = not (heartbeat.hands_back and _cut_short(event.result))
                    await recorder.add(items[event.result.ordinal], event.result, final=final)
    finally:
        await providers.close()
        if budget is not None:
            await budget.close()
        used = shard.connections.used
        await asyncio.to_thread(connections.mark_used, context.database, lease.workspace_id, used)


def _width(context: Context, orders: Orders) -> int:
    return min(orders.concurrency, context.most_calls or orders.concurrency)


def _obey(context: Context, orders: Orders, control: Control, heartbeat: Heartbeat, budget: RunBudget | None) -> None:
    """Go on as the run is to go on from now."""
    control.retune(_width(context, orders))
    if budget is not None:
        budget.recall()
    elif orders.limit_usd is not None:
        # The engine sets money aside from its first call on, or never.
        heartbeat.take_up_anew()


def _tell(context: Context, lease: tasks.Lease, outage: Outage) -> None:
    seq = outages.record(context.database, lease, outage)
    if seq and lease.run_id is not None:
        live.publish(context.redis, lease.workspace_id, lease.run_id, seq)


def _cut_short(result: ItemResult) -> bool:
    """Tell whether the stop kept an answer from being judged. A result is final, so such an item is done again."""
    return any(verdict.reason in ("interrupted", "group_incomplete") for verdict in result.verdicts)


def announce(context: Context, lease: tasks.Lease) -> None:
    """Tell whoever watches the run to look again."""
    if lease.run_id is not None:
        live.publish(context.redis, lease.workspace_id, lease.run_id, 0)
