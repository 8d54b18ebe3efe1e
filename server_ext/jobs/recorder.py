"""Collects results for a tenth of a second and writes them in one transaction, or into the journal meanwhile."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from types import TracebackType
from uuid import UUID

from promptcard_ext.core.errors import Unavailable
from promptcard_ext.core.item import Item
from promptcard_ext.core.matrix import Prepared
from promptcard_ext.core.results import ItemResult
from server_ext.jobs import journal, live
from server_ext.jobs.context import Context
from server_ext.jobs.journal import Entry
from server_ext.services import recording, storing, tasks

log = logging.getLogger("promptcards.worker")
FLUSH_S = 0.1
FLUSH_ROWS = 500
MAX_WAITING = 2_000
# After so long the database is taken to be away, and what is on its way to it is written down as well.
SLOW_S = 1.0
PATIENCE_S = 60.0


class Recorder:
    """An asynchronous context manager: on leaving it everything added is in the database, or in the journal.

    When the database is slow, `add` waits, so that the engine does not run away from it. While it is away, results go
    to the journal first, and from there to the database once that is back.
    """

    def __init__(self, context: Context, lease: tasks.Lease, prepared: Prepared, version_ids: Sequence[UUID]) -> None:
        self._context, self._lease, self._prepared = context, lease, prepared
        self._version_ids = version_ids
        self._waiting: list[recording.Recorded] = []
        self._journal = journal.of_lease(context.home, lease)
        self._attempt: asyncio.Future[None] | None = None
        self._away_since: float | None = None
        self._next_attempt = self._pause_s = 0.0
        self._full = asyncio.Event()
        self._written = asyncio.Condition()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def add(self, item: Item, result: ItemResult, *, final: bool = True) -> None:
        """Take in one result; or, when it is not final, the answers in it, which were paid for.

        Raises:
            Unavailable: The database has been away for more than a minute.
        """
        version_id = self._version_ids[item.card]
        self._waiting.append(recording.recorded(self._prepared, item, result, version_id, final=final))
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
            while not self._closing or self._waiting or self._behind:
                await self._pause()
                batch, self._waiting = self._waiting[:FLUSH_ROWS], self._waiting[FLUSH_ROWS:]
                if self._behind:
                    await self._write_down(batch)
                    await self._catch_up()
                elif batch:
                    await self._store(batch)
                async with self._written:
                    self._written.notify_all()
        finally:
            self._journal.close()
            async with self._written:
                self._written.notify_all()

    @property
    def _behind(self) -> bool:
        """Whether something is in the journal, or on a way to the database that takes long."""
        return self._journal.waits or self._attempt is not None

    async def _pause(self) -> None:
        if self._closing:
            # Nothing more comes: all that is to be waited for is the database.
            await asyncio.sleep(FLUSH_S if self._behind or self._away_since is not None else 0)
            return
        try:
            await asyncio.wait_for(self._full.wait(), FLUSH_S)
        except TimeoutError:
            return
        if not self._closing:
            self._full.clear()

    async def _store(self, batch: list[recording.Recorded]) -> None:
        self._attempt = asyncio.ensure_future(asyncio.to_thread(self._write, batch))
        await asyncio.wait({self._attempt}, timeout=SLOW_S)
        if not self._attempt.done():
            await self._write_down(batch)
            return
        attempt, self._attempt = self._attempt, None
        try:
            attempt.result()
            self._away_since, self._pause_s = None, 0.0
        except BaseException as error:
            # Before anything is waited for: nobody else has these answers, and this process may be killed.
            await self._write_down(batch)
            if not isinstance(error, Unavailable):
                raise
            self._put_off(error)

    async def _write_down(self, batch: list[recording.Recorded]) -> None:
        if not batch:
            return
        try:
            await asyncio.to_thread(self._journal.append, [Entry(self._lease, one) for one in batch])
        except OSError as error:
            log.error("%d results could not be written into %s: %s", len(batch), self._journal.path, error)
            self._waiting = batch + self._waiting

    async def _catch_up(self) -> None:
        """Bring what the journal has into the database, once that answers."""
        if self._attempt is None:
            if time.monotonic() < self._next_attempt or not self._journal.waits:
                return
            self._attempt = asyncio.ensure_future(asyncio.to_thread(self._replay))
            await asyncio.wait({self._attempt}, timeout=FLUSH_S)
        if not self._attempt.done():
            return
        attempt, self._attempt = self._attempt, None
        try:
            attempt.result()
            self._away_since, self._pause_s = None, 0.0
        except Unavailable as error:
            self._put_off(error)

    def _put_off(self, error: Unavailable) -> None:
        """Try again a little later; for a minute, then give up. The journal is replayed by the next who works here."""
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since > PATIENCE_S:
            raise error
        self._pause_s = min(5.0, max(0.2, 2 * self._pause_s))
        self._next_attempt = now + self._pause_s

    def _write(self, batch: list[recording.Recorded]) -> None:
        context, lease = self._context, self._lease
        stored = storing.store(context.database, lease, batch)
        self._journal.keep(Entry(lease, one) for one in stored.refused)
        try:
            self._tell(stored)
        except Exception:
            # It is stored. That nobody could be told must not make it look as if it were not.
            log.exception("Run %s: nobody was told of event %d", lease.run_id, stored.seq)

    def _tell(self, stored: storing.Stored) -> None:
        context, lease, told = self._context, self._lease, 0
        assert lease.run_id is not None
        for event in stored.events:
            live.publish_event(context.news, context.keys, lease.workspace_id, lease.run_id, event)
            told = event.seq
        if stored.seq > told:
            tell(context, {lease: stored.seq})

    def _replay(self) -> None:
        tell(self._context, self._journal.replay(self._context.database))


def tell(context: Context, news: dict[tasks.Lease, int]) -> None:
    """Tell whoever watches the runs of these leases of their last event."""
    for lease, seq in news.items():
        if seq and lease.run_id is not None:
            live.publish(context.news, lease.workspace_id, lease.run_id, seq)
