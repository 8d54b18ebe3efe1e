"""XLSX files: values in, values out; a formula is never written, and none is computed."""

from __future__ import annotations

import datetime
import itertools
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from promptcard_ext.core.errors import FileError
from promptcard_ext.interchange.formula_guard import guarded, unguarded
from promptcard_ext.interchange.tables import Record, checked_header, opened

MAX_UNPACKED_BYTES = 300_000_000
MAX_PARTS = 5_000
MAX_COLUMNS = 1_000
MAX_CELL_CHARS = 32_767
_XML_ENTITIES = (b"<!DOCTYPE", b"<!ENTITY", "<!DOCTYPE".encode("utf-16-le"), "<!DOCTYPE".encode("utf-16-be"))


def sheet_records(path: Path, sheet: str | int | None = None) -> Iterator[Record]:
    """Yield the rows of a sheet as mappings; its first row names the columns.

    Args:
        sheet: Name, or number from 1; the first one by default.

    Raises:
        FileError: It is no XLSX file (``table_invalid``), is too large unpacked (``file_too_large``), or has no such
            sheet (``sheet_missing``).
    """
    _refuse_bomb(path)
    import openpyxl  # type: ignore[import-untyped]

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # noqa: BLE001  Whatever a damaged file makes the reader raise.
        raise _invalid(path, error) from None
    try:
        yield from _records(_sheet(book, path, sheet), path)
    except FileError:
        raise
    except Exception as error:  # noqa: BLE001  The rows are only parsed now.
        raise _invalid(path, error) from None
    finally:
        book.close()


def _invalid(path: Path, error: Exception) -> FileError:
    return FileError(
        f"{path} cannot be read as a spreadsheet: {type(error).__name__}: {error!s:.200}.",
        code="table_invalid",
        hint="Save it again as .xlsx, or as CSV UTF-8.",
    )


def _sheet(book: Any, path: Path, wanted: str | int | None) -> Any:
    names = book.sheetnames
    if wanted is None and names:
        return book[names[0]]
    if isinstance(wanted, str) and wanted in names:
        return book[wanted]
    if str(wanted).isdigit() and 1 <= int(str(wanted)) <= len(names):
        return book[names[int(str(wanted)) - 1]]
    raise FileError(
        f"{path} has no sheet {wanted!r:.60}.", code="sheet_missing", hint=f"It has: {', '.join(names)!s:.300}."
    )


def _records(sheet: Any, path: Path) -> Iterator[Record]:
    rows = sheet.iter_rows(values_only=True)
    header: list[str] = []
    for number, cells in enumerate(rows, 1):
        if len(cells) > MAX_COLUMNS:
            raise FileError(f"{path}, row {number} has more than {MAX_COLUMNS:,} cells.", code="table_invalid")
        values = [_plain(cell) for cell in cells]
        if not any(value not in (None, "") for value in values):
            continue
        if not header:
            header = checked_header([str(value).strip() if value is not None else "" for value in values], path)
            continue
        for name, value in zip(header, values, strict=False):
            if not name and value is not None:
                raise FileError(f"{path}, row {number}: a value stands under no column name.", code="table_invalid")
        row = {name: value for name, value in zip(header, values, strict=False) if name}
        yield Record({name: row.get(name) for name in header if name}, f"row {number}")


def _plain(cell: Any) -> Any:
    if isinstance(cell, str):
        return unguarded(cell)
    if isinstance(cell, datetime.datetime):
        midnight = cell.time() == datetime.time()
        return cell.date().isoformat() if midnight else cell.isoformat(sep=" ")
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    if isinstance(cell, datetime.timedelta):
        return str(cell)
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return int(cell)
    return cell


def _refuse_bomb(path: Path) -> None:
    """A small file may unpack to terabytes, and XML may define texts that double and double."""
    try:
        with opened(path) as file, zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
            if len(parts) > MAX_PARTS or sum(part.file_size for part in parts) > MAX_UNPACKED_BYTES:
                raise FileError(
                    f"{path} has more than {MAX_UNPACKED_BYTES:,} bytes unpacked.",
                    code="file_too_large",
                    hint="Split it.",
                )
            for part in parts:
                with archive.open(part) as inside:
                    if any(mark in inside.read(4096) for mark in _XML_ENTITIES):
                        raise FileError(f"{path} defines XML entities and is not read.", code="table_invalid")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise _invalid(path, error) from None


def write_sheet(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows to an XLSX file; texts that look like formulas are guarded, and texts that do not fit are cut.

    Raises:
        OSError: It cannot be written.
    """
    import openpyxl
    from openpyxl.cell import WriteOnlyCell  # type: ignore[import-untyped]

    # First of all, so that nothing is left half done where nothing can be written.
    with path.open("wb") as file:
        book = openpyxl.Workbook(write_only=True)
        sheet = book.create_sheet("results")
        try:
            for row in itertools.chain([header], rows):
                sheet.append([_cell(sheet, value, WriteOnlyCell) for value in row])
        except BaseException:
            sheet.close()
            raise
        book.save(file)


# What XML has no character for.
_NO_XML = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF), "\ufffd")


def _cell(sheet: Any, value: Any, make: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = guarded(value.translate(_NO_XML))
    if len(text) > MAX_CELL_CHARS:
        text = text[: MAX_CELL_CHARS - 1] + "…"
    cell = make(sheet, value=text)
    # Without it a text that begins with `=` would become a formula.
    cell.data_type = "s"
    return cell
