"""How many files are made at once on one server: as many as there are connections for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from promptcard_ext.core.errors import Unavailable

WAIT_S = 10.0


class ExportSlots:
    """Slots that are given in the order in which they were asked for. Only for the thread of the event loop.

    Args:
        count: How many there are.
        wait_s: How long to wait for one; meanwhile neither a thread nor a connection is held.
    """

    def __init__(self, count: int, wait_s: float = WAIT_S) -> None:
        self._free = asyncio.Semaphore(count)
        self._wait_s = wait_s

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Hold a slot.

        Raises:
            Unavailable: None became free in time (``exports_full``).
        """
        try:
            async with asyncio.timeout(self._wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise Unavailable(
                "This server sends as many exports as it can.", hint="Try again in a moment.", code="exports_full"
            ) from None
        try:
            yield
        finally:
            self._free.release()
