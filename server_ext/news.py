"""News of changes: a thread that hears what transactions announce, drops it from the cache and tells whoever asked.

The thread also talks to itself through the database, once a second. PostgreSQL delivers in the order of commits, so
what comes back proves that everything announced before has been heard. Without proof the cache turns itself off, be the
connection broken, frozen, or led through a proxy that does not pass notifications on.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from server_ext.cache import Cache, FamilyName
from server_ext.services.changes import CHANNEL, Change, Family

Heard = Callable[[Change | None], None]
"""Takes a change, or None when some may have been missed."""

PROVE_EVERY_S = 1.0
LOOK_EVERY_S = 0.2
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
# A connection that is cut without a word is noticed within three seconds.
_CONNECT: dict[str, Any] = {
    "application_name": "promptcards news",
    "connect_timeout": 5,
    "keepalives_count": 2,
    "keepalives_idle": 1,
    "keepalives_interval": 1,
    "tcp_user_timeout": 3000,
}
# What caches hold of what changes; both call it by the same key.
CACHED: dict[Family, FamilyName] = {
    "card": "cards",
    "config": "config",
    "label": "cards",
    "perms": "perms",
    "session": "session",
}
_log = logging.getLogger(__name__)


class News:
    """Hears of changes for one process, on a connection of its own.

    Args:
        database_url: PostgreSQL, directly or through a proxy that keeps sessions together.
        cache: What forgets the changed values.
        clock: The clock of the cache.
    """

    def __init__(self, database_url: str, cache: Cache, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = database_url.replace("postgresql+psycopg:", "postgresql:", 1)
        self._cache = cache
        self._clock = clock
        self._proofs = f"promptcards_{secrets.token_hex(8)}"
        self._heard: list[Heard] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="promptcards-news", daemon=True)

    def start(self) -> None:
        """Start listening."""
        self._thread.start()

    def subscribe(self, heard: Heard) -> None:
        """Have a function called for each change, in this thread; it must only hand off."""
        self._heard.append(heard)

    def forget(self, changes: Iterable[Change]) -> None:
        """Drop what has changed, without waiting to hear of it: this process has done it itself."""
        for change in changes:
            if (family := CACHED.get(change.family)) is not None:
                self._cache.drop(family, change.workspace_id, change.key)

    def close(self) -> None:
        """Stop listening; the cache is off from then on."""
        self._stop.set()
        with suppress(psycopg.Error), psycopg.connect(self._url, autocommit=True, connect_timeout=1) as connection:
            # The thread, which sleeps while it listens, hears this; without it, it stops a fifth of a second later.
            connection.execute("select pg_notify(%s, '-inf')", [self._proofs])
        self._thread.join(timeout=5)

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._stop.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True, **_CONNECT) as connection:
                    self._begin(connection)
                    pause_s = FIRST_PAUSE_S
                    self._listen(connection)
            except psycopg.Error as error:
                _log.info("Changes are not heard of until the database is back: %s", type(error).__name__)
            except Exception:  # noqa: BLE001
                # Nobody waits for this thread; without it the cache would be off until the server is restarted.
                _log.exception("Hearing of changes broke; it is taken up again")
            finally:
                self._cache.lost()
            self._stop.wait(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _begin(self, connection: psycopg.Connection) -> None:
        for channel in (CHANNEL, self._proofs):
            connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
        # After LISTEN, not before it: what is loaded from now on is heard of when it changes.
        self._cache.restart()
        self._tell(None)

    def _listen(self, connection: psycopg.Connection) -> None:
        proof_due = self._clock()
        while not self._stop.is_set():
            if self._clock() >= proof_due:
                sent = self._clock()
                proof_due = sent + PROVE_EVERY_S
                connection.execute("select pg_notify(%s, %s)", [self._proofs, repr(sent)])
            for notice in connection.notifies(timeout=LOOK_EVERY_S):
                if notice.channel == self._proofs:
                    self._cache.heard(float(notice.payload))
                else:
                    self._take(notice.payload)
                if self._clock() >= proof_due:
                    break  # a stream of changes must not keep us from proving that we follow it

    def _take(self, payload: str) -> None:
        try:
            change = msgspec.json.decode(payload, type=Change)
        except msgspec.DecodeError:
            return  # of a newer version, about something that this one does not have
        self.forget([change])
        self._tell(change)

    def _tell(self, change: Change | None) -> None:
        for heard in self._heard:
            heard(change)
