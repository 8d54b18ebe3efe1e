"""Who showed which credential: checked against the database at least every five seconds.

So many requests come with the same credential that asking anew each time would double the work of most of them. What
ends a session is told to every server at once, and a server that has gone deaf finds out within the five seconds.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

from cachetools import TTLCache

from server_ext.auth import tokens
from server_ext.auth.actor import Actor
from server_ext.db.engine import Database
from server_ext.services import api_tokens, sessions

MAX_KNOWN = 10_000
# Sockets look once a second: with that, everybody is out within five.
TTL_S = 3.5


class KnownActors:
    """Actors by credential.

    Args:
        ttl_s: How long an answer of the database counts.
    """

    def __init__(self, database: Database, ttl_s: float = TTL_S) -> None:
        self._database = database
        self._known: TTLCache[bytes, Actor] = TTLCache(MAX_KNOWN, ttl_s)
        self._lock = threading.Lock()
        self._forgotten = 0

    def by_access_token(self, text: str) -> Actor:
        """Return whose access token it is.

        Raises:
            Unauthenticated: It is not good, or its session or user has ended.
        """
        # Signature and expiry are checked each time: they need no database, and time goes on.
        claims = tokens.verify(self._database.keys, text)
        return self._find(text, lambda: sessions.check_session(self._database, claims))

    def by_api_token(self, text: str) -> Actor:
        """Return whose API token it is.

        Raises:
            Unauthenticated: It is not good, or not any more.
        """
        return self._find(text, lambda: api_tokens.authenticate(self._database, text))

    def at_hand(self, text: str, *, access: bool) -> Actor | None:
        """Return whose credential it is when that was found out within the last seconds; asks nobody, never waits.

        Args:
            access: Whether it is an access token, and not an API token.

        Raises:
            Unauthenticated: It is an access token that is not good.
        """
        if access:
            tokens.verify(self._database.keys, text)
        with self._lock:
            return self._known.get(_key(text))

    def _find(self, text: str, check: Callable[[], Actor]) -> Actor:
        key = _key(text)
        with self._lock:
            known, before = self._known.get(key), self._forgotten
        if known is not None:
            return known
        actor = check()
        with self._lock:
            # What was checked before the news came may be what the news was about.
            if self._forgotten == before:
                self._known[key] = actor
        return actor

    def forget(self) -> None:
        """Check everybody anew: a session, token or user has changed. That is rare, and the check is one read."""
        with self._lock:
            self._forgotten += 1
            self._known.clear()


def _key(text: str) -> bytes:
    # Not the credential itself: it is kept in memory no longer than its request.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
