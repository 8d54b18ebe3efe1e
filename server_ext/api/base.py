"""Tornado's side of every request: identity, headers, errors as JSON, and the way into the thread pool."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from jupyter_server.base.handlers import JupyterHandler
from tornado import web

from promptcard_ext.core import wire
from promptcard_ext.core.errors import PromptCardError, Unauthenticated
from server_ext.api.errors import answer_of, status_of
from server_ext.api.headers import HSTS, JSON_CSP, JSON_HEADERS
from server_ext.api.identity import Credential, own_credential
from server_ext.auth.actor import Actor
from server_ext.observe import request as observed

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from server_ext.runtime import Runtime

T = TypeVar("T")
READY_TIMEOUT_S = 60.0


class PromptCardsHandler(JupyterHandler):
    """Base of all handlers.

    Nobody gets further than `prepare` without a credential, unless the operation is declared to be for anybody.
    """

    _credential: Credential | None = None
    _jupyter_user: Any = None
    # Headers that errors have too; tornado drops all others before it answers with one.
    _always: dict[str, str] | None = None

    @property
    def app(self) -> Any:
        """The extension."""
        return self.settings["promptcards_app"]

    @cached_property
    def request_id(self) -> str:
        """What this request is called in the answer and in the log."""
        return uuid4().hex

    @property
    def public(self) -> bool:
        """Whether this request is for anybody."""
        return False

    @property
    def anonymous(self) -> bool:
        """Whether this request shows no credential."""
        return self._credential is None and self._jupyter_user is None

    async def prepare(self, *, _redirect_to_login: bool = False) -> None:
        """Find out whether there is a credential; whether it is good is found out in the pool.

        A credential of ours that is bad is refused, even when Jupyter would let the request in by another one. It is
        never sent by a browser of its own accord, so that no page of another site can use it.
        """
        observed.begin(self.request_id, self.request.remote_ip or "")
        self._credential = own_credential(self.request.headers)
        if self._credential is not None or self.public:
            if not self.check_host():
                raise web.HTTPError(403)
            self.current_user = self._jupyter_current_user = None
            return
        try:
            await super().prepare(_redirect_to_login=False)
        except web.HTTPError:
            # Before a change Jupyter asks nobody in particular for an XSRF token: that is not what is missing.
            nobody = hasattr(self, "_jupyter_current_user") and self.current_user is None
            if not nobody or not self.check_host():
                raise
        self._jupyter_user = self.current_user
        if self._jupyter_user is None:
            raise Unauthenticated("Jupyter's token or login, or a token of ours, is needed.")

    def identify(self) -> Actor:
        """Return who asks; called in the pool, since it may ask the database.

        Raises:
            Unauthenticated: The credential is not good, or not for this server.
        """
        actor: Actor = self.app.identify(self._credential, self._jupyter_user)
        observed.known(actor.user_id)
        return actor

    def at_hand(self) -> Actor | None:
        """Return who asks, or None when that takes asking somebody.

        Raises:
            Unauthenticated: As `identify`.
        """
        actor: Actor | None = self.app.at_hand(self._credential, self._jupyter_user)
        if actor is not None:
            observed.known(actor.user_id)
        return actor

    def get_login_url(self) -> str:
        """Refuse whoever is not logged in: programs ask here, and a login page is no answer to them."""
        raise Unauthenticated("Jupyter's token or login, or a token of ours, is needed.")

    def set_default_headers(self) -> None:
        """Set headers of a JSON interface: nothing here is a page, and nothing is kept in caches."""
        super().set_default_headers()
        self.set_header("X-Request-Id", self.request_id)
        for name, value in JSON_HEADERS.items():
            self.set_header(name, value)
        if self.request.protocol == "https":
            self.set_header("Strict-Transport-Security", HSTS)

    @property
    def content_security_policy(self) -> str:
        """Forbid everything, should a browser ever show an answer as a page."""
        return JSON_CSP

    def compute_etag(self) -> str | None:
        """Return the tag that the operation has set; tornado would hash the whole answer of every GET."""
        return self._headers.get("ETag")

    async def runtime(self) -> Runtime:
        """Return the running services.

        Raises:
            SetupError, Unavailable: They could not be started.
        """
        runtime: Runtime = await self.app.ready(READY_TIMEOUT_S)
        return runtime

    async def call(self, work: Callable[..., T], *arguments: Any, pool: Executor | None = None) -> T:
        """Do synchronous work in a bounded pool, by default the one of ordinary requests."""
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        return await loop.run_in_executor(pool or self.app.pool, context.run, work, *arguments)

    def write_error(self, status_code: int, **details: Any) -> None:
        """Answer with ``{"code", "message", "hint", "request_id"}``; never with a traceback."""
        error = details.get("exc_info", (None, None, None))[1]
        status, answer = answer_of(status_code, error)
        for name, value in (self._always or {}).items():
            self.set_header(name, value)
        retry_after = getattr(error, "retry_after_s", None)
        if retry_after:
            self.set_header("Retry-After", str(max(1, round(retry_after))))
        if status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(wire.encode({**answer, "request_id": self.request_id}))

    def log_exception(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Log what is our fault; a user's mistake is answered, not logged."""
        if not isinstance(error, PromptCardError) or status_of(error) >= 500:
            super().log_exception(kind, error, trace)
            self.log.error("That was request %s.", self.request_id)

    def _log(self) -> None:
        """Let Jupyter log what failed; a line of its for each request that succeeded took a tenth of the request."""
        if self.get_status() >= 400:
            super()._log()

    def on_finish(self) -> None:
        """Log the request under its id."""
        super().on_finish()
        observed.finished(self.request.method or "", self.request.path, self.get_status(), self.request.request_time())
