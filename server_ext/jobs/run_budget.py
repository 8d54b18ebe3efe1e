"""The budget of a run that several workers carry out: the engine's budget port, backed by PostgreSQL."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from decimal import Decimal

from promptcard_ext.core.errors import Unavailable
from server_ext.db.engine import Database
from server_ext.services import purses
from server_ext.services.tasks import Lease

PORTION_CALLS = 8
"""For how many calls money is fetched at once, as long as there is plenty."""
POLL_S = 0.2


class RunBudget:
    """A worker's part of its run's budget; see `core.ports.Budget`. It lives on one event loop.

    What is granted to all workers never exceeds the budget. A worker asks for more than one call needs, and what a call
    did not cost is there for the next: most calls ask nobody.

    Attributes:
        spent_usd: What was settled, and what calls without a clear end may have cost.
    """

    def __init__(self, database: Database, lease: Lease) -> None:
        self._database, self._lease = database, lease
        self._granted = self.spent_usd = self._reserved = Decimal(0)
        # Of what is reserved: granted before the budget changed. What its calls do not cost is due to go back.
        self._before = self._due = Decimal(0)
        self._asking = asyncio.Lock()
        self._refused: Decimal | None = None
        self._recalled = False

    @property
    def _free(self) -> Decimal:
        return self._granted - self.spent_usd - self._reserved - self._due

    def recall(self) -> None:
        """Hear, from any thread, that the budget has changed: what is not needed goes back before the next call."""
        self._recalled = True

    async def reserve(self, usd: Decimal) -> bool:
        """Set ``usd`` aside; False when not that much is left. What other workers may give back is waited for."""
        if self._recalled or self._due:
            async with self._asking:
                if self._recalled:
                    self._recalled, self._refused, self._before = False, None, self._reserved
                    self._due += max(Decimal(0), self._free)
                await self._give_back(self._due)
        if self._take(usd):
            return True
        async with self._asking:
            while not self._take(usd):
                wanted = usd - self._free
                if self._refused is not None and wanted >= self._refused:
                    return False
                grant = await self._ask(wanted, usd)
                if grant.usd:
                    self._granted += grant.usd
                elif self._reserved:
                    return False  # what calls in flight do not cost comes back first
                elif not grant.others_usd:
                    # Until the budget changes nobody is going to give anything back.
                    self._refused = wanted
                    return False
                elif self._free > 0:
                    # Two that wait for each other's rest would wait for ever.
                    self._due += self._free
                    await self._give_back(self._due)
                else:
                    await asyncio.sleep(POLL_S)
        return True

    async def settle(self, reserved_usd: Decimal, spent_usd: Decimal) -> None:
        """Replace a reservation by what was really spent (0 when the call was not made)."""
        self._reserved -= reserved_usd
        self.spent_usd += spent_usd
        before = min(self._before, reserved_usd)
        self._before -= before
        self._due += max(Decimal(0), before - spent_usd)

    async def close(self) -> None:
        """Give back what was not spent; nothing is called after this."""
        if self._granted:
            await asyncio.to_thread(purses.close, self._database, self._lease, self.spent_usd)

    def _take(self, usd: Decimal) -> bool:
        if usd and usd > self._free:
            return False
        self._reserved += usd
        return True

    async def _ask(self, wanted: Decimal, usd: Decimal) -> purses.Grant:
        while True:
            try:
                portion = usd * PORTION_CALLS
                grant = await asyncio.to_thread(
                    purses.grant, self._database, self._lease, wanted, portion, self.spent_usd
                )
            except Unavailable:
                # Without it nothing may be called; how long that may take is the heartbeat's to say.
                await asyncio.sleep(POLL_S)
                continue
            if grant.usd is None:
                # The lease is lost, and the heartbeat is about to stop all of this: until then nothing is called.
                await asyncio.Event().wait()
            return grant

    async def _give_back(self, usd: Decimal) -> None:
        if usd > 0:
            self._due -= usd
            self._granted -= usd
            # While the database is away it is not back yet, but with the end of the task at the latest.
            with suppress(Unavailable):
                await asyncio.to_thread(purses.give_back, self._database, self._lease, usd)
