"""What the shards of one run that a process is at have in common: connections, limits, prices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from promptcard_ext.core.engine import EngineOptions
from promptcard_ext.core.engine.breaker import Outage
from promptcard_ext.core.engine.gates import Gates
from promptcard_ext.core.engine.identity import limit_key
from promptcard_ext.core.ports import Provider
from promptcard_ext.core.pricing import PriceBook
from promptcard_ext.providers import Providers
from promptcard_ext.providers.registry import connection
from server_ext.jobs import live
from server_ext.jobs.context import Context
from server_ext.jobs.shared_limits import SharedLimits
from server_ext.services import connections, outages, prices, shards, tasks

# So long items wait for a provider that is down, before they fail.
OUTAGE_S = 300.0


class RunCalls:
    """An asynchronous context manager; what is opened meanwhile is closed on leaving it.

    Args:
        lease: On the first shard.

    Attributes:
        gates: Limiters and breakers, so that a shard begins with what those before have learnt.
    """

    prices: PriceBook

    def __init__(self, context: Context, lease: tasks.Lease, shard: shards.Shard) -> None:
        self._context, self._lease = context, lease
        asker = f"{context.worker}:{lease.task_id}"
        self._limits = SharedLimits(context, lease.workspace_id, asker, self._tell)
        self.gates = Gates(self.options(shard), self._limits)
        self._opened: list[tuple[connections.Connections, Providers]] = []

    def options(self, shard: shards.Shard) -> EngineOptions:
        """Return how a shard is to be called."""
        width = self.width(shard.concurrency)
        # Announced in portions of half of what can be in flight, so that a dead worker leaves little in doubt that it
        # did not call.
        return EngineOptions(
            concurrency=width,
            timeout_s=shard.document.timeout_s,
            outage_s=OUTAGE_S,
            claim=max(1, width // 2),
            max_unclear=0 if shard.on_unknown == "hold" else 1,
            judges=tuple(shard.document.judges),
            embedder=shard.document.embedder,
        )

    def width(self, concurrency: int) -> int:
        """Return how many calls a run of this concurrency may have in flight in this process."""
        return min(concurrency, self._context.most_calls or concurrency)

    def providers(self, connected: connections.Connections) -> Callable[[str], Provider]:
        """Return what gives the providers of these connections, held to their limits.

        They are those of a shard before, unless something has changed since.
        """
        if not self._opened or not self._opened[-1][0].leads_as(connected):
            self._opened.append((connected, Providers(connected.options)))
        providers = self._opened[-1][1]

        def provider_of(reference: str) -> Provider:
            provider = providers(reference)
            own = connected.per_minute(connection(reference))
            self._limits.rates.limit(limit_key(provider), self._context.rates.key if own is None else own)
            return provider

        return provider_of

    async def __aenter__(self) -> RunCalls:
        self.prices = await asyncio.to_thread(prices.load, self._context.database, self._lease.workspace_id)
        await self._limits.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._limits.__aexit__(kind, error, trace)
        used = set()
        for connected, providers in self._opened:
            await providers.close()
            used |= connected.used
        await asyncio.to_thread(connections.mark_used, self._context.database, self._lease.workspace_id, used)

    def _tell(self, outage: Outage) -> None:
        seq = outages.record(self._context.database, self._lease, outage)
        if seq and self._lease.run_id is not None:
            live.publish(self._context.news, self._lease.workspace_id, self._lease.run_id, seq)
