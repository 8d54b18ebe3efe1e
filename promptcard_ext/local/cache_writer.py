"""Writing answers to the file, a few hundred at a time, without making anybody wait."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from promptcard_ext.core.errors import FileError
from promptcard_ext.local.cache_file import key_bytes, transaction, translated

BATCH = 500
WAIT_S = 0.5
# While the disk is full: a store may forget, a process may not grow without end.
MOST_WAITING = 20_000


class Row(NamedTuple):
    """An answer as it is stored; ``created_at`` in seconds since 1970."""

    model: str
    created_at: float
    body: bytes


class Writer:
    """Takes answers at once and writes them soon: after half a second, or when 500 are there.

    A transaction is open only while rows are copied into it, so other processes wait for milliseconds.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        # Two dictionaries: what came since, and what is being written; both are looked at by `waiting`.
        self._new: dict[str, Row] = {}
        self._leaving: Mapping[str, Row] = {}
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._some, self._many, self._stopped = threading.Event(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, key: str, row: Row) -> None:
        """Take an answer."""
        with self._lock:
            self._new[key] = row
            waiting = len(self._new)
        if waiting >= BATCH:
            self._many.set()
            self._forget_some(waiting)
        elif waiting == 1:
            self._some.set()
            if self._thread is None:
                self._start()

    def _forget_some(self, waiting: int) -> None:
        if waiting > MOST_WAITING:
            with self._lock:
                del self._new[next(iter(self._new))]

    def waiting(self, key: str) -> Row | None:
        """Return an answer that is not in the file yet."""
        return self._new.get(key) or self._leaving.get(key)

    def write(self) -> None:
        """Write what is waiting.

        Raises:
            FileError: It could not be written (``cache_unusable``, ``cache_invalid``); it goes on waiting.
        """
        with self._writing:
            with self._lock:
                # In this order: `waiting` looks without the lock, and must find a row in one of them.
                self._leaving = leaving = self._new
                self._new = {}
                self._many.clear()
            try:
                if leaving:
                    self._insert(leaving)
            except BaseException:
                with self._lock:
                    self._new = {**leaving, **self._new}
                raise
            finally:
                self._leaving = {}

    def _insert(self, rows: Mapping[str, Row]) -> None:
        with translated(self.path), transaction(self._connection):
            self._connection.executemany(
                "INSERT OR REPLACE INTO generation (key, model, created_at, body) VALUES (?, ?, ?, ?)",
                [(key_bytes(key), *row) for key, row in rows.items()],
            )

    def remove(self, statement: str, values: tuple[Any, ...]) -> int:
        """Delete rows, give their room back to the disk, and return how many they were."""
        self.write()
        with self._writing, translated(self.path):
            with transaction(self._connection):
                removed = self._connection.execute(statement, values).rowcount
            # A script, because `execute` takes one step, which frees one page.
            self._connection.executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE);")
        return removed

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._work, daemon=True, name="promptcards-cache")
        self._thread.start()

    def _work(self) -> None:
        while not self._stopped.is_set():
            self._some.wait()
            self._many.wait(WAIT_S)
            self._some.clear()
            try:
                self.write()
            except FileError:
                # `flush` says it to somebody who can read it; until then it is tried again.
                self._stopped.wait(WAIT_S)
                self._some.set()
        self._finish()

    def stop(self) -> None:
        """Write what is left, as far as that is possible, and close the file."""
        self._stopped.set()
        self._some.set()
        self._many.set()
        if self._thread is None:
            self._finish()
        # The garbage collector may call this in any thread, in the middle of a `write` of our own thread too.
        elif self._thread is not threading.current_thread():
            self._thread.join()

    def _finish(self) -> None:
        with suppress(FileError):
            self.write()
        self._connection.close()
