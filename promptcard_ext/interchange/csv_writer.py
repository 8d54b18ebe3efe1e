"""CSV as every reader takes it back."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import IO


def write_rows(file: IO[str], rows: Iterable[Sequence[str]]) -> None:
    r"""Write rows that end with ``\n``; a cell with a line break of any kind stands in quotation marks.

    Args:
        file: Opened with ``newline=""``.

    Example:
        >>> import io
        >>> file = io.StringIO(newline="")
        >>> write_rows(file, [["a\rb", "c"]])
        >>> file.getvalue()
        '"a\rb",c\n'
    """
    csv.writer(_LineFeeds(file)).writerows(rows)


class _LineFeeds:
    # Until Python 3.13 the writer quotes only those line breaks that its own line end has: it must write both.
    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: str) -> None:
        self._file.write(row.removesuffix("\r\n") + "\n")
