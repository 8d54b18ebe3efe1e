"""The one way to the database: a transaction that names its workspace and its user before anything else.

Row-level security shows a transaction only the rows of the workspace it has named, so a forgotten ``WHERE`` shows
nothing rather than everything. The settings are local to the transaction: a pooled connection carries none over.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa

from promptcard_ext.core.errors import SetupError
from server_ext.db.errors import translated
from server_ext.db.reads import Read, Row
from server_ext.db.text import dump_json, load_json
from server_ext.keys import KeyRing

STATEMENT_TIMEOUT_S = 30.0
SILENCE_S = 30.0
ANNOUNCED = "announced"
"""Where a connection notes what its transaction has announced."""


class Database:
    """A pool of connections in the application's role.

    Args:
        url: ``postgresql+psycopg://…``.
        keys: The installation's secrets, for what is stored sealed; without them nothing that needs one can be done.
        pool_size: Most connections this process opens; a further transaction waits up to ten seconds for one.
        statement_timeout_s: After this long PostgreSQL gives a statement up.
        silence_s: See `connect_args`.

    Attributes:
        after_commit: Called with what a transaction has announced (`server_ext.services.changes`), when it has.

    Example::

        with database.transaction(workspace_id) as connection:
            connection.execute(sa.select(tables.runs))
    """

    def __init__(
        self,
        url: str,
        pool_size: int = 8,
        *,
        keys: KeyRing | None = None,
        statement_timeout_s: float = STATEMENT_TIMEOUT_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._engine = make_engine(
            url,
            pool_size=pool_size,
            statement_timeout_s=statement_timeout_s,
            silence_s=silence_s,
            implicit_begin=False,
        )
        self._keys = keys
        self.after_commit: Callable[[Sequence[Any]], None] | None = None

    @property
    def keys(self) -> KeyRing:
        """The installation's secrets."""
        if self._keys is None:
            raise SetupError("This process was started without the keys of the installation.", code="keys_missing")
        return self._keys

    @contextmanager
    def transaction(self, workspace_id: UUID | None = None, user_id: UUID | None = None) -> Iterator[sa.Connection]:
        """Yield a connection in a transaction that sees ``workspace_id`` and acts for ``user_id``.

        Committed at the end, rolled back when an exception leaves the block. Without a workspace no rows of any
        workspace are seen; with only a user, that user's own row, memberships and workspaces are.

        Raises:
            Unavailable: The database does not answer, is full (``disk_full``) or took too long.
        """
        announced: list[Any] = []
        with translated(), self._engine.begin() as connection:
            connection.info[ANNOUNCED] = announced
            # One way to the server and back for both.
            connection.exec_driver_sql(f"begin; {_naming(workspace_id, user_id)}")
            yield connection
        if announced and self.after_commit is not None:
            self.after_commit(announced)

    def read(
        self, workspace_id: UUID | None, user_id: UUID | None, query: Read, values: Mapping[str, Any]
    ) -> Sequence[Row]:
        """Return the rows of one query, in a transaction of its own that takes one way to the server and back.

        Raises:
            Unavailable: As `transaction`.
        """
        with translated():
            pooled = self._engine.raw_connection()
            connection = pooled.driver_connection
            assert isinstance(connection, psycopg.Connection)
            try:
                return query.ask(connection, workspace_id, user_id, values)
            except psycopg.Error as error:
                if connection.closed:
                    pooled.invalidate(error)
                raise
            finally:
                pooled.close()

    def ping(self) -> None:
        """Raise `Unavailable` unless the database answers."""
        with self.transaction():
            pass

    def dispose_after_fork(self) -> None:
        """Forget the parent's connections in a forked child, without closing them for the parent."""
        self._engine.dispose(close=False)

    def close(self) -> None:
        """Close all connections: those in use as soon as they are given back."""
        close_engine(self._engine)

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def name_tenant(connection: sa.Connection, workspace_id: UUID | None, user_id: UUID | None) -> None:
    """Let the transaction see another workspace from here on. Only what is about a user's account needs it."""
    connection.exec_driver_sql(_naming(workspace_id, user_id))


def _naming(workspace_id: UUID | None, user_id: UUID | None) -> str:
    # From numbers, so that whatever a caller may have mistaken for a UUID never becomes a part of a statement.
    workspace, user = (UUID(int=one.int) if one is not None else "" for one in (workspace_id, user_id))
    return f"set local app.workspace_id = '{workspace}'; set local app.user_id = '{user}'"


def make_engine(
    url: str,
    *,
    pool_size: int = 8,
    statement_timeout_s: float = STATEMENT_TIMEOUT_S,
    silence_s: float = SILENCE_S,
    implicit_begin: bool = True,
) -> sa.Engine:
    """Return an engine with our time limits and our JSON. Everything but migrations goes through `Database`.

    Args:
        implicit_begin: Whether transactions begin by themselves, and not with a statement of the caller's.
    """
    engine = sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg"),
        connect_args=connect_args(statement_timeout_s, silence_s),
        # What psycopg calls autocommit is that it sends no BEGIN; what has begun is committed and undone as ever.
        isolation_level=None if implicit_begin else "AUTOCOMMIT",
        hide_parameters=True,  # an error message may reach a log; a prompt must not
        json_serializer=dump_json,
        json_deserializer=load_json,
        max_overflow=0,
        pool_recycle=1800,
        pool_size=pool_size,
        pool_timeout=10,
    )
    sa.event.listen(engine, "handle_error", _close_lost_cursor)
    sa.event.listen(engine, "checkout", _refuse_lost_connection)
    return engine


def close_engine(engine: sa.Engine) -> None:
    """Close the connections of an engine; one in use when it is given back."""
    sa.event.listen(engine, "checkin", _close_connection)
    engine.dispose()


def _close_connection(connection: psycopg.Connection | None, *_: object) -> None:
    if connection is not None:
        connection.close()


def _refuse_lost_connection(connection: psycopg.Connection, *_: object) -> None:
    """Have the pool connect anew where the server has hung up; costs no way to the server, as a ping would.

    Nothing comes unasked over an idle connection but the news that it has ended.
    """
    if connection.closed:
        raise sa.exc.DisconnectionError("This connection is closed.")
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    if poll.poll(0):
        raise sa.exc.DisconnectionError("The server has closed this connection.")


def _close_lost_cursor(error: sa.ExceptionContext) -> None:
    # SQLAlchemy leaves the cursor of a lost connection open; psycopg complains when one of the server's is collected.
    context = error.execution_context
    if error.is_disconnect and context is not None and context.cursor is not None:
        context.cursor.close()


def connect_args(statement_timeout_s: float, silence_s: float = SILENCE_S) -> dict[str, Any]:
    """Return the options of every connection of ours.

    Args:
        silence_s: So long the machine at the other end may say nothing before the connection counts as lost, at least
            1; a transaction whose client vanished holds its locks for no more than twice as long.
    """
    silence_ms = round(max(1.0, silence_s) * 1000)
    settings = {
        "statement_timeout": round(statement_timeout_s * 1000),
        "idle_in_transaction_session_timeout": 2 * silence_ms,
        "timezone": "UTC",
        "jit": "off",  # compiling costs more than our short statements take
    }
    return {
        "application_name": "promptcards",
        "connect_timeout": 5,
        "keepalives": 1,
        "keepalives_count": 3,
        "keepalives_idle": max(1, silence_ms // 1000),
        "keepalives_interval": max(1, silence_ms // 3000),
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        "tcp_user_timeout": silence_ms,
    }
