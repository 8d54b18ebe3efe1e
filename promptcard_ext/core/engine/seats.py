"""How many tasks of several runs may be at work at once."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType


class Seats:
    """An asynchronous context manager that waits for a seat: first come, first served, on one event loop.

    There is none until `offer` has been called.
    """

    def __init__(self) -> None:
        self._offered = self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def offer(self, seats: int) -> None:
        """Set how many there are; whoever sits beyond that stays until they have done."""
        self._offered = seats
        self._admit()

    async def __aenter__(self) -> None:
        if self._taken < self._offered and not self._waiting:
            self._taken += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            # Cancelled at the very moment it got one: the seat is somebody else's.
            if turn.done() and not turn.cancelled():
                self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        self._taken -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._taken < self._offered:
            turn = self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)
