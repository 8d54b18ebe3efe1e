"""What a log line or an audit entry can say about the request that it belongs to."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID

access_log = logging.getLogger("promptcards.access")
MAX_PATH = 300


@dataclass
class RequestFacts:
    """The request that is being answered.

    Attributes:
        address: Of the client, as far as we can tell.
        user_id: Who asks, once that is known.
    """

    request_id: str
    address: str
    user_id: UUID | None = None


_current: ContextVar[RequestFacts | None] = ContextVar("promptcards_request", default=None)


def begin(request_id: str, address: str) -> None:
    """Take note that a request has begun; tornado gives each its own context."""
    _current.set(RequestFacts(request_id, address))


def known(user_id: UUID) -> None:
    """Take note of who asks."""
    if facts := _current.get():
        facts.user_id = user_id


def current() -> RequestFacts | None:
    """Return the request that is being answered, or None outside of any."""
    return _current.get()


def finished(method: str, path: str, status: int, seconds: float) -> None:
    """Log a request at its end, without its query: that may hold a token."""
    level = logging.WARNING if status >= 500 else logging.INFO if status >= 400 else logging.DEBUG
    if not access_log.isEnabledFor(level):
        return
    facts = _current.get()
    user = (facts and facts.user_id) or "-"
    shown = path[:MAX_PATH].encode("unicode_escape").decode()
    access_log.log(level, "%s %s %d %.1f ms user %s", method, shown, status, seconds * 1000, user)


class RequestIdFilter(logging.Filter):
    """Puts the id of the request before the message of each log record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        facts = _current.get()
        if facts is not None and not getattr(record, "request_id", None):
            record.request_id = facts.request_id
            record.msg = f"[{facts.request_id}] {record.msg}"
        return True
