"""What JupyterHub tells us: that we are one of its services, where to listen, and who its users are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from promptcard_ext.core.errors import SetupError, Unauthenticated

AS_OF = "promptcards_as_of"
"""Key that `HubIdentity` adds to an answer of the Hub: when it came, in seconds of `time.monotonic`."""


@dataclass(frozen=True)
class HubService:
    """The service of a Hub that this process is.

    Attributes:
        prefix: Path of all our URLs, with a slash at either end.
        ip: Address to listen on; empty for all.
        api_url: Where the Hub answers.
        token: What lets us in there.
    """

    name: str
    prefix: str
    ip: str
    port: int
    api_url: str
    token: str = field(repr=False)


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
    api_url, token = environment["JUPYTERHUB_API_URL"].rstrip("/"), environment["JUPYTERHUB_API_TOKEN"]
    return HubService(name, prefix, url.hostname or "", port, api_url, token)


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
