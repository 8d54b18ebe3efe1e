"""The one place where an error of the driver becomes an error of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from promptcard_ext.core.errors import Unavailable

IMMUTABLE = "PC001"
"""SQLSTATE with which the database refuses to change what is written once."""

_MEANING = {
    "53100": ("disk_full", "The disk of the database is full.", "Free some space; nothing already saved is lost."),
    "53300": ("database_busy", "The database takes no more connections.", "Try again in a moment."),
    "57014": ("database_timeout", "The database took too long and gave up.", "Ask for less, or try again later."),
    "55P03": ("database_busy", "Another operation holds what this one needs.", "Try again in a moment."),
    "40001": ("database_busy", "Two changes met, and this one was undone.", "Try again."),
    "40P01": ("database_busy", "Two changes waited for each other, and this one was undone.", "Try again."),
    "25006": ("database_read_only", "The database takes no changes at the moment.", "Try again in a moment."),
}
_NOT_REACHED = OperationalError | InterfaceError | psycopg.OperationalError | psycopg.InterfaceError
_AWAY = (
    "database_unavailable",
    "The database does not answer.",
    "Is PostgreSQL running? The log of the server says more.",
)


@contextmanager
def translated() -> Iterator[None]:
    """Turn errors that mean "not now" into `Unavailable`; let errors of the program through as they are.

    The message never has the driver's text: that may quote rows of another workspace.
    """
    try:
        yield
    except sa.exc.TimeoutError as error:
        raise Unavailable(
            "All connections to the database are in use.", hint="Try again in a moment.", code="database_busy"
        ) from error
    except (DBAPIError, psycopg.Error) as error:
        state = sqlstate(error)
        if state in _MEANING:
            code, message, hint = _MEANING[state]
        elif isinstance(error, _NOT_REACHED) or getattr(error, "connection_invalidated", False):
            code, message, hint = _AWAY
        else:
            raise
        raise Unavailable(message, hint=hint, code=code) from error


def sqlstate(error: DBAPIError | psycopg.Error) -> str | None:
    """Return PostgreSQL's five-letter code, or None when the server was not reached."""
    return getattr(error.orig if isinstance(error, DBAPIError) else error, "sqlstate", None)
