"""Values by name: from memory, else from Redis, else from the database.

A cache is used only while the process demonstrably hears of changes (`server_ext.news`): silence of more than three
seconds turns it off, whatever the reason. So no value is wrong for longer than news takes, and none for more than three
seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

from promptcard_ext.core.errors import NotFound, PromptCardError, Unavailable
from server_ext.cache.families import FAMILIES, FamilyName, Name, name_of
from server_ext.cache.local import Entry, Flight, Local
from server_ext.cache.shared import Found, Shared

HEARING_S = 3.0


class Cache:
    """Two levels in front of the database; safe for threads.

    Args:
        shared: The level in Redis; None: there is none.
        clock: Seconds, of which only differences count.

    Example::

        body = cache.get("cards", workspace_id, "triage/production", load)
    """

    def __init__(self, shared: Shared | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._local = Local()
        self._shared = shared
        self._clock = clock
        self._heard_at = float("-inf")

    def find(self, family: FamilyName, workspace_id: UUID | None, key: str) -> bytes | None:
        """Return a value from memory, or None. This never waits, so the event loop may ask."""
        entry = self._local.find(name_of(family, workspace_id, key))
        return entry.value if entry is not None and self._is_fresh(family, entry) else None

    def get(self, family: FamilyName, workspace_id: UUID | None, key: str, load: Callable[[], bytes]) -> bytes:
        """Return a value, loading it if need be; of those who ask at the same time one loads and the others wait.

        Args:
            key: What `server_ext.services.changes` calls the thing when it changes: caches forget exactly this key.
            load: Reads the value from the database.

        Raises:
            NotFound: ``load`` says so. That is not remembered, and nothing older is given instead.
            Unavailable: ``load`` says so, and there is no older value that may stand in.
        """
        found = self.find(family, workspace_id, key)
        if found is not None:
            return found
        name = name_of(family, workspace_id, key)
        flight, mine = self._local.take_off(name)
        if not mine:
            return flight.wait(load)
        try:
            value = self._obtain(name, flight, load)
        except BaseException as error:
            self._local.land(name, flight, None)
            if isinstance(error, NotFound):
                self._local.drop(name)
            flight.end(error=error if isinstance(error, PromptCardError) else None)
            raise
        flight.end(value)
        return value

    def drop(self, family: FamilyName, workspace_id: UUID | None, key: str) -> None:
        """Forget one value: it has changed."""
        name = name_of(family, workspace_id, key)
        self._local.drop(name)
        if self._shared is not None and FAMILIES[family].ttl_s:
            self._shared.drop(name)
            # Again: what was read from Redis in between is as old.
            self._local.drop(name)

    def heard(self, at: float) -> None:
        """Note that every change committed before ``at``, on this cache's clock, has been dropped."""
        self._heard_at = at

    def lost(self) -> None:
        """Use nothing until `restart` and `heard`: changes are no longer heard of. What is kept may only stand in."""
        self._heard_at = float("-inf")
        self._local.drop_loads()

    def restart(self) -> None:
        """Forget everything: changes were missed until just now."""
        self._local.clear()
        if self._shared is not None:
            self._shared.begin_epoch()

    def close(self) -> None:
        """Close the connections to Redis."""
        if self._shared is not None:
            self._shared.close()

    @property
    def hearing(self) -> bool:
        """Whether changes have demonstrably been heard of within the last seconds."""
        return self._clock() - self._heard_at <= HEARING_S

    def _is_fresh(self, family: FamilyName, entry: Entry) -> bool:
        return self.hearing and self._clock() - entry.read_at < FAMILIES[family].local_ttl_s

    def _obtain(self, name: Name, flight: Flight, load: Callable[[], bytes]) -> bytes:
        shared = self._shared if FAMILIES[name.family].ttl_s and self.hearing else None
        found = shared.read(name) if shared is not None else Found()
        if found.value is not None:
            self._local.land(name, flight, Entry(found.value, self._clock()))
            return found.value
        try:
            value = load()
        except Unavailable:
            older = self._stand_in(name)
            if older is None:
                raise
            self._local.land(name, flight, None)
            return older
        unchanged = self._local.land(name, flight, Entry(value, self._clock()))
        if shared is not None and found.lease is not None and unchanged:
            shared.store(name, found.lease, value)
        return value

    def _stand_in(self, name: Name) -> bytes | None:
        entry = self._local.find(name)
        if entry is None or self._clock() - entry.read_at > FAMILIES[name.family].max_stale_s:
            return None
        return entry.value
