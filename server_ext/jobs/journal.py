"""Answers that wait for the database, in files that survive whatever becomes of the worker.

A file belongs to one lease, and is locked by who writes or replays it. Each line is one result with all that is needed
to store it; a line counts once it is on the disk. To replay a line twice stores nothing twice.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO
from uuid import UUID

import msgspec
from msgspec import Struct

from promptcard_ext.core.errors import Unavailable
from server_ext.db.engine import Database
from server_ext.db.text import dump_json, load_json
from server_ext.services import storing
from server_ext.services.recording import Recorded
from server_ext.services.tasks import Lease

log = logging.getLogger("promptcards.worker")
FOLDER = "journal"
PORTION = 500


class Entry(Struct, frozen=True, omit_defaults=True):
    """One line: a result and the lease under which it was asked for."""

    lease: Lease
    recorded: Recorded

    @property
    def key(self) -> tuple[UUID, UUID | None, int, int]:
        """Workspace, run, ordinal and attempt."""
        return self.lease.workspace_id, self.lease.run_id, self.recorded.result.ordinal, self.lease.attempt


class Journal:
    """One file. It is made when the first line is, and gone when all its lines are stored.

    Args:
        path: The file; its folder is made when missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self._size = self._replayed = 0
        self._lock = threading.Lock()

    @property
    def waits(self) -> bool:
        """Whether there are lines that have not been stored."""
        return self._replayed < self._size

    def take(self) -> bool:
        """Open and lock an existing file; return False when somebody else has it, or it is gone."""
        try:
            self._open(os.O_RDWR)
        except (BlockingIOError, FileNotFoundError):
            return False
        return True

    def append(self, entries: Iterable[Entry]) -> None:
        """Write lines; on return they are on the disk.

        Raises:
            OSError: They are not, for instance because the disk is full. Nothing of them is left in the file.
        """
        lines = b"".join(_line(entry) for entry in entries)
        with self._lock:
            file = self._file if self._file is not None else self._open(os.O_RDWR | os.O_CREAT)
            try:
                rest = memoryview(lines)
                while rest:
                    rest = rest[os.write(file, rest) :]
                os.fsync(file)
            except OSError:
                os.ftruncate(file, self._size)
                raise
            self._size += len(lines)

    def replay(self, database: Database) -> dict[Lease, int]:
        """Store what waits; return the last event that was brought to the run of each lease.

        A line that is damaged, or that can never be stored, is logged, and is left in a file ending in ``.kept``.

        Raises:
            Unavailable: The database is away. What was stored until then is not tried again.
        """
        news: dict[Lease, int] = {}
        with self.path.open("rb") as lines:
            lines.seek(self._replayed)
            while True:
                portion = self._portion(lines)
                for lease, batch in _by_lease(self._entries(portion)):
                    news[lease] = max(news.get(lease, 0), self._store(database, lease, batch))
                with self._lock:  # nothing may be added between the look and the end
                    self._replayed += sum(map(len, portion))
                    if not (portion and self.waits):
                        self._remove()
                        return news

    def _store(self, database: Database, lease: Lease, batch: Sequence[Recorded]) -> int:
        try:
            stored = storing.store(database, lease, batch)
        except Unavailable:
            raise
        except Exception:
            # A run that is in no database of ours any more, say; it must not keep all others from theirs.
            log.exception("%d results in %s cannot be stored", len(batch), self.path)
            self.keep(Entry(lease, one) for one in batch)
            return 0
        self.keep(Entry(lease, one) for one in stored.refused)
        return stored.seq

    def keep(self, entries: Iterable[Entry]) -> None:
        """Write results that the database refuses into a file ending in ``.kept``, for people."""
        self._keep_lines([_line(entry) for entry in entries])

    def close(self) -> None:
        """Let go of the file; what waits in it waits for whoever replays it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, flags: int) -> int:
        if flags & os.O_CREAT:
            _make_folder(self.path.parent)
        file = os.open(self.path, flags | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            status = os.fstat(file)
            if status.st_nlink == 0:  # replayed and removed between our two calls
                raise FileNotFoundError(errno.ENOENT, "it was replayed meanwhile", str(self.path))
        except BaseException:
            os.close(file)
            raise
        self._file, self._size, self._replayed = file, status.st_size, 0
        _sync(self.path.parent)
        return file

    def _remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.close()
        self._size = self._replayed = 0

    def _portion(self, lines: BinaryIO) -> list[bytes]:
        """Read some lines, not all: a journal may be larger than memory."""
        portion: list[bytes] = []
        left = self._size - self._replayed
        while left > 0 and len(portion) < PORTION and (line := lines.readline()):
            portion.append(line)
            left -= len(line)
        return portion

    def _entries(self, lines: Iterable[bytes]) -> Iterator[Entry]:
        for line in lines:
            try:
                yield msgspec.convert(load_json(line), Entry)
            except (ValueError, RecursionError) as error:
                log.error("A line of %s is damaged and was left out: %s", self.path, error)
                self._keep_lines([line.rstrip(b"\n") + b"\n"])

    def _keep_lines(self, lines: Sequence[bytes]) -> None:
        if not lines:
            return
        _make_folder(self.path.parent)
        file = os.open(self.path.with_suffix(".kept"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "wb") as kept:
            kept.writelines(lines)
            kept.flush()
            os.fsync(kept.fileno())


def of_lease(home: Path, lease: Lease) -> Journal:
    """Return the journal of a lease, in its worker's home."""
    return Journal(home / FOLDER / f"{lease.token}.jsonl")


def replay_all(home: Path, database: Database) -> dict[Lease, int]:
    """Store what workers of this home have left behind; files that another process has are left to it.

    Raises:
        Unavailable: The database is away.
    """
    news: dict[Lease, int] = {}
    for path in sorted((home / FOLDER).glob("*.jsonl")):
        with Journal(path) as journal:
            if journal.take():
                news |= journal.replay(database)
                log.info("What waited in %s is stored.", path)
    return news


def _line(entry: Entry) -> bytes:
    try:
        text = dump_json(msgspec.to_builtins(entry))
    except (ValueError, RecursionError):  # nested too deeply: then at least what it cost
        text = dump_json(msgspec.to_builtins(Entry(entry.lease, storing.without_content(entry.recorded))))
    return text.encode() + b"\n"


def _by_lease(entries: Iterable[Entry]) -> list[tuple[Lease, Sequence[Recorded]]]:
    found: dict[Lease, dict[tuple[object, ...], Recorded]] = {}
    for entry in entries:
        found.setdefault(entry.lease, {})[(*entry.key, entry.recorded.answer_ids)] = entry.recorded
    return [(lease, list(batch.values())) for lease, batch in found.items()]


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _sync(folder: Path) -> None:
    """Put a folder's entries on the disk: a file that no folder names is lost."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
