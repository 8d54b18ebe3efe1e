"""Collects results for a tenth of a second and writes them in one transaction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from uuid import UUID

from promptcard_ext.core.errors import Unavailable
from promptcard_ext.core.item import Item
from promptcard_ext.core.matrix import Prepared
from promptcard_ext.core.results import ItemResult
from server_ext.jobs import live
from server_ext.jobs.context import Context
from server_ext.services import recording, tasks

FLUSH_S = 0.1
FLUSH_ROWS = 500
MAX_WAITING = 2_000
PATIENCE_S = 60.0


class Recorder:
    """An asynchronous context manager: on leaving it everything added has been written.

    When the database is slow, `add` waits, so that the engine does not run away from it.
    """

    def __init__(self, context: Context, lease: tasks.Lease, prepared: Prepared, version_ids: Sequence[UUID]) -> None:
        self._context, self._lease, self._prepared = context, lease, prepared
        self._version_ids = version_ids
        self._waiting: list[recording.Recorded] = []
        self._full = asyncio.Event()
        self._written = asyncio.Condition()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def add(self, item: Item, result: ItemResult, *, final: bool = True) -> None:
        """Take in one result; or, when it is not final, the answers in it, which were paid for.

        Raises:
            Unavailable: The database has been away for more than a minute.
        """
        plan = self._prepared.plan
        messages = self._prepared.messages(item)
        position = item.case + plan.first_case
        settings = plan.cards[item.card].settings
        self._waiting.append(recording.Recorded(item, result, position, messages, settings, final))
        if len(self._waiting) >= FLUSH_ROWS:
            self._full.set()
        if len(self._waiting) >= MAX_WAITING:
            async with self._written:
                await self._written.wait_for(lambda: len(self._waiting) < MAX_WAITING or self._failed())
        if self._failed() and self._task is not None:
            self._task.result()

    def _failed(self) -> bool:
        return self._task is not None and self._task.done()

    async def __aenter__(self) -> Recorder:
        self._task = asyncio.create_task(self._write_all())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._full.set()
        assert self._task is not None
        await self._task

    async def _write_all(self) -> None:
        try:
            while not (self._closing and not self._waiting):
                if not self._closing:
                    await self._pause()
                batch, self._waiting = self._waiting[:FLUSH_ROWS], self._waiting[FLUSH_ROWS:]
                if batch:
                    await asyncio.to_thread(self._write, batch)
                async with self._written:
                    self._written.notify_all()
        finally:
            async with self._written:
                self._written.notify_all()

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._full.wait(), FLUSH_S)
        except TimeoutError:
            return
        if not self._closing:
            self._full.clear()

    def _write(self, batch: list[recording.Recorded]) -> None:
        """Write a batch; while the database is away, try again for a minute: these answers were paid for."""
        lease, give_up, wait = self._lease, time.monotonic() + PATIENCE_S, 0.2
        while True:
            try:
                with self._context.database.transaction(lease.workspace_id) as connection:
                    seq = recording.record(connection, lease, self._version_ids, batch)
                break
            except Unavailable:
                if time.monotonic() > give_up:
                    raise
                time.sleep(wait)
                wait = min(5.0, wait * 2)
        if seq and lease.run_id is not None:
            live.publish(self._context.redis, lease.workspace_id, lease.run_id, seq)
