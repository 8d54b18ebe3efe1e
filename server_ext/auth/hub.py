"""What JupyterHub tells us: that we are one of its services, where to listen, and who its users are."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from cachetools import LRUCache

from promptcard_ext.core.errors import SetupError, Unauthenticated
from server_ext.auth.actor import Actor

MAX_KNOWN = 10_000
SYNC_AFTER_S = 300.0

AS_OF = "promptcards_as_of"
"""Key that `HubIdentity` adds to an answer of the Hub: when it came, in seconds of `time.monotonic`."""


@dataclass(frozen=True)
class HubService:
    """The service of a Hub that this process is.

    Attributes:
        prefix: Path of all our URLs, with a slash at either end.
        ip: Address to listen on; empty for all.
    """

    name: str
    prefix: str
    ip: str
    port: int


def hub_service(environment: Mapping[str, str]) -> HubService | None:
    """Return the service that the Hub has started this process as; None when it is none.

    Raises:
        SetupError: It is one by half (``hub_service_incomplete``): a service that somebody else starts needs all of
            the variables that the Hub gives to those that it starts itself.
    """
    name = environment.get("JUPYTERHUB_SERVICE_NAME")
    if not name:
        return None
    needed = ("JUPYTERHUB_API_TOKEN", "JUPYTERHUB_API_URL", "JUPYTERHUB_SERVICE_PREFIX", "JUPYTERHUB_SERVICE_URL")
    missing = [variable for variable in needed if not environment.get(variable)]
    if missing:
        raise SetupError(
            f"The Hub's service '{name}' has no {', '.join(missing)}.",
            hint="Give the service a 'url', or set the variables yourself for one that the Hub does not start.",
            code="hub_service_incomplete",
        )
    try:
        url = urlsplit(environment["JUPYTERHUB_SERVICE_URL"])
        port = url.port or (443 if url.scheme == "https" else 80)
    except ValueError:
        raise SetupError(
            f"JUPYTERHUB_SERVICE_URL of the Hub's service '{name}' is not a URL.",
            hint="It is the service's 'url', such as http://127.0.0.1:10101.",
            code="hub_service_incomplete",
        ) from None
    prefix = f"/{environment['JUPYTERHUB_SERVICE_PREFIX'].strip('/')}/"
    return HubService(name, prefix, url.hostname or "", port)


def in_users_server(environment: Mapping[str, str]) -> bool:
    """Tell whether this process is the server of a single user of a Hub."""
    return bool(environment.get("JUPYTERHUB_SERVICE_PREFIX")) and not environment.get("JUPYTERHUB_SERVICE_NAME")


@dataclass(frozen=True)
class HubUser:
    """A user as the Hub knows them.

    Attributes:
        admin: Whether they administer the Hub.
        as_of: When the Hub said so.
    """

    name: str
    groups: frozenset[str]
    admin: bool
    as_of: float = field(default=0.0, compare=False)


def read_user(model: Mapping[str, Any]) -> HubUser:
    """Return the user that an answer of the Hub is about.

    Raises:
        Unauthenticated: It is about one of the Hub's services: those are nobody here (``hub_service_refused``).
    """
    if model.get("kind") != "user":
        raise Unauthenticated(
            f"'{model.get('name', '')!s:.100}' is a service of the Hub, not a user.",
            hint="Make an API token of Prompt Cards for it.",
            code="hub_service_refused",
        )
    groups = frozenset(model.get("groups") or ())
    return HubUser(str(model["name"]), groups, bool(model.get("admin")), float(model.get(AS_OF, 0)))


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
