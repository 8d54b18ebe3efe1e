"""Cases on disk: a plan of a million of them needs no memory for them."""

from __future__ import annotations

import hashlib
import os
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import msgspec

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.case import Case, as_cases
from promptcard_ext.core.errors import FileError
from promptcard_ext.local import records
from promptcard_ext.local.case_index import CaseIndex
from promptcard_ext.local.folders import explained, make_private
from promptcard_ext.local.lines import read_line, scan_lines

_BUFFER = 1 << 20


class _CaseReader:
    """Decodes cases; those with the same assertions, mostly all of a file, share them instead of checking them anew."""

    KEPT = 256

    def __init__(self) -> None:
        self._slowly = records.decoder(Case)
        self._parts = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._assertions = records.decoder(tuple[Assertion, ...])
        self._known: dict[bytes, tuple[Assertion, ...]] = {}

    def __call__(self, line: bytes) -> Case:
        try:
            parts = self._parts.decode(line)
            shared = parts.pop("assertions", None)
            fields = {name: msgspec.json.decode(part) for name, part in parts.items()}
        except ValueError:
            return self._slowly(line)
        if shared is not None:
            fields["assertions"] = self._same(bytes(shared))
        return Case(**fields)

    def _same(self, text: bytes) -> tuple[Assertion, ...]:
        found = self._known.get(text)
        if found is None:
            if len(self._known) >= self.KEPT:
                self._known.clear()
            found = self._known[text] = self._assertions(text)
        return found


class CaseSpool(Sequence[Case]):
    """Cases in a file of JSON Lines, read one by one when they are needed; in memory are 8 bytes per case.

    Made by `write` or `open`, read by any number of threads.

    Attributes:
        path: The file; None for a temporary one without a name.
        sha256: Hash of the file's content, 64 hexadecimal digits.
    """

    def __init__(self, fd: int, path: Path | None) -> None:
        self.path = path
        self.sha256 = ""
        self._fd = fd
        self._starts = array("Q")
        self._decode = _CaseReader()
        self._finalizer = weakref.finalize(self, os.close, fd)

    @classmethod
    def write(cls, cases: Iterable[Case | Mapping[str, Any]], path: str | Path | None = None) -> CaseSpool:
        """Write cases to a new file, by default a temporary one that goes with the object.

        Raises:
            CardError: Two cases have the same variables (``case_twice``), or one is no case (``case_invalid``).
            FileError: The file is there already, or cannot be written (``cases_unusable``).
        """
        with explained(Path(path or tempfile.gettempdir()), code="cases_unusable"):
            spool = cls(*_create(path))
            try:
                spool._fill(cases)
            except BaseException:
                spool.close()
                if spool.path is not None:
                    spool.path.unlink()
                raise
        return spool

    def _fill(self, cases: Iterable[Case | Mapping[str, Any]]) -> None:
        seen, hashed, buffer, written = CaseIndex(), hashlib.sha256(), bytearray(), 0
        for given in cases:
            (case,) = as_cases([given])
            earlier = seen.add(case.uid)
            if earlier is not None:
                _write(self._fd, buffer)
                as_cases([self[earlier], case])  # raises, unless only the first 64 bits are the same
            self._starts.append(written)
            line = records.encode(case) + b"\n"
            hashed.update(line)
            buffer += line
            written += len(line)
            if len(buffer) >= _BUFFER:
                _write(self._fd, buffer)
        _write(self._fd, buffer)
        os.fsync(self._fd)
        self.sha256 = hashed.hexdigest()

    @classmethod
    def open(cls, path: str | Path) -> CaseSpool:
        """Open a file that `write` made.

        Raises:
            FileError: It cannot be opened (``cases_unusable``), or its end is missing (``cases_invalid``).
        """
        path = Path(path).absolute()
        with explained(path, code="cases_unusable"):
            spool = cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC), path)
            hashed = hashlib.sha256()
            for start, line in scan_lines(spool._fd):
                hashed.update(line)
                spool._starts.append(start)
                if not line.endswith(b"\n"):
                    spool.close()
                    raise spool._invalid("its last line was cut off")
        spool.sha256 = hashed.hexdigest()
        return spool

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> Case: ...

    @overload
    def __getitem__(self, index: slice) -> list[Case]: ...

    def __getitem__(self, index: int | slice) -> Case | list[Case]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        start = self._starts[index]
        with explained(self.path or Path(tempfile.gettempdir()), code="cases_unusable"):
            line = read_line(self._fd, start)
        try:
            return self._decode(line)
        except (ValueError, TypeError) as error:
            raise self._invalid(f"what stands at byte {start:,} is not a case ({error!s:.200})") from None

    def close(self) -> None:
        """Close the file; calling it twice is fine."""
        self._finalizer()

    def _invalid(self, problem: str) -> FileError:
        return FileError(
            f"The cases {self.path or '(temporary)'} cannot be read: {problem}.",
            hint="The file was changed or damaged; start a new run from the cases' source.",
            code="cases_invalid",
        )


def _create(path: str | Path | None) -> tuple[int, Path | None]:
    if path is None:
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno()), None
    path = Path(path).absolute()
    make_private(path.parent)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), path


def _write(fd: int, buffer: bytearray) -> None:
    while buffer:
        del buffer[: os.write(fd, buffer)]
