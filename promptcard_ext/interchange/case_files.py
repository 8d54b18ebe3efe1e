"""Cases from tables: CSV, JSON Lines, JSON, XLSX, Parquet, data frames."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import FileError, PromptCardError
from promptcard_ext.core.identity import refuse_constant
from promptcard_ext.interchange.case_rows import CaseMaker
from promptcard_ext.interchange.spreadsheet import sheet_records
from promptcard_ext.interchange.tables import CsvTable, JsonLinesTable, Record, fingerprint
from promptcard_ext.interchange.yaml_document import read_text

if TYPE_CHECKING:
    import pandas as pd

MAX_CASES = 10_000_000
MAX_HELD = 1_000_000
MAX_JSON_BYTES = 50_000_000
CASE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".xlsx", ".parquet")


def load_cases(
    source: str | Path | pd.DataFrame | Iterable[Mapping[str, Any]],
    card: Card | None = None,
    *,
    sheet: str | int | None = None,
) -> Sequence[Case]:
    """Return the cases in a table.

    Its columns are variables, and those with two underscores say more: ``__expected``, ``__description``,
    ``__metadata:topic``, … A CSV or JSON Lines file is read through once, and again where a case is needed, so that its
    size does not matter; it must not change meanwhile.

    Args:
        source: A file (.csv, .tsv, .jsonl, .json, .xlsx, .parquet), a data frame, or mappings.
        card: Its declared variables say what type a cell has; without a card cells are taken as they are.
        sheet: Name of a sheet, or its number from 1; the first one by default.

    Raises:
        FileError: It cannot be read, or a cell does not fit (``case_file_invalid``); with line or row, and column.
    """
    if not isinstance(source, str | Path):
        return _held(_records_of(source), CaseMaker("the table", card))
    path = Path(source)
    suffix = path.suffix.lower()
    maker = CaseMaker(str(path), card)
    if suffix in (".csv", ".tsv"):
        return CasesInFile(path, CsvTable(path).records, maker)
    if suffix in (".jsonl", ".ndjson"):
        return CasesInFile(path, JsonLinesTable(path).records, maker)
    if suffix == ".json":
        return _held(_json_records(path), maker)
    if suffix == ".xlsx":
        return _held(sheet_records(path, sheet), maker)
    if suffix == ".parquet":
        return _held(_parquet_records(path), maker)
    raise FileError(
        f"Cases cannot be read from '{path.name}'.", code="file_format", hint=f"Use {', '.join(CASE_SUFFIXES)}."
    )


class CasesInFile(Sequence[Case]):
    """The cases of a file, read again when they are needed: 12 bytes are held for each."""

    CHUNK = 256

    def __init__(self, path: Path, records: Callable[[int, int], Iterator[Record]], maker: CaseMaker) -> None:
        self.path, self._records, self._maker = path, records, maker
        self._state = fingerprint(path)
        self._offsets, self._lines = array("q"), array("l")
        self._chunk: tuple[int, list[Case]] = (0, [])
        unique = _Unique(str(path))
        for record in records(0, 0):
            unique.add(maker.case(record), record)
            self._offsets.append(record.offset)
            self._lines.append(record.line)
        if not self._offsets:
            raise FileError(f"{path} has no cases.", code="file_empty")

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> Case: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Case]: ...
    def __getitem__(self, index: int | slice) -> Case | Sequence[Case]:
        """Return a case.

        Raises:
            FileError: The file was changed since it was opened (``file_changed``).
        """
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no case {index}")
        index %= len(self)
        start, cases = self._chunk
        if not start <= index < start + len(cases):
            start, cases = self._chunk = (index, self._read(index))
        return cases[index - start]

    def __iter__(self) -> Iterator[Case]:
        return (self[index] for index in range(len(self)))

    def _read(self, index: int) -> list[Case]:
        if fingerprint(self.path) != self._state:
            raise FileError(
                f"{self.path} was changed while it was being used.",
                code="file_changed",
                hint="Start again; a run that was stopped goes on with the cases that it has recorded.",
            )
        found = self._records(self._offsets[index], self._lines[index])
        return [self._maker.case(record) for record in islice(found, self.CHUNK)]


class _Unique:
    """Finds cases with the same variables."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: dict[bytes, str] = {}

    def add(self, case: Case, record: Record) -> None:
        """Take note of a case.

        Raises:
            FileError: One before it has the same variables (``case_twice``).
        """
        key = bytes.fromhex(case.uid)
        if key in self._seen:
            raise FileError(
                f"{self._name}, {record.where}: it has the same variables as {self._seen[key]}.",
                code="case_twice",
                hint="Put the assertions of both into one row (__expected1, __expected2); use repeats to ask twice.",
            )
        if len(self._seen) >= MAX_CASES:
            raise FileError(f"{self._name} has more than {MAX_CASES:,} cases.", code="file_too_large")
        self._seen[key] = record.where


def _held(records: Iterable[Record], maker: CaseMaker) -> tuple[Case, ...]:
    unique, cases = _Unique(maker.name), []
    for record in records:
        case = maker.case(record)
        unique.add(case, record)
        cases.append(case)
        if len(cases) > MAX_HELD:
            raise FileError(
                f"{maker.name} has more than {MAX_HELD:,} cases.", code="file_too_large", hint="Use CSV or JSON Lines."
            )
    if not cases:
        raise FileError(f"{maker.name} has no cases.", code="file_empty")
    return tuple(cases)


def _json_records(path: Path) -> Iterator[Record]:
    try:
        value = json.loads(read_text(path, MAX_JSON_BYTES), parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: not valid JSON: {error!s:.200}.", code="table_invalid") from None
    except PromptCardError:
        raise
    if not isinstance(value, list):
        raise FileError(f"{path}: a JSON file of cases holds one list.", code="table_invalid")
    yield from (Record(one, f"entry {number}") for number, one in enumerate(value, 1))


def _parquet_records(path: Path) -> Iterator[Record]:
    try:
        import pyarrow  # type: ignore[import-untyped]
        from pyarrow import parquet
    except ImportError:
        raise FileError(
            f"{path}: Parquet needs pyarrow.", code="parquet_missing", hint="pip install 'promptcards[parquet]'"
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(1024):
                for row in batch.to_pylist():
                    number += 1
                    yield Record({name: plain(value) for name, value in row.items()}, f"row {number}")
    except (pyarrow.ArrowException, OSError) as error:
        raise FileError(f"{path} cannot be read as Parquet: {error!s:.200}.", code="table_invalid") from None


def _records_of(source: Any) -> Iterator[Record]:
    if hasattr(source, "to_dict") and hasattr(source, "columns"):
        names = [str(name) for name in source.columns]
        for number, row in enumerate(source.itertuples(index=False, name=None), 1):
            yield Record({name: plain(value) for name, value in zip(names, row, strict=True)}, f"row {number}")
        return
    yield from (Record(one, f"entry {number}") for number, one in enumerate(source, 1))


def plain(value: Any) -> Any:
    """Return a value of a data frame as JSON has it: numbers of Python, dates as ISO text, a missing one as None."""
    if value is None or isinstance(value, str | bool | int | Case):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if value != value or type(value).__name__ in ("NaTType", "NAType"):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value
