"""What an import could not take over as it stood, with its place."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace


class Severity(StrEnum):
    """How much a notice matters.

    ``lost`` is something that does not run here; ``changed`` runs, but not quite as it did; ``info`` is good to know.
    """

    LOST = "lost"
    CHANGED = "changed"
    INFO = "info"


class Notice(Struct, frozen=True):
    """One thing that was not taken over as it stood.

    Attributes:
        code: Stable slug, such as ``assertion_unsupported``.
        file: File that has it, as the user would name it.
        line: Line in that file, from 1; 0 when the file has no lines (a spreadsheet) or the place is not known.
        place: Where in the file: ``tests[3].assert[1]``, or row and column.
        message: What it is.
        hint: What to do about it; may be empty.
        count: How often the same was found; the place is that of the first.
        more_lines: Further lines that have it, at most `Notices.MAX_LINES`.
    """

    severity: Severity
    code: str
    file: str
    line: int
    place: str
    message: str
    hint: str = ""
    count: int = 1
    more_lines: tuple[int, ...] = ()

    def __str__(self) -> str:
        where = f"{self.file}, line {self.line}" if self.line else self.file
        lines = ", ".join(map(str, self.more_lines))
        also = f"; also line{'s' if len(self.more_lines) > 1 else ''} {lines}" if lines else ""
        times = f" ({self.count} times{also})" if self.count > 1 else ""
        said = f"{where}: {self.place}: {self.message}{times}"
        return f"{said}. {self.hint}" if self.hint else said


class Notices:
    """Collects notices; the same one from thousands of rows is kept once, with a count."""

    LIMIT = 10_000
    MAX_LINES = 50

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], Notice] = {}

    def add(self, notice: Notice) -> None:
        """Keep a notice."""
        key = (notice.code, notice.file, notice.message)
        known = self._found.get(key)
        if known is not None:
            lines = known.more_lines
            if notice.line not in (known.line, *lines) and len(lines) < self.MAX_LINES:
                lines = (*lines, notice.line)
            self._found[key] = replace(known, count=known.count + notice.count, more_lines=lines)
        elif len(self._found) < self.LIMIT:
            self._found[key] = notice

    def __iter__(self) -> Iterator[Notice]:
        """Yield what matters most first, and then in the order in which it was found."""
        order = list(Severity)
        return iter(sorted(self._found.values(), key=lambda notice: order.index(notice.severity)))
