"""All users of the Hub and their groups, as far as the Hub lets its service know them."""

from __future__ import annotations

import http.client
import os
import ssl
import time
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import msgspec

from promptcard_ext.core.errors import SetupError, Unavailable
from server_ext.auth.hub import AS_OF, HubService, HubUser, read_user

PAGE = 200
TIMEOUT_S = 30
SCOPES = ("list:users", "read:users:groups")


def read_roster(service: HubService) -> dict[str, HubUser]:
    """Return all users of the Hub by their names.

    Raises:
        SetupError: The service may not know all of them (``hub_roster_denied``). Whom it may not see looks as if they
            had left, so that a part of the list is worth nothing.
        Unavailable: The Hub does not answer (``hub_unreachable``).
    """
    as_of = time.monotonic()
    own = set(_get(service, "user").get("scopes", ()))
    if not own.issuperset(SCOPES):
        raise SetupError(
            f"The service '{service.name}' may not list the users of the Hub and their groups.",
            hint=f"Give it a role of the Hub with the scopes {' and '.join(SCOPES)}.",
            code="hub_roster_denied",
        )
    found: dict[str, HubUser] = {}
    offset: int | None = 0
    while offset is not None:
        page = _get(service, f"users?limit={PAGE}&offset={offset}")
        for model in page["items"]:
            found[str(model["name"])] = read_user({**model, AS_OF: as_of})
        following = page["_pagination"]["next"]
        offset = int(following["offset"]) if following else None
    return found


def _get(service: HubService, path: str) -> dict[str, Any]:
    """Return an answer of the Hub; no proxy of the environment sees the token."""
    url = urlsplit(service.api_url)
    headers = {"Authorization": f"token {service.token}", "Accept": "application/jupyterhub-pagination+json"}
    connection = (
        http.client.HTTPSConnection(url.hostname or "", url.port, timeout=TIMEOUT_S, context=_certificates())
        if url.scheme == "https"
        else http.client.HTTPConnection(url.hostname or "", url.port, timeout=TIMEOUT_S)
    )
    with closing(connection):
        try:
            connection.request("GET", f"{url.path}/{path}", headers=headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise _away(type(error).__name__) from None
    if response.status != 200:
        raise _away(f"status {response.status}")
    answer: dict[str, Any] = msgspec.json.decode(content)
    return answer


def _away(reason: str) -> Unavailable:
    return Unavailable(
        f"The Hub does not say who its users are ({reason}).", hint="Is JupyterHub running?", code="hub_unreachable"
    )


def _certificates() -> ssl.SSLContext:
    """Return what a Hub with ``internal_ssl`` wants of its services."""
    context = ssl.create_default_context(cafile=os.environ.get("JUPYTERHUB_SSL_CLIENT_CA") or None)
    certificate = os.environ.get("JUPYTERHUB_SSL_CERTFILE")
    if certificate:
        context.load_cert_chain(certificate, os.environ.get("JUPYTERHUB_SSL_KEYFILE") or None)
    return context
