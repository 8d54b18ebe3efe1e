"""What all handlers share: who asks, errors as JSON, and the way into the thread pool."""

from __future__ import annotations

import asyncio
import http
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import msgspec
from jupyter_server.base.handlers import JupyterHandler
from tornado import web

from promptcard_ext.core import wire
from promptcard_ext.core.errors import (
    CardError,
    Conflict,
    Denied,
    NotFound,
    PromptCardError,
    SetupError,
    Unavailable,
    UnknownModel,
)
from server_ext.auth.actor import Actor
from server_ext.services.scope import open_scope

if TYPE_CHECKING:
    from server_ext.runtime import Runtime

T = TypeVar("T")
MAX_BODY_BYTES = 2_000_000
READY_TIMEOUT_S = 60.0

# One table from error to status; the first that fits counts.
STATUS: tuple[tuple[type[PromptCardError], int], ...] = (
    (NotFound, 404),
    (Denied, 403),
    (Conflict, 412),
    (CardError, 422),
    (UnknownModel, 422),
    (Unavailable, 503),
    (SetupError, 503),
    (PromptCardError, 400),
)
# Where HTTP is finer than our classes.
STATUS_OF_CODE = {"disk_full": 507, "if_match_missing": 428, "request_too_large": 413}


def status_of(error: PromptCardError) -> int:
    """Return the HTTP status of an error of ours."""
    if error.code in STATUS_OF_CODE:
        return STATUS_OF_CODE[error.code]
    return next(status for kind, status in STATUS if isinstance(error, kind))


class PromptCardsHandler(JupyterHandler):
    """Base of all handlers. Every verb is decorated with `tornado.web.authenticated`; there are no exceptions."""

    max_body_bytes = MAX_BODY_BYTES

    @property
    def app(self) -> Any:
        """The extension."""
        return self.settings["promptcards_app"]

    @cached_property
    def request_id(self) -> str:
        """What this request is called in the answer and in the log."""
        return uuid4().hex

    def get_login_url(self) -> str:
        """Refuse whoever is not logged in: programs ask here, and a login page is no answer to them."""
        raise web.HTTPError(401, "Jupyter's token or login is needed.")

    def set_default_headers(self) -> None:
        """Set headers of a JSON interface: nothing here is a page, and nothing is kept in caches."""
        super().set_default_headers()
        self.set_header("X-Request-Id", self.request_id)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")

    @property
    def content_security_policy(self) -> str:
        """Forbid everything, should a browser ever show an answer as a page."""
        return "default-src 'none'; frame-ancestors 'none'; sandbox"

    async def runtime(self) -> Runtime:
        """Return the running services.

        Raises:
            SetupError, Unavailable: They could not be started.
        """
        runtime: Runtime = await self.app.ready(READY_TIMEOUT_S)
        return runtime

    async def call(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do synchronous work in the bounded pool."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.app.pool, work, *arguments)

    async def use(self, workspace: str, use_case: Callable[..., T], *arguments: Any) -> T:
        """Call a use case in a scope of its own: one transaction, as the user who asks."""
        runtime = await self.runtime()
        actor = self.actor()

        def work() -> T:
            with open_scope(runtime.database, actor, workspace) as scope:
                return use_case(scope, *arguments)

        return await self.call(work)

    def actor(self) -> Actor:
        """Return who asks. In local mode whoever Jupyter lets in is the one owner."""
        actor: Actor = self.app.owner
        return actor

    def body(self, kind: type[T]) -> T:
        """Return the request's body as ``kind``.

        Raises:
            CardError: It is too large, not JSON, or does not fit (``request_invalid``).
        """
        if len(self.request.body) > self.max_body_bytes:
            raise CardError(
                f"The request is larger than {self.max_body_bytes:,} bytes.",
                code="request_too_large",
                hint="Send less at once.",
            )
        try:
            return msgspec.json.decode(self.request.body or b"{}", type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise CardError(f"The request does not fit: {error}.", code="request_invalid") from None

    def integer(self, name: str, default: int, least: int, most: int) -> int:
        """Return a number from the query.

        Raises:
            CardError: It is not a whole number, or out of range (``request_invalid``).
        """
        text = self.get_query_argument(name, "")
        if not text:
            return default
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise CardError(f"'{name}' must be a whole number from {least} to {most}.", code="request_invalid")
        return value

    def reply(self, value: Any, status: int = 200) -> None:
        """Answer with JSON."""
        self.set_status(status)
        self.finish(wire.encode(value))

    def write_error(self, status_code: int, **details: Any) -> None:
        """Answer with ``{"code", "message", "hint", "request_id"}``; never with a traceback."""
        error = details.get("exc_info", (None, None, None))[1]
        if isinstance(error, PromptCardError):
            status_code, answer = status_of(error), error.to_dict()
            if isinstance(error, Conflict) and error.current is not None:
                answer["current"] = error.current
            if error.retry_after_s:
                self.set_header("Retry-After", f"{error.retry_after_s:.0f}")
        else:
            answer = _plain(status_code, error)
        self.set_status(status_code)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(wire.encode({**answer, "request_id": self.request_id}))

    def log_exception(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Log what is our fault; a user's mistake is answered, not logged."""
        if not isinstance(error, PromptCardError) or status_of(error) >= 500:
            super().log_exception(kind, error, trace)
            self.log.error("That was request %s.", self.request_id)


def _plain(status: int, error: BaseException | None) -> dict[str, Any]:
    known = {401: "unauthenticated", 403: "denied", 404: "not_found", 405: "method_not_allowed", 400: "request_invalid"}
    phrase = http.HTTPStatus(status).phrase if status in http.HTTPStatus._value2member_map_ else "Error"
    message = phrase
    if isinstance(error, web.HTTPError) and status < 500 and error.log_message:
        message = error.log_message % error.args if error.args else error.log_message
    hint = "The server's log has the details under this request id." if status >= 500 else ""
    return {"code": known.get(status, "internal_error" if status >= 500 else "error"), "message": message, "hint": hint}
