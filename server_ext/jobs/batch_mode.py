"""Carries out a shard in batches: gives its calls to the provider, waits without a worker, judges what comes back.

A task comes by here several times. Each time it goes one step further for each of its batches, and then waits until it
is time to look again. What was done is written down before the next thing is: a worker may die anywhere.
"""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec.structs import replace

from promptcard_ext.core.engine import Control, EngineOptions, execute
from promptcard_ext.core.engine.caller import Caller, generation_of
from promptcard_ext.core.engine.identity import request_hash
from promptcard_ext.core.engine.trial import Trials
from promptcard_ext.core.errors import ProviderError, RunError
from promptcard_ext.core.events import ItemFinished
from promptcard_ext.core.item import Item
from promptcard_ext.core.ports import Provider, Reply
from promptcard_ext.core.results import Generation
from promptcard_ext.providers import Providers
from promptcard_ext.providers.openai_batch import Batch
from server_ext.jobs.batch_steps import Steps
from server_ext.jobs.context import Context
from server_ext.jobs.heartbeat import Heartbeat
from server_ext.jobs.ledger import Ledger
from server_ext.jobs.recorder import Recorder
from server_ext.jobs.run_budget import RunBudget
from server_ext.services import batches, connections, prices, shards, tasks
from server_ext.services.batches import Handed

ROUNDS = 2
"""An item that a batch did not answer in time is given to one more."""
LIST_SUFFIX = "-batch"
"""What follows a provider's name in the price book where it stands for calls in batches."""


async def run(context: Context, lease: tasks.Lease, heartbeat: Heartbeat, ledger: Ledger, shard: shards.Shard) -> None:
    """Go one step further with a shard; on return its task waits, or everything is recorded.

    Raises:
        PromptCardError: The shard cannot be run at all, or its results cannot be stored.
    """
    providers = Providers(shard.connections.options)
    try:
        book = await asyncio.to_thread(prices.load, context.database, lease.workspace_id)
        options = EngineOptions(
            concurrency=shard.concurrency,
            timeout_s=shard.document.timeout_s,
            judges=tuple(shard.document.judges),
            embedder=shard.document.embedder,
        )
        carried = _Carried(context, lease, heartbeat, shard, Caller(providers, book, options, None, None))
        await carried.go_on(ledger, providers)
    finally:
        await providers.close()
        used = shard.connections.used
        await asyncio.to_thread(connections.mark_used, context.database, lease.workspace_id, used)


