"""Results into files: CSV, JSON Lines, JSON, XLSX, Parquet, JUnit XML, Markdown; one result at a time."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

from promptcard_ext.core import wire
from promptcard_ext.core.errors import FileError
from promptcard_ext.core.results import ItemResult
from promptcard_ext.interchange.csv_writer import write_rows
from promptcard_ext.interchange.formula_guard import guarded
from promptcard_ext.interchange.junit import write_junit
from promptcard_ext.interchange.markdown import write_markdown
from promptcard_ext.interchange.result_rows import DTYPES, result_row, well_formed
from promptcard_ext.interchange.spreadsheet import write_sheet
from promptcard_ext.stats.summary import SummaryRow

FORMAT = "promptcards-results/1"
_BATCH = 2_000


SUFFIXES = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".json": "json",
    ".xlsx": "xlsx",
    ".parquet": "parquet",
    ".xml": "junit",
    ".md": "markdown",
}


def write_results(
    results: Iterable[ItemResult],
    path: str | Path,
    form: str | None = None,
    *,
    title: str = "",
    rows: Sequence[SummaryRow] = (),
) -> None:
    """Write results to a file, one at a time.

    CSV, XLSX and Parquet have the columns of `to_frame()`; JSON Lines and JSON have whole results with their verdicts.
    A file that is there already is replaced once the new one is complete.

    Args:
        results: Read once, and written in their order.
        form: ``csv``, ``jsonl``, ``json``, ``xlsx``, ``parquet``, ``junit`` or ``markdown``; by default what the file's
            ending says (.xml is JUnit, .md Markdown).
        title: Name of the run, for JSON and Markdown.
        rows: The run's summary, for JSON and Markdown.

    Raises:
        FileError: It cannot be written (``file_unwritable``), has an unknown ending (``file_format``), or Parquet is
            not installed (``parquet_missing``).
    """
    path = Path(path)
    writers: dict[str, Callable[[Path], None]] = {
        "csv": lambda part: write_csv(part, results),
        "jsonl": lambda part: _write_lines(part, results),
        "json": lambda part: _write_json(part, results, title, rows),
        "xlsx": lambda part: write_sheet(part, list(DTYPES), _table(results, _spreadsheet_value)),
        "parquet": lambda part: _write_parquet(part, results),
        "junit": lambda part: write_junit(part, results),
        "markdown": lambda part: write_markdown(part, results, title, rows),
    }
    form = form or SUFFIXES.get(path.suffix.lower(), "")
    if form not in writers:
        raise FileError(
            f"Results cannot be written to '{path.name}'.", code="file_format", hint=f"Use {', '.join(SUFFIXES)}."
        )
    with _replaced(path) as part:
        writers[form](part)


_SUFFIXES = {"junit": ".xml", "markdown": ".md"}


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """Yield the path of a new file that takes the place of ``path`` when everything is in it."""
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}.", code="file_unwritable") from None
    finally:
        part.unlink(missing_ok=True)


def write_csv(path: Path, results: Iterable[ItemResult]) -> None:
    """Write the columns of `to_frame()`; texts that look like formulas are guarded, money is exact."""
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        write_rows(file, itertools.chain([list(DTYPES)], _table(results, _csv_value)))


def csv_pieces(results: Iterable[ItemResult], rows: int) -> Iterator[bytes]:
    """Yield what `write_csv` writes, so many rows at a time; the first piece has the names of the columns."""
    table = itertools.chain([list(DTYPES)], _table(results, _csv_value))
    while batch := list(itertools.islice(table, rows)):
        file = io.StringIO(newline="")
        write_rows(file, batch)
        yield file.getvalue().encode("utf-8", "replace")


def _table(results: Iterable[ItemResult], value: Callable[[Any], Any]) -> Iterator[list[Any]]:
    for result in results:
        row = result_row(result)
        yield [value(row.get(name)) for name in DTYPES]


def _csv_value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return (
        guarded(value) if isinstance(value, str) else format(value, "f") if isinstance(value, Decimal) else str(value)
    )


def _spreadsheet_value(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def _write_lines(path: Path, results: Iterable[ItemResult]) -> None:
    with path.open("wb") as file:
        for result in results:
            file.write(wire.encode(result) + b"\n")


def _write_json(path: Path, results: Iterable[ItemResult], title: str, rows: Sequence[SummaryRow]) -> None:
    """Write one document; the results are its last member, so that they need not be held."""
    with path.open("wb") as file:
        opening = wire.encode({"format": FORMAT, "name": title, "summary": list(rows)})
        file.write(opening[:-1] + b',"results":[')
        _write_members(file, results)
        file.write(b"]}\n")


def _write_members(file: BinaryIO, results: Iterable[ItemResult]) -> None:
    separator = b"\n"
    for result in results:
        file.write(separator + wire.encode(result))
        separator = b",\n"


def _write_parquet(path: Path, results: Iterable[ItemResult]) -> None:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        from pyarrow import parquet
    except ImportError:
        raise FileError(
            f"{path}: Parquet needs pyarrow.", code="parquet_missing", hint="pip install 'promptcards[parquet]'"
        ) from None
    schema = _schema(pa)
    rows: list[dict[str, Any]] = []
    with parquet.ParquetWriter(path, schema) as writer:
        for result in results:
            rows.append({name: _arrow_value(value) for name, value in result_row(result).items()})
            if len(rows) >= _BATCH:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows.clear()
        writer.write_table(pa.Table.from_pylist(rows, schema))


def _schema(pa: Any) -> Any:
    types = {
        "int64": pa.int64(),
        "Int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "str": pa.string(),
        "category": pa.dictionary(pa.int8(), pa.string()),
    }
    return pa.schema([(name, types[dtype]) for name, dtype in DTYPES.items()])


def _arrow_value(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else well_formed(value)
