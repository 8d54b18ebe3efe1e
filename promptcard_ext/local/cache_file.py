"""The file of stored answers: an SQLite database, opened with care.

SQLite is used inside this one file and nowhere else. It brings what several processes on one file need: a write-ahead
log, so that readers never wait, locks that die with their process, and recovery after a crash.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from promptcard_ext.core.errors import FileError
from promptcard_ext.local.folders import explained, make_private

# Four bytes in the header that say whose file it is ("PrCa").
APPLICATION = 0x50724361
VERSION = 1
BUSY_S = 10.0

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS generation (
    key BLOB PRIMARY KEY,
    model TEXT NOT NULL,
    created_at REAL NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS generation_created_at ON generation (created_at);
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
COMMIT;
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open a file of answers, and create it, for this user only, when there is none.

    Raises:
        FileError: It is damaged or belongs to something else (``cache_invalid``), to a newer version (``cache_newer``),
            or it cannot be opened (``cache_unusable``). The file is left as it is.
    """
    with explained(path, code="cache_unusable"):
        _create(path)
    with translated(path):
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def _create(path: Path) -> None:
    make_private(path.parent)
    # Never open one that is there: closing it again would drop the locks of this process's other connections.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    application, version, tables = _identity(connection)
    if (application or tables) and application != APPLICATION:
        raise _invalid(path, "it is a database of another program")
    if version > VERSION:
        raise FileError(
            f"The cache {path} was made by a newer version of promptcards.",
            hint="Update promptcards, or set PROMPTCARDS_CACHE to another file.",
            code="cache_newer",
        )
    if not application:
        # Has to come before the first table; lets the file shrink when answers are removed.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    _use_log(connection)
    # With a log this survives the death of the process; only a crash of the machine may cost the last answers.
    connection.execute("PRAGMA synchronous = NORMAL")
    if not application:
        connection.executescript(_SCHEMA)


def _identity(connection: sqlite3.Connection) -> tuple[int, int, int]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return application, version, tables


def _use_log(connection: sqlite3.Connection) -> None:
    # Two processes that create the file at once: SQLite does not wait for this lock by itself.
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def key_bytes(key: str) -> bytes:
    """Return a key as it is stored; a lone surrogate in it, which SQLite's texts cannot hold, is kept."""
    return key.encode("utf-8", "surrogatepass")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Run statements in one transaction that has the right to write from its beginning."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn an error of SQLite into a `FileError` that names the file.

    Raises:
        FileError: ``cache_invalid`` or ``cache_unusable``.
    """
    try:
        yield
    except sqlite3.ProgrammingError:  # ours: it was closed
        raise
    except sqlite3.OperationalError as error:
        raise FileError(
            f"The cache {path} cannot be used: {error}.",
            hint="Check permissions and space, or set PROMPTCARDS_CACHE to another file.",
            code="cache_unusable",
        ) from error
    except sqlite3.DatabaseError as error:
        raise _invalid(path, str(error)) from error


def _invalid(path: Path, problem: str) -> FileError:
    return FileError(
        f"{path} is not a usable cache of answers: {problem}.",
        hint="It is left as it is: move it away, or set PROMPTCARDS_CACHE to another file.",
        code="cache_invalid",
    )


def damaged(path: Path, key: str, problem: str) -> FileError:
    """Return the error for an answer in the file that cannot be read."""
    return _invalid(path, f"the answer under {key!r:.90} cannot be read ({problem:.200})")
