"""The actors behind the Hub's users, whose memberships follow their groups."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from cachetools import LRUCache

from promptcard_ext.core.errors import Unauthenticated
from server_ext.auth.actor import Actor
from server_ext.auth.hub import HubUser, read_user

MAX_KNOWN = 10_000
SYNC_AFTER_S = 300.0


class HubActors:
    """Actors of the Hub's users, whose memberships follow their groups.

    Answers of the Hub are of different ages: each token has its own, and a socket has the one it was opened with. An
    older one never undoes what a newer one has done, and one that is too old is not good any more.

    Args:
        sync: Brings the memberships in line with the groups, and returns the actor.
        after_s: How long that counts, and an answer of the Hub at most.
        clock: Seconds that only go forward; that of `AS_OF`.
    """

    def __init__(
        self,
        sync: Callable[[HubUser], Actor],
        after_s: float = SYNC_AFTER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sync, self._after_s, self._clock = sync, after_s, clock
        self._known: LRUCache[str, _Known] = LRUCache(MAX_KNOWN)
        self._forgotten = 0
        self._lock = threading.Lock()
        # Of two answers about one user the newer must have the last word: one of them at a time.
        self._turns = [threading.Lock() for _ in range(64)]

    def actor_of(self, jupyter_user: Any) -> Actor:
        """Return the actor for ``handler.current_user``; synchronous, may ask the database.

        Raises:
            Unauthenticated: It is no user of the Hub, or what the Hub said of them is too old (``hub_answer_old``).
        """
        user = self._read(jupyter_user)
        return self._find(user) or self._follow(user)

    def at_hand(self, jupyter_user: Any) -> Actor | None:
        """Return what `actor_of` would, or None when that takes asking the database."""
        return self._find(self._read(jupyter_user))

    def learn(self, user: HubUser) -> None:
        """Take note of what the Hub says of a user who need not be here; memberships follow if that is different."""
        with self._lock:
            known = self._known.get(user.name)
            if known is not None and known.synced > -math.inf:
                if user.as_of > known.user.as_of and user == known.user:
                    self._known[user.name] = replace(known, user=user)
                if user.as_of <= known.user.as_of or user == known.user:
                    return
        self._follow(user)

    def forget(self, user_id: UUID | None = None) -> None:
        """Look at a user anew with the next request, or at everybody: the account may have been locked."""
        with self._lock:
            self._forgotten += 1
            for name, known in list(self._known.items()):
                if user_id in (None, known.actor.user_id):
                    self._known[name] = replace(known, synced=-math.inf)

    def _read(self, jupyter_user: Any) -> HubUser:
        user = read_user(jupyter_user.hub_user)
        if self._clock() - user.as_of < self._after_s:
            return user
        raise Unauthenticated(
            f"It is too long ago that the Hub was asked about '{user.name:.100}'.",
            hint="Connect again.",
            code="hub_answer_old",
        )

    def _find(self, user: HubUser) -> Actor | None:
        """Return the actor, if known and this answer says nothing that is both new and different."""
        with self._lock:
            known = self._known.get(user.name)
            if known is None or self._clock() - known.synced >= self._after_s:
                return None
            if user.as_of > known.user.as_of:
                if user != known.user:
                    return None
                self._known[user.name] = replace(known, user=user)
            return known.actor

    def _follow(self, user: HubUser) -> Actor:
        with self._turns[hash(user.name) % len(self._turns)]:
            found = self._find(user)
            if found is not None:
                return found
            with self._lock:
                last, before = self._known.get(user.name), self._forgotten
            newest = last.user if last and last.user.as_of > user.as_of else user
            actor, now = self._sync(newest), self._clock()
            with self._lock:
                # What was read before the news came may be what the news was about.
                self._known[user.name] = _Known(newest, actor, now if self._forgotten == before else -math.inf)
            return actor


@dataclass(frozen=True)
class _Known:
    """The newest answer, the actor, and when memberships were brought in line with it."""

    user: HubUser
    actor: Actor
    synced: float
