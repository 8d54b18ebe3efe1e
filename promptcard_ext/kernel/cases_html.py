"""Cases as a table in HTML without scripts: what a notebook shows of them where no kernel runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from promptcard_ext.kernel.html_table import cut, esc, framed, table

MAX_ROWS = 200
MAX_BYTES = 110_000


def cases_html(name: str, titles: Sequence[str], rows: Iterable[Sequence[str]], number: int) -> str:
    """Return the first cases as a table, at most 150,000 bytes of it.

    Args:
        name: Of the card.
        titles: Of the columns.
        rows: What was changed about a case (``new``, ``changed`` or an empty text), and the text of each of its cells.
        number: How many cases there are.
    """
    names = ["", *(cut(title, 100) for title in titles)]
    cells = ([cut(cell) for cell in row] for _, row in zip(range(MAX_ROWS), rows, strict=False))
    body = table(names, cells, number, room=MAX_BYTES) if number else '<p class="pc-note">There are no cases.</p>'
    many = f"{number:,} case{'' if number == 1 else 's'}"
    return framed(f'<h4>Cases of {esc(name)}</h4><p class="pc-note">{many}</p>{body}')
