"""The first level: values in the memory of this process, and the loads that are under way for it.

A load is kept only if nothing happened to its name meanwhile: a change takes the load off the list, so what was read
before the change cannot be stored after it. Whoever asks later starts a load of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from cachetools import LRUCache

from promptcard_ext.core.errors import PromptCardError
from server_ext.cache.families import Name

MAX_ENTRIES = 1000
# A thousand of these are 100 MB; nearly all are a few kilobytes.
MAX_VALUE_BYTES = 100_000
WAIT_S = 10.0


class Entry(NamedTuple):
    """A value, and when it was last known to be right."""

    value: bytes
    read_at: float


class Flight:
    """A load under way, and those who wait for it."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._value: bytes | None = None
        self._error: PromptCardError | None = None

    def end(self, value: bytes | None = None, error: PromptCardError | None = None) -> None:
        """Tell those who wait how it went; with neither, that they must see for themselves."""
        self._value, self._error = value, error
        self._ended.set()

    def wait(self, load: Callable[[], bytes]) -> bytes:
        """Return what the load gives, raise what it raised, or load oneself when it takes ten seconds."""
        self._ended.wait(WAIT_S)
        if self._error is not None:
            raise self._error
        return load() if self._value is None else self._value


class Local:
    """The least recently used values are dropped when there are more than a thousand; safe for threads."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._entries: LRUCache[Name, Entry] = LRUCache(max_entries)
        self._flights: dict[Name, Flight] = {}
        self._lock = threading.Lock()

    def find(self, name: Name) -> Entry | None:
        """Return what is kept, however old."""
        with self._lock:
            return self._entries.get(name)

    def take_off(self, name: Name) -> tuple[Flight, bool]:
        """Return the load that is under way, or a new one, and whether the caller is to do it."""
        with self._lock:
            if flight := self._flights.get(name):
                return flight, False
            flight = self._flights[name] = Flight()
            return flight, True

    def land(self, name: Name, flight: Flight, entry: Entry | None) -> bool:
        """End a load and keep its entry, if there is one; tell whether nothing happened to the name meanwhile."""
        with self._lock:
            if self._flights.get(name) is not flight:
                return False
            del self._flights[name]
            if entry is not None and len(entry.value) <= MAX_VALUE_BYTES:
                self._entries[name] = entry
            return True

    def drop(self, name: Name) -> None:
        """Forget a value, and what is just being loaded of it."""
        with self._lock:
            self._entries.pop(name, None)
            self._flights.pop(name, None)

    def drop_loads(self) -> None:
        """Keep nothing of what is just being loaded."""
        with self._lock:
            self._flights.clear()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._flights.clear()
