"""Who follows the changes of which workspace, on one event loop."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from cachetools import LRUCache

from promptcard_ext.core.errors import Unavailable
from server_ext.services.changes import Change

MAX_STREAMS = 2000
MAX_WAITING = 1000
"""Changes that wait for one follower; one who is further behind is cut off."""
BATCH = 50
"""Followers told at a stretch, before the loop may do something else."""
KNOWN_WORKSPACES = 10_000
RESET, START = "reset", "start"


class Event(NamedTuple):
    """What a follower is told; start and reset have no key."""

    id: str
    kind: str
    key: str | None


class Stream:
    """One follower.

    Args:
        cut: Cuts the connection, on which the follower's handler may be waiting.
    """

    def __init__(self, workspace_id: UUID, cut: Callable[[], None]) -> None:
        self.workspace_id = workspace_id
        self._cut = cut
        self.news = asyncio.Event()
        self.ended = False
        self._waiting: deque[Event] = deque()

    def put(self, event: Event) -> None:
        """Have an event wait for the follower; cut the follower off when too many do."""
        if len(self._waiting) >= MAX_WAITING:
            self.end()
        else:
            self._waiting.append(event)
            self.news.set()

    def take(self) -> list[Event]:
        """Return what waits, and wait for more."""
        events = list(self._waiting)
        self._waiting.clear()
        if not self.ended:
            self.news.clear()
        return events

    def end(self) -> None:
        """Cut the follower off."""
        if not self.ended:
            self.ended = True
            self.news.set()
            self._cut()


class ChangeStreams:
    """All followers of this process. Only for the thread of the event loop."""

    def __init__(self) -> None:
        self._streams: dict[UUID, set[Stream]] = {}
        self._count = 0
        self._queue: deque[Change | None] = deque()
        self._telling: asyncio.Task[None] | None = None
        self._begin_anew()

    def open(self, workspace_id: UUID, cut: Callable[[], None], last_id: str | None = None) -> Stream:
        """Return a stream of a workspace's changes; `close` it.

        Args:
            cut: Cuts the follower's connection.
            last_id: The last event that the follower has had. Unless it is the last there was, a reset comes first;
                otherwise a start, so that everybody has a number to come back with.

        Raises:
            Unavailable: There are 2,000 streams already (``streams_full``).
        """
        if self._count >= MAX_STREAMS:
            raise Unavailable("This server has as many followers as it can have.", code="streams_full")
        last = self._last.get(workspace_id) or self._event(workspace_id, START, None).id
        stream = Stream(workspace_id, cut)
        stream.put(Event(last, START if last_id in (None, last) else RESET, None))
        self._streams.setdefault(workspace_id, set()).add(stream)
        self._count += 1
        return stream

    def close(self, stream: Stream) -> None:
        """Forget a stream."""
        streams = self._streams[stream.workspace_id]
        streams.remove(stream)
        self._count -= 1
        if not streams:
            del self._streams[stream.workspace_id]

    def heard(self, change: Change | None) -> None:
        """Tell the followers of a change; None: that some may have been missed."""
        if change is None:
            self._queue.clear()  # a reset says it all
        self._queue.append(change)
        if self._telling is None:
            self._telling = asyncio.ensure_future(self._tell())

    def end(self) -> None:
        """Cut everybody off: the server stops."""
        for streams in self._streams.values():
            for stream in streams:
                stream.end()

    async def _tell(self) -> None:
        told = 0
        while self._queue:
            change = self._queue.popleft()
            if change is None:
                self._begin_anew()
            for workspace_id in self._concerned(change):
                kind, key = (RESET, None) if change is None else (change.family, change.key)
                event = self._event(workspace_id, kind, key)
                for stream in list(self._streams.get(workspace_id, ())):
                    stream.put(event)
                    told += 1
                    if told % BATCH == 0:
                        await asyncio.sleep(0)
        self._telling = None

    def _concerned(self, change: Change | None) -> list[UUID]:
        if change is None:
            return list(self._streams)
        return [change.workspace_id] if change.workspace_id is not None else []

    def _event(self, workspace_id: UUID, kind: str, key: str | None) -> Event:
        self._number += 1
        event = Event(f"{self._era}-{self._number}", kind, key)
        self._last[workspace_id] = event.id
        return event

    def _begin_anew(self) -> None:
        """Know no number of before any more."""
        self._era = secrets.token_hex(4)
        self._number = 0
        self._last: LRUCache[UUID, str] = LRUCache(KNOWN_WORKSPACES)
