"""What has been heard of one run, until its feed takes it. Belongs to one event loop."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

MOST_AHEAD = 64
MOST_AHEAD_BYTES = 4_000_000


class Message(NamedTuple):
    """One event, as it is sent."""

    seq: int
    frame: bytes


class RunNews:
    """Events that have come by themselves, and hints that there are others; what it holds is bounded.

    Attributes:
        ahead_since: When the first event came that is further ahead than the next one, in seconds of
            `time.monotonic`; None when there is none.
    """

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self._asked = False
        self._hinted = 0
        self._messages: dict[int, Message] = {}
        self._bytes = 0
        self.ahead_since: float | None = None

    def hint(self, seq: int = 0) -> None:
        """Note that there is an event of this number; without one, that there may be something new."""
        self._asked = self._asked or not seq
        self._hinted = max(self._hinted, seq)
        self._woken.set()

    def bring(self, message: Message) -> None:
        """Take in an event; when there are too many, note only that there is one."""
        size = self._bytes + len(message.frame)
        if message.seq in self._messages or len(self._messages) >= MOST_AHEAD or size > MOST_AHEAD_BYTES:
            self.hint(message.seq)
            return
        self._messages[message.seq] = message
        self._bytes = size
        self._woken.set()

    async def wait(self) -> None:
        """Wait until something is heard after the last `take`."""
        await self._woken.wait()

    def take(self, last: int) -> list[Message]:
        """Return the events that follow the one of number ``last`` without a gap, and forget older ones."""
        self._woken.clear()
        found: list[Message] = []
        while message := self._messages.get(last + len(found) + 1):
            found.append(message)
        self._drop(last + len(found))
        if not self._messages:
            self.ahead_since = None
        elif found or self.ahead_since is None:
            self.ahead_since = time.monotonic()
        return found

    def lacks(self, last: int) -> bool:
        """Tell whether there may be an event behind number ``last`` that has not come and will not."""
        return self._asked or (self._hinted > last and self._hinted not in self._messages)

    def clear(self) -> None:
        """Forget everything: the database is about to be asked, which knows all of it."""
        self._asked, self._hinted, self._bytes, self.ahead_since = False, 0, 0, None
        self._messages.clear()

    def _drop(self, last: int) -> None:
        for seq in [seq for seq in self._messages if seq <= last]:
            self._bytes -= len(self._messages.pop(seq).frame)
