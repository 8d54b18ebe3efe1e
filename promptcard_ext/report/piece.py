"""Pieces of a report: HTML without scripts or remote parts, made of text that nobody trusts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache

from markupsafe import Markup

from promptcard_ext.interchange.starters import shipped
from promptcard_ext.kernel.safe_text import harmless

MAX_NAME_CHARS = 200
MAX_TEXT_CHARS = 400
MAX_TEXT_LINES = 12


class Piece:
    """Something to show in a report: a table, a figure, some sentences.

    Args:
        html: What to show; whatever was not `Markup` when it was put together has been escaped.
        text: The same in plain text.
    """

    def __init__(self, html: Markup, text: str) -> None:
        self.html = Markup(harmless(html))  # noqa: S704  escaped where it was put together
        self.text = harmless(text)

    def _repr_html_(self) -> str:
        return f'<style>{_style()}</style>\n<div class="pc-report">{self.html}</div>'

    def __repr__(self) -> str:
        return self.text


@cache
def _style() -> str:
    return (shipped("templates/reports") / "pieces.css").read_text(encoding="utf-8").strip()


_NOTHING = Markup("")


def join(parts: Iterable[str], between: Markup = _NOTHING) -> Markup:
    """Return the parts one after the other; those that are not `Markup` are escaped."""
    return between.join(parts)


def text_of(value: str) -> str:
    """Return what a reader sees of a piece of HTML; a text that is none stays as it is."""
    return value.striptags() if isinstance(value, Markup) else value


def name(text: str) -> str:
    """Return a name, cut when it is very long."""
    return text if len(text) <= MAX_NAME_CHARS else text[:MAX_NAME_CHARS] + "…"


def column(text: str) -> Markup:
    """Return a name that keeps its column from becoming too narrow, and may be broken anywhere."""
    return Markup('<span class="pc-col">{}</span>').format(name(text))


def excerpt(text: str) -> str:
    """Return the beginning of a text: at most 400 characters in 12 lines."""
    shown = re.sub(r"\n\s*\n\s*\n+", "\n\n", text[:MAX_TEXT_CHARS].replace("\r\n", "\n").strip())
    lines = shown.split("\n")
    shown = "\n".join(lines[:MAX_TEXT_LINES])
    return shown + "…" if len(text) > MAX_TEXT_CHARS or len(lines) > MAX_TEXT_LINES else shown


def tag(outcome: str, count: int = 1) -> Markup:
    """Return an outcome as a coloured word, with how often it came when that is not once."""
    times = f" ×{count}" if count > 1 else ""
    return Markup('<span class="pc-tag pc-{}">{}{}</span>').format(outcome, outcome, times)


def note(text: str) -> Markup:
    """Return a remark."""
    return Markup('<p class="pc-note">{}</p>').format(text)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = (), kind: str = "pc-plain"
) -> Markup:
    """Return a table.

    Args:
        columns: Headings.
        rows: Cells; what is not `Markup` is escaped.
        numbers: Columns that are set to the right.
        kind: Class of the table.
    """
    classes = [Markup(' class="pc-n"') if i in numbers else Markup("") for i in range(len(columns))]
    head = join(Markup('<th scope="col"{}>{}</th>').format(c, text) for c, text in zip(classes, columns, strict=True))
    body = join(
        Markup("<tr>{}</tr>").format(
            join(Markup("<td{}>{}</td>").format(c, cell) for c, cell in zip(classes, row, strict=True))
        )
        for row in rows
    )
    return Markup(
        '<div class="pc-scroll"><table class="{}"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(kind, head, body)


def plain(columns: Sequence[str], rows: Iterable[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """Return a table in plain text, with remarks below it."""
    lines = [
        [text_of(column) for column in columns],
        *([text_of(cell) for cell in row] for row in rows),
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    written = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join([*(line.rstrip() for line in written), *notes])


def several(number: int, one: str, many: str = "") -> str:
    """Return for example ``1 case`` or ``2,400 cases``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(parts: Sequence[str]) -> Markup:
    """Return ``a``, ``a and b`` or ``a, b and c``."""
    if len(parts) < 2:
        return join(parts)
    return join([join(parts[:-1], Markup(", ")), Markup(" and "), parts[-1]])


def milliseconds(value: float | None) -> str:
    """Return a latency."""
    return "–" if value is None else f"{value:,.0f}\u00a0ms"
