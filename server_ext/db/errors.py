"""The one place where an error of the driver becomes an error of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, StatementError

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


STORING = (DBAPIError, StatementError, psycopg.Error, Unavailable, ValueError, OverflowError, RecursionError)
"""What may be raised when a value is stored."""
# Data exceptions, broken constraints, and what is larger or deeper than PostgreSQL takes.
_REFUSED = ("22", "23", "54")
_MET = ("40001", "40P01")


def is_refusal(error: Exception) -> bool:
    """Tell whether an error of `STORING` is about what was to be stored, not about the database or the statement."""
    cause = error.__cause__ if isinstance(error, Unavailable) else error
    if isinstance(cause, DBAPIError | psycopg.Error) and (state := sqlstate(cause)) is not None:
        return state.startswith(_REFUSED)
    if isinstance(cause, DBAPIError):
        cause = cause.orig
    # Whatever else the driver says without a code is that there is no connection.
    own = not isinstance(cause, DBAPIError | psycopg.Error) and isinstance(cause, STORING)
    return own or isinstance(cause, psycopg.DataError)


def met_another(error: Unavailable) -> bool:
    """Tell whether a transaction was undone because it and another one waited for, or wrote over, each other."""
    cause = error.__cause__
    return isinstance(cause, DBAPIError | psycopg.Error) and sqlstate(cause) in _MET
