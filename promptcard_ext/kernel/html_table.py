"""Tables in HTML without scripts, of texts that nobody trusts; as narrow as a notebook's output may be."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence

from promptcard_ext.core.results import Outcome
from promptcard_ext.kernel.safe_text import harmless

MAX_CELL_CHARS = 400
MAX_NAME_CHARS = 200
MAX_TABLE_BYTES = 8_000

STYLE = """<style>
.pc-run{font:13px/1.45 var(--jp-ui-font-family,system-ui,sans-serif);color:var(--jp-ui-font-color1,inherit);
 max-width:1100px}
.pc-run h4{margin:.2em 0 .5em;line-height:1.35;font-size:14px;font-weight:600;overflow-wrap:anywhere}
.pc-run .pc-bar{display:flex;height:8px;border-radius:4px;overflow:hidden;background:rgba(128,128,128,.25);
 margin:.4em 0 .7em}
.pc-run .pc-bar i{display:block}
.pc-run .pc-pass{background:#2e9e5b}.pc-run .pc-fail{background:#d64545}
.pc-run .pc-error{background:#d9902f}.pc-run .pc-unscored{background:#8a8f98}
.pc-run .pc-scroll{overflow-x:auto}
.pc-run table.pc-table{border-collapse:collapse;table-layout:auto;width:100%;margin:.3em 0;font-size:inherit}
.pc-run table.pc-table th,.pc-run table.pc-table td{text-align:left;padding:3px 9px 3px 0;vertical-align:top;
 border-bottom:1px solid rgba(128,128,128,.3);overflow-wrap:anywhere}
.pc-run table.pc-table tr{background:none}.pc-run table.pc-table th{font-weight:600;white-space:nowrap}
.pc-run table.pc-table .n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.pc-run .pc-rate{white-space:nowrap}.pc-run table.pc-table td.t{min-width:9em}
.pc-run table.pc-table.pc-small{width:auto}
.pc-run table.pc-table td.o{max-width:420px;min-width:9em}
.pc-run table.pc-table td.w{min-width:9em}
.pc-run .pc-said{white-space:pre-wrap;font-family:var(--jp-code-font-family,monospace);font-size:12px}
.pc-run .pc-tag{color:#fff;border-radius:3px;padding:0 6px;font-size:11px;white-space:nowrap}
.pc-run .pc-tag.pc-pass{background:#1f7f49}.pc-run .pc-tag.pc-fail{background:#c0392b}
.pc-run .pc-tag.pc-error{background:#9c5a08}.pc-run .pc-tag.pc-unscored{background:#667080}
.pc-run ul{margin:.2em 0 0;padding-left:1.2em}.pc-run li{margin:.1em 0}
.pc-run details{margin-top:.5em}.pc-run summary{cursor:pointer}
.pc-run .pc-note{opacity:.75}.pc-run small{font-size:11.5px}
.pc-run p{margin:.3em 0}
</style>"""


def framed(body: str) -> str:
    """Return the body with its style."""
    return f'{STYLE}<div class="pc-run">{body}</div>'


def table(
    names: Sequence[str],
    rows: Iterable[Sequence[str]],
    number: int,
    *,
    texts: int = 99,
    room: int = MAX_TABLE_BYTES,
    small: bool = False,
) -> str:
    """Return a table of cells that are HTML already.

    Args:
        number: How many rows there are; those for which there is no room are only counted.
        texts: How many columns hold texts; numbers follow.
        room: Bytes for all rows.
        small: Only as wide as it has to be.
    """
    kinds = [' class="t"' if place < texts else ' class="n"' for place in range(len(names))]
    lines = ("".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) for row in rows)
    shown = list(fitting((f"<tr>{line}</tr>" for line in lines), room))
    head = "".join(f"<th{kind}>{name}</th>" for kind, name in zip(kinds, names, strict=True))
    more = f'<p class="pc-note">{number - len(shown):,} more are not listed.</p>' if len(shown) < number else ""
    size = " pc-small" if small else ""
    return (
        f'<div class="pc-scroll"><table class="pc-table{size}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(shown)}</tbody></table></div>{more}"
    )


def fitting(parts: Iterable[str], room: int) -> Iterator[str]:
    """Yield parts as long as they fit into so many bytes."""
    for part in parts:
        room -= len(part.encode())
        if room < 0:
            return
        yield part


def tag(outcome: Outcome) -> str:
    """Return an outcome in its colour."""
    return f'<span class="pc-tag pc-{outcome}">{outcome}</span>'


def cut(text: str, most: int = MAX_CELL_CHARS) -> str:
    """Return a text for a cell, escaped and not too long."""
    return esc(text[:most] + ("…" if len(text) > most else ""))


def name_of(text: str) -> str:
    """Return a name for a cell."""
    return cut(text, MAX_NAME_CHARS)


def ms(value: float | None) -> str:
    """Return a latency for a cell."""
    return "–" if value is None else f"{value:,.0f}\u00a0ms"


def esc(text: str) -> str:
    """Return a text in which nothing is obeyed, neither as HTML nor as a control character."""
    return html.escape(harmless(text))
