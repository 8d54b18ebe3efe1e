"""Carries out shards of one run: the next begins while the last calls of the one before are on their way.

Each shard has a lease, a heartbeat and a recorder of its own. What they have in common is `RunCalls`: together they
make no more calls at once than one of them would. Whether the next task is one of this run is for the database to say;
when it is another's turn, the stint is over.
"""

from __future__ import annotations

import asyncio
import time

from promptcard_ext.core.errors import PromptCardError, Unavailable
from server_ext.jobs import batch_mode, drain, shard, turn
from server_ext.jobs.context import Context
from server_ext.jobs.heartbeat import Heartbeat
from server_ext.jobs.ledger import Ledger
from server_ext.jobs.run_calls import RunCalls
from server_ext.services import shards, tasks

# Each renews its lease twice a second; more would wait for a few slow calls each.
MOST = 4


def run(context: Context, lease: tasks.Lease, until: float) -> None:
    """Run a shard, and those of its run whose turn is next.

    Args:
        until: When no further shard is begun, in seconds of `time.monotonic`.
    """
    asyncio.run(Stint(context, until).work(lease))


class Stint:
    """One run's shards in one process, on one event loop."""

    def __init__(self, context: Context, until: float) -> None:
        self._context, self._until = context, until
        self._calls: RunCalls | None = None
        self._opening = asyncio.Lock()
        self._at: dict[asyncio.Task[None], Heartbeat] = {}
        self._broken = False

    async def work(self, lease: tasks.Lease) -> None:
        """Run a shard and those that follow it; on return all of them have ended.

        Raises:
            Unavailable: The database is away, so that one did not end.
        """
        begun: list[asyncio.Task[None]] = []
        following: tasks.Lease | None = lease
        try:
            while following is not None:
                ran_out = asyncio.Event()
                begun.append(self._begin(following, ran_out))
                await ran_out.wait()
                following = await self._next(lease)
        finally:
            ends = await asyncio.gather(*begun, return_exceptions=True)
            if self._calls is not None:
                await self._calls.__aexit__(None, None, None)
        for end in ends:
            if end is not None:
                raise end

    def _begin(self, lease: tasks.Lease, ran_out: asyncio.Event) -> asyncio.Task[None]:
        heartbeat = Heartbeat(self._context.lease_database, lease, self._context.lease_s)
        heartbeat.start()
        task = asyncio.create_task(self._carry_out(lease, heartbeat, ran_out))
        self._at[task] = heartbeat
        task.add_done_callback(self._at.pop)
        drain.on_request(self._drain)  # heard at once when it was asked for already
        return task

    def _drain(self) -> None:
        for heartbeat in list(self._at.values()):
            heartbeat.drain()

    async def _next(self, first: tasks.Lease) -> tasks.Lease | None:
        if len(self._at) >= MOST:
            await asyncio.wait(self._at, return_when=asyncio.FIRST_COMPLETED)
        stopping = self._broken or any(heartbeat.reason for heartbeat in self._at.values())
        if stopping or time.monotonic() >= self._until:
            return None
        try:
            return await asyncio.to_thread(turn.take, self._context, first.run_id)
        except Unavailable:
            return None  # whoever is at work still finds out what becomes of that

    async def _carry_out(self, lease: tasks.Lease, heartbeat: Heartbeat, ran_out: asyncio.Event) -> None:
        error: PromptCardError | None = None
        ledger = Ledger(self._context, lease)
        try:
            try:
                await self._run(lease, heartbeat, ledger, ran_out)
            except Exception as problem:  # noqa: BLE001  Nobody above would see it: it is the reason of the task's end.
                error = turn.as_error(lease, problem)
            self._broken = self._broken or bool(error or heartbeat.reason)
            await asyncio.to_thread(turn.end, self._context, lease, heartbeat, error, ledger.sent)
        finally:
            ran_out.set()
            await asyncio.to_thread(heartbeat.close)

    async def _run(self, lease: tasks.Lease, heartbeat: Heartbeat, ledger: Ledger, ran_out: asyncio.Event) -> None:
        context = self._context
        loaded = await asyncio.to_thread(shards.load, context.database, lease, shared_keys=context.shared_keys)
        if not loaded.pending:
            return
        if loaded.document.execution == "batch":
            await batch_mode.run(context, lease, heartbeat, ledger, loaded)
            return
        if loaded.limited:
            await self._be_alone()
        calls = await self._open(lease, loaded)
        # Two with a budget would wait for each other's money, and for each other's calls.
        tell = (lambda: None) if loaded.limited else ran_out.set
        await shard.run(context, lease, loaded, calls, heartbeat, ledger, tell)

    async def _be_alone(self) -> None:
        if others := set(self._at) - {asyncio.current_task()}:
            await asyncio.wait(others)

    async def _open(self, lease: tasks.Lease, loaded: shards.Shard) -> RunCalls:
        async with self._opening:
            if self._calls is None:
                told = asyncio.to_thread(turn.announce, self._context, lease)
                opened, _ = await asyncio.gather(RunCalls(self._context, lease, loaded).__aenter__(), told)
                self._calls = opened
            return self._calls
