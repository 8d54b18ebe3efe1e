"""What JupyterHub tells us: that we are one of its services, where to listen, and who its users are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cachetools import TTLCache

from promptcard_ext.core.errors import SetupError, Unauthenticated
from server_ext.auth.actor import Actor

MAX_KNOWN = 10_000
SYNC_AFTER_S = 300.0


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
    """

    name: str
    groups: frozenset[str]
    admin: bool


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
    return HubUser(str(model["name"]), frozenset(model.get("groups") or ()), bool(model.get("admin")))


class HubActors:
    """Actors of the Hub's users, whose memberships follow their groups.

    Args:
        sync: Brings the memberships in line with the groups, and returns the actor.
        after_s: Seconds until that is done again, though nothing has changed: a workspace may be new.
    """

    def __init__(self, sync: Callable[[HubUser], Actor], after_s: float = SYNC_AFTER_S) -> None:
        self._sync = sync
        self._known: TTLCache[str, tuple[HubUser, Actor]] = TTLCache(MAX_KNOWN, after_s)
        self._lock = threading.Lock()

    def actor_of(self, jupyter_user: Any) -> Actor:
        """Return the actor for ``handler.current_user``; synchronous, may ask the database.

        Raises:
            Unauthenticated: It is no user of the Hub.
        """
        user = read_user(jupyter_user.hub_user)
        with self._lock:
            before, actor = self._known.get(user.name, (None, None))
        if actor is None or before != user:
            actor = self._sync(user)
            with self._lock:
                self._known[user.name] = user, actor
        return actor
