"""What happens in runs that are watched: got once for all who watch, on one event loop.

Events come by themselves, as a worker has encoded them, or are read from the database: the first ones, those before
which one is missing, and all of them while Redis is away. A feed keeps the latest; whoever is further behind reads the
rest from the database until they have caught up.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from uuid import UUID

from promptcard_ext.core.contract.runs import FINAL, RunOut
from promptcard_ext.core.errors import PromptCardError
from server_ext.api.frames import text_frame
from server_ext.api.run_news import Message, RunNews
from server_ext.services.fresh_events import encoded
from server_ext.services.items import MAX_EVENTS, RunEventOut

Read = Callable[[int], Awaitable[tuple[list[RunEventOut], RunOut]]]
"""Gives the next events behind a number, and the run."""

# Redis may be away; then this is how late an event can be.
LOOK_EVERY_S = 1.0
COALESCE_S = 0.05
"""Least time between two looks: what happens in between comes together."""
TELL_EVERY_S = 0.01
"""The same between telling those who watch of something."""
GAP_S = 0.1
"""How long an event may be missing before it is looked for: workers of one run overtake each other."""
SHARE = 4
"""So many times as long as it took to tell all who watch, nothing is told: the loop has others to serve as well."""
MAX_KEPT = 500
MAX_KEPT_BYTES = 16_000_000
BATCH = 25
"""Watchers told at a stretch, before the loop may do something else."""

CHECKS_AT_ONCE = 2


class RunFeed:
    """The latest events of one run.

    Args:
        after: Number of the event behind which it begins.

    Attributes:
        last: Number of the last event that it has.
        news: What has been heard of the run.
        ended: Whether no more will come.
        problem: Why it broke.
    """

    def __init__(self, after: int, news: RunNews, read: Read) -> None:
        self.last = self._floor = after
        self.ended = False
        self.problem: Exception | None = None
        self.news, self._read = news, read
        self._kept: deque[Message] = deque()
        self._bytes = 0
        self._pause_s = TELL_EVERY_S
        self._looked = self._heard = float("-inf")
        self._watchers: dict[asyncio.Event, None] = {}
        self._task = asyncio.ensure_future(self._follow())

    def behind(self, after: int) -> list[Message] | None:
        """Return what is known behind a number; None when the feed begins later."""
        if after < self._floor:
            return None
        return [message for message in self._kept if message.seq > after] if after < self.last else []

    def enter(self) -> asyncio.Event:
        """Return an event that is set whenever there is something to see; give it back to `leave`."""
        woken = asyncio.Event()
        self._watchers[woken] = None
        return woken

    def leave(self, woken: asyncio.Event) -> bool:
        """Take back what `enter` gave; return whether nobody watches any more."""
        del self._watchers[woken]
        return not self._watchers

    def close(self) -> None:
        """Stop following."""
        self._task.cancel()

    async def _follow(self) -> None:
        try:
            while not self.ended:
                if came := self.news.take(self.last):
                    await self._tell(came)
                elif time.monotonic() >= self._due():
                    await self._look()
                    self._looked = self._heard = time.monotonic()
                else:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._due() - time.monotonic()):
                            await self.news.wait()
                    continue
                await asyncio.sleep(self._pause_s)
        except PromptCardError as error:
            self.problem = error
        except Exception as error:  # noqa: BLE001  Those who watch tell of it, each in its own log.
            self.problem = error
        await self._wake()

    def _due(self) -> float:
        """Return when the database is to be asked, unless the next event comes before."""
        if self.news.lacks(self.last):
            return self._looked + COALESCE_S
        if self.news.ahead_since is not None:
            return self.news.ahead_since + GAP_S
        return self._heard + LOOK_EVERY_S

    async def _tell(self, came: list[Message]) -> None:
        self._heard = time.monotonic()
        for message in came:
            self._keep(message)
        await self._wake()

    async def _look(self) -> None:
        # Cleared before the look, not after it: what comes in between is noticed.
        self.news.clear()
        while True:
            events, run = await self._read(self.last)
            for event in events:
                self._keep(message_of(event, run))
            self.ended = len(events) < MAX_EVENTS and run.status in FINAL
            if events or self.ended:
                await self._wake()
            if len(events) < MAX_EVENTS:
                return

    def _keep(self, message: Message) -> None:
        self._kept.append(message)
        self._bytes += len(message.frame)
        self.last = message.seq
        while len(self._kept) > MAX_KEPT or (self._bytes > MAX_KEPT_BYTES and len(self._kept) > 1):
            oldest = self._kept.popleft()
            self._bytes -= len(oldest.frame)
            self._floor = oldest.seq

    async def _wake(self) -> None:
        """Wake those who watch, some at a time: each of them writes to its socket before the loop gets on."""
        began = time.monotonic()
        for number, woken in enumerate(list(self._watchers), 1):
            woken.set()
            if number % BATCH == 0:
                await asyncio.sleep(0)
        self._pause_s = min(LOOK_EVERY_S, max(TELL_EVERY_S, SHARE * (time.monotonic() - began)))


class RunFeeds:
    """The feeds of all runs that somebody watches.

    Args:
        news: Gives what is heard of a run, by its workspace and its id.
        forget: Takes it back.

    Attributes:
        checking: Held by whoever asks the database whether they may still watch.
    """

    def __init__(self, news: Callable[[str, UUID], RunNews], forget: Callable[[str, RunNews], None]) -> None:
        self._subscribe, self._forget = news, forget
        self._feeds: dict[str, RunFeed] = {}
        self.checking = asyncio.Semaphore(CHECKS_AT_ONCE)

    def enter(self, workspace_id: UUID, run: RunOut, after: int, read: Read) -> tuple[RunFeed, asyncio.Event]:
        """Return the feed of a run, and what is set when it has something; give both back to `leave`."""
        run_id = str(run.id)
        feed = self._feeds.get(run_id)
        if feed is None or feed.problem is not None:
            # Whoever is far behind reads by themselves, in their own time; nobody is ahead of the run.
            start = min(run.event_seq, max(after, run.event_seq - MAX_EVENTS))
            feed = RunFeed(start, self._subscribe(run_id, workspace_id), read)
            self._feeds[run_id] = feed
        return feed, feed.enter()

    def leave(self, run_id: str, feed: RunFeed, woken: asyncio.Event) -> None:
        """Stop watching; the last one to leave ends the feed."""
        if feed.leave(woken):
            feed.close()
            self._forget(run_id, feed.news)
            if self._feeds.get(run_id) is feed:
                del self._feeds[run_id]


def message_of(event: RunEventOut, run: RunOut) -> Message:
    """Return an event as it is sent."""
    return Message(event.seq, text_frame(encoded(event.seq, event.kind, run.status, event.payload, event.items)))
