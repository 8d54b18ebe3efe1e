"""JupyterHub's side of tornado: its users are let in to Prompt Cards, and to nothing else of this server."""

from __future__ import annotations

import os
import time
from typing import Any

from jupyter_server.auth import Authorizer
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from jupyterhub.services.auth import HubOAuth
from jupyterhub.singleuser.extension import JupyterHubIdentityProvider
from tornado import web
from traitlets import TraitError, default, validate
from traitlets.config import Config

from promptcard_ext.core.errors import Denied, Unavailable
from server_ext.api.base import PromptCardsHandler
from server_ext.auth.hub import AS_OF, HubService
from server_ext.observe import request as observed

CACHE_S = 60
"""How long an answer of the Hub about a token counts, unless `c.HubOAuth.cache_max_age` says otherwise."""

MAX_CACHE_S = 240  # less than the age at which an answer is not good any more


class Hub(HubOAuth):  # type: ignore[misc]  # jupyterhub is not typed
    """The Hub, asked more often than by users' servers: what it answers is who belongs to which group."""

    @default("cache_max_age")
    def _cache_max_age(self) -> int:
        return CACHE_S

    @validate("cache_max_age")
    def _check_cache_max_age(self, proposal: Any) -> int:
        if not 0 <= proposal.value <= MAX_CACHE_S:
            raise TraitError(f"HubOAuth.cache_max_age is {proposal.value} s; 0 to {MAX_CACHE_S} s can be used here.")
        return int(proposal.value)

    def check_scopes(self, required_scopes: set[str], user: dict[str, Any]) -> set[str]:
        """Return those of the scopes that the user has; without one it cannot be a login that is missing.

        Raises:
            Denied: The user has none of them.
        """
        found: set[str] = super().check_scopes(required_scopes, user)
        if not found:
            raise Denied(
                f"The Hub does not let '{user.get('name', '')!s:.100}' use this service with this token or login.",
                hint=f"The Hub's operator grants {' or '.join(sorted(required_scopes))} to roles and servers' tokens.",
                code="hub_access_missing",
            )
        return found


class HubHome(PromptCardsHandler):
    """The page that the Hub's menu of services leads to: it logs in, and shows the user's workspaces."""

    async def prepare(self, *, _redirect_to_login: bool = True) -> None:
        """Send whoever is not logged in to the Hub."""
        observed.begin(self.request_id, self.request.remote_ip or "")
        await JupyterHandler.prepare(self)

    def get_login_url(self) -> str:
        """Return the Hub's."""
        return JupyterHandler.get_login_url(self)

    def get(self) -> None:
        """Go on to the workspaces."""
        self.redirect(url_path_join(self.base_url, "promptcards/api/v1/workspaces"))


class HubIdentity(JupyterHubIdentityProvider):  # type: ignore[misc]  # jupyterhub is not typed
    """Users of the Hub, for our own handlers only.

    Jupyter's other handlers run code and read files as the account of this service: nobody is known to them.
    """

    @default("hub_auth")
    def _hub_auth(self) -> Hub:
        return Hub(parent=self)

    async def get_user(self, handler: Any) -> Any:
        """Return the Hub's user, with what the Hub says of them in ``hub_user``; None before handlers of others.

        Raises:
            Denied: The Hub knows the user and does not let them in here.
            Unavailable: The Hub does not answer.
        """
        if not isinstance(handler, PromptCardsHandler):
            return None
        try:
            user: Any = await super().get_user(handler)
        except web.HTTPError as error:
            if error.status_code < 500:
                raise
            raise Unavailable(
                "The Hub does not say who this is.", hint="Is JupyterHub running?", code="hub_unreachable"
            ) from None
        if user is not None:
            # The Hub's side of jupyterhub keeps the answer and gives the same one to every request of this token.
            user.hub_user.setdefault(AS_OF, time.monotonic())
        return user


class OursOnly(Authorizer):
    """Allows nothing: our handlers ask `permissions`, and those of others are not for users of the Hub."""

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        """Return False."""
        return False


def server_config(service: HubService) -> Config:
    """Return how the server must be set up to be a service of the Hub."""
    return Config(
        {
            "ServerApp": {
                "identity_provider_class": HubIdentity,
                "authorizer_class": OursOnly,
                "allow_unauthenticated_access": False,
                "base_url": service.prefix,
                "ip": service.ip,
                "port": service.port,
                "port_retries": 0,
                # The proxy passes on what browsers call it, and where they are.
                "allow_remote_access": True,
                "trust_xheaders": True,
                "certfile": os.environ.get("JUPYTERHUB_SSL_CERTFILE", ""),
                "keyfile": os.environ.get("JUPYTERHUB_SSL_KEYFILE", ""),
                "client_ca": os.environ.get("JUPYTERHUB_SSL_CLIENT_CA", ""),
                "open_browser": False,
                "terminals_enabled": False,
            }
        }
    )