class _Carried:
    """A shard on its way through batches."""

    def __init__(
        self, context: Context, lease: tasks.Lease, heartbeat: Heartbeat, shard: shards.Shard, caller: Caller
    ) -> None:
        self._context, self._lease, self._heartbeat, self._shard = context, lease, heartbeat, shard
        self._caller = caller
        self._prepared = shard.plan.prepare()
        self._trials = Trials(self._prepared, caller)
        self._items = {item.ordinal: item for item in shard.pending}
        self._steps = Steps(context, lease, caller, self._content)

    async def go_on(self, ledger: Ledger, providers: Providers) -> None:
        """Make batches, look at them, collect them when all have ended."""
        handed = await self._live()
        if not handed:
            await self._prepare(self._items.values())
            handed = await self._live()
        ended: list[tuple[Handed, Batch | ProviderError]] = []
        for one in handed:
            if self._heartbeat.reason:
                return
            if (end := await self._steps.advance(one)) is not None:
                ended.append((one, end))
        if len(ended) == len(handed):
            await self._collect(ended, ledger, providers)
            return
        await asyncio.to_thread(tasks.wait, self._context.database, self._lease, self._steps.wait_s)

    async def _live(self) -> list[Handed]:
        place = self._lease.workspace_id, self._lease.task_id
        return await asyncio.to_thread(batches.of_task, self._context.database, *place)

    async def _prepare(self, items: Any) -> None:
        groups: dict[str, list[int]] = {}
        for item in items:
            groups.setdefault(self._shard.plan.models[item.model], []).append(item.ordinal)

        def write() -> bool:
            with self._context.database.transaction(self._lease.workspace_id) as connection:
                ordinals = [ordinal for group in groups.values() for ordinal in group]
                if not tasks.announce(connection, self._lease, ordinals):
                    return False
                batches.prepare(connection, self._lease, groups)
                return True

        if not await asyncio.to_thread(write):
            raise RunError("Another worker has this shard.", code="lease_lost")

    def _content(self, handed: Handed) -> dict[str, Any]:
        """Return the requests of a batch by their ids, which are the ordinals of the items."""
        _, model = self._caller.provider(handed.model)
        return {
            str(ordinal): self._trials.request(self._items[ordinal], model)
            for ordinal in handed.ordinals
            if ordinal in self._items
        }

    async def _collect(
        self, ended: list[tuple[Handed, Batch | ProviderError]], ledger: Ledger, providers: Providers
    ) -> None:
        answers: dict[int, Generation | ProviderError] = {}
        for handed, end in ended:
            results = end if isinstance(end, ProviderError) else await self._steps.results(handed, end)
            if results is None:  # the provider does not give them now
                await asyncio.to_thread(tasks.wait, self._context.database, self._lease, self._steps.wait_s)
                return
            for ordinal in set(handed.ordinals) & self._items.keys():
                answers[ordinal] = self._answer(handed, self._items[ordinal], results)
        late = self._late(ended, answers)
        # All at once, for answers of several models may be compared; calls of one round are announced under one number.
        for attempt in sorted({handed.attempt for handed, _ in ended}):
            mine = {ordinal for handed, _ in ended if handed.attempt == attempt for ordinal in handed.ordinals}
            known = {ordinal: one for ordinal, one in answers.items() if ordinal in mine - late}
            await self._judge(attempt, known, ledger, providers)
            if self._heartbeat.reason:
                return
        for handed, end in ended:
            await self._steps.close(handed, end if isinstance(end, ProviderError) else None, unanswered=late)
        if late:
            # A later lease announces them under a number of its own.
            await asyncio.to_thread(tasks.wait, self._context.database, self._lease, 0.0)

    def _late(
        self, ended: list[tuple[Handed, Batch | ProviderError]], answers: dict[int, Generation | ProviderError]
    ) -> set[int]:
        """Return the items that are given to one more batch.

        One whose answer is compared with others is not: those are here, paid for, and would wait for it.
        """
        first = {ordinal for handed, _ in ended if handed.round < ROUNDS for ordinal in handed.ordinals}
        return {
            ordinal
            for ordinal, found in answers.items()
            if isinstance(found, ProviderError)
            and found.retryable
            and ordinal in first
            and not self._prepared.case(self._items[ordinal].case).checklist.contests
        }

    def _answer(
        self, handed: Handed, item: Item, results: dict[str, Reply | ProviderError] | ProviderError
    ) -> Generation | ProviderError:
        if isinstance(results, ProviderError):
            return results
        found = results.get(str(item.ordinal))
        if found is None:
            message = "The batch has ended, and has neither an answer nor an error for this call."
            return ProviderError(message, code="batch_incomplete", retryable=True)
        if isinstance(found, ProviderError):
            return found
        provider, model = self._caller.provider(handed.model)
        asked = request_hash(provider, self._trials.request(item, model))
        return generation_of(provider, model, asked, found, 1, self._price(provider, model))

    def _price(self, provider: Provider, model: str) -> Any:
        """Return the price of a call in a batch; where the book has none of its own for those, that of any call."""
        if provider.price_key:
            found = self._caller.prices.find(provider.price_key + LIST_SUFFIX, model)
            if found is not None:
                return found
        return self._caller.price(provider, model)

    async def _judge(
        self, attempt: int, answers: dict[int, Generation | ProviderError], ledger: Ledger, providers: Providers
    ) -> None:
        """Record the results of what was announced under a number; judges are asked live."""
        if not answers:
            return

        def known(item: Item) -> Generation:
            ledger.begin(item)
            found = answers[item.ordinal]
            if isinstance(found, ProviderError):
                raise found
            return found

        control = Control()
        self._heartbeat.steer(control, self._context.grace_s)
        # Their calls were announced by the lease that gave them away.
        lease = replace(self._lease, attempt=attempt)
        recorder = Recorder(self._context, lease, self._prepared, self._shard.version_ids)
        budget = RunBudget(self._context.database, self._lease) if self._shard.limited else None
        try:
            async with recorder:
                async for event in execute(
                    self._prepared,
                    ledger.watch(providers),
                    prices=self._caller.prices,
                    options=self._caller.options,
                    control=control,
                    items=[self._items[ordinal] for ordinal in sorted(answers)],
                    known=known,
                    budget=budget,
                ):
                    if isinstance(event, ItemFinished) and not _cut_short(event):
                        # It was paid for by this run, whoever fetched it.
                        result = replace(event.result, cached=False)
                        await recorder.add(self._items[result.ordinal], result)
        finally:
            if budget is not None:
                await budget.close()


def _cut_short(event: ItemFinished) -> bool:
    """Tell whether a stop kept an answer from being judged: it is fetched and judged again."""
    return any(verdict.reason in ("interrupted", "group_incomplete") for verdict in event.result.verdicts)


def cancel(context: Context, lease: tasks.Lease) -> None:
    """Have a provider stop a batch of a run that was given up; try again later while it does not hear."""
    assert lease.batch_id is not None
    asyncio.run(_cancel(context, lease, batches.by_id(context.database, lease.workspace_id, lease.batch_id)))


async def _cancel(context: Context, lease: tasks.Lease, handed: Handed) -> None:
    connected = await asyncio.to_thread(
        shards.connections_of, context.database, lease.workspace_id, handed.run_id, shared_keys=context.shared_keys
    )
    providers = Providers(connected.options)
    try:
        caller = Caller(providers, await asyncio.to_thread(prices.load, context.database, lease.workspace_id),
                        EngineOptions(), None, None)  # fmt: skip
        steps = Steps(context, lease, caller, lambda _: {})
        if not await steps.cancel(handed) and lease.attempt < 10:

            def later() -> None:
                with context.database.transaction(lease.workspace_id) as connection:
                    tasks.postpone(connection, lease, steps.wait_s)

            await asyncio.to_thread(later)
    finally:
        await providers.close()
