"""What lets a session in: a token as given, or a short-lived one of the server's own that it is exchanged for."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import msgspec

from promptcard_ext.core.contract.accounts import AccessToken
from promptcard_ext.core.errors import Denied, PromptCardError, Unauthenticated

HEADER = "X-PromptCards-Token"
_API_TOKEN = "pct_"  # noqa: S105  what API tokens begin with
_JWT_TYPE = "pc+jwt"
# Renewed when this share of its life is over: time enough to survive a server that is being restarted.
_RENEW_AT = 0.7
_AGAIN_AFTER_S = 5.0


class Credentials:
    """The headers of a session's requests; any thread may ask for them.

    Args:
        token: A token of Jupyter or JupyterHub, or one of the server's own; empty for none.
        exchange: Asks the server for a short-lived token of its own; returns None when it has no such thing. A token
            that is the server's own already is sent as it is.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        token: str,
        exchange: Callable[[], AccessToken | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        own = is_own(token)
        self.given = {} if not token else {HEADER: token} if own else {"Authorization": f"token {token}"}
        self._exchange = None if own or not token else exchange
        self._clock = clock
        self._lock = threading.Lock()
        self._granted = ""
        self._renew_at = self._ends_at = 0.0

    def headers(self) -> dict[str, str]:
        """Return what lets us in now; asks the server for a token when there is none or the last one is old.

        What was given stays beside it: there may be another Jupyter in between that wants to see it.

        Raises:
            PromptCardError: The server does not give one, and the last one is not good any more.
        """
        with self._lock:
            if self._exchange is not None and self._clock() >= self._renew_at:
                self._renew(self._exchange)
            return {**self.given, HEADER: self._granted} if self._granted else self.given

    def _renew(self, exchange: Callable[[], AccessToken | None]) -> None:
        try:
            granted = exchange()
        except (Denied, Unauthenticated):
            self._granted = ""
            raise
        except PromptCardError:
            if not self._granted or self._clock() >= self._ends_at:
                raise
            self._renew_at = min(self._ends_at, self._clock() + _AGAIN_AFTER_S)
            return
        if granted is None:
            self._exchange, self._granted = None, ""
            return
        self._granted = granted.access_token
        self._renew_at = self._clock() + granted.expires_in * _RENEW_AT
        self._ends_at = self._clock() + granted.expires_in

    def give_up(self, refused: Mapping[str, str]) -> bool:
        """Tell whether there may be better headers than those that were refused; the next `headers` then asks anew."""
        with self._lock:
            if self._exchange is None or HEADER not in refused:
                return False
            if refused[HEADER] == self._granted:  # another thread may have a newer one already
                self._granted, self._renew_at = "", 0.0
            return True


def is_own(token: str) -> bool:
    """Tell whether a token is one of ours, by its looks: an API token, or a JWT that says so of itself."""
    if token.startswith(_API_TOKEN):
        return True
    head, _, rest = token.partition(".")
    return bool(rest) and _object(head).get("typ") == _JWT_TYPE


def owner_of(token: str) -> str:
    """Return what tells the owners of tokens apart without showing anything of a token.

    It is empty for Jupyter's, where the server alone decides who that is.
    """
    if token.startswith(_API_TOKEN):
        return hashlib.sha256(token.encode()).hexdigest()[:32]
    if is_own(token):
        return str(_object(token.split(".")[1]).get("sub", ""))
    return os.environ.get("JUPYTERHUB_USER", "")


def workspace_of(token: str) -> str | None:
    """Return the id of the only workspace that an API token opens; None for other tokens."""
    if not token.startswith(_API_TOKEN):
        return None
    try:
        return str(UUID(bytes=_decoded(token.removeprefix(_API_TOKEN))[:16]))
    except ValueError:
        return None


def _object(part: str) -> dict[str, Any]:
    """Return the JSON object in a part of a JWT; an empty one for anything else."""
    try:
        value = msgspec.json.decode(_decoded(part))
    except ValueError:  # of both, and of text that is not ASCII
        return {}
    return value if isinstance(value, dict) else {}


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
