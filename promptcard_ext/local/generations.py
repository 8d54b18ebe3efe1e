"""Answers by what was asked, in memory or in a file: what was paid for once is not paid for again."""

from __future__ import annotations

import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from promptcard_ext.core.results import Generation
from promptcard_ext.local import cache_file, records
from promptcard_ext.local.cache_writer import Row, Writer
from promptcard_ext.local.folders import cache_path


class CacheStats(NamedTuple):
    """What a store of answers holds.

    Attributes:
        size_bytes: Of the answers; the file is a little larger.
        oldest: When the oldest answer was stored, in seconds since 1970; None when there is none.
        by_model: Number of answers by provider and model, such as ``openai:gpt-4.1``, most first.
    """

    entries: int
    size_bytes: int
    oldest: float | None
    by_model: dict[str, int]


class MemoryGenerations:
    """Answers that live as long as this process (a `core.ports.GenerationStore`).

    Args:
        clock: Gives the time in seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._stored: dict[str, tuple[float, Generation]] = {}

    def get(self, key: str, max_age_s: float | None = None) -> Generation | None:
        """Return what is stored under ``key`` and is not older than ``max_age_s``."""
        created_at, generation = self._stored.get(key, (0.0, None))
        fresh = max_age_s is None or created_at >= self._clock() - max_age_s
        return generation if fresh else None

    def put(self, key: str, generation: Generation) -> None:
        """Store an answer; an earlier one under the same key is replaced."""
        self._stored[key] = (self._clock(), generation)

    def flush(self) -> None:
        """Do nothing: what is in memory dies with the process."""

    def clear(self) -> None:
        """Forget all answers."""
        self._stored.clear()


class FileGenerations:
    """Answers in a file that several processes may use at once (a `core.ports.GenerationStore`).

    An answer is written within half a second, and by `flush` at once; then it survives the death of this process
    (``kill -9`` included). Writing is done by a thread, so that `put` takes microseconds whatever the disk does.

    Args:
        path: The file, made when it is missing, for this user only; by default ``PROMPTCARDS_CACHE``, else
            ``generations.db`` in the user's cache directory. Not on a network file system: its locks are too weak.
        clock: Gives the time in seconds since 1970.

    Raises:
        FileError: ``cache_invalid``, ``cache_newer`` or ``cache_unusable``; the file is left as it is.
    """

    def __init__(self, path: str | Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path).absolute() if path is not None else cache_path()
        self._clock = clock
        self._decode = records.decoder(Generation)
        self._lock = threading.Lock()
        self._reader = cache_file.connect(self.path)
        self._writer = Writer(self.path, cache_file.connect(self.path))
        # A store that is dropped, or lives until the process ends, is closed like one that `close` was called on.
        self._finalizer = weakref.finalize(self, _shut, self._writer, self._reader)

    def get(self, key: str, max_age_s: float | None = None) -> Generation | None:
        """Return what is stored under ``key`` and is not older than ``max_age_s``.

        Raises:
            FileError: The file was damaged since it was opened (``cache_invalid``), or cannot be read any more.
        """
        row = self._writer.waiting(key) or self._row(key)
        if row is None or (max_age_s is not None and row.created_at < self._clock() - max_age_s):
            return None
        try:
            return self._decode(row.body)
        except ValueError as error:
            raise cache_file.damaged(self.path, key, str(error)) from None

    def _row(self, key: str) -> Row | None:
        with self._lock, cache_file.translated(self.path):
            found = self._reader.execute(
                "SELECT model, created_at, body FROM generation WHERE key = ?", (cache_file.key_bytes(key),)
            ).fetchone()
        return None if found is None else Row(*found)

    def put(self, key: str, generation: Generation) -> None:
        """Store an answer; an earlier one under the same key is replaced."""
        model = f"{generation.provider}:{generation.model}".encode("utf-8", "replace").decode()
        self._writer.put(key, Row(model, self._clock(), records.encode(generation)))

    def flush(self) -> None:
        """Make everything stored so far survive the death of this process.

        Raises:
            FileError: It could not be written (``cache_unusable``); it is kept, and tried again.
        """
        self._writer.write()

    def stats(self) -> CacheStats:
        """Return what the file holds; reads all of it."""
        self.flush()
        with self._lock, cache_file.translated(self.path):
            rows = self._reader.execute(
                "SELECT model, count(*), sum(length(body)), min(created_at) FROM generation"
                " GROUP BY model ORDER BY count(*) DESC, model"
            ).fetchall()
        return CacheStats(
            entries=sum(row[1] for row in rows),
            size_bytes=sum(row[2] for row in rows),
            oldest=min((row[3] for row in rows), default=None),
            by_model={row[0]: row[1] for row in rows},
        )

    def prune(self, max_age_s: float) -> int:
        """Remove answers older than ``max_age_s`` seconds, give their room back, and return how many they were."""
        return self._writer.remove("DELETE FROM generation WHERE created_at < ?", (self._clock() - max_age_s,))

    def clear(self) -> int:
        """Remove all answers, give their room back, and return how many they were."""
        return self._writer.remove("DELETE FROM generation", ())

    def close(self) -> None:
        """Write what is left and close the file; calling it twice is fine.

        Raises:
            FileError: As `flush` says; the file is closed nevertheless.
        """
        try:
            if self._finalizer.alive:
                self.flush()
        finally:
            self._finalizer()


def _shut(writer: Writer, reader: sqlite3.Connection) -> None:
    writer.stop()
    reader.close()
