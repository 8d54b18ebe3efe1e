"""Results as they come, in a file: a hundred thousand of them take a megabyte of memory."""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from promptcard_ext.core.errors import FileError
from promptcard_ext.core.matrix import MAX_ITEMS
from promptcard_ext.core.results import ItemResult
from promptcard_ext.local import records
from promptcard_ext.local.folders import explained, make_private, open_private
from promptcard_ext.local.lines import read_line, scan_lines

_BUFFER = 65_536
_NOWHERE = 0xFFFF_FFFF


class _Place(Struct):
    ordinal: int


class ResultsLog:
    """Results of a run in JSON Lines, appended and never rewritten.

    An item whose error is tried again gets a second line; the last one counts, in the place of the first. One thread
    may append while others read. In memory are 12 bytes per result.

    Args:
        path: The file, made when it is missing, for this user only, and continued when it is there; without one a
                temporary file that has no name and goes with this object.
        write: Whether to continue the file. Otherwise it may belong to a run that goes on in another process: it is
            read as far as it is now, and not touched.

    Attributes:
        torn_bytes: Length of a last line that a crash cut off half-way; it was removed, unless ``write`` is False.

    Raises:
        FileError: A line is not a result (``results_invalid``; the file is left as it is), or the file cannot be
            opened (``results_unusable``).
    """

    def __init__(self, path: str | Path | None = None, *, write: bool = True) -> None:
        self.path = None if path is None else Path(path).absolute()
        self._write_allowed = write
        self.torn_bytes = 0
        self._decode = records.decoder(ItemResult)
        self._starts = array("Q")  # by order of arrival: where the line begins
        self._arrivals = array("I")  # by ordinal: place in the order of arrival
        self._buffer = bytearray()
        self._written = 0
        self._lock = threading.Lock()
        with explained(self.path or Path(tempfile.gettempdir()), code="results_unusable"):
            self._fd = self._open()
        self._finalizer = weakref.finalize(self, os.close, self._fd)
        try:
            self._read_back()
        except BaseException:
            self._finalizer()
            raise

    def _open(self) -> int:
        if self.path is not None:
            if not self._write_allowed:
                return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            make_private(self.path.parent)
            return open_private(self.path)
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())

    def _read_back(self) -> None:
        place = records.decoder(_Place)
        for number, (start, line) in enumerate(scan_lines(self._fd), 1):
            if not line.endswith(b"\n"):
                self.torn_bytes = len(line)
                if self._write_allowed:
                    os.ftruncate(self._fd, start)
                break
            try:
                self._index(place(line).ordinal, start)
            except ValueError as error:
                raise self._invalid(f"line {number:,} is not a result ({error!s:.200})") from None
            self._written = start + len(line)

    def append(self, results: Iterable[ItemResult]) -> None:
        """Take results. In a file with a name they survive the death of this process from now on.

        Raises:
            FileError: They cannot be written (``results_unusable``); what was taken is kept, and tried again.
        """
        assert self._write_allowed
        lines = [(result.ordinal, records.encode(result)) for result in results]
        with self._lock:
            for ordinal, line in lines:
                self._index(ordinal, self._written + len(self._buffer))
                self._buffer += line
                self._buffer += b"\n"
            # What has a name may have to outlive this process, at any moment.
            if self.path is not None or len(self._buffer) >= _BUFFER:
                self._write()

    def _index(self, ordinal: int, start: int) -> None:
        if not 0 <= ordinal < MAX_ITEMS:
            raise ValueError(f"there is no item {ordinal}")
        if ordinal >= len(self._arrivals):
            self._arrivals.extend(array("I", [_NOWHERE]) * (ordinal + 1 - len(self._arrivals)))
        arrival = self._arrivals[ordinal]
        if arrival == _NOWHERE:
            # In this order: readers come without the lock.
            self._starts.append(start)
            self._arrivals[ordinal] = len(self._starts) - 1
        else:
            self._starts[arrival] = start

    def flush(self) -> None:
        """Hand everything to the system: it survives the death of this process.

        Raises:
            FileError: It cannot be written (``results_unusable``); it is kept, and tried again.
        """
        with self._lock:
            self._write()

    def _write(self) -> None:
        with explained(self.path or Path(tempfile.gettempdir()), code="results_unusable"):
            while self._buffer:
                done = os.pwrite(self._fd, self._buffer, self._written)
                del self._buffer[:done]
                self._written += done

    def __len__(self) -> int:
        """Return the number of items with a result."""
        return len(self._starts)

    def __contains__(self, ordinal: int) -> bool:
        """Tell whether an item has a result."""
        return 0 <= ordinal < len(self._arrivals) and self._arrivals[ordinal] != _NOWHERE

    def get(self, ordinal: int) -> ItemResult | None:
        """Return the last result of an item, or None when there is none.

        Raises:
            FileError: The file was changed by somebody else (``results_invalid``).
        """
        return self._at(self._arrivals[ordinal]) if ordinal in self else None

    def window(self, first: int, last: int) -> list[ItemResult]:
        """Return results by order of arrival, from ``first`` up to but without ``last``, as far as there are any."""
        return [self._at(arrival) for arrival in range(max(first, 0), min(last, len(self)))]

    def iter_plan(self) -> Iterator[ItemResult]:
        """Yield the results there are in the order of the plan."""
        return (self._at(self._arrivals[ordinal]) for ordinal in self.ordinals())

    def ordinals(self) -> Iterator[int]:
        """Yield the ordinals of the items that have a result, ascending."""
        return (ordinal for ordinal in range(len(self._arrivals)) if ordinal in self)

    def _at(self, arrival: int) -> ItemResult:
        start = self._starts[arrival]
        if start >= self._written:
            self.flush()
        with explained(self.path or Path(tempfile.gettempdir()), code="results_unusable"):
            line = read_line(self._fd, start)
        try:
            return self._decode(line)
        except ValueError as error:
            raise self._invalid(f"what stands at byte {start:,} is not a result ({error!s:.200})") from None

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

    def _invalid(self, problem: str) -> FileError:
        return FileError(
            f"The results {self.path or '(temporary)'} cannot be read: {problem}.",
            hint="The file is left as it is; remove the bad line, or start a new run.",
            code="results_invalid",
        )
