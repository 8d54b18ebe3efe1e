"""Tables in files, row by row: CSV and JSON Lines without holding them, spreadsheets and Parquet within limits."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from promptcard_ext.core.errors import FileError
from promptcard_ext.core.identity import refuse_constant
from promptcard_ext.interchange.formula_guard import unguarded

MAX_LINE_BYTES = 20_000_000
MAX_CELL_CHARS = 1_000_000
_DELIMITERS = ",;\t|"


class Record(NamedTuple):
    """One row.

    Attributes:
        offset: Where it begins in the file, in bytes; 0 where that means nothing.
        where: Words for messages: ``line 7``, ``row 7``.
    """

    value: Any
    where: str
    offset: int = 0
    line: int = 0


class _Lines:
    """Decoded lines of a file, and where the next one begins."""

    def __init__(self, file: BinaryIO, path: Path, offset: int = 0, line: int = 1) -> None:
        self._file, self._path = file, path
        self.offset, self.line = offset, line
        file.seek(offset)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self._file.readline(MAX_LINE_BYTES + 1)
        if not raw:
            raise StopIteration
        if len(raw) > MAX_LINE_BYTES:
            problem = f"the line has more than {MAX_LINE_BYTES:,} bytes"
            raise FileError(f"{self._path}, line {self.line}: {problem}.", code="file_too_large")
        try:
            text = raw.decode("utf-8-sig" if self.offset == 0 else "utf-8")
        except UnicodeDecodeError:
            raise FileError(
                f"{self._path}, line {self.line}: the file is not UTF-8.",
                code="file_not_utf8",
                hint="Save it as UTF-8 (in Excel: CSV UTF-8) and try again.",
            ) from None
        self.offset += len(raw)
        self.line += 1
        return text


def opened(path: Path) -> BinaryIO:
    """Open a file for reading.

    Raises:
        FileError: It cannot be read (``file_unreadable``).
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}.", code="file_unreadable") from None


class CsvTable:
    """A CSV file whose first row names the columns; whatever separates those (`,` `;` tab `|`) separates the cells."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # The limit of Python's reader is one for the whole process, and lower than texts for models need.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL_CHARS))
        with opened(path) as file:
            lines = _Lines(file, path)
            first = next(lines, "")
            if not first.strip():
                raise FileError(f"{path}: the file is empty.", code="file_empty")
            self._delimiter = _delimiter(first)
            lines = _Lines(file, path)
            header = next(self._reader(lines))
            self._start, self._start_line = lines.offset, lines.line
        self.header = checked_header([unguarded(name.strip()) for name in header], path)

    def _reader(self, lines: _Lines) -> Iterator[list[str]]:
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        while True:
            start = lines.line
            try:
                yield next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise FileError(f"{self.path}, line {start}: not valid CSV: {error}.", code="table_invalid") from None

    def records(self, offset: int = 0, line: int = 0) -> Iterator[Record]:
        """Yield rows as mappings, from the row at ``offset``; rows without any text are passed over.

        Raises:
            FileError: A row has another number of cells than the first one (``table_invalid``), or is not UTF-8.
        """
        with opened(self.path) as file:
            lines = _Lines(file, self.path, offset or self._start, line or self._start_line)
            begin, first = lines.offset, lines.line
            for cells in self._reader(lines):
                if any(cells):
                    if len(cells) > len(self.header):
                        raise FileError(
                            f"{self.path}, line {first}: {len(cells)} cells under {len(self.header)} columns.",
                            code="table_invalid",
                            hint="A text with a separator in it stands in quotation marks.",
                        )
                    cells += [""] * (len(self.header) - len(cells))
                    value = dict(zip(self.header, map(unguarded, cells), strict=True))
                    yield Record(value, f"line {first}", begin, first)
                begin, first = lines.offset, lines.line


def checked_header(names: list[str], path: Path) -> list[str]:
    """Return the names of columns.

    Raises:
        FileError: One stands twice (``table_invalid``): one of the two would be lost.
    """
    for name in names:
        if name and names.count(name) > 1:
            raise FileError(f"{path} has the column '{name:.60}' twice.", code="table_invalid", hint="Rename one.")
    return names


class JsonLinesTable:
    """A file with one JSON value on each line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def records(self, offset: int = 0, line: int = 0) -> Iterator[Record]:
        """Yield the values, from the line at ``offset``; empty lines are passed over.

        Raises:
            FileError: A line is not JSON (``table_invalid``) or not UTF-8.
        """
        with opened(self.path) as file:
            lines = _Lines(file, self.path, offset, line or 1)
            begin, number = lines.offset, lines.line
            for text in lines:
                if text.strip():
                    yield Record(_json(text, self.path, number), f"line {number}", begin, number)
                begin, number = lines.offset, lines.line


def _json(text: str, path: Path, line: int) -> Any:
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}, line {line}: not valid JSON: {error!s:.200}.", code="table_invalid") from None


def _delimiter(line: str) -> str:
    outside = "".join(line.split('"')[::2])
    return max(_DELIMITERS, key=outside.count)


def fingerprint(path: Path) -> tuple[int, int]:
    """Return size and time of the last change of a file, to notice when it is changed while it is being read."""
    try:
        state = path.stat()
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}.", code="file_unreadable") from None
    return state.st_size, state.st_mtime_ns
